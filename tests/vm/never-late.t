#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, a guest must be lent memory as fast as its processors can take it
"""Growing is never late: programs that take memory as fast as all processors can, in a VM
that was idle, neither swap nor wait for reclaim nor are killed while the host lends."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tempfile
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import each_load, main, until

GRABS = ((700, 4), (1300, 2), (180, 16))	# MiB each, processes
GOES = 2		# VMs
KERNEL_BURSTS = ("fork:1000", "pipes:300:500", "pipes:600:500")
SWAP_MIB = 512
LATE = ("allocstall_dma", "allocstall_dma32", "allocstall_normal", "allocstall_movable",
        "pswpin", "pswpout", "oom_kill")


def swap_disk():
    """An empty file for a disk of swap, sparse."""
    file = tempfile.NamedTemporaryFile(prefix="memlease-swap-")
    file.truncate(SWAP_MIB << 20)
    return file


def drive(file):
    return ("-drive", f"file={file.name},if=virtio,format=raw,discard=unmap")


def counters(vm):
    """/proc/vmstat as numbers."""
    return {line.split()[0]: int(line.split()[1]) for line in vm.sh("cat /proc/vmstat").splitlines()}


def late(before, after):
    return {name: after.get(name, 0) - before.get(name, 0) for name in LATE
            if after.get(name, 0) != before.get(name, 0)}


def bursts(tap, kernel):
    h = host(tap, pool="5G")
    with swap_disk() as disk:
        vm = h.vm("burst", kernel=kernel, limit="4G", qemu=drive(disk))
        vm.sh("mkswap /dev/vda && swapon /dev/vda; echo 1 >/proc/sys/vm/overcommit_memory")
        until(lambda: vm.sysfs("committed_blocks") != "0", 5)
        for mib, processes in GRABS:
            time.sleep(1)	# idle
            before, began = counters(vm), time.monotonic()
            held = int(vm.sysfs("committed_blocks"))
            code, out = vm.sh_status(f"storm grab:{mib}:{processes}", 90)
            took, after = time.monotonic() - began, counters(vm)
            grown = int(vm.sysfs("committed_blocks"))
            tap.say(f"{processes} x {mib} MiB in {took:.1f} s; borrowed {held * 2} MiB before, {grown * 2} MiB after")
            tap.check(code == 0, f"{processes} processes get {mib} MiB each as fast as they can", out)
            tap.check(not late(before, after), "without swap, without waiting for reclaim, and none is killed",
                      late(before, after))
            # Down to boot memory, so that the next begins from there.
            vm.set("--target", "256M", "--deadline", "10s")
            until(lambda: vm.status()["target-state"] in ("met", "partly"), 15)
            vm.set("--target", "none")
        tap.equal(vm.sysfs("oom_rescues"), "0", "the last resort was not needed")
        vm.stop()


def kernel_burst(tap, vm, what):
    """What was late by it."""
    time.sleep(1)	# idle
    before, began = counters(vm), time.monotonic()
    code, out = vm.sh_status(f"storm {what}", 90)
    tap.say(f"{what} in {time.monotonic() - began:.1f} s; {vm.sysfs('kernel_blocks')} kernel blocks, "
            f"{vm.sysfs('oom_rescues')} rescues")
    tap.check(code == 0, f"storm {what}, as fast as it can", out)
    after = late(before, counters(vm))
    tap.check("oom_kill" not in after, "none is killed", after)
    return after


def kernel_bursts(tap, kernel):
    """The same with what only the kernel's own memory can hold. That growing comes some
    milliseconds late in one VM is known, about once in nine runs; twice in a row it fails."""
    h = host(tap, pool="3G")
    for go in range(GOES):
        vm = h.vm(f"kernel{go}", kernel=kernel, limit="2304M")
        vm.sh("cd /proc/sys; echo 20000 >kernel/threads-max; echo 100000 >fs/file-max")
        waited = [kernel_burst(tap, vm, what) for what in KERNEL_BURSTS]
        vm.stop()
        if not any(waited):
            break
    tap.check(not any(waited), "without waiting for reclaim", waited)


main(*each_load(bursts), (kernel_bursts, NEWEST))
