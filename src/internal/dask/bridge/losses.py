"""The bridge to Dask, 2d: workers that are gone, and their programs, which may be there still. See bridge.py for the
whole.
"""
import asyncio
import signal

# Seconds that a launch agent whose worker is gone may take to end what it runs; then that is done from here.
ORPHANED = 12


class Losses:
    def __init__(self):
        self.agents = {}  # by worker: the processes of each, and on which machine they are

    def met(self, worker, frame):
        """A worker has started a launch agent."""
        try:
            (header, _), = self.module.Decoder().feed(frame)
            pair = [(int(pid), int(born)) for pid, born in header["pair"]]
            self.agents.setdefault(worker, []).append((pair, header["machine"]))
        except Exception:
            self.agents.setdefault(worker, []).append(([], ""))  # a function has spoiled it: nothing is known of it

    def bereaved(self, worker, programs):
        """Functions on a worker that is gone have ended with it, and Dask runs them again unless they were being stopped;
        programs are not run again, for that they are gone is to be seen first."""
        agents = self.agents.pop(worker, [])
        left = []
        for task in list(self.tasks.values()):
            if task.worker == worker and not task.program:
                self.finish(task, {"type": "canceled"})
            elif task.worker == worker or task.key in programs:
                left.append(task)
        self.outlived(left, agents, "its worker %s has died or left the cluster" % worker)

    def outlived(self, programs, agents, why):
        for task in programs:
            task.left = True
        if programs:
            asyncio.ensure_future(self.see(programs, agents, why))

    async def see(self, programs, agents, why):
        stopped = await self.ended_here(agents)
        for task in programs:
            if not task.ended:
                self.lost_to(task, stopped, why)

    async def ended_here(self, agents):
        """Whether these agents are known to be gone with what they ran; those of other machines are not seen."""
        here = self.module.machine()
        pairs = [pair for pair, machine in agents if machine is not None and machine == here]
        for pid, _ in filter(self.module.there, sum(pairs, [])):
            send(pid, signal.SIGCONT)
        clean = all(await asyncio.gather(*map(self.swept, pairs)))
        return clean and len(pairs) == len(agents)

    async def swept(self, pair):
        return await self.module.ended(pair, ORPHANED) or await self.module.end_tree(pair)

    def lost_to(self, task, stopped, why):
        more = {} if stopped else {"stopped": False}
        if task.grace is None:
            self.finish(task, dict(more, type="erred", reason="Lost", message=why))
        else:
            self.finish(task, dict(more, type="canceled"))
        self.release(task)
