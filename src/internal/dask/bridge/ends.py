"""The bridge to Dask, 2c: what becomes of tasks. See bridge.py for the whole."""
import asyncio
import sys

# Seconds that a worker may take to be there again.
RESTART = 30
# Seconds for which tasks that ended are held, to be forgotten together: each time costs their worker a message.
TOGETHER = 0.05


class Task:
    """What the orchestrator wants, until it is told its end."""
    __slots__ = ("id", "key", "program", "future", "ended", "grace", "told", "worker", "left")

    def __init__(self, id, key, program):
        self.id, self.key, self.program = id, key, program
        self.future = None
        self.ended = False  # and told
        self.grace = None  # in which it shall stop, once it was asked to
        self.told = None  # of that, its worker
        self.worker = None  # on which it is being stopped
        self.left = False  # its worker is gone, and it is being seen whether its program is, too


class Ends(Losses):
    def __init__(self, channel, name):
        super().__init__()
        self.channel, self.name = channel, name
        self.loop = asyncio.get_running_loop()
        self.tasks, self.keys = {}, {}
        self.room = asyncio.Semaphore(4)
        self.restarts = {}  # by worker
        self.spent = []  # to be forgotten

    # ------------------------------------------------------------------------------------------------------- from Dask

    def hear(self, msgs=(), worker=None, gone=(), stopping=(), answer=None, known=(), lost=None,
             programs=(), unserved=None, workers=0, late=(), **_):
        frames = []
        for what, id, frame, key in msgs:
            if what == self.module.AGENT:
                self.met(worker, frame)
                continue
            task = self.tasks.get(id)
            if task is None or task.ended or task.left:
                continue
            if what == self.module.DEAF:
                task.worker = None  # the end of its worker will be told by who ends it
                asyncio.ensure_future(self.restart(worker, task))
                continue
            if not self.readable(task, frame):
                continue
            frames.append(frame)
            if what == self.module.ENDED:
                self.ended(task)
        if frames:
            self.channel.pass_on(*frames)
        for id in gone:
            task = self.tasks.get(id)
            if task is not None and not task.ended and not task.left:
                self.finish(task, {"type": "canceled"})
        for id, worker in stopping:
            task = self.tasks.get(id)
            if task is not None:
                task.worker = worker
                self.hurry(task)
        if answer is not None:
            self.channel.tell({"type": "answer", "ask": answer, "workers": list(known)})
        if lost is not None:
            self.bereaved(lost, programs)
        if unserved is not None:
            self.channel.tell({"type": "unserved", "count": unserved, "workers": workers})
        for key in late:
            task = self.keys.get(key)
            if task is not None and not task.ended:
                self.finish(task, {"type": "erred", "reason": "NoWorker", "message": "", "workers": workers})
                self.release(task)

    async def restart(self, worker, task):
        """Nothing but the end of its process stops it."""
        restart = self.restarts.get(worker)
        if restart is None:
            restart = self.restarts[worker] = asyncio.ensure_future(
                self.client.restart_workers([worker], timeout=RESTART, raise_for_error=False))
        try:
            stopped = (await restart).get(worker) in ("OK", "removed")
        except Exception as problem:
            sys.stderr.write("worker %s cannot be restarted: %r\n" % (worker, problem))
            stopped = False
        self.restarts.pop(worker, None)
        if not task.ended:
            self.finish(task, {"type": "canceled", "stopped": stopped})

    def in_memory(self, key=None, **_):
        task = self.keys.get(key)
        if task is None:
            return
        if task.ended:
            self.release(task)
        else:
            asyncio.ensure_future(self.fetch(task))

    async def fetch(self, task):
        """An end that is too long to be told along the way."""
        try:
            async with self.room:
                if task.ended:
                    return
                sealed = await task.future
                if task.ended:
                    return
                if sealed is None and task.grace is not None:
                    self.finish(task, {"type": "canceled"})  # before it ran
                    return
                for frame in self.frames_of(task, sealed):
                    if not self.readable(task, frame):
                        return
                    self.channel.pass_on(frame)
                    while self.channel.crowded:
                        await asyncio.sleep(0.005)
                self.ended(task)
                self.release(task)
                self.forget()  # it is large
        except Exception as problem:
            if not task.ended:
                self.failed(task, problem)

    def erred(self, key=None, **_):
        task = self.keys.get(key)
        if task is None or task.ended or task.left or task.future is None:
            return
        self.failed(task, task.future._state.exception)

    def frames_of(self, task, sealed):
        """Somebody else may have a task of the same key, whose end is not this one's."""
        if not isinstance(sealed, tuple) or tuple(sealed[:2]) != (self.name, task.id):
            raise ValueError("the key %s is that of another task; keys must be unique" % task.key)
        return sealed[2]

    def failed(self, task, problem):
        try:
            if not isinstance(problem, self.module.Failed):
                raise problem
            frames = self.frames_of(task, problem.sealed)
            if all([self.readable(task, frame) for frame in frames]):
                self.channel.pass_on(*frames)
                self.ended(task)
        except Exception as problem:
            if not self.connected():
                return  # so it failed here, and the loss of the scheduler ends all tasks
            name = type(problem).__name__
            if task.program and name == "KilledWorker":
                return  # it is reported with all others of that worker
            reason = "Lost" if name in ("KilledWorker", "NoValidWorkerError") else "Rejected"
            self.finish(task, {
                "type": "erred", "reason": reason, "message": self.module.describe(problem)[:2000], "exception": name})
        self.release(task)

    def restarted(self, **_):
        """Somebody had the scheduler forget all tasks, and has all workers started anew."""
        for task in [*self.keys.values(), *self.tasks.values()]:
            if task.ended:
                self.release(task)
            elif not task.program:
                self.lost_to(task, True, "its scheduler was restarted")
        agents, self.agents = [one for all in self.agents.values() for one in all], {}
        programs = [task for task in self.tasks.values() if task.program]
        self.outlived(programs, agents, "its scheduler was restarted")

    def cancelled(self, keys=(), reason=None, msg=None, **_):
        for key in keys:
            task = self.keys.get(key)
            if task is not None and not task.ended and not task.left:
                why = msg or reason or "its scheduler cancelled it"
                self.finish(task, {"type": "canceled", "message": str(why)})
                self.release(task)

    def readable(self, task, frame):
        """Whether the orchestrator understands what a worker says of a task: functions of the user's share its
        interpreter. What it does not understand is the end of that task, and not of all."""
        try:
            (header, _), = self.module.Decoder().feed(frame)
            if header["id"] == task.id and type(header["type"]) is str:
                return True
            why = "it is about another task"
        except Exception as problem:
            why = self.module.describe(problem)
        if not task.ended:
            task.grace = 0
            self.finish(task, {"type": "raised", "exception": {
                "type": "ProtocolError", "module": self.module.__name__, "traceback": "",
                "message": "its worker sent a message that cannot be read: %s" % why}})
        return False

    # -------------------------------------------------------------------------------------------------------------- end

    def finish(self, task, header):
        header["id"] = task.id
        self.channel.tell(header)
        self.ended(task)

    def ended(self, task):
        task.ended = True
        self.tasks.pop(task.id, None)
        if task.grace is not None or task.future is None or task.future.done():
            self.release(task)

    def release(self, task):
        """Dask may forget it."""
        if not self.spent:
            self.loop.call_later(TOGETHER, self.forget)
        self.spent.append(task)

    def forget(self):
        spent, self.spent = self.spent, []
        for task in spent:
            future, task.future = task.future, None
            if future is not None:
                future.release()
        self.loop.call_soon(self.forgotten, spent)  # Dask's client lets go of them in the next turn of the loop, too

    def forgotten(self, spent):
        """Their keys may be had again."""
        for task in spent:
            if self.keys.get(task.key) is task:
                del self.keys[task.key]
