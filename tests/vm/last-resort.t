#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The last resort: a VM that was refused for a while asks rarely, and memory may run out
between two times. Then the out-of-memory notifier asks at once, and no process is killed."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main, until

import patience

RICH_MIB = 450
POOR_MIB = 330
TRIES = 4	# on a machine that is busy the program may be slower than the pause is long


def number(vm, name):
    return int(vm.sysfs(name))


def refused_again(vm):
    """Wait until it has just been refused, and that a long pause after the time before."""
    last, at, until_s = number(vm, "refusals"), time.monotonic(), patience.clock() + 60
    while patience.clock() < until_s:
        now = number(vm, "refusals")
        if now != last:
            if time.monotonic() - at > 4:
                return True
            last, at = now, time.monotonic()
        time.sleep(0.05)
    return False


def rescued(tap):
    h = host(tap, pool="1G", arguments=("--overbook", "100"))
    poor = h.vm("poor", kernel=NEWEST, limit="1G")
    poor.set("--target", "256M")
    rich = h.vm("rich", kernel=NEWEST, limit="1G", tenant="bolt")
    rescues = 0
    for attempt in range(TRIES):
        rich.set("--target", "none")
        rich.spawn("hog", f"hog fill:{RICH_MIB} mark:/tmp/full until:/tmp/end")
        until(lambda: rich.ended("hog") is not None or rich.sh("ls /tmp/full", check=False) == "/tmp/full\n", 60, 0.2)
        poor.set("--target", "none")
        poor.sh("rm -f /tmp/go")
        poor.spawn("hog", f"hog until:/tmp/go fill:{POOR_MIB} check")
        tap.need(refused_again(poor), "with the pool sold a VM is refused, less and less often",
                 poor.sysfs("last_refusal"), poor.sysfs("memory_blocks"), h.pool())
        rich.sh("touch /tmp/end")
        rich.set("--target", "256M", "--deadline", "5s")
        until(lambda: rich.status()["window-committed-blocks"] == 0, 10, 0.02)
        poor.sh("touch /tmp/go")
        code, out = poor.wait("hog", 60)
        tap.check(code == 0, "a program that takes the last memory just then gets more in time", out)
        rescues = number(poor, "oom_rescues")
        tap.say(f"{rescues} rescues; borrowed for {poor.sysfs('borrowed_for').split()}")
        if rescues:
            break
        rich.sh("rm -f /tmp/end /tmp/full")
        poor.set("--target", "256M", "--deadline", "5s")
        until(lambda: poor.status()["window-committed-blocks"] == 0, 10)
    tap.check(rescues > 0, "and it was the last resort that did it", rescues)
    tap.equal(poor.killed(), 0, "nothing was killed")
    tap.check("out of memory" in poor.sh("dmesg"), "which the log tells")
    for vm in (poor, rich):
        vm.stop()


main(rescued)
