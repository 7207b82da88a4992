"""The launch agent, 2: the files of a program. See agent.py for the whole."""
import errno
import os
import stat as modes


def is_fifo(path):
    try:
        return modes.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


# Paths that mean something else in each process; ../ownPaths.ts has them, too.
OWN = {b"/dev/fd", b"/dev/stdin", b"/dev/stdout", b"/dev/stderr", b"/dev/tty", b"/proc/self", b"/proc/thread-self"}


def refuse_own(path):
    """What is opened here for a program would be this process's own."""
    rest, at, links = path.split(b"/")[::-1], b"/", 0
    while rest:
        part = rest.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            at = os.path.dirname(at)
            continue
        there = os.path.join(at, part)
        if there in OWN:
            raise OSError(errno.EINVAL, "this path means something else in each process")
        try:
            target = os.readlink(there) if links < 40 else None
        except OSError:
            target = None  # no link, or not there
        if target is None:
            at = there
        else:
            links += 1
            if target.startswith(b"/"):
                at = b"/"
            rest += target.split(b"/")[::-1]


def open_output(path, append, exclusive):
    """For reading, too: a result may be decoded from it. A FIFO that nobody reads fails instead of blocking.
    `exclusive`: nothing may be there, not even a link."""
    if exclusive:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    refuse_own(path)
    mode = os.O_WRONLY if is_fifo(path) else os.O_RDWR
    mode |= os.O_APPEND if append else os.O_TRUNC
    fd = os.open(path, mode | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    os.set_blocking(fd, True)
    return fd


def open_input(path):
    refuse_own(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(fd, True)
    return fd


def make_sandbox(path, fresh):
    """Of the first attempt of a task, nothing may be there."""
    os.makedirs(path, exist_ok=not fresh)
