"""The bridge to Dask, 3: the keeper, its parent and what the program starts as. See bridge.py for the whole.

It sleeps until the orchestrator hangs up or the bridge ends, and leaves nothing behind: what the bridge has not closed
within its time is killed, and so is everything at once when the bridge itself died.
"""
import os
import select
import signal
import sys

# Seconds that a bridge has to close what it opened, when nobody is there any more.
CLOSING = 4.0


def keep():
    if "" in sys.path:
        sys.path.remove("")  # the current directory is no place for modules
    become_subreaper()
    bridge = os.fork()
    if bridge == 0:
        work()
    wake, wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: send(bridge, signal.SIGTERM))
    poll = select.poll()
    poll.register(0, 0)  # for hang-up alone: the bridge reads it
    poll.register(wake, select.POLLIN)
    status, until = reap(bridge), None
    while status is None:
        left = None if until is None else max(0, (until - now()) * 1000)
        ready = dict(poll.poll(left))
        if 0 in ready:
            poll.unregister(0)
            until = now() + CLOSING
        if wake in ready:
            os.read(wake, 4096)
        status = reap(bridge)
        if status is None and until is not None and now() >= until:
            break
    sweep(set(), set(), 10)
    return 1 if status is None else status


def work():
    """The bridge's process, to its end."""
    code = 1
    try:
        code = serve()
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(code)


if __name__ == "__main__":
    sys.exit(keep())
