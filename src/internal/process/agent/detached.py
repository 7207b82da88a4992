"""The launch agent, 6: programs that may leave something running. See agent.py for the whole.

Such a program runs below a process of its own, its holder. That is a subreaper: whatever the program forks stays below
it, in whichever session and with whatever environment. What the program leaves is spared with its holder, which ends
with the last of it. A holder is known by its number and its birth.
"""
import os
import resource
import struct

BEGUN = struct.Struct("=iQ")  # the number of the program, and the birth of its holder
ENDED = struct.Struct("=i16d")  # how the program ended, and what it used


class Detaching:
    def hold(self, launch, name, become, told):
        """Forks a holder, which forks the program. Signals are blocked."""
        launch.report, report = attempt("pipe", b"", os.pipe)
        try:
            launch.root = attempt("executable", name, os.fork)
            if launch.root == 0:
                hold(launch.uid, become, told, report)
        except Failed:
            os.close(launch.report)
            raise
        finally:
            os.close(report)
        begun = os.read(launch.report, BEGUN.size)  # nothing where it failed, and then `told` has the reason
        launch.pid, launch.birth = BEGUN.unpack(begun) if begun else (launch.root, 0)
        os.set_blocking(launch.report, False)
        self.handlers[launch.report] = lambda _: self.hear(launch)
        self.epoll.register(launch.report, select.EPOLLIN)

    def hear(self, launch):
        """The holder reports how the program ended; or nothing, when it was killed."""
        try:
            data = os.read(launch.report, ENDED.size)
        except BlockingIOError:
            return
        self.unhear(launch)
        if data:
            status, *usage = ENDED.unpack(data)
            launch.ended = (status, resource.struct_rusage(usage), now())
            self.drain(launch)
            self.ending.add(launch)

    def unhear(self, launch):
        self.unhandle(launch.report)
        os.close(launch.report)
        launch.report = None

    def release_holder(self, launch):
        """The program was reported. What it left is spared if it ended by itself, until the holder ends."""
        if launch.report is not None:
            self.unhear(launch)
        if self.pids.get(launch.root) is not launch:
            return  # nothing is left
        self.orphans[launch.root] = set()
        if launch.stopping is None and launch.killed is None:
            self.spared[launch.root] = launch.birth
            os.write(self.keeper_in, b"+%d %d\n" % (launch.root, launch.birth))

    def unspare(self, pid):
        """A holder was reaped: its number may be another's from now on."""
        if self.spared.pop(pid, None) is not None:
            os.write(self.keeper_in, b"-%d\n" % pid)


def hold(uid, become, told, report):
    """In the forked holder. Never returns."""
    program = None
    try:
        os.setsid()
        become_subreaper()
        begun = birth(os.getpid())
        program = os.fork()
        if program == 0:
            become()
        os.write(report, BEGUN.pack(program, begun))
        os.chdir("/")
        rename(b"effect-rhapsody holder of " + uid)
        close_all_but({report})
        while True:
            pid, status, usage = os.wait4(-1, 0)
            if pid == program:
                try:
                    os.write(report, ENDED.pack(status, *usage))
                except OSError:
                    pass  # the agent is gone
                os.close(report)
    except ChildProcessError:
        pass  # nothing is left
    except BaseException as problem:
        if program is None:
            refuse(told, "fork", b"", problem)
    finally:
        os._exit(0)


def rename(title):
    """In the list of processes: it is no agent, and stays when the agent has gone."""
    try:
        with open("/proc/self/stat", "rb") as file:
            start, end = map(int, file.read().rpartition(b")")[2].split()[45:47])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(title[:end - start - 1].ljust(end - start, b"\0"))
    except (OSError, ValueError):
        pass
