"""The bridge to Dask, 2: what it does. A Python process between an orchestrator, which speaks frames, and a scheduler.

It knows each task by the number that the orchestrator gave it and by its key in Dask. What a task tells comes from its
worker in frames already, and is passed on as it is. All files of this directory, ../../bridge/frame.py and
../../process/agent/processes.py are started as one source.
"""
import asyncio
import contextlib
import sys

# Seconds between two graphs of tasks while many are on their way: what comes meanwhile goes together.
GATHER = 0.004


class Wrong(Exception):
    """What was asked for cannot be had, told by the field that asked for it."""

    def __init__(self, key, message, reason="option"):
        super().__init__(message)
        self.key, self.reason = key, reason


class Bridge(Ends):
    def __init__(self, channel, hello):
        super().__init__(channel, hello["name"])
        self.hello = hello
        self.queue, self.sending = [], False
        self.over = asyncio.Event()
        self.lost = None

    # ---------------------------------------------------------------------------------------------------------- cluster

    async def open(self, made):
        global json
        import distributed
        self.module = load(self.hello["module"], self.hello["source"])
        json = self.module.json  # functions may run in this interpreter, too
        cluster = self.hello["cluster"]
        self.cluster = security = None
        if "address" in cluster:
            where = cluster["address"]
            try:
                security = security_of(cluster)
            except Exception as problem:
                raise Wrong("ca", "TLS cannot be set up with ca, cert and key: %s" % self.module.describe(problem))
        else:
            try:
                where = self.cluster = await own_cluster(self.hello, made)
            except Exception as problem:
                raise Wrong("", "no LocalCluster can be started: %s" % self.module.describe(problem), "engine")
        seconds = self.hello["timeout"] / 1000
        try:
            self.client = await distributed.Client(where, asynchronous=True, set_as_default=False, timeout=seconds,
                                                   name="effect-rhapsody", security=security)
        except Exception as problem:
            raise Wrong("address", "no scheduler answers at %s within %d seconds: %s" % (
                cluster.get("address", "the new cluster"), seconds, self.module.describe(problem)), "engine")
        self.client._stream_handlers[self.name] = self.hear
        for op, handler in (("key-in-memory", self.in_memory), ("task-erred", self.erred),
                            ("cancelled-keys", self.cancelled), ("restart", self.restarted)):
            self.client._stream_handlers[op] = after(self.client._stream_handlers[op], handler)
        try:
            await self.client.register_plugin(
                shipped(distributed.SchedulerPlugin, self.hello, "SchedulerSide", self.name, self.client.id,
                        self.cluster is not None, self.hello["patience"]),
                name=self.name)
            await self.client.register_plugin(
                shipped(distributed.WorkerPlugin, self.hello, "WorkerSide", self.name, self.hello["worker"]),
                name=self.name)
        except Exception as problem:
            raise Wrong("address", "its scheduler takes no plugins: %s" % self.module.describe(problem), "engine")
        asyncio.ensure_future(self.watch())
        return {"address": self.client.scheduler.address, "dashboard": self.dashboard()}

    def dashboard(self):
        """Its address, or nothing."""
        try:
            return self.client.dashboard_link or ""
        except Exception:
            return ""  # there is none

    async def watch(self):
        """A scheduler that is gone takes all tasks with it; the client would go on trying for a while."""
        while not self.over.is_set():
            if not self.connected():
                self.end("its scheduler is gone")
                return
            await asyncio.sleep(0.1)

    def connected(self):
        comm = self.client.scheduler_comm
        return self.client.status == "running" and comm is not None and not comm.comm.closed()

    def end(self, why):
        if not self.over.is_set():
            self.lost = why
            self.over.set()

    async def close(self):
        for op in (self.name,):
            self.client._stream_handlers.pop(op, None)
        if self.lost is None:
            try:
                await asyncio.wait_for(self.leave(), 3 if self.cluster is None else 1)
            except Exception as problem:
                sys.stderr.write("the plugins could not be removed: %r\n" % problem)
        try:
            await asyncio.wait_for(self.client.close(), 1)
        except Exception:
            pass
        if self.cluster is not None:
            await asyncio.wait_for(self.cluster.close(), 3)

    async def leave(self):
        """Of a cluster that goes on, our side of its workers; programs end with that. That of its scheduler goes with
        the client."""
        await self.client.unregister_worker_plugin(self.name)

    # -------------------------------------------------------------------------------------------- from the orchestrator

    def heard(self, messages):
        for header, blobs in messages:
            kind = header["type"]
            if kind == "submit":
                self.queue.append((header, blobs))
                if not self.sending:
                    self.sending = True
                    asyncio.ensure_future(self.send())
            elif kind == "cancel":
                self.cancel(header)
            elif kind == "say":
                self.say(header, blobs[0])
            elif kind == "ask":
                self.client._send_to_scheduler({"op": self.name, "ask": header["ask"]})
            else:
                raise ProtocolError("a message of type %s" % kind)

    async def send(self):
        """The first at once; those that come while it is on its way go together."""
        try:
            while self.queue:
                self.flush()
                await asyncio.sleep(GATHER)
        finally:
            self.sending = False

    def flush(self):
        queue, self.queue = self.queue, []
        groups = [(call, dict(settings), *group) for (call, *settings), group in grouped(queue).items()]
        for call, settings, items, tasks in sorted(groups, key=lambda group: -group[1].get("priority", 0)):
            self.submit(items, tasks, call, settings)

    def submit(self, items, tasks, call, settings):
        import dask
        program = call == "launch"
        function = self.module.launch if program else self.module.call
        if "resources" in settings:
            settings["resources"] = dict(settings["resources"])
        if "workers" in settings:
            settings["workers"] = list(settings["workers"])
        items, tasks = self.free(items, tasks, call, settings)
        try:
            # the scheduler's side knows programs by the annotation; without fifo_timeout, Dask takes what comes within
            # 100 ms for one graph, and the last of it first
            with dask.annotate(program=True) if program else contextlib.nullcontext():
                futures = self.client.map(function, [self.module.Item(item) for item in items],
                                          key=[task.key for task in tasks], pure=False, fifo_timeout=0, **settings)
        except Exception as problem:
            for task in tasks:
                self.finish(task, {"type": "erred", "reason": "Rejected", "message": self.module.describe(problem)})
            return
        for task, future in zip(tasks, futures):
            task.future = future

    def free(self, items, tasks, call, settings):
        """Those whose key no other has: Dask would take two of one key for the same task, and run one of them."""
        kept = [], []
        for item, task in zip(items, tasks):
            other = self.keys.get(task.key)
            if other is None:
                self.tasks[task.id] = self.keys[task.key] = task
                kept[0].append(item)
                kept[1].append(task)
            elif other.ended:
                # Dask has not said yet that it ended, or not been told to forget it; it would not run it again
                self.forget()
                self.tasks[task.id] = task
                self.loop.call_later(GATHER, self.later, item, task, call, settings)
            else:
                self.finish(task, {"type": "erred", "reason": "Rejected", "message":
                                   "the key %s is that of a task which has not ended; keys must be unique" % task.key})
        return kept

    def later(self, item, task, call, settings):
        if not task.ended:
            self.submit([item], [task], call, settings)

    def cancel(self, header):
        self.flush()  # the scheduler does in order what it is told
        asked, grace = [], header["grace"] / 1000
        for id in header["ids"]:
            task = self.tasks.get(id)
            if task is None:
                continue  # its end is told
            if task.grace is None:
                task.grace = task.told = grace
                asked.append((id, task.key, grace, header["deaf"]))
            else:
                task.grace = min(task.grace, grace)
                self.hurry(task)
        for id in [id for id, *_ in asked if self.tasks[id].future is None]:
            self.finish(self.tasks[id], {"type": "canceled"})  # it waits for its key, and Dask does not know it
        asked = [one for one in asked if one[0] in self.tasks]
        if asked:
            self.client._send_to_scheduler({"op": self.name, "cancel": asked})

    def hurry(self, task):
        """A second word to a worker that stops it already, with less patience than the first."""
        if task.worker is not None and task.grace < task.told:
            task.told = task.grace
            self.client._send_to_scheduler({"op": self.name, "again": (task.worker, task.id, task.key, task.grace)})

    def say(self, header, frame):
        """To the agent that runs a task: more of its input, or that output was taken."""
        self.client._send_to_scheduler({"op": self.name, "say": (header["worker"], frame)})
