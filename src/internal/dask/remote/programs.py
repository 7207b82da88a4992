"""What runs on the cluster, 3: the surroundings, files and last words of programs. See functions.py for the whole."""
import errno
import os
import re
import shutil
import tempfile
from stat import S_ISREG  # `stat` is a function of processes.py

# Bytes from the end of a file that hold the lines of an error.
TAIL = 4096
# Bytes of output in one message.
PIECE = 256 * 1024
# Bytes of variables that an agent is started with, of each and of all.
LONGEST, ROOM = 32 * 1024, 64 * 1024
NEEDED = re.compile(rb"(PATH|HOME|TMPDIR|LANG|LC_.*|LD_.*)\Z")


class Home:
    """What a worker is when a backend meets it: functions that run there may change all of that for themselves, and
    programs have it as it was."""

    def __init__(self, surroundings):
        """`surroundings`: what programs inherit, if that is not the environment of this process."""
        self.directory = directory()
        self.umask = umask()
        self.environ = dict(os.environb)
        self.surroundings = surroundings or self.own()
        self.errors = os.dup(2)  # a function may close it, and its number may then be that of a connection

    def own(self):
        """Variables that are not UTF-8 arrive with U+FFFD; the agent reads them from the environment of `pid`."""
        env = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
               for name, value in self.environ.items()}
        return {"env": env, "pid": os.getpid()}

    def small(self):
        """For an agent, which is sent the surroundings of its programs: too many variables, or one that is too long, would
        keep it from starting."""
        kept, left = {}, ROOM
        for name, value in sorted(self.environ.items(), key=lambda one: (not NEEDED.match(one[0]), len(one[1]))):
            size = len(name) + len(value) + 2
            if size <= min(LONGEST, left):
                kept[name] = value
                left -= size
        return kept

    def absolute(self, path):
        return os.path.normpath(os.path.join(self.directory or "", path))

    def stand(self):
        """Standard streams that a function has closed are open again, before a connection gets their number."""
        for fd in (0, 1, 2):
            try:
                os.fstat(fd)
            except OSError:
                new = os.dup(self.errors) if fd else os.open(os.devnull, os.O_RDWR)
                if new == fd:
                    os.set_inheritable(fd, True)
                else:
                    os.close(new)  # another thread was faster

    def close(self):
        os.close(self.errors)


def directory():
    """Of this process; None when it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def umask():
    """Of this process; to ask the system for it would change it."""
    try:
        with open("/proc/self/status") as status:
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), -1)
    except OSError:
        return -1


def located(header, absolute):
    """Paths in a request, as this machine finds them. Dask may run it again: its sandbox may be there."""
    header.pop("freshSandbox", None)
    for name in ("cwd", "stdout", "stderr", "stdinFile"):
        if name in header:
            header[name] = absolute(header[name])
    if "sandbox" in header:
        sandbox = header["sandbox"]
        header["sandbox"] = absolute(sandbox)
        for pair in header["env"]:
            if pair[0] == "RHAPSODY_SANDBOX" and pair[1] == sandbox:
                pair[1] = header["sandbox"]


def tail_of(path):
    """The end of what a program wrote to a file; nothing when that cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, TAIL, max(0, size - TAIL))
        finally:
            os.close(fd)
    except OSError:
        return b""


def last_words(answer, parts, last):
    """How a program ended that was stopped, and the ends of what it printed."""
    header = {"type": "canceled", "id": answer["id"], "stopped": answer.get("stopped", not answer.get("survivors", False))}
    blobs = []
    if answer["type"] == "ended":
        header.update((key, answer[key]) for key in ("code", "signal", "wall", "cwd") if key in answer)
        for stream in ("stdout", "stderr"):
            path = answer.get(stream + "Path")
            rest = bytes(parts[answer[stream]][-TAIL:]) if stream in answer else b""
            header[stream] = len(blobs)
            blobs.append((last[stream] + rest)[-TAIL:] if path is None else tail_of(path))
    return header, blobs


class Spill:
    """Files for the output of a program that may print more than memory shall hold."""

    def __init__(self, header):
        sandbox = header.get("sandbox")
        if sandbox is not None:
            os.makedirs(sandbox, exist_ok=True)
        name = os.fsencode(header["uid"])[:200].decode("utf-8", "replace")
        prefix = name if sandbox is not None else "effect-rhapsody." + name
        self.directory = tempfile.mkdtemp(prefix=prefix + ".", dir=sandbox)
        self.limit = header["limit"]
        self.files = {}
        streams = ["stdout"] if header.get("merged") else ["stdout", "stderr"]
        for stream in streams:
            if stream not in header:
                header[stream] = self.files[stream] = os.path.join(self.directory, stream)
        header["exclusive"] = list(self.files)

    def back(self, answer):
        """What is small enough is given back, in pieces; the other files stay, and the answer names them."""
        stay = False
        for stream, path in self.files.items():
            answer.pop(stream + "Path", None)
            try:
                # the program may have put something else there: a link is not followed, a FIFO not waited for
                with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                    found = os.fstat(file.fileno())
                    if not S_ISREG(found.st_mode):
                        raise OSError(errno.EINVAL, "%s is not a file any more" % path)
                    if found.st_size > self.limit:
                        answer[stream + "Path"] = path
                        stay = True
                        continue
                    for piece in iter(lambda: file.read(PIECE), b""):
                        yield stream, piece
            except OSError as problem:
                answer["unreadable"] = problem.strerror or "it cannot be read"
            self.remove(path)
        if not stay:
            self.clean()

    def remove(self, path):
        try:
            os.unlink(path)
        except OSError:
            pass

    def clean(self):
        shutil.rmtree(self.directory, ignore_errors=True)
