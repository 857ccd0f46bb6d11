#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, the pace of a program is compared with its pace before
"""The daemon is stopped for 10 s, as by a debugger or a host that swaps, and goes on: a VM
that works in the memory it has is not slowed, one that needs more waits for so long, and
both go on with all they had."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import signal
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main, until
from lib.vm import wait_ended

STOP_S = 10
HOLD_MIB, FILL_MIB = 64, 300
MEASURE_S = 8
SLOWER = 0.5	# the least of its pace before; other VMs and tests share the machine's processors


def lines(vm, name):
    """Lines that a program of the guest has written."""
    return int(vm.sh(f"wc -l </tmp/{name}.log"))


def last_s(vm, name):
    """When its last line was, in seconds of the program's life."""
    return float(vm.sh(f"tail -n 1 /tmp/{name}.log").split()[0])


def checks(vm, name, from_s, to_s):
    """Checks a second that it made in this part of its life."""
    at = [float(line.split()[0]) for line in vm.sh(f"grep check /tmp/{name}.log").splitlines()]
    return sum(from_s <= t < to_s for t in at) / (to_s - from_s)


def stopped(tap, kernel):
    h = host(tap, pool="2G")
    # One works in what it has, the other takes and frees all the time, the driver at work.
    holds = h.vm("holds", kernel=kernel, limit="1G")
    takes = h.vm("takes", kernel=kernel, limit="1G")
    holds.spawn("hog", f"hog fill:{HOLD_MIB} " + "check " * 5000)
    takes.spawn("hog", f"hog fill:{FILL_MIB} check free loop:1000")
    until(lambda: takes.status()["window-committed-blocks"] > 0 and lines(holds, "hog") > 5, 30)
    time.sleep(MEASURE_S)
    before = {vm: vm.status() for vm in (holds, takes)}

    stop(tap, h, holds, takes)

    done = {vm: lines(vm, "hog") for vm in (holds, takes)}
    for vm in (holds, takes):
        tap.check(until(lambda v=vm: lines(v, "hog") > done[v] + 3, 30, 0.2), f"{vm.name}: its program goes on")
        status = vm.status()
        tap.equal((status["state"], status["broken"], status["pid"]), ("running", "", before[vm]["pid"]),
                  f"{vm.name}: the same VM, and well")
    after = takes.status()
    tap.check(after["touches"] > before[takes]["touches"] + 50, "memory is lent again", after)
    for vm in (holds, takes):
        vm.sh("killall hog")
        code, out = vm.wait("hog", 30)
        tap.check("WRONG" not in out and code == 143, f"{vm.name}: no program found other contents than it wrote",
                  code, out[-2000:])
        tap.equal(vm.killed(), 0, f"{vm.name}: none was killed")
        tap.equal(vm.sysfs("state"), "running", f"{vm.name}: the driver is well")
    takes.set("--target", "256M")
    tap.check(until(lambda: takes.sysfs("target_state") in ("met", "partly"), 30), "the driver hears of targets")
    for vm in (holds, takes):
        vm.stop()
        wait_ended(vm)
    tap.check(until(h.pool_whole, 3), "the pool is whole at the end", h.pool())
    for vm in (holds, takes):
        h.check_bill(tap, vm, least=500)


def stop(tap, h, holds, takes):
    """SIGSTOP, and what can be seen meanwhile."""
    pid, at_s = h.pid(), last_s(holds, "hog")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        time.sleep(1)
        resident = takes.resident()
        time.sleep(STOP_S - 1)
        tap.check(takes.resident() <= resident, "nothing is lent while no daemon works", resident, takes.resident())
    finally:
        os.kill(pid, signal.SIGCONT)
    took = time.monotonic() - began
    status = until(takes.status, 10)
    tap.say(f"stopped for {took:.1f} s; longest wait of a touch, as the daemon knows it: "
            f"{status['longest-wait-ns'] / 1e9:.1f} s")
    before = checks(holds, "hog", at_s - MEASURE_S, at_s)
    during = checks(holds, "hog", at_s + 1, at_s + 1 + MEASURE_S)
    tap.check(during >= SLOWER * before > 0, "a program in memory that is there goes on as fast "
              f"({during:.1f} checks a second, {before:.1f} before)")


main((stopped, NEWEST))
