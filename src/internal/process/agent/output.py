"""The launch agent, 4: what programs print, on its way to the orchestrator. See agent.py for the whole."""
import errno
import fcntl
import os
import select

CHUNK = 256 * 1024
# What most reads bring is less: room for more would be taken from the system and given back each time, for 15 us.
PIECE = 64 * 1024
# Until then a program's output waits in its pipe: most programs have ended by then, and cost one read.
YOUNG = 0.002
# What of a live stream may be on its way.
WINDOW = 1024 * 1024
F_SETPIPE_SZ = 1031
# Bytes from the end of a stream that an error shows.
TAIL = 8192


class Outputs:
    def grow(self):
        """Programs that did not end at once have their output read while they run."""
        before = now() - YOUNG
        while self.young and self.young[0].born <= before:
            for stream in self.young.pop(0).streams:
                self.watch(stream)

    def watch(self, stream):
        if stream.watched or stream.fd is None or self.congested() or stream.flying > WINDOW:
            return
        stream.watched = True
        self.handlers[stream.fd] = lambda _: self.read(stream)
        self.epoll.register(stream.fd, select.EPOLLIN)

    def unwatch(self, stream):
        if stream.watched:
            stream.watched = False
            self.unhandle(stream.fd)

    def resume(self):
        """The orchestrator reads again."""
        for launch in self.launches.values():
            if launch not in self.young:
                for stream in launch.streams:
                    self.watch(stream)

    def release(self, stream):
        if stream.fd is not None:
            self.unwatch(stream)
            os.close(stream.fd)
            stream.fd = None

    def read(self, stream):
        """One piece of output; False when there is none now."""
        try:
            data = os.read(stream.fd, CHUNK if stream.seen >= CHUNK else PIECE)
        except BlockingIOError:
            return False
        except OSError:  # nothing more can come of it
            data = b""
        if not data:
            self.release(stream)
            return False
        launch = stream.launch
        if stream.watched and stream.seen < CHUNK <= stream.seen + len(data):
            try:
                fcntl.fcntl(stream.fd, F_SETPIPE_SZ, 1 << 20)  # it has much to say
            except OSError:
                pass  # the user's pipes are large enough already
        stream.seen += len(data)
        room = launch.limit - stream.seen + len(data)
        if len(data) > room and not launch.live:
            if not launch.truncate and launch.overflow is None:
                launch.overflow = stream.name
                self.kill(launch)
            room = max(room, 0)
            stream.last = (stream.last + data[room:])[-TAIL:] if len(data) < room + TAIL else data[-TAIL:]
            data = data[:room]
        if data:
            stream.held += data
            if launch.live or len(stream.held) >= CHUNK:
                self.forward(stream)
        return True

    def forward(self, stream):
        launch = stream.launch
        if launch.overflow is None:
            self.tell({"type": "output", "id": launch.id, "stream": stream.name}, [stream.held])
            if launch.live:
                stream.flying += len(stream.held)
            stream.held = bytearray()
        else:
            del stream.held[:-TAIL]  # the error shows the end
        if not self.blocked:
            self.flush()
        if self.congested() or stream.flying > WINDOW:
            self.unwatch(stream)

    def drain(self, launch):
        """What an ended program left in its pipes, in bounds: who is still there may go on printing."""
        for stream in launch.streams:
            for _ in range(16):
                if stream.fd is None or stream.flying > WINDOW or not self.read(stream):
                    break

    def read_back(self, launch):
        """Standard output was captured to a file, and the result is decoded from it: piece by piece, as the orchestrator
        takes it. False while there is more."""
        try:
            if launch.size is None:
                launch.size = os.fstat(launch.file).st_size
                if launch.size - launch.at > launch.limit:
                    launch.overflow = "stdout"
                    launch.size = launch.at
            while launch.at < launch.size:
                if self.congested():
                    return False
                data = os.pread(launch.file, min(CHUNK, launch.size - launch.at), launch.at)
                if not data:
                    break
                launch.at += len(data)
                self.tell({"type": "output", "id": launch.id, "stream": "stdout"}, [data])
                if not self.blocked:
                    self.flush()
        except OSError as problem:
            # a pipe or a device keeps nothing to be read
            if problem.errno not in (errno.ESPIPE, errno.EBADF):
                launch.unreadable = problem.strerror
        os.close(launch.file)
        launch.file = None
        return True
