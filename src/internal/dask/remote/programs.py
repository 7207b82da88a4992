"""What runs on the cluster, 2: programs, through a launch agent of the worker's own. See functions.py for the whole."""
import asyncio
import os
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


def surroundings():
    """What programs inherit: the variables of this process. Those that are not UTF-8 arrive with U+FFFD; the agent reads
    them from the environment of `pid`."""
    env = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
           for name, value in os.environb.items()}
    return {"env": env, "pid": os.getpid()}


class AgentLost(Exception):
    """The agent ended, and what it ran with it."""


def absolute(path):
    """Paths of a task are relative to the directory of the worker."""
    return os.path.abspath(path)


def located(header):
    """Paths in a request, as this machine finds them."""
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


class Spill:
    """Files for the output of a program that may print more than memory shall hold."""

    def __init__(self, header):
        base = header.get("sandbox") or os.path.join(tempfile.gettempdir(), "effect-rhapsody")
        os.makedirs(base, exist_ok=True)
        name = os.fsencode(header["uid"])[:200].decode("utf-8", "replace")
        self.directory = tempfile.mkdtemp(prefix=name + ".", dir=base)
        self.limit = header["limit"]
        self.files = {}
        streams = ["stdout"] if header.get("merged") else ["stdout", "stderr"]
        for stream in streams:
            if stream not in header:
                header[stream] = self.files[stream] = os.path.join(self.directory, stream)

    def back(self, header, blobs):
        """What is small enough goes into the answer, and its file with it."""
        for stream, path in self.files.items():
            if os.stat(path).st_size > self.limit:
                header[stream + "Path"] = path
                continue
            with open(path, "rb") as file:
                blobs.append(file.read())
            header[stream] = len(blobs) - 1
            os.unlink(path)
            header.pop(stream + "Path", None)
        self.clean()

    def clean(self, all=False):
        if all:
            for path in self.files.values():
                try:
                    os.unlink(path)
                except OSError:
                    pass
        try:
            os.rmdir(self.directory)
        except OSError:
            pass  # what is told of stays


class Agent(asyncio.SubprocessProtocol):
    """A launch agent below this worker, and the programs it runs by their numbers. Called by the loop with what comes:
    each turn of it that is spared counts, for the loop is Dask's, too."""

    def __init__(self, source, bootstrap, surroundings):
        self.source, self.bootstrap, self.surroundings = source, bootstrap, surroundings
        self.programs = {}
        self.decoder = Decoder()
        self.beating = None
        self.lost = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self.opened, self.exited = loop.create_future(), loop.create_future()
        data = self.source.encode()
        self.process, _ = await loop.subprocess_exec(
            lambda: self, sys.executable, "-I", "-S", "-c", self.bootstrap, str(len(data)),
            "effect-rhapsody launch agent", stderr=None, start_new_session=True)
        self.input = self.process.get_pipe_transport(0)
        self.input.write(data)
        self.send(dict(self.surroundings, type="hello", protocol=PROTOCOL, silence=SILENCE * 1000))
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
