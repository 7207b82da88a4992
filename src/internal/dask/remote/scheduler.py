"""What runs on the cluster, 4: a backend's side in the scheduler. See functions.py for the whole.

It passes on what workers tell to the one client it belongs to, knows where a task is when that client cancels it, and
goes with the client, whichever way that leaves.
"""
import asyncio

from distributed.diagnostics.plugin import SchedulerPlugin


class SchedulerSide(SchedulerPlugin):
    def __init__(self, name, client):
        self.name, self.client = name, client

    async def start(self, scheduler):
        self.scheduler = scheduler
        scheduler.stream_handlers[self.name] = self.hear

    def tell(self, **message):
        self.scheduler.client_send(self.client, dict(message, op=self.name))

    def hear(self, worker=None, client=None, msgs=(), cancel=(), again=None, say=None, ask=None, **_):
        if worker is not None:
            self.tell(msgs=msgs, worker=worker)
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
            self.tell(answer=ask, workers=[self.seen(state) for state in self.scheduler.workers.values()])

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
            "memory": state.memory_limit or 0, "resources": dict(state.resources), "nanny": state.nanny or "",
        }

    def remove_worker(self, scheduler, worker, **_):
        self.tell(lost=worker)

    def remove_client(self, scheduler, client):
        if client == self.client:
            scheduler.stream_handlers.pop(self.name, None)
            asyncio.ensure_future(self.leave())

    async def leave(self):
        """Its client died: it cannot see to it itself."""
        self.scheduler.plugins.pop(self.name, None)
        try:
            await self.scheduler.unregister_worker_plugin(None, name=self.name)
        except Exception:
            pass  # the client has done it
