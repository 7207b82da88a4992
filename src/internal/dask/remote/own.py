"""What runs on the cluster, 6: the workers of a backend's own cluster. See functions.py for the whole."""
import os
import signal


class Closed:
    """A server of Dask's without its web pages: they show logs and tasks to every user of the machine."""

    def start_http_server(self, *_, **__):
        pass


def own_worker(inherited, rest):
    """The class of the workers. `inherited`: the surroundings of their programs; `rest`: the variables that a worker was
    not started with, or None where it is no process of its own."""
    from distributed import Worker

    class OwnWorker(Closed, Worker):
        surroundings = inherited

    if rest is not None:
        os.environb.update(rest)
        ignore_term()
        os.setpgid(0, 0)  # a function that signals its process group reaches its own worker alone
    return OwnWorker


def ignore_term():
    """A batch system sends SIGTERM to every process; what runs ends when the orchestrator asks for it. The processes
    that a function starts do not inherit this."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
