"""What runs on the cluster, 3: programs, through a launch agent of the worker's own. See functions.py for the whole."""
import asyncio
import errno
import os
import shutil
import stat
import sys
import tempfile

# A launch agent asks for a word now and then, else it takes its orchestrator for dead.
SILENCE = 600
# Seconds that an agent may take to say its first word.
OPENING = 30
# Seconds that a closing agent may take to kill what it runs.
CLOSING = 10
# Bytes from the end of a file that hold the lines of an error.
TAIL = 4096
# Bytes of output in one message.
PIECE = 256 * 1024


class AgentLost(Exception):
    """The agent ended, and what it ran with it."""


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
    header = {"type": "canceled", "id": answer["id"], "stopped": not answer.get("survivors", False)}
    blobs = []
    if answer["type"] == "ended":
        header.update((key, answer[key]) for key in ("code", "signal", "wall") if key in answer)
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
                    if not stat.S_ISREG(found.st_mode):
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


class Agent(asyncio.SubprocessProtocol):
    """A launch agent below this worker, and the programs it runs by their numbers. Called by the loop with what comes:
    each turn of it that is spared counts, for the loop is Dask's, too."""

    def __init__(self, source, arguments, home):
        self.source, self.arguments, self.home = source, arguments, home
        self.programs = {}
        self.decoder = Decoder()
        self.beating = None
        self.lost = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self.opened, self.exited = loop.create_future(), loop.create_future()
        self.process, _ = await loop.subprocess_exec(
            lambda: self, sys.executable, *self.arguments, stderr=self.home.errors, start_new_session=True,
            env=self.home.environ, umask=self.home.umask,
            cwd=None if directory() == self.home.directory else self.home.directory)
        self.input = self.process.get_pipe_transport(0)
        self.input.write(self.source.encode())
        self.send(dict(self.home.surroundings, type="hello", protocol=PROTOCOL, silence=SILENCE * 1000))
        self.beating = asyncio.ensure_future(self.beat())
        try:
            await asyncio.wait_for(asyncio.shield(self.opened), OPENING)
        except BaseException:
            self.lose("its launch agent did not start")
            self.process.close()
            raise

    def send(self, header, blobs=()):
        if self.lost is None:
            self.input.write(encode(header, blobs))

    async def beat(self):
        while True:
            await asyncio.sleep(SILENCE / 10)
            self.send({"type": "ping"})

    def pipe_data_received(self, fd, data):
        try:
            for header, blobs in self.decoder.feed(data):
                self.hear(header, blobs)
        except Exception as problem:
            self.lose("its launch agent: %s" % problem)

    def pipe_connection_lost(self, fd, problem):
        if fd == 1:  # all that it said is heard
            self.lose("its launch agent ended")

    def process_exited(self):
        self.exited.set_result(None)

    def hear(self, header, blobs):
        kind = header["type"]
        if kind == "hello":
            if header["protocol"] != PROTOCOL:
                raise ProtocolError("protocol %s, and %d is spoken here" % (header["protocol"], PROTOCOL))
            self.opened.set_result(None)
        elif kind != "pong":
            program = self.programs.get(header["id"])
            if program is not None:
                program(header, blobs)

    def lose(self, why):
        if self.lost is not None:
            return
        self.lost = why
        if self.beating is not None:
            self.beating.cancel()
        if not self.opened.done():
            self.opened.set_exception(AgentLost(why))
            self.opened.exception()
        for program in list(self.programs.values()):
            program({"type": "lost", "message": why}, ())

    async def close(self):
        """It ends what it runs, and itself."""
        self.lose("its launch agent was closed")
        self.input.close()
        await asyncio.wait({self.exited}, timeout=CLOSING)
        self.process.close()  # which kills it, if it is there
