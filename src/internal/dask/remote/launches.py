"""What runs on the cluster, 4b: programs in a worker, through its launch agent. See functions.py for the whole."""
import asyncio


class Launches:
    async def agency(self):
        """The launch agent, started with the first program, and again when it was lost."""
        while True:
            if self.starting is not None:
                await asyncio.shield(self.starting)
            elif self.agent is None or self.agent.lost is not None:
                self.starting = asyncio.ensure_future(self.open())
            else:
                return self.agent

    async def open(self):
        agent = Agent(self.options["agent"], self.options["agentArguments"], self.home, self.options["agentSilence"])
        self.agents = {one for one in self.agents if one.ending is None or not one.ending.done()} | {agent}
        try:
            await agent.start()
            self.agent = agent
            # before it is given a program: who outlives this worker looks for these processes
            self.tell_now(AGENT, 0, {"type": "agent", "pair": [agent.keeper, agent.peer], "machine": machine()})
        finally:
            self.starting = None

    async def close_agents(self):
        """No agent outlives this, nor what one runs, but what cannot be ended."""
        if self.starting is not None:
            self.starting.cancel()
            await asyncio.wait({self.starting})
        await asyncio.gather(*[agent.close() for agent in self.agents])

    async def launch(self, header, blobs):
        """On the worker's loop; a place of the worker's is taken until it ends."""
        id, key, retries = header["id"], header.pop("key"), header.pop("retries", 0)
        task = self.enter(id, key)
        if task is None:
            return None
        try:
            try:
                frames, answer = await self.run(task, header, blobs)
            except Exception as problem:  # of this module's own
                frames = [encode({"type": "canceled", "id": id}) if task.stopped else unreported(id, problem)]
                answer = {}
            # one that may still run is not run again
            failed = (answer.get("code") != 0 or "unreached" in answer) and "stopped" not in answer
            return self.end(task, frames, failed, retries)
        finally:
            self.leave(task)

    async def run(self, task, header, blobs):
        spill, spilled = None, header.pop("spill", False)
        try:
            located(header, self.home.absolute)
            if spilled:
                spill = Spill(header)
            agent = await self.agency()
        except Exception as problem:
            if spill is not None:
                spill.clean()
            kind = "canceled" if task.stopped else "lost"
            answer = {"type": kind, "id": task.id, "message": "no launch agent: %s" % describe(problem)}
            return [encode(answer)], answer
        if task.stopped:
            if spill is not None:
                spill.clean()
            return [encode({"type": "canceled", "id": task.id})], {}
        live, frames, ended, garbled = header.get("live"), [], self.loop.create_future(), None
        last = {"stdout": b"", "stderr": b""}

        def hear(answer, parts):
            nonlocal garbled
            kind = answer["type"]
            if kind == "garbled":  # it is stopped, and its agent says when it is gone
                garbled = garbled or {"type": "lost", "message": "its launch agent: %s" % answer["message"]}
                agent.send({"type": "cancel", "id": task.id, "grace": 0})
            elif kind == "started":
                self.tell(STARTED, task.id, dict(answer, worker=self.worker.address))
                self.soon()
            elif kind in ("ended", "failed", "lost", "dropped"):
                if not ended.done():
                    ended.set_result((garbled if garbled and kind != "lost" else answer, list(parts)))
            else:
                if kind == "output":
                    last[answer["stream"]] = (last[answer["stream"]] + bytes(parts[-1][-TAIL:]))[-TAIL:]
                if kind == "need" or live:
                    self.tell_now(LIVE, task.id, answer, parts)
                else:
                    frames.append(encode(answer, parts))

        task.stop = lambda grace: agent.send({"type": "cancel", "id": task.id, "grace": grace * 1000})
        agent.programs[task.id] = hear, header["uid"]
        self.fed[task.id] = len(blobs[header["stdin"]]) if "stdin" in header else 0
        try:
            agent.send(header, blobs)
            answer, parts = await ended
        finally:
            del agent.programs[task.id], self.fed[task.id]
        answer["id"] = task.id
        where = header.get("cwd", self.home.directory)
        if answer.get("code") != 0 and where is not None:
            answer["cwd"] = where
        for stream in ("stdout", "stderr"):
            if stream in header and answer["type"] == "ended":
                answer[stream + "Path"] = header[stream]
        if "sandbox" in header and answer["type"] == "ended":
            answer["sandboxPath"] = header["sandbox"]
        if task.stopped:
            frames = [encode(*last_words(answer, parts, last))]
            if spill is not None:
                spill.clean()
            return frames, answer
        if spill is not None:
            if answer["type"] == "ended":
                frames += [encode({"type": "output", "id": task.id, "stream": stream}, [piece])
                           for stream, piece in spill.back(answer)]
            else:
                spill.clean()
        for stream in ("stdout", "stderr"):
            if answer.get(stream + "Path") is not None and (answer.get("code") != 0 or spill is not None):
                parts.append(tail_of(answer[stream + "Path"]))
                answer[stream + "Tail"] = len(parts) - 1
        frames.append(encode(answer, parts))
        return frames, answer
