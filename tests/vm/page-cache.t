#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Need decides, not page cache: a scan of a file much larger than memory borrows nothing for
itself, and does not make a VM borrow for a stock that it then eats; but a working set that is
read again and again and does not fit is given room until it does, and no more. What a cgroup
is promised of it (memory.min) is no room for others."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tempfile
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import each_load, main

DISK_MIB = 64
SCAN_MIB = 1536
SET_MIB = 1024
PASSES = 12
PROMISED_MIB = 320
SCAN_MAY_MIB = 256	# what a VM that has its fill of page cache keeps ready for programs


def disk():
    """A file system for sparse files: to read these costs the disk nothing."""
    file = tempfile.NamedTemporaryFile(prefix="memlease-disk-")
    file.truncate(DISK_MIB << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", file.name], check=True)
    return file


def borrowed_mib(vm):
    return int(vm.sysfs("committed_blocks")) * 2


def read_again_mib(vm):
    return int(vm.sh("grep workingset_refault_file /proc/vmstat").split()[1]) // 256


def cache(tap, kernel):
    h = host(tap, pool="3G")
    with disk() as file:
        vm = h.vm("cache", kernel=kernel, limit="2304M",
                  qemu=("-drive", f"file={file.name},if=virtio,format=raw"))
        # Of growing alone: what nobody has used for a while goes by itself (cold-cache.t), and
        # a set that is only read from the cache looks like that until it is read again.
        vm.sh("cd /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease && echo off >cache_trim")
        vm.sh(f"mkdir /mnt; mount -t ext4 /dev/vda /mnt && truncate -s {SCAN_MIB}M /mnt/scan && "
              f"truncate -s {SET_MIB}M /mnt/set")
        time.sleep(1)
        before = borrowed_mib(vm)
        code, out = vm.sh_status("storm read:/mnt/scan:1", 90)
        tap.check(code == 0, f"a file of {SCAN_MIB} MiB was read once", out)
        time.sleep(1)
        after = borrowed_mib(vm)
        tap.say(out.strip(), f"borrowed {before} MiB before, {after} MiB after, for {vm.sysfs('borrowed_for').split()}; "
                f"read again {read_again_mib(vm)} MiB")
        tap.check(after <= before + SCAN_MAY_MIB, "and the VM is hardly larger for it", before, after)

        # As often as it takes; a pass that finds all of it in the cache reads nothing again.
        passes, sizes = [], []
        for _ in range(PASSES):
            was = read_again_mib(vm)
            vm.sh("storm read:/mnt/set:1", 60)
            passes.append(read_again_mib(vm) - was)
            sizes.append(borrowed_mib(vm))
            if len(passes) > 2 and passes[-1] < SET_MIB // 100:
                break
        tap.say(f"read again in each pass: {passes} MiB; borrowed: {sizes} MiB, for {vm.sysfs('borrowed_for').split()}")
        tap.check(passes[-1] < SET_MIB // 100, f"a working set of {SET_MIB} MiB comes to fit into the cache", passes)
        tap.check(int(vm.sysfs("borrowed_for").split()[vm.sysfs("borrowed_for").split().index("cache") + 1]) > 0,
                  "because memory was borrowed for it")
        tap.check(sizes[-1] <= SET_MIB + 768, "and not much more than it takes", sizes)
        vm.sh("storm read:/mnt/set:3", 60)
        tap.equal(borrowed_mib(vm), sizes[-1], "once it fits the VM does not grow on")
        vm.sh("umount /mnt")
        vm.stop()


def promised(tap, kernel):
    h = host(tap, pool="3G")
    with disk() as file:
        vm = h.vm("promised", kernel=kernel, boot="512M", limit="2G",
                  qemu=("-drive", f"file={file.name},if=virtio,format=raw"))
        vm.sh("cd /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease && echo off >cache_trim; "
              f"mkdir /mnt /cg; mount -t ext4 /dev/vda /mnt && truncate -s {PROMISED_MIB}M /mnt/set; "
              "mount -t cgroup2 none /cg && echo +memory >/cg/cgroup.subtree_control && mkdir /cg/site && "
              f"echo +memory >/cg/site/cgroup.subtree_control && mkdir /cg/site/db && "
              f"echo {PROMISED_MIB + 16}M | tee /cg/site/memory.min >/cg/site/db/memory.min")
        vm.sh("(echo 0 >/cg/site/db/cgroup.procs; exec storm read:/mnt/set:1)", 60)
        before, again = borrowed_mib(vm), read_again_mib(vm)
        code, out = vm.sh_status("hog fill:600 check", 90)
        tap.check(code == 0, f"a program of 600 MiB lives beside {PROMISED_MIB} MiB of cache that is promised to others", out)
        tap.say(f"borrowed {before} MiB before, {borrowed_mib(vm)} MiB after, for {vm.sysfs('borrowed_for').split()}")
        tap.equal((vm.sysfs("oom_rescues"), vm.killed()), ("0", 0),
                  "memory came before it was out")
        vm.sh("(echo 0 >/cg/site/db/cgroup.procs; exec storm read:/mnt/set:1)", 60)
        tap.check(read_again_mib(vm) - again < PROMISED_MIB // 10, "and the cache is still there", again, read_again_mib(vm))
        vm.sh("umount /mnt")
        vm.stop()


main(*each_load(cache), (promised, NEWEST))
