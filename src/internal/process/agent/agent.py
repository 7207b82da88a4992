"""The launch agent, 7: the loop. Starts programs, watches them, tells how they ended, leaves nothing behind.

Two processes. The keeper (keeper.py) sleeps until the orchestrator hangs up or the agent ends; then it kills whatever
is left. The agent, its child, does the work. Both are subreapers: whatever a program forks stays below them, in
whichever session and with whatever environment.

Python's standard library alone, 3.8 or later. All files of this directory and ../../bridge/frame.py are started as one
source, in the order of their numbers: a remote machine needs none of them.
"""
import collections
import fcntl
import itertools
import os
import select
import signal
import sys

# What may wait for the orchestrator to read before the programs' own pipes are left to fill.
CONGESTED = 1024 * 1024
# A turn of the loop that takes so much longer than it should was interrupted: this process was stopped.
ASLEEP = 0.5


class Agent(Starting, Outputs, Endings, Detaching):
    def __init__(self, keeper_in, keeper_gone):
        become_subreaper()
        wake_with_parent()
        # The channel is moved away from where programs, or Python itself, would write to it.
        self.input, self.output = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        self.null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(self.null, fd)
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self.wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
        self.own = open("/proc/self/task/%d/children" % os.getpid(), "rb", buffering=0)
        self.keeper_in = keeper_in
        self.moved = False
        try:
            self.home = os.open(".", os.O_PATH | os.O_DIRECTORY)
            os.fchdir(self.home)
            self.settled = False
        except OSError:
            self.settled = True  # who leaves it cannot come back
        self.env = {}
        self.decoder = Decoder()
        self.messages = collections.deque()  # not obeyed yet
        self.early = {}  # by id, in the order of coming, until started: what has no slot yet
        self.following = False  # one of these is being started in the place of one that has ended
        self.launches = {}  # by id, until told of
        self.pids = {}  # by the child of this process, until reaped
        self.sessions = {}  # by session, until told of
        self.spared = {}  # holders of what was left on purpose -> their births, until reaped
        self.dead = set()  # orphans that were seen to have ended, until reaped
        self.orphans = {}  # pid -> launches it may belong to
        self.young = []  # launches whose output is not read yet
        self.ending = set()  # launches that have to be looked at
        self.due = {}  # launches to be signalled -> their grace, 0 for KILL, in the order of coming
        self.again = 0.0  # from when on those that were killed and are still there are killed again
        self.out = collections.deque()  # to be written
        self.unsent = 0  # bytes in it
        self.blocked = False  # the channel did not take it
        self.urgent = False  # it must not wait
        self.lazy = 0.0  # since when the first of it waits
        self.heard = now()
        self.silence = 3600.0
        self.over = False
        try:
            os.posix_spawn("/nowhere", ["nowhere"], {}, setsid=True)
        except NotImplementedError:
            self.spawns = False  # this Python was built for a system too old: programs are started by forking
        except OSError:
            self.spawns = True
        self.handlers = {self.wake: self.reap, self.input: self.listen, keeper_gone: self.hang_up}
        self.epoll = select.epoll()
        for fd in self.handlers:
            self.epoll.register(fd, select.EPOLLIN)
        self.tell({
            "type": "hello", "protocol": PROTOCOL, "role": "launch agent", "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3],
        })

    def hang_up(self, *_):
        self.over = True

    def run(self):
        try:
            self.loop()
        finally:
            for launch in list(self.launches.values()):
                self.kill(launch)
            while self.due:
                self.signal_due()
            if sweep(self.spared, GONE):
                self.farewell()

    def farewell(self):
        """The orchestrator hears that nothing is left, where the keeper cannot say so."""
        self.tell({"type": "swept"})
        writable, until = select.poll(), now() + GONE
        writable.register(self.output, select.POLLOUT)
        try:
            while self.out and now() < until:
                if writable.poll(GONE * 1000):
                    self.out[0] = self.out[0][os.write(self.output, self.out[0]):]
                    if not self.out[0]:
                        self.out.popleft()
        except OSError:
            pass  # it is gone, too

    def loop(self):
        while not self.over:
            if self.urgent and not self.blocked:
                self.flush()
            if self.messages or self.due:
                timeout = 0
            elif self.young or (self.out and not self.blocked):
                timeout = YOUNG
            else:
                timeout = self.patience()
            if self.moved and not self.messages:
                self.go_home()
            before = now()
            events = self.epoll.poll(timeout)
            for fd, _ in events:
                handler = self.handlers.get(fd)
                if handler is not None:
                    handler(fd)
            if self.young:
                self.grow()
            if self.messages:
                self.obey()
            elif self.out and not self.blocked and (not events or now() > self.lazy + YOUNG):
                self.flush()
            if self.ending:
                self.settle()
            if self.due:
                self.signal_due()
            if now() - before > timeout + ASLEEP:
                self.heard = now()  # it was stopped itself, and so perhaps was the orchestrator
            elif now() - self.heard > self.silence:
                sys.stderr.write("the orchestrator said nothing for %d seconds\n" % self.silence)
                break

    def go_home(self):
        """Where this process rests, for the last program's directory may be one that is to be removed or unmounted."""
        try:
            os.fchdir(self.home)
            self.moved = False
        except OSError:
            os.chdir("/")  # it may not be entered any more: a program that needs it is told

    def patience(self):
        """Seconds until something has to be looked at."""
        wait = self.heard + self.silence - now()
        for launch in self.ending:
            if launch.ended is not None or launch.killed is not None:
                return TICK
            wait = min(wait, launch.stopping - now())
        return max(0.001, min(wait, 3600.0))

    # ------------------------------------------------------------------------------------------------------ the channel

    def listen(self, fd):
        try:
            data = os.read(fd, PIECE)
        except BlockingIOError:
            return
        if data:
            self.heard = now()
            self.messages.extend(self.decoder.feed(data))
        else:
            self.over = True  # the orchestrator closed the channel, or died

    def tell(self, header, blobs=(), lazy=False):
        """Lazy ones wait for others to go with, at most until the loop has nothing to do."""
        frame = encode(header, blobs)
        if not self.out:
            self.lazy = now()
        self.out.append(frame)
        self.unsent += len(frame)
        if not lazy:
            self.urgent = True

    def flush(self, _=None):
        self.urgent = False
        out = self.out
        try:
            while out:
                written = os.writev(self.output, list(itertools.islice(out, 16)))
                self.unsent -= written
                while out and written >= len(out[0]):
                    written -= len(out.popleft())
                if written:
                    out[0] = memoryview(out[0])[written:]
        except BlockingIOError:
            if not self.blocked:
                self.blocked = True
                self.handlers[self.output] = self.flush
                self.epoll.register(self.output, select.EPOLLOUT)
            return
        except OSError:
            self.over = True
            return
        if self.blocked:
            self.blocked = False
            self.unhandle(self.output)
            self.resume()

    def unhandle(self, fd):
        """Before it is closed: who was forked meanwhile may keep it open, and it would be heard of for ever."""
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def congested(self):
        return self.unsent > CONGESTED

    def obey(self):
        """What the orchestrator asks, in order; one start at a time, so that what ends meanwhile is seen."""
        while self.messages:
            header, blobs = self.messages.popleft()
            try:
                if self.done(header, blobs):
                    return
            except Exception as problem:
                self.garbled(header, problem)

    def done(self, header, blobs):
        """True when that was a start."""
        kind = header["type"]
        if kind == "launch":
            if "early" in header:
                self.early[header["id"]] = header, blobs
                return False
            self.start(header, blobs)
            return True
        if kind == "go":
            early = self.early.pop(header["id"], None)
            if early is not None:  # else it took a place by itself
                self.start(*early)
                return True
        elif kind == "hold":
            if header["id"] in self.early:
                self.early[header["id"]][0]["early"] = "hold"
        elif kind == "ping":
            self.tell({"type": "pong"})
        elif kind == "hello":
            if header["protocol"] != PROTOCOL:
                raise ProtocolError("protocol %s, and %d is spoken here" % (header["protocol"], PROTOCOL))
            self.silence = header["silence"] / 1000
            self.env = inherited(header["env"], header["pid"])
        elif kind in ("cancel", "input", "taken"):
            launch = self.launches.get(header["id"])
            if launch is not None:
                self.change(launch, header, blobs)
            elif kind == "cancel":
                self.early.pop(header["id"], None)
                self.tell({"type": "dropped", "id": header["id"]})
        else:
            raise ProtocolError("a message of type %s" % kind)
        return False

    def garbled(self, header, problem):
        """The trouble of one is not that of the others."""
        if type(header.get("id")) is not int:
            raise problem
        launch = self.launches.get(header["id"])
        if launch is not None:
            self.kill(launch)
        message = "%s: %s" % (type(problem).__name__, problem)
        self.tell({"type": "garbled", "id": header["id"], "message": message[:1000]})

    def change(self, launch, header, blobs):
        kind = header["type"]
        if kind == "cancel":
            self.cancel(launch, header["grace"] / 1000)
        elif kind == "input":
            if launch.input is not None:
                launch.input[1:] = blobs[0], header["last"]
                self.write_input(launch)
        else:
            for stream in launch.streams:
                if stream.name == header["stream"]:
                    stream.flying -= header["size"]
                    self.watch(stream)
