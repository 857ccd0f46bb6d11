#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest had given away when the daemon stopped, and the daemon has not begun to take,
is the guest's again while it waits."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import re
import signal
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main, until

FILL_MIB = 300
WATCH_S = 7
TRIES = 5


def frees_while_stopped(tap, h, vm):
    """What was free in the guest, MiB, ten times a second from when a program freed what it had."""
    vm.spawn("hog", f"hog fill:{FILL_MIB} mark:/tmp/full until:/tmp/go sleep:200 free watch:{WATCH_S * 1000}")
    vm.wait_mark("hog", "/tmp/full")
    full = vm.resident_mib()
    time.sleep(3)	# nothing is owed then
    vm.sh("touch /tmp/go")
    os.kill(h.pid(), signal.SIGSTOP)
    try:
        time.sleep(WATCH_S + 3)	# the shell of a guest may wait, too
    finally:
        os.kill(h.pid(), signal.SIGCONT)
    code, out = vm.wait("hog", 60)
    tap.need(code == 0, "the program ends in order", out)
    tap.check(until(lambda: vm.resident_mib() < full - FILL_MIB / 2, 20, 0.2), "when the daemon goes on it gets what was freed",
              full, vm.resident_mib())
    vm.sh("rm /tmp/full /tmp/go")
    return [int(mib) for mib in re.findall(r" free (\d+) MiB$", out, re.M)]


def on_its_way(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("gives", kernel=kernel, boot="512M", limit="1G")
    less = 0
    # A driver that waits for an answer already, as to its statistics, gives nothing away: once more, then.
    for _ in range(TRIES):
        free = frees_while_stopped(tap, h, vm)
        tap.say(f"free, ten times a second: {free}")
        tap.check(free[-1] > max(free) - 16, "within seconds the guest has all that it freed")
        less = sum(mib < max(free) - 32 for mib in free)
        if less > 1:
            break
    tap.check(less > 1, "some of which was on its way to a daemon that is stopped")
    tap.equal(vm.sysfs("state"), "running", "the driver is well")
    vm.stop()


main((on_its_way, NEWEST))
