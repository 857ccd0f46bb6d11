# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the blocks behind VMs without asking the daemon: about 100 times a
second it reads how much the file system has allocated to each file of the pool.
The integral over time is what a bill must agree with. What is asked of it is
asked for some files, or for all."""

import os
import threading
import time

BLOCK_BYTES = 2 << 20
PERIOD_S = 0.01


class Sampler:
    def __init__(self, pool_dir):
        self.pool_dir = pool_dir
        self.samples = {}	# path: [(monotonic ns, blocks)], changes and the last
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        try:	# above what it watches, where that is allowed
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        except OSError:
            pass
        while not self._stop.is_set():
            self._sample()
            time.sleep(PERIOD_S)
        self._sample()

    def _sample(self):
        seen = dict(_allocated(self.pool_dir))
        now = time.monotonic_ns()
        for path in self.samples:
            seen.setdefault(path, 0.0)
        for path, blocks in seen.items():
            points = self.samples.setdefault(path, [])
            if len(points) > 1 and points[-1][1] == points[-2][1] == blocks:
                points[-1] = (now, blocks)
            else:
                points.append((now, blocks))

    def files(self, only):
        return [path for path in list(self.samples) if only is None or path in only]

    def now(self, only=None):
        """Blocks behind the files, at the last sample."""
        return sum(self.samples[path][-1][1] for path in self.files(only))

    def peak(self, only=None):
        return max((blocks for _, blocks in self.curve(only)), default=0)

    def block_seconds(self, only=None, since_ns=0, until_ns=None):
        """The integral; between two samples the mean of both."""
        total = 0.0
        for path in self.files(only):
            points = list(self.samples[path])
            for (t0, b0), (t1, b1) in zip(points, points[1:]):
                t0, t1 = max(t0, since_ns), min(t1, until_ns or t1)
                if t1 > t0:
                    total += (b0 + b1) / 2 * (t1 - t0)
        return total / 1e9

    def curve(self, only=None):
        """The sum over the files: [(monotonic ns, blocks)]."""
        changes = []
        for path in self.files(only):
            last = 0
            for at, blocks in list(self.samples[path]):
                changes.append((at, blocks - last))
                last = blocks
        total, curve = 0, []
        for at, change in sorted(changes):
            total += change
            if curve and curve[-1][0] == at:
                curve[-1] = (at, total)
            else:
                curve.append((at, total))
        return curve

    def since(self, at_ns, low, only=None):
        """Seconds from at_ns until the sum was first at or below low; None if never."""
        for at, blocks in self.curve(only):
            if at >= at_ns and blocks <= low:
                return (at - at_ns) / 1e9
        return None


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
