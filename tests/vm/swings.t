#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Growing does not flap: a load that swings around the mark makes a VM borrow once, not
again and again."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main

SWING_MIB = 60
TRIES = 3	# a mark may lie so near to the load's peak that one of twenty swings is the first to reach it
MARKS_BELOW_MIB = (180, 150, 120, 90, 60, 30, 0)	# what is available at the beginning


def size(vm):
    return vm.sysfs("committed_blocks"), vm.sysfs("borrowed_bytes")


def quiet_swings(vm):
    """The sizes before and after twenty swings: of the first twenty that leave it as it is, or of the last."""
    vm.sh(f"storm swing:{SWING_MIB}:5", 60)
    for _ in range(TRIES):
        before = size(vm)
        vm.sh(f"storm swing:{SWING_MIB}:20", 60)
        now = size(vm)
        if now == before:
            break
    return before, now


def swings(tap, kernel):
    """With the mark at each of some places around what is available, a program takes and
    frees tens of MiB, again and again."""
    h = host(tap, pool="3G")
    vm = h.vm("swing", kernel=kernel, limit="2304M")
    time.sleep(1)
    available = int(vm.sh("grep MemAvailable: /proc/meminfo").split()[1]) // 1024
    seen = []
    for below in MARKS_BELOW_MIB:
        vm.sh(f"echo {max(available - below, 16)}M >$(echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/low_mark)")
        settled, now = quiet_swings(vm)
        seen.append((int(settled[0]) * 2, int(now[0]) * 2))
        tap.equal(now, settled, f"mark at {max(available - below, 16)} MiB: it neither borrows nor returns any more")
    tap.say(f"{available} MiB available at first; borrowed, MiB, at each mark, before and after twenty swings: {seen}")
    vm.stop()


main((swings, NEWEST))
