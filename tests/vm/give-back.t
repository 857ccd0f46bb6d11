#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, it must be back in 1 s, and an idle guest is measured
"""What is wholly free goes back within a second, of itself; and a guest in which
nothing changes neither works nor sends anything for it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib import paths
from lib.host import host
from lib.tap import main, until

import patience

FREED_MIB = 1024
TRIALS = 3
GONE_S = 1.0		# for 95 % of it, the median of the trials
IDLE_S = 20
IDLE_BUSY_PERCENT = 0.5	# of one processor, all that runs in the guest
IDLE_TIMES = 4


def busy_s(vm):
    """Seconds for which the guest's processors were not idle."""
    ticks = [int(word) for word in vm.sh("head -1 /proc/stat").split()[1:]]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / 100


def free_once(tap, h, vm):
    """A program fills memory and frees it; seconds until the host has nearly all of it."""
    vm.spawn("hog", f"hog fill:{FREED_MIB} mark:/tmp/full until:/tmp/go free mark:/tmp/freed until:/tmp/end")
    until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n" or vm.ended("hog") is not None, 60, 0.2)
    full = vm.resident()
    vm.wait_mark("hog", "/tmp/freed", first="touch /tmp/go", every_us=2000)
    freed_ns = time.monotonic_ns()
    low = full - 0.95 * FREED_MIB / 2
    until(lambda: vm.resident() <= low, 10, 0.02)
    time.sleep(0.1)
    took = h.sampler.since(freed_ns, low, vm.files)
    tap.say(f"{full * 2:.0f} MiB resident, {vm.resident_mib():.0f} MiB afterwards; 95 % gone after {took} s")
    vm.sh("touch /tmp/end")
    vm.wait("hog")
    vm.sh("rm -f /tmp/full /tmp/go /tmp/freed /tmp/end")
    return took if took is not None else 99


def gives_back(tap, kernel):
    h = host(tap, pool="3G")
    vm = h.vm("free", kernel=kernel, limit="2G")
    took = sorted(free_once(tap, h, vm) for _ in range(TRIALS))
    tap.check(took[TRIALS // 2] <= GONE_S, f"within {GONE_S} s of being free it is back", took)

    # Let it settle: what was strewn is emptied, the cache is cold.
    time.sleep(5)
    until(lambda: vm.sysfs("report_requests") == (time.sleep(2), vm.sysfs("report_requests"))[1], 30, 0.1)
    # What others on this machine take from an emulated processor counts as its work, and is taken
    # off by the share of time in which somebody waited for a processor. What the driver does at
    # rest is the same each time: the least of some times is what counts.
    seen = []
    while not seen or min(seen) > IDLE_BUSY_PERCENT and len(seen) < IDLE_TIMES:
        requests, work_us, busy = int(vm.sysfs("report_requests")), int(vm.sysfs("defrag_work_us")), busy_s(vm)
        began, wall, clock = float(vm.sh("cat /proc/uptime").split()[0]), time.monotonic(), patience.clock()
        time.sleep(IDLE_S)
        lasted = float(vm.sh("cat /proc/uptime").split()[0]) - began
        undisturbed = (patience.clock() - clock) / (time.monotonic() - wall)
        seen.append((busy_s(vm) - busy) / lasted * undisturbed * 100)
    tap.check(min(seen) <= IDLE_BUSY_PERCENT, f"idle for {lasted:.0f} s, the guest works {min(seen):.2f} % of them", seen)
    tap.check(int(vm.sysfs("report_requests")) - requests <= 2, "and reports nothing, since nothing changes",
              requests, vm.sysfs("report_requests"))
    tap.check(int(vm.sysfs("defrag_work_us")) - work_us < 10000, "nor moves anything", work_us,
              vm.sysfs("defrag_work_us"))


main((gives_back, paths.NEWEST))	# grow.t sees it on all kernels
