# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the blocks behind VMs without asking the daemon: about 100 times a second a
process of its own, ahead of all others where that is allowed, reads how much the file
system has allocated to each file of the pool. The integral over time is what a bill must
agree with (looks.py). It prints what changed, or was late, and else that nothing did; a
thread takes that in. Who asks says so, and waits until it has seen a look that began after
the question."""

import json
import os
import subprocess
import sys
import threading
import time

if __package__:	# as a program it only looks
    from .looks import LATE_NS, Looks
else:
    from looks import LATE_NS
    Looks = object

BLOCK_BYTES = 2 << 20
PERIOD_S = 0.01
TELL_NS = 500_000_000	# so often at least
SETTLED_NS = 1_000_000_000	# a directory that has not changed for so long shows its next change
CATCH_UP_S = 60


class Sampler(Looks):
    def __init__(self, pool_dir):
        super().__init__()
        self.lock = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), pool_dir],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.catch_up()

    def stop(self):
        """The last look is one that begins after this. What was seen can still be asked for."""
        if not self.ended:
            self.process.stdin.close()
            self.thread.join()
            self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            same, *look = json.loads(line)
            with self.lock:
                if same:
                    self.held(*same)
                self.add(*look)
                self.lock.notify_all()
        with self.lock:
            self.ended = True
            self.lock.notify_all()

    def catch_up(self):
        """Until a look that began after this has been taken in."""
        asked = time.monotonic_ns()
        try:
            os.write(self.process.stdin.fileno(), b"?")
        except (OSError, ValueError):	# it has ended: what it saw is all there is
            pass
        with self.lock:
            if not self.lock.wait_for(lambda: self.ended or self.last and self.last[0] >= asked, CATCH_UP_S):
                raise AssertionError("the sampler does not look any more")
            if not self.last or self.ended and self.process.poll():
                raise AssertionError("the sampler has ended")

    def files(self, only):
        """Whoever asks for anything asks for this first."""
        self.catch_up()
        return super().files(only)


class Directory:
    """The files under a directory, listed anew when it changes."""

    def __init__(self, path):
        self.path = path
        self.changed_ns = None
        self.files, self.directories = [], {}

    def list(self):
        changed_ns = os.stat(self.path).st_mtime_ns
        if changed_ns == self.changed_ns:
            return
        # The clock of file systems stands still for some ms, in which more may come.
        self.changed_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else None
        entries = list(os.scandir(self.path))
        self.files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        self.directories = {entry.path: self.directories.get(entry.path) or Directory(entry.path)
                            for entry in entries if entry.is_dir(follow_symlinks=False)}

    def allocated(self, seen):
        """Adds path and blocks of each file to seen; what vanishes meanwhile is left out."""
        try:
            self.list()
        except OSError:
            return
        for directory in self.directories.values():
            directory.allocated(seen)
        for path in self.files:
            try:
                seen[path] = os.stat(path).st_blocks * 512 / BLOCK_BYTES
            except OSError:
                continue


class Questions:
    """What comes on standard input: bytes, each a question, and its end."""

    def __init__(self):
        self.asked = self.ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while os.read(0, 4096):
            self.asked = True
        self.ended = True


def _ahead_of_others():
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -15)
        except OSError:
            pass


def _look_on(pool_dir):
    """A line for each look that saw something else than the last, was late, was asked for, is
    due or is the last: [the look before, if it has no line, begin, end, {path: blocks}] in
    JSON. Those that have none were on time, and saw what the last line says."""
    _ahead_of_others()
    root, questions = Directory(pool_dir), Questions()
    told, told_ns, before, last = None, 0, None, False
    while not last:
        time.sleep(PERIOD_S)
        last, asked, questions.asked = questions.ended, questions.asked, False
        seen = {}
        began = time.monotonic_ns()
        root.allocated(seen)
        ended = time.monotonic_ns()
        late = before and ended - before[0] > LATE_NS
        if seen != told or late or asked or last or ended - told_ns > TELL_NS:
            print(json.dumps([before if before and before[1] != told_ns else None, began, ended, seen]), flush=True)
            told, told_ns = seen, ended
        before = began, ended


if __name__ == "__main__":
    try:
        _look_on(sys.argv[1])
    except (BrokenPipeError, KeyboardInterrupt):	# the test has ended
        os._exit(0)
