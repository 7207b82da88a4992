"""What runs on the cluster, 5: a backend's side in the scheduler. See functions.py for the whole.

It passes on what workers tell to the one client it belongs to, knows where a task is when that client cancels it, and
goes with the client, whichever way that leaves.
"""
import asyncio
import sys
import time
import traceback
import weakref

from distributed.diagnostics.plugin import SchedulerPlugin


# Seconds between two messages to a busy client: as many as Dask itself leaves between those to a worker.
APART = 0.005
# Seconds for which workers may still speak of a span that has ended.
SPOKEN = 20
# Spans of which some may have ended.
SPANS = 200
# Seconds between two looks at the tasks that no worker can take.
LOOK = 1.0
# Seconds that a worker of an own cluster may take to start anew, before tasks that wait for it are reported.
ANEW = 5.0


class SchedulerSide(SchedulerPlugin):
    def __init__(self, name, client, own, patience):
        self.name, self.client = name, client
        self.patience = patience  # seconds that a task waits while no worker can take it, or None
        self.unserved = {}  # those by key, and since when
        self.reported = 0  # how many of them
        self.gone = False
        self.own = own  # the cluster is this backend's alone
        self.told = weakref.WeakSet()  # tasks whose end is told; their client releases them somewhat later
        self.ended = {}  # spans, and when they were seen to have ended
        self.looked = 0
        self.stimulus, self.left = None, []  # keys that have left a worker at one stroke, and that stroke

    async def start(self, scheduler):
        self.scheduler = scheduler
        scheduler.stream_handlers[self.name] = careful(self.hear)
        scheduler.client_comms[self.client].interval = APART
        asyncio.ensure_future(self.watch())

    async def watch(self):
        while not self.gone:
            await asyncio.sleep(LOOK)
            try:
                self.look()
            except Exception:
                traceback.print_exc()

    def look(self):
        """Which tasks no worker can take: there is none, or none that has what they ask for. Their time is limited."""
        scheduler, now = self.scheduler, time.monotonic()
        wanted = scheduler.clients[self.client].wants_what if self.client in scheduler.clients else ()
        idle = [*scheduler.unrunnable, *(() if scheduler.running else scheduler.queued)]
        since = {state.key: self.unserved.get(state.key, now) for state in idle if state in wanted}
        late = [] if self.patience is None else [key for key in since if now - since[key] > self.patience]
        for key in late:
            del since[key]
        if late:
            scheduler.client_releases_keys(keys=late, client=self.client)
        count = sum(now - began >= (ANEW if self.own else 0) for began in since.values())
        if late or count != self.reported:
            self.tell(unserved=count, workers=len(scheduler.workers), late=late)
        self.unserved, self.reported = since, count

    def tidy(self):
        """Dask keeps a span for every time that it had nothing to do, for ever: of an own cluster, the old ones go."""
        self.looked = now = time.monotonic()
        spans = self.scheduler.extensions.get("spans")
        default = [] if spans is None else spans.spans_search_by_name.get(("default",), [])
        if len(default) < SPANS:
            return
        live = self.scheduler.task_groups
        over = [span for span in default[:-1] if not any(live.get(group.name) is group for group in span.groups)]
        self.ended = {span.id: self.ended.get(span.id, now) for span in over}
        old = {span.id for span in over if now - self.ended[span.id] > SPOKEN}
        for id in old:
            del spans.spans[id], self.ended[id]
        for known in (spans.root_spans, default, spans.spans_search_by_tag["default"]):
            known[:] = [span for span in known if span.id not in old]

    def tell(self, **message):
        self.scheduler.client_send(self.client, dict(message, op=self.name))

    def hear(self, worker=None, client=None, msgs=(), cancel=(), again=None, say=None, ask=None, **_):
        if worker is not None:
            self.tell(msgs=msgs, worker=worker)
            for what, id, frame, key in msgs:
                state = self.scheduler.tasks.get(key)
                if state is not None:  # it has ended
                    self.told.add(state)
            if self.own and time.monotonic() - self.looked > SPOKEN / 4:
                self.tidy()
            return
        if client != self.client:
            return
        if cancel:
            self.cancel(cancel)
        if again is not None and again[0] in self.scheduler.workers:
            self.scheduler.worker_send(again[0], {"op": self.name, "again": again[1:]})
        if say is not None and say[0] in self.scheduler.workers:
            self.scheduler.worker_send(say[0], {"op": self.name, "say": say[1]})
        if ask is not None:
            self.tell(answer=ask, known=[self.seen(state) for state in self.scheduler.workers.values()])

    def cancel(self, asked):
        """Nothing of it starts any more. Who has not been given to a worker never ran; the worker tells of the others,
        except when its end is on its way already."""
        gone, stopping, keys = [], [], []
        for id, key, grace, deaf in asked:
            state = self.scheduler.tasks.get(key)
            if state is None:
                gone.append(id)
                continue
            keys.append(key)
            if state.state in ("memory", "erred"):
                continue
            worker = state.processing_on
            if worker is None:
                gone.append(id)
            else:
                stopping.append((id, worker.address))
                self.scheduler.worker_send(worker.address, {"op": self.name, "cancel": [(id, key, grace, deaf)]})
        if keys:
            self.scheduler.client_releases_keys(keys=keys, client=self.client)
        self.tell(gone=gone, stopping=stopping)

    def seen(self, state):
        return {
            "address": state.address, "name": str(state.name), "host": state.host, "threads": state.nthreads,
            "memory": state.memory_limit or 0, "nanny": state.nanny or "",
            # JSON has no word for infinity, which a worker may be started with
            "resources": {name: min(value, sys.float_info.max) for name, value in state.resources.items()},
        }

    def transition(self, key, start, finish, *_, stimulus_id=None, **__):
        """Called by Dask for every change of a task."""
        if finish in ("released", "erred") and start in ("processing", "memory"):
            if self.stimulus != stimulus_id:
                self.stimulus, self.left = stimulus_id, []
            self.left.append(key)

    def remove_worker(self, scheduler, worker, stimulus_id=None, **_):
        """Called before anything is sent: what had ended there, and was told, does not run again; nor does a program that
        the worker had, for it may still run."""
        client = scheduler.clients.get(self.client)
        left = self.left if client is not None and self.stimulus == stimulus_id else ()
        states = [scheduler.tasks[key] for key in left if key in scheduler.tasks]
        programs = [state.key for state in states
                    if state in client.wants_what and (state.annotations or {}).get("program") is True]
        again = {state.key for state in self.told if state.state != "memory"}
        if again or programs:
            scheduler.client_releases_keys(keys=list(again.union(programs)), client=self.client)
        self.tell(lost=worker, programs=programs)

    def remove_client(self, scheduler, client):
        if client == self.client:
            self.gone = True
            scheduler.stream_handlers[self.name] = ignore
            asyncio.get_running_loop().call_later(LATE, scheduler.stream_handlers.pop, self.name, None)
            scheduler.plugins.pop(self.name, None)
            asyncio.ensure_future(self.leave())

    async def leave(self):
        """A client that died could not see to it itself."""
        try:
            await self.scheduler.unregister_worker_plugin(None, name=self.name)
        except Exception:
            pass  # the client has done it
