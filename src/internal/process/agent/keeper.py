"""The launch agent, 8: the keeper, its parent and what the program starts as. See agent.py for the whole."""
import os
import select
import signal
import sys


def keep():
    """Waits for the orchestrator to hang up or the agent to end, then kills what is left."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that the list was read from
    # A batch system, a container's stop and a terminal signal every process at once. Programs have their grace then:
    # these two end when the orchestrator does, which is signalled as well.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    # a copy of its parent by fork holds the channel as well: that its parent has died is seen by this signal, too
    signal.signal(signal.SIGCONT, lambda *_: None)
    parent = os.getppid()
    wake_with_parent()
    from_agent, keeper_in = os.pipe()
    keeper_gone, _ = os.pipe()  # its other end closes when this process is gone
    agent = os.fork()
    if agent == 0:
        os.close(from_agent)
        os.close(_)
        work(keeper_in, keeper_gone)
    os.close(keeper_in)
    os.close(keeper_gone)
    wake, wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(0, 0)  # for hang-up alone: the agent reads it
    poll.register(wake, select.POLLIN)
    poll.register(from_agent, select.POLLIN)
    spared, status = Spared(from_agent), reap(agent)
    while status is None:
        ready = dict(poll.poll())
        if 0 in ready or os.getppid() != parent:
            send(agent, signal.SIGKILL)
            break
        if from_agent in ready and not spared.listen():
            poll.unregister(from_agent)
        if wake in ready:
            os.read(wake, 4096)
            status = reap(agent)
    while spared.listen():
        pass
    if not sweep(spared.births, 10):
        return UNSWEPT
    return 1 if status is None else status


class Spared:
    """What the agent says to leave alone: a line for each holder that begins or ends to be spared."""

    def __init__(self, fd):
        self.fd, self.data, self.births = fd, b"", {}
        os.set_blocking(fd, False)

    def listen(self):
        """False when nothing more is there, or comes."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return False
        *lines, self.data = (self.data + data).split(b"\n")
        for line in lines:
            pid, *birth = map(int, line[1:].split())
            if birth:
                self.births[pid] = birth[0]
            else:
                self.births.pop(pid, None)
        return bool(data)


def work(keeper_in, keeper_gone):
    """The agent's process, to its end. Whatever happens, nothing of it stays."""
    code = 1
    try:
        Agent(keeper_in, keeper_gone).run()
        code = 0
    except ProtocolError as problem:
        sys.stderr.write("protocol error: %s\n" % problem)
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(keep())
