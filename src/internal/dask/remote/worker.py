"""What runs on the cluster, 4: a backend's side in a worker. See functions.py for the whole.

What is told goes to the scheduler over the worker's own stream, from there to the client: in order, in batches, and
logged nowhere. A function's thread only leaves it here; the worker's loop, which is told of every change of a task's
state, sends it.
"""
import asyncio
import collections
import json
import os
import sys
import threading

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

# What is told of a task.
LIVE, STARTED, ENDED, DEAF = 0, 1, 2, 3
# And of a launch agent: which processes it is.
AGENT = 4
# Longer ends are not sent along: they are the task's result, which the client fetches when it has room.
SMALL = 32 * 1024
# Seconds that what has no end yet may wait for company: a start goes with the end of what is shorter.
COMPANY = 0.01


class Failed(Exception):
    """For Dask to try again; the last one carries the end."""

    def __init__(self, sealed):
        super().__init__("the task failed, as its own end tells")
        self.sealed = sealed

    def __reduce__(self):
        return Failed, (self.sealed,)


class Running:
    """A task that runs here."""
    __slots__ = ("id", "key", "stop", "stopped", "deaf")

    def __init__(self, id, key):
        self.id, self.key = id, key
        self.stop = None  # called with the seconds of grace
        self.stopped = False  # it was told to
        self.deaf = False  # it cannot


