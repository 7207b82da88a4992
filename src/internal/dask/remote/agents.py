"""What runs on the cluster, 3b: the launch agents of a worker, and the end of what they run. See functions.py for the
whole; ../../launch/agent/processes.py is a part of it.
"""
import asyncio
import os
import signal
import sys

# Seconds for which an agent may hear nothing: then it takes its worker for dead.
WORKER_SILENCE = 600
# Seconds that an agent may take to say its first word.
OPENING = 30
# Seconds that an agent may take to end what it runs; then that is done from here.
CLOSING = 10
# The same where it has not said a word, and so runs nothing.
UNOPENED = 1
# Seconds that what is killed from here may take to be gone, and between two looks.
FORCED = 2
LOOKS = 0.02


class AgentLost(Exception):
    """The agent ended, and what it ran with it."""


def identity(pid):
    """A process and no later one of its number: when it was started, in the system's ticks. None when it has ended."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else (pid, int(fields[19]))
    except (OSError, IndexError):
        return None


def there(process):
    return identity(process[0]) == tuple(process)


def machine():
    """Where process numbers mean the same."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


async def ended(processes, seconds):
    """Whether they end in time."""
    until = now() + seconds
    while any(map(there, processes)):
        if now() > until:
            return False
        await asyncio.sleep(LOOKS)
    return True


async def end_tree(processes):
    """Kills what is below these, then themselves. While they are there, even stopped, orphans of theirs stay below them:
    so it is known whether nothing is left. False where none of them is there any more."""
    roots = [one for one in processes if there(one)]
    pids, until = {pid for pid, _ in roots}, now() + FORCED
    while True:
        found = [pid for pid in descendants(pids) if pid not in pids and identity(pid) is not None]
        if not found or now() > until:
            break
        for pid in found:
            send(pid, signal.SIGKILL)
        await asyncio.sleep(LOOKS)
    clean = bool(roots) and not found and all(map(there, roots))
    for pid, _ in roots:
        send(pid, signal.SIGKILL)
    return clean


def kill_named(uids):
    """Where keeper and agent were killed: what names one of these tasks."""
    for name in os.listdir("/proc"):
        if name.isdigit() and not uids_of(int(name)).isdisjoint(uids):
            send(int(name), signal.SIGKILL)


class Agent(asyncio.SubprocessProtocol):
    """A launch agent below this worker, and the programs it runs by their numbers. Called by the loop with what comes:
    each turn of it that is spared counts, for the loop is Dask's, too."""

    def __init__(self, source, arguments, home, silence):
        self.source, self.arguments, self.home = source, arguments, home
        self.silence = silence  # seconds after which it is taken for dead
        self.programs = {}  # what hears of each, and the uid of its task
        self.decoder = Decoder()
        self.process = self.peer = self.beating = self.ending = self.lost = None
        self.swept = False  # nothing is left of what it started
        self.heard, self.asked = now(), 0

    async def start(self):
        loop = asyncio.get_running_loop()
        self.opened, self.exited, self.hung_up = (loop.create_future() for _ in range(3))
        self.process, _ = await loop.subprocess_exec(
            lambda: self, sys.executable, *self.arguments, stderr=self.home.errors, start_new_session=True,
            env=self.home.small(), umask=self.home.umask,
            cwd=None if directory() == self.home.directory else self.home.directory)
        self.keeper = identity(self.process.get_pid()) or (self.process.get_pid(), 0)
        self.input = self.process.get_pipe_transport(0)
        try:
            self.input.write(self.source.encode())
            self.send(dict(self.home.surroundings, type="hello", protocol=PROTOCOL, silence=WORKER_SILENCE * 1000))
            await asyncio.wait_for(asyncio.shield(self.opened), OPENING)
        except BaseException:
            self.lose("its launch agent did not start")
            raise
        self.beating = asyncio.ensure_future(self.beat())

    def send(self, header, blobs=()):
        if self.lost is None:
            self.input.write(encode(header, blobs))

    async def beat(self):
        """It is asked several times: while this loop itself was stopped or busy, its own silence is not the agent's."""
        while True:
            await asyncio.sleep(self.silence / 4)
            silent = now() - self.heard
            if silent > self.silence and self.asked >= 3:
                self.lose("its launch agent said nothing for %.1f seconds" % silent)
                return
            self.asked += 1
            self.send({"type": "ping"})

    def pipe_data_received(self, fd, data):
        self.heard, self.asked = now(), 0
        try:
            for header, blobs in self.decoder.feed(data):
                self.hear(header, blobs)
        except Exception as problem:
            self.lose("its launch agent: %s" % problem)

    def pipe_connection_lost(self, fd, problem):
        if fd == 1:
            self.hung_up.set_result(None)
            self.lose("its launch agent ended")

    def process_exited(self):
        self.exited.set_result(None)
        self.lose("its launch agent ended")

    def hear(self, header, blobs):
        kind = header.get("type")
        if kind == "hello":
            if header["protocol"] != PROTOCOL:
                raise ProtocolError("protocol %s, and %d is spoken here" % (header["protocol"], PROTOCOL))
            self.peer = identity(header["pid"]) or (header["pid"], 0)
            if not self.opened.done():
                self.opened.set_result(None)
        elif kind == "swept":
            self.swept = True
        elif kind != "pong":
            program = self.programs.get(header["id"])
            if program is not None:
                try:
                    program[0](header, blobs)
                except Exception as problem:  # the trouble of one is not that of the others
                    program[0]({"type": "garbled", "message": describe(problem)}, ())

    def lose(self, why):
        """Nothing more is asked of it. Its programs hear that when they are gone, or cannot be ended."""
        if self.lost is not None:
            return
        self.lost = why
        if self.beating is not None:
            self.beating.cancel()
        if not self.opened.done():
            self.opened.set_exception(AgentLost(why))
            self.opened.exception()
        self.ending = asyncio.ensure_future(self.finish(why))

    async def finish(self, why):
        """Keeper and agent are continued, for who is stopped ends nothing; what they leave is ended from here."""
        self.input.close()
        self.signal(signal.SIGCONT)
        await asyncio.wait({self.exited}, timeout=UNOPENED if self.peer is None else CLOSING)
        code = self.process.get_returncode()
        if self.peer is None:
            self.swept = True
        elif code is None:
            self.swept = await end_tree([self.keeper, self.peer])
        elif code >= 0:
            self.swept = code != UNSWEPT
        else:  # the keeper was killed: the agent ends what is left, and reports that
            if there(self.peer):
                send(self.peer[0], signal.SIGCONT)
            if not await ended([self.peer], CLOSING):
                self.swept = await end_tree([self.peer])
        if code is None:
            self.signal(signal.SIGKILL)
        await asyncio.wait({self.hung_up}, timeout=FORCED)  # all that it said is heard
        if not self.swept:
            kill_named({uid.encode() for _, uid in self.programs.values()})
        self.process.close()
        answer = {"type": "lost", "message": why} if self.swept else {"type": "lost", "message": why, "stopped": False}
        for hear, _ in list(self.programs.values()):
            hear(dict(answer), ())

    def signal(self, number):
        """To its group."""
        try:
            os.killpg(self.process.get_pid(), number)
        except OSError:
            pass

    async def close(self):
        """It ends what it runs, and itself."""
        if self.process is not None:
            self.lose("its launch agent was closed")
            await asyncio.shield(self.ending)
