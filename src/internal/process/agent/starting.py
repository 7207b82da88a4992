"""The launch agent, 3: how a program is started and given its input. See agent.py for the whole."""
import errno
import fcntl
import json
import os
import resource
import select
import signal
import stat as modes

LIMITS = {
    "addressSpace": "RLIMIT_AS", "coreSize": "RLIMIT_CORE", "cpuSeconds": "RLIMIT_CPU", "dataSize": "RLIMIT_DATA",
    "fileSize": "RLIMIT_FSIZE", "lockedMemory": "RLIMIT_MEMLOCK", "openFiles": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC", "stackSize": "RLIMIT_STACK",
}


class Stream:
    """One output of one program, on its way to the orchestrator."""
    __slots__ = ("launch", "name", "fd", "held", "seen", "flying", "watched", "last")

    def __init__(self, launch, name, fd):
        self.launch, self.name, self.fd = launch, name, fd
        self.held = bytearray()  # not told yet: one piece, for a program may print byte by byte
        self.seen = 0  # bytes read
        self.flying = 0  # bytes told and not confirmed, of a live stream
        self.watched = False
        self.last = b""  # the end of what is beyond the limit


class Launch:
    """One program."""
    __slots__ = ("id", "uid", "pid", "born", "limit", "truncate", "live", "detach", "streams", "file", "at", "size",
                 "input", "ended", "stopping", "killed", "quiet", "overflow", "unreadable", "setup", "orphans",
                 "adopted", "group", "way", "root", "report", "birth")

    def __init__(self, header):
        self.id = header["id"]
        self.uid = header["uid"].encode()
        self.limit = int(header["limit"])
        self.truncate = header.get("truncate", False)
        self.live = header.get("live", False)
        self.detach = header.get("detach", False)
        self.pid = 0
        self.root = 0  # the child of the agent: the program, or its holder
        self.report = None  # a descriptor on which the holder reports
        self.birth = 0  # of the holder
        self.born = 0.0
        self.streams = []
        self.file = None  # a descriptor that standard output is read back from
        self.at = 0  # from here on
        self.size = None  # and as far as this, once it has ended
        self.input = None  # what is left of standard input: [descriptor, bytes, last]
        self.way = None  # a descriptor on which a shell reports whether it came to the program
        self.setup = None  # a descriptor that tells how far a forked start has come
        self.ended = None  # (status, usage, moment), once reaped
        self.stopping = None  # when the grace of a cancel ends: NEVER before TERM was sent
        self.killed = None  # when it was: NEVER before its turn has come
        self.quiet = None  # until when the end of its output is waited for
        self.overflow = None  # the stream that was too long
        self.unreadable = None  # why the file that its result is decoded from cannot be read
        self.orphans = set()  # orphans that may be its own
        self.adopted = set()  # orphans that are known to be its own
        self.group = not self.detach  # somebody may be in its group, and it is reaped here alone

    def inodes(self):
        return [os.fstat(stream.fd).st_ino for stream in self.streams if stream.fd is not None]


class Failed(Exception):
    """A program that could not be started: what was tried, on which path."""

    def __init__(self, what, path, cause, facts={}):
        if not isinstance(cause, OSError):
            cause = OSError(errno.EINVAL, str(cause))
        self.what, self.path, self.errno, self.text = what, path, cause.errno or 0, cause.strerror or str(cause)
        self.facts = facts


def attempt(what, path, action, *args):
    try:
        return action(*args)
    except (OSError, ValueError) as problem:
        raise Failed(what, path, problem)


def value_of(part, blobs):
    """Text comes in the header, bytes beside it, by their place."""
    return part.encode() if isinstance(part, str) else blobs[part]


def resolve(name, env):
    """The file that a name stands for, in the program's own PATH, as execvp does it."""
    if b"/" in name:
        return name
    number = errno.ENOENT
    for directory in env.get(b"PATH", b"/bin:/usr/bin").split(b":"):
        path = directory + b"/" + name if directory else b"./" + name
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            number = errno.EACCES
    raise Failed("executable", name, OSError(number, os.strerror(number)),
                 {"found": "file"} if number == errno.EACCES else {})


