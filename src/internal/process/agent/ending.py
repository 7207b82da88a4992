"""The launch agent, 5: how programs end, by themselves or because they are told to. See agent.py for the whole.

A program is ended when its process was reaped, nobody is left of its tree, and its pipes are closed. What it leaves in
its group is killed before it is reaped, so that the group's number cannot be another's yet. What left the group is
found where the system puts orphans: below the agent.
"""
import os
import resource
import signal

# How long a killed tree may take to be gone, and pipes may stay open after it: somebody may hold them for ever.
GONE = 1.0
TICK = 0.01
# How long programs are signalled before the orchestrator is heard again.
SLICE = 0.05
# The system gives a list of children a page at a time: a piece shorter than this is the last.
PAGE = 4000
# The moment of what waits for its turn.
NEVER = float("inf")


def name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "SIGRTMIN+%d" % (number - signal.SIGRTMIN)


class Endings:
    def reap(self, _=None):
        """The system told that somebody ended."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        ended = []
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if found is None:
                break
            pid = found.si_pid
            launch = self.pids.pop(pid, None)
            if launch is not None and launch.stopping is None and not launch.detach:
                send(-pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            self.dead.discard(pid)
            self.unspare(pid)
            for owner in self.orphans.pop(pid, ()):
                owner.adopted.discard(pid)
                owner.orphans.discard(pid)
            if launch is not None and launch.detach:
                if launch.report is not None:
                    self.hear(launch)
                if launch.ended is None:
                    self.kill(launch)  # its holder was killed: what it held has come here
            if launch is not None and launch.ended is None:
                launch.ended = (status, usage, now())
                ended.append(launch)
        self.adopt()  # whoever was reaped may have left somebody here
        for launch in ended:
            self.drain(launch)
            self.ending.add(launch)

    def settle(self):
        """Ends what has nobody left, and kills what had its grace."""
        moment = now()
        again = moment > self.again
        if again:
            self.again = moment + TICK
        for launch in list(self.ending):
            if launch.setup is not None and launch.ended is not None:
                self.set_up(launch)
                if launch.id not in self.launches:
                    continue
            if launch.killed is None and launch.stopping is not None and moment >= launch.stopping:
                self.kill(launch)
            if launch.ended is None:
                if launch.killed is not None and moment > launch.killed + GONE:
                    # not even KILL ends it: it hangs in the system
                    launch.ended = (signal.SIGKILL, resource.struct_rusage((0.0,) * 16), moment)
                    self.end(launch, True)
                    self.orphans[launch.root] = set()
                elif again and launch.killed is not None and moment > launch.killed + TICK:
                    self.kill(launch)  # somebody may have been born while the others were killed
                continue
            survivors = self.survives(launch)
            if survivors:
                if launch.killed is None and launch.stopping is None:
                    self.kill(launch)
                elif launch.detach and again and launch.killed is not None and moment > launch.killed + TICK:
                    self.kill(launch)
                if launch.killed is None or moment < launch.killed + GONE:
                    continue
            if self.listens(launch, moment) or (launch.file is not None and not self.read_back(launch)):
                continue
            self.end(launch, survivors)

    def survives(self, launch):
        """Whether somebody of an ended program's tree is there that should not be."""
        if launch.detach and launch.stopping is None and launch.killed is None:
            return False
        if launch.group:
            try:
                os.killpg(launch.pid, 0)
            except PermissionError:
                pass
            except ProcessLookupError:
                launch.group = False
            launch.group = launch.group and stat(launch.pid) is None  # else its number was given again
        return launch.group or bool(launch.adopted) or (launch.detach and self.pids.get(launch.root) is launch)

    def listens(self, launch, moment):
        """Whether more output may come of an ended program."""
        waits = False
        for stream in launch.streams:
            if stream.fd is None:
                continue
            if stream.flying > WINDOW or self.congested():
                launch.quiet = None  # the orchestrator is slow: that is nobody's fault here
                waits = True
                continue
            if launch.quiet is None:
                launch.quiet = moment if launch.detach else moment + GONE
                self.drain(launch)
            if stream.fd is not None and moment < launch.quiet:
                self.watch(stream)
                waits = True
            else:
                self.release(stream)
        return waits

    def end(self, launch, survivors):
        self.forget(launch)
        for stream in launch.streams:
            self.release(stream)
        status, usage, moment = launch.ended
        header = {
            "type": "ended", "id": launch.id, "wall": (moment - launch.born) * 1000,
            "user": usage.ru_utime * 1000, "system": usage.ru_stime * 1000, "rss": usage.ru_maxrss * 1024,
        }
        if os.WIFSIGNALED(status):
            header["signal"] = name_of(os.WTERMSIG(status))
        else:
            header["code"] = os.WEXITSTATUS(status)
        if survivors:
            header["survivors"] = True
        if launch.way is not None:
            self.read_way(launch, header)
        if launch.overflow is not None:
            header["overflow"] = launch.overflow
        if launch.unreadable is not None:
            header["unreadable"] = launch.unreadable
        blobs = []
        for stream in launch.streams:
            if stream.held:
                header[stream.name] = len(blobs)
                blobs.append(stream.held)
            if stream.last:
                header.setdefault("lasts", {})[stream.name] = len(blobs)
                blobs.append(stream.last)
                if launch.truncate:
                    header.setdefault("dropped", {})[stream.name] = stream.seen - launch.limit
        following = self.follow()
        if following is not None:
            header["next"], header["pid"] = following, self.launches[following].pid
        self.tell(header, blobs, lazy=following is not None)
        launch.streams.clear()  # which hold it in turn: nothing is left for the collector of cycles

    def read_way(self, launch, header):
        """What the shell before a program reported; what it left running may report no more."""
        try:
            reported = os.read(launch.way, 65536).decode("ascii", "replace")
        except BlockingIOError:
            reported = ""
        os.close(launch.way)
        if not reported.endswith("!"):
            header["unreached"] = reported

    def follow(self):
        """Starts the first of those that were handed over early, in the place of one that has ended."""
        self.following = True
        try:
            while True:
                id = next((id for id, (header, _) in self.early.items() if header["early"] != "hold"), None)
                if id is None:
                    return None
                self.start(*self.early.pop(id))
                if id in self.launches:
                    return id
        finally:
            self.following = False

    def forget(self, launch):
        self.ending.discard(launch)
        self.due.pop(launch, None)
        if launch in self.young:
            self.young.remove(launch)
        del self.launches[launch.id]
        if launch.detach:
            self.release_holder(launch)
        for known, pid in ((self.pids, launch.root), (self.sessions, launch.pid)):
            if known.get(pid) is launch:  # else the number is another's by now
                del known[pid]
        if launch.input is not None:
            self.close_input(launch)
        for pid in launch.orphans:
            owners = self.orphans[pid]
            owners.discard(launch)
            if not owners:
                del self.orphans[pid]
                kill_below([pid])

    # --------------------------------------------------------------------------------------------------------- stopping

    def cancel(self, launch, grace):
        """TERM to all of it when its turn comes, KILL after the grace."""
        if launch.killed is not None:
            return
        if grace <= 0:
            self.kill(launch)
        elif launch.stopping is None or launch in self.due:
            launch.stopping = NEVER
            self.ending.add(launch)
            self.due[launch] = min(grace, self.due.get(launch, grace))
        else:
            launch.stopping = min(launch.stopping, now() + grace)

    def kill(self, launch):
        """KILL to all of it when its turn comes, which is at the end of this turn of the loop for the first of them."""
        if launch.killed is None:
            launch.killed = NEVER
        self.ending.add(launch)
        self.due[launch] = 0

    def signal_due(self):
        """Signals those whose turn has come, for one slice. The orphans are looked for once for all of them."""
        until = now() + SLICE
        self.adopt()
        while self.due:
            launch = next(iter(self.due))
            grace = self.due.pop(launch)
            if grace > 0:
                launch.stopping = now() + grace
                self.send_term(launch)
            else:
                if launch.killed == NEVER:
                    launch.killed = now()
                self.send_kill(launch)
            if now() > until:
                break

    def send_term(self, launch):
        found = [pid for pid in self.tree(launch) if pid > 0 and not (launch.group and group_of(pid) == launch.pid)]
        if launch.group and (launch.ended is None or stat(launch.pid) is None):
            found.append(-launch.pid)  # in one call: no process forks past it
        for pid in found:
            send(pid, signal.SIGTERM)
            send(pid, signal.SIGCONT)  # a stopped process could not obey

    def send_kill(self, launch):
        seen = set()
        for _ in range(100):  # who forks faster than this is killed at the next tick
            found = [pid for pid in self.tree(launch) if pid not in seen]
            if not found:
                break
            for pid in found:
                send(pid, signal.SIGKILL)
            seen.update(found)
        if launch.ended is None and launch.group:
            send(-launch.pid, signal.SIGKILL)

    def tree(self, launch):
        """All that is known to be of this program, by process number."""
        if launch.detach:
            own = children(launch.root) if self.pids.get(launch.root) is launch else []
        else:
            own = [launch.pid] if launch.ended is None else []
        found = descendants([*own, *launch.adopted])
        if launch.ended is not None and launch.group and stat(launch.pid) is None:
            found.append(-launch.pid)
        return found

    # ---------------------------------------------------------------------------------------------------------- orphans

    def adopt(self):
        """Finds the orphans that came here, and whose they are."""
        self.own.seek(0)
        piece = self.own.read(65536)
        count = piece.count(b" ")
        while len(piece) > PAGE:
            piece = self.own.read(65536)
            count += piece.count(b" ")
        if count == len(self.pids) + len(self.orphans):
            return
        while self.adopt_all():
            pass  # somebody died meanwhile, whose children have come since

    def adopt_all(self):
        died = False
        for pid in children(os.getpid()):
            if pid in self.pids or pid in self.orphans:
                continue
            found = stat(pid)
            if found is None:
                continue  # no descriptor is free to look
            if found[0] == b"Z":
                died = died or pid not in self.dead
                self.dead.add(pid)
                continue
            owners = self.owners(pid, found[1])
            self.orphans[pid] = set(owners)
            for owner in owners:
                owner.orphans.add(pid)
            if len(owners) == 1:
                owners[0].adopted.add(pid)
            if all(one.killed is not None or (one.ended is not None and one.stopping is None and not one.detach)
                   for one in owners):
                kill_below([pid])
        return died

    def owners(self, pid, session):
        """The launches that an orphan may come from: one, unless it hides."""
        launch = self.sessions.get(session)
        if launch is not None and (launch.ended is None or stat(session) is None):  # else its number was given again
            return [launch]
        candidates = [launch for launch in self.launches.values() if not launch.detach]  # the others' stay below holders
        if len(candidates) == 1:
            return candidates
        uids = uids_of(pid)
        own = [launch for launch in candidates if launch.uid in uids]
        if len(own) == 1:
            return own
        pipes = set()
        for fd in (1, 2):
            try:
                pipes.add(os.stat("/proc/%d/fd/%d" % (pid, fd)).st_ino)
            except OSError:
                pass
        own = [launch for launch in candidates if not pipes.isdisjoint(launch.inodes())]
        return own if len(own) == 1 else candidates