class WorkerSide(Launches, WorkerPlugin):
    def __init__(self, name, options):
        self.name, self.options = name, options
        self.running = {}
        self.refused = set()  # keys that were cancelled before they ran
        self.fed = {}  # how much of its input a program got, by its number
        self.lock = threading.Lock()
        self.out = collections.deque()
        self.due = None  # the timer of what waits for company
        self.ends = False  # an end is among it
        self.closed = False
        self.agent = self.starting = None
        self.agents = set()  # all that may be there

    def setup(self, worker):
        self.worker = worker
        # of an own cluster: those of the orchestrator, without what Dask has set for its workers
        self.pid, self.home = os.getpid(), Home(getattr(worker, "surroundings", None))
        self.path = [self.home.absolute(path) for path in self.options["path"]]
        self.again = Again(sys.modules[__name__])
        self.again.stay()
        self.loop = asyncio.get_running_loop()
        worker.stream_handlers[self.name] = careful(self.hear)
        search(self.path)

    async def teardown(self, worker):
        forget(self.path)
        worker.stream_handlers[self.name] = ignore
        self.loop.call_later(LATE, worker.stream_handlers.pop, self.name, None)
        with self.lock:
            self.closed = True
            running = list(self.running.values())
        for task in running:
            self.stop(task, 0)
        await self.close_agents()
        self.home.close()

    # ------------------------------------------------------------------------------------------------------------- tell

    def tell(self, what, id, header, blobs=()):
        self.out.append((what, id, encode(dict(header, id=id), blobs), None))

    def tell_now(self, *told):
        """On the loop alone."""
        self.tell(*told)
        self.flush()

    def soon(self):
        """On the loop alone."""
        if self.due is None:
            self.due = self.loop.call_later(COMPANY, self.flush)

    def flush(self):
        if self.due is not None:
            self.due.cancel()
            self.due = None
        self.ends = False
        msgs = []
        while self.out:
            msgs.append(self.out.popleft())
        if msgs:
            try:
                self.worker.batched_stream.send({"op": self.name, "msgs": msgs})
            except Exception:
                pass  # the scheduler is gone, and with it whoever would hear it

    def transition(self, key, start, finish, **_):
        """Something changed, perhaps of this backend's: called on the loop."""
        if finish == "executing":
            self.soon()
            return
        if self.ends:
            self.flush()
        if finish == "released" and start in ("executing", "long-running"):
            # nobody wants it any more: it was cancelled, or its client is gone
            with self.lock:
                task = self.running.get(key)
                if task is None:
                    self.refused.add(key)  # its thread has not come so far yet
            if task is not None and not task.stopped:
                self.stop(task, 0)
        elif finish == "forgotten":
            self.refused.discard(key)

    # ------------------------------------------------------------------------------------------------------------- hear

    def hear(self, cancel=(), again=None, say=None, **_):
        if again is not None:
            task = self.running.get(again[1])
            if task is not None and task.id == again[0]:
                self.stop(task, again[2])
        for id, key, grace, deaf in cancel:
            with self.lock:
                task = self.running.get(key)
                if task is None:
                    self.refused.add(key)
            if task is None:
                self.tell(ENDED, id, {"type": "canceled"})
            elif task.deaf and deaf != "wait":
                task.stopped = True
                if deaf == "abandon":
                    self.tell(ENDED, id, {"type": "canceled", "stopped": False})
                else:
                    self.tell(DEAF, id, {})
            else:
                self.stop(task, grace)
        if cancel:
            self.flush()
        if say is not None and self.agent is not None:
            for header, blobs in Decoder().feed(say):
                if self.fits(header, blobs):
                    self.agent.send(header, blobs)

    def fits(self, header, blobs):
        """A program that runs again gets its input from the start, and nothing that its run before asked for."""
        if header["type"] != "input":
            return True
        if self.fed.get(header["id"]) != header.pop("at"):
            return False
        self.fed[header["id"]] += len(blobs[0])
        return True

    def stop(self, task, grace):
        task.stopped = True
        if task.stop is not None:
            task.stop(grace)

    def enter(self, id, key):
        """None when it shall not run any more."""
        with self.lock:
            if self.closed or key in self.refused:
                return None
            task = self.running[key] = Running(id, key)
            return task

    def leave(self, task):
        with self.lock:
            self.running.pop(task.key, None)

    def end(self, task, frames, failed=False, retries=0):
        """The last word about a task: told at once when it is short, else left for the client to fetch."""
        sealed = self.name, task.id, frames  # whoever has the same key gets it, too
        if failed and retries and not task.stopped:
            raise Failed(sealed)
        if sum(map(len, frames)) > SMALL:
            return sealed
        for frame in frames[:-1]:
            self.out.append((LIVE, task.id, frame, None))
        self.out.append((ENDED, task.id, frames[-1], task.key))
        self.ends = True

    # -------------------------------------------------------------------------------------------------------- functions

    def call(self, spec):
        """In a thread of the worker's."""
        id = spec["id"]
        task = self.enter(id, spec["key"])
        if task is None:
            return None
        task.deaf = True  # a module may take its time to load
        try:
            try:
                failed, frame = self.outcome(task, spec)
            except BaseException as problem:  # of this module's own, or thrown into this thread from another
                failed, frame = True, unreported(id, problem)
            return self.end(task, [frame], failed, spec.get("retries", 0))
        finally:
            self.leave(task)
            self.again.stay()
            self.home.stand()

    def outcome(self, task, spec):
        """Whether it failed, and its end as a frame."""
        id = task.id
        try:
            return False, self.returned(id, self.value(task, spec))
        except Refused as problem:
            header = {"type": "refused", "id": id, "reason": problem.reason, "message": str(problem)}
            header.update(problem.facts)
        except Unusable as problem:
            header = {"type": "refused", "id": id, "reason": "LaunchFailed", "message": str(problem)}
            if problem.cause is not None:
                header["exception"] = told(problem.cause, problem.cause.__traceback__)
        except BaseException as problem:  # SystemExit, too, is an end of the task's and not of this thread's
            if task.stopped and isinstance(problem, asyncio.CancelledError):
                return False, encode({"type": "canceled", "id": id})
            header = {"type": "raised", "id": id, "exception": told(problem, below(sys.exc_info()[2]))}
        return True, encode(header)

    def value(self, task, spec):
        function = find(spec["callable"], [self.home.absolute(path) for path in spec.get("path", ())])
        if task.stopped:
            raise asyncio.CancelledError
        args, kwargs = arguments(spec["call"], spec["payload"])
        self.started(task, is_async(function))
        try:
            result = function(*args, **kwargs)
        except TypeError:
            checked(function, args, kwargs)
            raise
        finally:
            if os.getpid() != self.pid:
                os._exit(0)  # a copy of this process, which the function has made and not ended
        if inspect.isawaitable(result):
            if task.deaf:
                self.started(task, True)

            def begun(cancel):
                task.stop = lambda grace: cancel()
                if task.stopped:
                    cancel()

            result = run_async(result, begun)
        return encoded(result, self.options["resultLimit"])

    def started(self, task, stoppable):
        task.deaf = not stoppable
        self.tell(STARTED, task.id, {"type": "started", "stoppable": stoppable})
        if self.due is None:
            self.loop.call_soon_threadsafe(self.soon)

    def returned(self, id, text):
        """As `encode` does, for what is JSON already."""
        text = b'{"type":"returned","id":%d,"value":%s}' % (id, text.encode())
        return _head.pack(4 + len(text), len(text)) + text


def unreported(id, problem):
    return encode({"type": "raised", "id": id, "exception": {
        "type": name_of(problem), "module": __name__, "traceback": "",
        "message": "its end cannot be reported: %s" % describe(problem)}})


def below(frames):
    """A traceback without the lines of this module."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == __name__:
        frames = frames.tb_next
    return frames