def facts_of(number, executable, argv, env):
    """Why a program may have been refused that was found."""
    if number == errno.E2BIG:
        names = ["executable"] + ["args[%d]" % i for i in range(len(argv) - 1)]
        sizes = [(len(word), name) for word, name in zip(argv, names)]
        sizes += [(len(name) + 1 + len(value), "the variable " + os.fsdecode(name)) for name, value in env.items()]
        size, name = max(sizes)
        return {"longest": name, "size": size}
    try:
        if modes.S_ISDIR(os.stat(executable).st_mode):
            return {"found": "directory"}
        if not os.access(executable, os.X_OK):
            return {"found": "file"}
        fd = os.open(executable, os.O_RDONLY | os.O_NONBLOCK)
        try:
            line = os.read(fd, 256).partition(b"\n")[0]
        finally:
            os.close(fd)
        words = line[2:].strip(b" \t").split(None if b"\r" not in line else b" ") if line[:2] == b"#!" else []
        return dict({"interpreter": os.fsdecode(words[0])} if words else {}, found="file")
    except OSError:
        return {}


def refuse(told, what, path, problem, facts={}):
    """In a forked child: tells the agent why it does not become the program."""
    number = getattr(problem, "errno", None) or errno.EINVAL
    text = getattr(problem, "strerror", None) or str(problem)
    os.write(told, b"\0".join((what.encode(), path, b"%d" % number, text.encode(), json.dumps(facts).encode())))


