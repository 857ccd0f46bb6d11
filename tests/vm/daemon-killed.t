#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the daemon, again and again, while blocks move: the VM never notices, its
contents are right, and the ledger is too."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import time

from lib.host import host
from lib.paths import NEWEST, OLDEST
from lib.tap import main, until
from lib.vm import wait_ended

KILLS, MOST_KILLS = 8, 100
MOVED = 100	# blocks, in each direction, while daemons come and go


def killed(tap):
    """Two VMs, one of each kernel; one daemon after the other."""
    h = host(tap, pool="2G", keep=True, arguments=("--period", "5"))
    vms = [h.vm(name, kernel=kernel, limit="1280M") for name, kernel in (("old", OLDEST), ("new", NEWEST))]
    chance = random.Random(11)
    for vm in vms:
        vm.spawn("hog", "hog fill:300 check free-half check fill:200 check free loop:100")
    before = {vm.name: vm.status() for vm in vms}
    pids = set()
    kills = 0
    # On a machine that is slow little moves between two kills.
    while kills < KILLS or kills < MOST_KILLS and not all(min(moved(vm, before[vm.name])) > MOVED for vm in vms):
        time.sleep(chance.uniform(0.2, 1.2))
        pids.add(h.kill_daemon())
        h.wait_up()
        kills += 1
    tap.equal(len(pids), kills, f"the daemon was killed {kills} times, and came back each time")
    for vm in vms:
        survived(tap, vm, before[vm.name])
    for vm in vms:
        vm.stop()
        tap.check(wait_ended(vm) is not None, f"{vm.name} ends")
    tap.check(until(h.pool_whole, 3), "the pool is whole at the end", h.pool())
    for vm in vms:
        h.check_bill(tap, vm, least=500)
        tap.check(len(h.ledger_rows("usage.start_ms", vm.name)) > 1, "in several metering periods")


def moved(vm, before):
    """Blocks that it was lent since, and that it gave back."""
    status = vm.status()
    return (status["touches"] - before["touches"], status["reported-blocks"] - before["reported-blocks"])


def survived(tap, vm, before):
    tap.check(until(lambda: vm.status()["state"] == "running", 5), f"{vm.name} is connected again", vm.status())
    tap.equal(vm.qemu_pid(), before["pid"], "its QEMU is the same process")
    came, went = moved(vm, before)
    tap.check(min(came, went) > MOVED, f"blocks moved meanwhile: {came} in, {went} out")
    tap.check(vm.ended("hog") is None, "the program in it goes on", vm.sh("cat /tmp/hog.log"))
    done = vm.sh("wc -l </tmp/hog.log").strip()
    tap.check(until(lambda: vm.sh("wc -l </tmp/hog.log").strip() != done, 20, 0.2), "and gets on")
    vm.sh("killall hog")
    code, out = vm.wait("hog", 20)
    tap.check("WRONG" not in out and code == 143, "it never found other contents than it wrote", code, out)
    tap.equal(vm.status()["broken"], "", "the device is well")
    tap.check(until(lambda: vm.resident_mib() < 280, 5), "what it freed came back", vm.resident_mib())
    tap.check(until(lambda: abs(vm.resident() - vm.status()["resident-blocks"]) <= 1, 2),
              "the daemon counts what there is", vm.resident(), vm.status())


def without_a_daemon(tap, kernel):
    """No supervisor: a daemon that is started by hand much later. QEMU connects again by
    itself; what happened in between is billed, and QEMU's end in between is seen."""
    h = host(tap, pool="2G")
    stays = h.vm("stays", kernel=kernel, limit="1G")
    goes = h.vm("goes", kernel=kernel, limit="1G")
    for vm in (stays, goes):
        vm.spawn("hog", "hog fill:300 mark:/tmp/full until:/never")
        vm.wait_mark("hog", "/tmp/full")
    h.kill_daemon()
    goes.kill()
    time.sleep(3)
    tap.equal(stays.sh("echo there"), "there\n", "a VM runs on without a daemon")
    h.start()
    tap.check(until(lambda: stays.status()["state"] == "running", 5), "a new daemon takes it over", stays.status())
    tap.check(wait_ended(goes) is not None, "and finds that another one's QEMU is gone")
    stays.sh("killall hog; hog fill:500 check free", 60)
    tap.check(stays.status()["broken"] == "", "the VM goes on borrowing and giving back")
    stays.stop()
    wait_ended(stays)
    tap.check(until(h.pool_whole, 3), "the pool is whole at the end", h.pool())
    h.check_bill(tap, stays, least=500)


main((killed,), (without_a_daemon, NEWEST))
