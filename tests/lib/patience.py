# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock for the limits of waits, so that no test fails because the machine has other
work: it runs as the wall's does, less the time in which some task waited for a processor,
which Linux counts (PSI). It never runs slower than a quarter of the wall's, so that what is
stuck is found. What a test measures is measured by the wall's clock."""

import threading
import time

PRESSURE = "/proc/pressure/cpu"
SLOWEST = 4	# times slower than the wall's, at most

_lock = threading.Lock()
_last = None	# (wall, stalled) seconds of the last look
_now = 0.0


def _stalled():
    """Seconds since boot in which a task was ready to run, and had to wait; 0 where nobody counts."""
    try:
        with open(PRESSURE) as file:
            return int(file.readline().rsplit("total=", 1)[1]) / 1e6
    except (OSError, IndexError, ValueError):
        return 0.0


def advance(wall_s, stalled_s):
    """How far the clock goes in so much of the wall's time, of which so much was stalled."""
    return max(wall_s - max(stalled_s, 0.0), wall_s / SLOWEST)


def clock():
    """Seconds; only differences mean something."""
    global _last, _now
    with _lock:
        at = (time.monotonic(), _stalled())
        if _last:
            _now += advance(at[0] - _last[0], at[1] - _last[1])
        _last = at
        return _now
