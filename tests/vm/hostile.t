#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile guest: its device breaks, with a line that says why, and nobody else
feels it. The attacks are those of tests/vm/guest/hostile/."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import re

from lib.host import host
from lib.paths import NEWEST, OLDEST
from lib.tap import main, until
from lib.vm import wait_ended

RING, LENGTH, TYPE, COUNT, RANGE, OVERLAP, ORDER, BUSY = range(1, 9)	# enum memlease_broken

ATTACKS = {
    "range": RANGE, "wrap": RANGE, "empty": COUNT, "region": RANGE, "borrow-boot": RANGE, "type": TYPE,
    "report-vacant": ORDER, "report-ring": BUSY, "overlap": OVERLAP, "too-many": COUNT, "short": LENGTH,
    "count-lies": LENGTH, "no-room": LENGTH, "chain-loop": RING, "next-outside": RING, "head-outside": RING,
    "index-jump": RING, "bad-address": RING, "hole-address": RING, "window-address": RING, "indirect": RING,
}
HARMLESS = ("none", "flood", "bell")
# Below the page allocator, which would clear pages itself.
ZEROS = ["borrow 0, 0 words not zero", "filled, 0 words differ", "report 0, 0 words not zero",
         "return and borrow 0, 0 words not zero"]


def attack(vm, name):
    """Load the hostile driver; what the guest saw: enum memlease_broken, or 0."""
    vm.sh(f"dmesg -c >/dev/null; insmod /lib/modules/hostile.ko attack={name}", 60)
    seen = re.search(rf"hostile: {name} (?:broken (\d+)|(unharmed))", vm.sh("dmesg"))
    return int(seen.group(1) or 0) if seen else None


def hostile(tap):
    h = host(tap, pool="2G")
    good = h.vm("good", kernel=OLDEST, limit="1G")
    good.spawn("hog", "hog fill:200 check free-half check fill:150 check free loop:10000")
    vm = h.vm("bad", kernel=NEWEST, limit="768M", driver=False)
    for name, wanted in ATTACKS.items():
        got = attack(vm, name)
        broken = vm.status()["broken"]
        tap.check(got == wanted and broken, f"{name}: the device breaks: {broken}",
                  f"the guest saw {got}, not {wanted}", vm.sh("dmesg | tail -5"))
        vm.sh("rmmod hostile")
        until(lambda: not vm.status()["broken"], 3)
    tap.equal(vm.status()["broken"], "", "reset mends a broken device")
    with open(vm.out) as file:
        lines = [line for line in file if "broke off" in line]
    tap.check(1 <= len(lines) <= 2, f"of {len(ATTACKS)} breaks QEMU's log has the first, and one a minute: {len(lines)} lines",
              "".join(lines[-5:]))
    for name in HARMLESS:
        got = attack(vm, name)
        seen = vm.sh("dmesg | grep hostile: | tail -2")
        tap.check(got == 0 and not vm.status()["broken"] and "no answers" not in seen, f"{name}: breaks nothing", seen)
        tap.say(*seen.splitlines()[:1])
        vm.sh("rmmod hostile")
    attack(vm, "zeros")
    tap.equal([line.split("hostile: ")[1] for line in vm.sh("dmesg | grep words").splitlines()], ZEROS,
              "a slot reads as zeros when new, after REPORT, and after RETURN and BORROW")
    vm.sh("rmmod hostile")
    tap.equal(vm.status()["window-committed-blocks"], 0, "nothing stays borrowed")

    rounds = good.sh("grep -c loop /tmp/hog.log; wc -l </tmp/hog.log")
    tap.check(good.ended("hog") is None, "another VM ran on all the time", rounds)
    with h.qmp() as qmp:
        vm.sh("(insmod /lib/modules/hostile.ko attack=touch) >/dev/null 2>&1 &")
        stopped = qmp.wait_event("VM_STOPPED", 15, lambda data: data["name"] == "bad")
        tap.check(stopped, "a VM that touches a vacant slot is stopped",
                  f"event: {stopped}")
        tap.say(stopped)
    tap.check(wait_ended(vm) is not None, "and is gone")
    lines = good.sh("wc -l </tmp/hog.log").strip()
    tap.check(until(lambda: good.sh("wc -l </tmp/hog.log").strip() != lines, 10, 0.2), "the other VM gets on")
    good.sh("killall hog")
    tap.check("WRONG" not in good.wait("hog")[1], "with its contents as they were")
    good.stop()
    wait_ended(good)
    h.check_bill(tap, good)
    tap.check(until(h.pool_whole, 3), "the pool is whole at the end", h.pool())


main((hostile,))
