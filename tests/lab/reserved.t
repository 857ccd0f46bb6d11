#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The reserved pool, whole: memory without a page array, the module, the daemon, QEMU
with KVM, and a guest with the driver. What a guest touches is mapped by 2 MiB entries,
what it reports is gone from KVM's tables; contents are right over kill -9 of the daemon
while it is touched, and over moves of blocks; a write outside ends that VM only; a bad
block leaves; at the end the pool is whole."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, CARVE_MIB, Lab, main, until
from guest import Guest

FILL_MIB = 96


def start(tap):
    lab = Lab(tap)
    lab.insmod()
    lab.daemon("--pool", f"reserved:0x{CARVE_BASE:x},{CARVE_MIB}M", "--keep")
    return lab


def whole(lab):
    pool = lab.pool()
    return pool["free-blocks"] + pool["retired-blocks"] == pool["pool-blocks"] and not pool["lent-blocks"]


def lends(tap):
    lab = start(tap)
    pool = lab.pool()
    tap.check(pool["backend"].startswith("reserved"), "the backend", pool)
    tap.equal(pool["pool-blocks"], CARVE_MIB // 2 - 1, "all of it but the module's own block")
    tap.check(until(lambda: lab.pool()["supply-blocks"] > 0, 10), "the supply is filled", lab.pool())
    vm = Guest(lab, "one", limit="384M").start().wait_up()
    tap.check(vm.status()["boot-path"].startswith("/dev/memlease/"), "its memory is a device", vm.status())
    idle = vm.kvm("pages_2m")
    vm.spawn("hog", f"hog fill:{FILL_MIB} check mark:/tmp/full until:/tmp/go check free mark:/tmp/freed until:/tmp/end")
    until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n", 60, 0.2)
    full = vm.kvm("pages_2m")
    tap.check(full - idle >= FILL_MIB // 4, f"{full} entries of 2 MiB, {idle} before", vm.status())
    tap.say(f"{vm.kvm('pages_4k')} entries of 4 KiB; status:\n{lab.command('status')}")
    before = lab.pid()
    lab.sh(f"kill -9 {before}")
    lab.wait_daemon()
    tap.check(lab.pid() != before, "a daemon that is killed comes back")
    tap.check(until(lambda: vm.status()["state"] == "running", 10), "and has its VM", vm.status())
    vm.sh("touch /tmp/go")
    tap.check(until(lambda: vm.kvm("pages_2m") <= full - FILL_MIB // 4, 10),
              "what is free leaves KVM's tables", full, vm.kvm("pages_2m"))
    vm.sh("touch /tmp/end")
    tap.check(vm.wait("hog")[0] == 0, "contents were right", vm.sh("cat /tmp/hog.log"))
    vm.stop()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    tap.check(until(lambda: whole(lab), 10), "the pool is whole", lab.pool())
    tap.check(lab.sh("ls /dev/memlease 2>/dev/null", check=False) == "", "and the windows are gone")


def killed_while_touched(tap):
    """The daemon dies again and again while two VMs fill and free memory."""
    lab = start(tap)
    vms = [Guest(lab, name, limit="384M").start() for name in ("one", "two")]
    for vm in vms:
        vm.wait_up()
        vm.spawn("hog", "sh -c 'while [ ! -e /tmp/end ]; do hog fill:64 check free || exit 9; done'")
    for _ in range(8):
        lab.sh("usleep 700000")
        lab.sh(f"kill -9 {lab.pid()}")
        lab.wait_daemon()
    for vm in vms:
        tap.check(until(lambda: vm.status()["state"] == "running", 10), "the VM is known", vm.status())
        vm.sh("touch /tmp/end")
        tap.check(vm.wait("hog", 60)[0] == 0, "contents were right all the time", vm.sh("cat /tmp/hog.log"))
        vm.stop()
        vm.wait_ended()
    tap.check(until(lambda: whole(lab), 10), "the pool is whole", lab.pool())


main(lends, killed_while_touched)
