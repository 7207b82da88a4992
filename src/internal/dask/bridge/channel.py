"""The bridge to Dask, 1: the channel to the orchestrator. See bridge.py for the whole.

Two threads of its own, so that neither Dask nor a slow orchestrator holds up the other: one reads and answers a ping at
once, one writes what the orchestrator has no room for at the moment.
"""
import collections
import fcntl
import itertools
import os
import select
import threading

# Bytes that may wait for the orchestrator to read before nothing more is fetched for it.
CROWDED = 8 * 1024 * 1024
# Frames of one write, at most.
PIECES = 64


class Channel:
    def __init__(self):
        """Moves the channel away from where Dask, or Python itself, would write to it."""
        self.input, self.output = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.close(null)
        os.set_blocking(self.output, False)
        self.out = collections.deque()
        self.waiting = 0
        self.blocked = False  # the thread writes
        self.changed = threading.Condition()
        threading.Thread(target=self.write, name="channel out", daemon=True).start()

    def listen(self, heard, ended):
        """Calls from a thread: with the messages of each read, and at the end."""
        threading.Thread(target=self.read, args=(heard, ended), name="channel in", daemon=True).start()

    def tell(self, header, blobs=()):
        self.pass_on(encode(header, blobs))

    def pass_on(self, *frames):
        with self.changed:
            self.out.extend(frames)
            self.waiting += sum(map(len, frames))
            if not self.blocked:
                self.write_some()

    def write_some(self):
        """What there is room for, at once: to wake a thread for it costs more than that."""
        try:
            written = os.writev(self.output, list(itertools.islice(self.out, PIECES)))
            self.waiting -= written
            while self.out and written >= len(self.out[0]):
                written -= len(self.out.popleft())
            if written:
                self.out[0] = memoryview(self.out[0])[written:]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads; the end of the input tells it
            self.out.clear()
            self.waiting = 0
        self.blocked = len(self.out) > 0
        self.changed.notify_all()

    @property
    def crowded(self):
        return self.waiting > CROWDED

    def read(self, heard, ended):
        decoder = Decoder()
        why = None
        try:
            while True:
                data = os.read(self.input, 1 << 18)
                if not data:
                    break
                messages = []
                for header, blobs in decoder.feed(data):
                    if header["type"] == "ping":
                        self.tell({"type": "pong"})
                    else:
                        messages.append((header, blobs))
                if messages:
                    heard(messages)
        except Exception as problem:
            why = problem
        ended(why)

    def write(self):
        room = select.poll()
        room.register(self.output, select.POLLOUT)
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.blocked)
            room.poll()
            with self.changed:
                self.write_some()

    def drain(self, seconds):
        """Waits until all is written."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting == 0, seconds)
