"""The bridge to Dask, 3: the keeper, its parent and what the program starts as. See bridge.py for the whole.

It sleeps until the orchestrator hangs up or the bridge ends, and leaves nothing behind: what the bridge has not closed
within its time is killed, and so is everything at once when the bridge itself died.
"""
import os
import select
import shutil
import signal
import sys

# Seconds that a bridge has to close what it opened, when nobody is there any more.
CLOSING = 4.0


def keep():
    # A batch system signals every process at once: these end when the orchestrator does, which is signalled as well.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)  # what functions start would inherit that it is ignored
    add_user_site()
    become_subreaper()
    wake_with_parent()
    made, made_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    bridge = os.fork()
    if bridge == 0:
        work(lambda directory: os.write(made_out, os.fsencode(directory) + b"\0"))
    wake, wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
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
    clean = sweep({}, 10)
    remove(made)
    return UNSWEPT if not clean else 1 if status is None else status


def add_user_site():
    """Packages that the user has installed for himself: -I leaves them out, together with what variables name."""
    if sys.prefix != sys.base_prefix or os.getuid() != os.geteuid():
        return
    import site
    named = os.environ.pop("PYTHONUSERBASE", None)
    directory = site.getusersitepackages()
    if named is not None:
        os.environ["PYTHONUSERBASE"] = named
    if os.path.isdir(directory):
        site.addsitedir(directory)


def remove(made):
    """Directories of a bridge that has ended."""
    try:
        for directory in os.read(made, 65536).split(b"\0")[:-1]:
            shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        pass  # there was none


def work(made):
    """The bridge's process, to its end."""
    code = 1
    try:
        wake_with_parent()
        code = serve(made)
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