class Starting:
    """What the agent does to start a program. One that fails leaves nothing behind."""

    def start(self, header, blobs):
        launch, opened = None, []
        try:
            launch = Launch(header)
            self.spawn(launch, header, blobs, opened)
        except Failed as problem:
            self.unstarted(launch, problem.what, problem.path, problem.errno, problem.text, problem.facts)
        except Exception as problem:  # the trouble of one is not that of the others
            if launch is not None and launch.id in self.launches:
                self.garbled(header, problem)
                return
            number = getattr(problem, "errno", None) or errno.EINVAL
            self.unstarted(launch or Launch(dict(header, uid="")), "start", b"", number, str(problem))
        finally:
            for fd in opened:
                os.close(fd)

    def unstarted(self, launch, what, path, number, text, facts={}):
        for stream in launch.streams:
            self.release(stream)
        for fd in (launch.file, launch.way):
            if fd is not None:
                os.close(fd)
        if launch.input is not None:
            self.close_input(launch)
        self.tell({
            "type": "failed", "id": launch.id, "what": what, "path": os.fsdecode(path),
            "errno": errno.errorcode.get(number, str(number)), "message": text, **facts,
        })

    def spawn(self, launch, header, blobs, opened):
        env = self.env.copy()
        for name, part in header["env"]:
            if part is None:
                env.pop(name.encode(), None)
            else:
                env[name.encode()] = value_of(part, blobs)
        argv = [value_of(part, blobs) for part in header["argv"]]
        if "sandbox" in header:
            sandbox = header["sandbox"].encode()
            attempt("sandbox", sandbox, make_sandbox, sandbox, "freshSandbox" in header)
        setup = header.get("setup")
        if "cwd" not in header:
            if self.moved:
                attempt("cwd", b".", os.fchdir, self.home)
        elif self.settled:
            setup = dict(setup or {}, cwd=header["cwd"])
        else:
            cwd = header["cwd"].encode()
            self.moved = True
            attempt("cwd", cwd, os.chdir, cwd)
        if "stdinFile" in header and is_fifo(header["stdinFile"]):
            # to open it may take for ever: that is for the program to wait for
            setup = dict(setup or {}, stdinFile=header["stdinFile"])
        if setup is None and (launch.detach or not self.spawns):
            setup = {}
        standard = self.standard_streams(launch, header, blobs, opened, setup)
        executable = resolve(argv[0], env)
        launch.born = now()
        if setup is None:
            actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(standard)]
            try:
                launch.pid = launch.root = os.posix_spawn(
                    executable, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=self.ignored)
            except (OSError, ValueError) as problem:
                facts = facts_of(getattr(problem, "errno", 0), executable, argv, env)
                raise Failed("executable", argv[0], problem, facts)
        else:
            self.fork(launch, executable, argv, env, standard, setup)
        self.launches[launch.id] = self.pids[launch.root] = self.sessions[launch.pid] = launch
        if launch.setup is None:
            self.started(launch)

    def started(self, launch):
        if not self.following:  # else whose place it took tells of it
            self.tell({"type": "started", "id": launch.id, "pid": launch.pid}, lazy=True)
        if launch.streams:
            self.young.append(launch)
        if launch.input is not None:
            self.write_input(launch)

    def standard_streams(self, launch, header, blobs, opened, setup):
        """Descriptors to be 0, 1 and 2 of the program, and 3 where a shell comes before it; those in `opened` are closed
        once it runs."""
        def pipe(end):
            ends = attempt("pipe", b"", os.pipe)
            fcntl.fcntl(ends[end], fcntl.F_SETFL, os.O_NONBLOCK)
            opened.append(ends[1 - end])
            return ends

        def capture(name):
            path = header.get(name)
            if path is None:
                mine, theirs = pipe(0)
                launch.streams.append(Stream(launch, name, mine))
                return theirs
            path = path.encode()
            if "makeDirectories" in header:
                attempt(name, path, lambda: os.makedirs(os.path.dirname(path), exist_ok=True))
            fd = attempt(name, path, open_output, path, "append" in header,
                         name in header.get("exclusive", ()))
            opened.append(fd)
            return fd

        stdin = self.null
        if "stdin" in header:
            theirs, mine = pipe(1)
            launch.input = [mine, blobs[header["stdin"]], header["last"]]
            stdin = theirs
        elif "stdinFile" in header and (setup is None or "stdinFile" not in setup):
            path = header["stdinFile"].encode()
            stdin = attempt("stdin", path, open_input, path)
            opened.append(stdin)
        stdout = capture("stdout")
        if header.get("readBack"):
            launch.file = attempt("pipe", b"", os.dup, stdout)
            if "append" in header:
                launch.at = os.fstat(stdout).st_size
        stderr = stdout if header.get("merged") else capture("stderr")
        if "prepared" not in header:
            return [stdin, stdout, stderr]
        launch.way, theirs = pipe(0)
        return [stdin, stdout, stderr, theirs]

    def fork(self, launch, executable, argv, env, standard, setup):
        """A start that posix_spawn cannot do: limits, niceness, an input whose opening may take for ever."""
        tells, told = attempt("pipe", b"", os.pipe)
        # a signal that comes before the child has its own dispositions waits until it has
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            def become():
                self.become(executable, argv, env, standard, setup, told)

            if launch.detach:
                self.hold(launch, argv[0], become, told)
            else:
                launch.pid = launch.root = attempt("executable", argv[0], os.fork)
                if launch.pid == 0:
                    become()
        except Failed:
            os.close(tells)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(told)
        os.set_blocking(tells, False)
        launch.setup = tells
        self.handlers[tells] = lambda fd: self.set_up(launch)
        self.epoll.register(tells, select.EPOLLIN)

    def become(self, executable, argv, env, standard, setup, told):
        """In the forked child: turns into the program, or tells why not. Never returns."""
        what, path = "fork", b""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in [*self.ignored, signal.SIGCHLD]:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for to, fd in enumerate(standard):
                os.dup2(fd, to)
            # what is open in the agent would otherwise stay open here for as long as the input is waited for
            close_all_but({*range(len(standard)), told})
            if "cwd" in setup:
                what, path = "cwd", setup["cwd"].encode()
                os.chdir(path)
            if "stdinFile" in setup:
                what, path = "stdin", setup["stdinFile"].encode()
                fd = os.open(path, os.O_RDONLY | os.O_NOCTTY)
                os.dup2(fd, 0)
            if "nice" in setup:
                what = "nice"
                os.nice(setup["nice"])
            for name, value in setup.get("limits", {}).items():
                what = "limits." + name
                resource.setrlimit(getattr(resource, LIMITS[name]), (value, value))
            what, path = "executable", argv[0]
            os.execve(executable, argv, env)
        except BaseException as problem:
            facts = facts_of(getattr(problem, "errno", 0), executable, argv, env) if what == "executable" else {}
            refuse(told, what, path, problem, facts)
        finally:
            os._exit(127)

    def set_up(self, launch):
        """A forked start has come to its program, or to its failure."""
        fd = launch.setup
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        launch.setup = None
        self.unhandle(fd)
        os.close(fd)
        if data:
            what, path, number, text, facts = data.split(b"\0")
            self.forget(launch)
            self.unstarted(launch, what.decode(), path, int(number), text.decode(), json.loads(facts))
        elif launch.ended is None:
            self.started(launch)

    # ------------------------------------------------------------------------------------------------------------ input

    def write_input(self, launch):
        fd, data, last = launch.input
        try:
            written = os.write(fd, data) if data else 0
        except BlockingIOError:
            written = 0
        except OSError:  # a program may end, or close its input, without reading it
            self.close_input(launch)
            return
        launch.input[1] = data = data[written:]
        if data:
            if fd not in self.handlers:
                self.handlers[fd] = lambda _: self.write_input(launch)
                self.epoll.register(fd, select.EPOLLOUT)
        elif last:
            self.close_input(launch)
        else:
            self.unhandle(fd)
            self.tell({"type": "need", "id": launch.id})

    def close_input(self, launch):
        fd = launch.input[0]
        launch.input = None
        self.unhandle(fd)
        os.close(fd)
