"""The launch agent, 1: what it knows of other processes. See agent.py for the whole."""
import os
import signal
import time

now = time.monotonic
# The exit code of a keeper that could not end everything.
UNSWEPT = 9


def become_subreaper():
    """Orphans of what is below this process become its children, instead of the first process's."""
    import ctypes
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    os.listdir("/proc/self/task")


def wake_with_parent():
    """A stopped process ends nothing: this one is continued when its parent dies."""
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def children(pid):
    """The processes that `pid` is the parent of, whichever of its threads started them."""
    found = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread), "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass  # it ended
    return found


def descendants(pids):
    """These and all below them."""
    found, rest = [], list(pids)
    while rest:
        pid = rest.pop()
        found.append(pid)
        rest += children(pid)
    return found


def fields_of(pid):
    """What the system says of a process, from its state on; None when there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def stat(pid):
    """State and session of a process; None when there is none."""
    fields = fields_of(pid)
    return (fields[0], int(fields[3])) if fields else None


def birth(pid):
    """When a process was started, in the system's ticks: no later one of its number has the same. None as above."""
    fields = fields_of(pid)
    return int(fields[19]) if fields else None


def group_of(pid):
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def send(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass  # it ended, or is another user's


def close_all_but(kept):
    """What a forked child has of its parent."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that the list was read from


def kill_below(pids):
    for pid in descendants(pids):
        send(pid, signal.SIGKILL)


def uids_of(pid):
    """The tasks that its environment names: one, or none when it was cleared."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return {line[18:] for line in file.read().split(b"\0") if line.startswith(b"RHAPSODY_TASK_UID=")}
    except OSError:
        return set()


def sweep(spared, bound):
    """Kills all below this process until nobody is left, for at most `bound` seconds. Spared are those of these numbers
    and births, with all below them. Whether nobody is left."""
    until = now() + bound
    while True:
        try:
            pid = os.waitpid(-1, os.WNOHANG)[0]
            while pid != 0:
                spared.pop(pid, None)
                pid = os.waitpid(-1, os.WNOHANG)[0]
        except ChildProcessError:
            return True
        found, rest = [], children(os.getpid())
        while rest:
            pid = rest.pop()
            if pid in spared and birth(pid) in (spared[pid], None):
                continue
            found.append(pid)
            rest += children(pid)
        if not found or now() > until:
            return not found
        for pid in found:
            send(pid, signal.SIGKILL)
        time.sleep(0.001)


def reap(child):
    """The exit code of a child, or None while it lives; orphans that came here meanwhile are reaped as well."""
    code = None
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
        while pid != 0:
            if pid == child:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
            pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    return code


def readable(text):
    return text.decode("utf-8", "replace").encode()


def inherited(variables, orchestrator):
    """What programs inherit, as bytes. Node writes U+FFFD for what is no UTF-8; how it was, the system still knows."""
    env = {name.encode(): value.encode() for name, value in variables.items()}
    odd = [name for name in env if b"\xef\xbf\xbd" in name + env[name]]
    if odd:
        try:
            with open("/proc/%d/environ" % orchestrator, "rb") as file:
                lines = [line.partition(b"=") for line in file.read().split(b"\0") if b"=" in line]
        except OSError:
            lines = []
        original = {readable(name): (name, value) for name, _, value in lines}
        for name in odd:
            theirs = original.get(name)
            if theirs is not None and readable(theirs[1]) == env[name]:
                del env[name]
                env[theirs[0]] = theirs[1]
    return env
