# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the blocks behind VMs without asking the daemon: about 100 times a second a
process of its own, ahead of all others where that is allowed, reads how much the file
system has allocated to each file of the pool. The integral over time is what a bill must
agree with (looks.py). A thread takes in what it prints; who asks waits until it has seen
a look that began after the question."""

import json
import os
import subprocess
import sys
import threading
import time

if __package__:	# as a program it only looks
    from .looks import Looks
else:
    Looks = object

BLOCK_BYTES = 2 << 20
PERIOD_S = 0.01
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
            began, ended, seen = json.loads(line)
            with self.lock:
                self.add(began, ended, seen)
                self.lock.notify_all()
        with self.lock:
            self.ended = True
            self.lock.notify_all()

    def catch_up(self):
        """Until a look that began after this has been taken in."""
        asked = time.monotonic_ns()
        with self.lock:
            if not self.lock.wait_for(lambda: self.ended or self.last and self.last[0] >= asked, CATCH_UP_S):
                raise AssertionError("the sampler does not look any more")
            if not self.last or self.ended and self.process.poll():
                raise AssertionError("the sampler has ended")

    def files(self, only):
        """Whoever asks for anything asks for this first."""
        self.catch_up()
        return super().files(only)


def _allocated(directory):
    """Path and blocks of each file under a directory; what vanishes meanwhile is left out."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _allocated(entry.path)
            elif entry.is_file(follow_symlinks=False):
                # scandir's own stat may be older than now.
                yield entry.path, os.stat(entry.path).st_blocks * 512 / BLOCK_BYTES
        except OSError:
            continue


def _look_on(pool_dir):
    """A line for each look, [begin, end, {path: blocks}] in JSON, until standard input ends."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -15)
        except OSError:
            pass
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    last = False
    while not last:
        last = done.wait(PERIOD_S)
        began = time.monotonic_ns()
        seen = dict(_allocated(pool_dir))
        print(json.dumps([began, time.monotonic_ns(), seen]), flush=True)


if __name__ == "__main__":
    try:
        _look_on(sys.argv[1])
    except (BrokenPipeError, KeyboardInterrupt):	# the test has ended
        os._exit(0)
