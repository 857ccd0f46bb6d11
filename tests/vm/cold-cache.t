#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Page cache that nobody uses goes back by itself after a while, and makes way at once
for a target; what is read again and again stays."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tempfile
import time

from lib import paths
from lib.host import host
from lib.tap import each_load, main, until

FILE_MIB = 300
LEFT_MIB = 24		# of a file that nobody uses
COLD_S = 60		# a few seconds of quiet, then a quarter every 2 s
NEAR_MIB = 64
HOG_MIB = 450
NAMES = 600000
READY_BLOCKS = 128	# that a small guest keeps ready for programs


def vm_with_file(h, name, kernel):
    """A VM and a sparse file in it, which costs the disk nothing to read."""
    disk = tempfile.NamedTemporaryFile(prefix="memlease-disk-")
    disk.truncate(64 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", disk.name], check=True)
    vm = h.vm(name, kernel=kernel, boot="512M", limit="2G",
              qemu=("-drive", f"file={disk.name},if=virtio,format=raw"))
    vm.disk = disk	# as long as the VM
    vm.sh(f"mkdir /mnt; mount -t ext4 /dev/vda /mnt && truncate -s {FILE_MIB}M /mnt/file")
    return vm


def cache_mib(vm):
    """Page cache of files, without what the initial RAM disk holds."""
    words = vm.sh("grep -E '^(Active|Inactive)\\(file\\)' /proc/meminfo").split()
    return (int(words[1]) + int(words[4])) // 1024


def vmstat(vm, name):
    return int(vm.sh(f"grep '^{name} ' /proc/vmstat").split()[1])


def cold(tap, kernel):
    h = host(tap, pool="3G")
    vm = vm_with_file(h, "cold", kernel)
    until(lambda: vm.resident_mib() < 200, 5)
    time.sleep(2)
    # What it keeps ready for programs it borrows anyway, by now or later.
    before, borrowed = vm.resident_mib(), max(int(vm.sysfs("committed_blocks")), READY_BLOCKS)
    vm.sh("cat /mnt/file >/dev/null", 60)
    full = vm.resident_mib()
    tap.need(cache_mib(vm) >= FILE_MIB - 8 and full - before >= FILE_MIB - 64,
             f"a file that was read lies in the page cache, {full - before:.0f} MiB on the host")
    began = time.monotonic()
    gone = until(lambda: cache_mib(vm) <= LEFT_MIB and vm.resident_mib() <= before + NEAR_MIB, COLD_S, 0.5)
    tap.check(gone, f"nobody uses it, and the host has it back {time.monotonic() - began:.0f} s later",
              f"cache {cache_mib(vm)} MiB, resident {vm.resident_mib():.0f} MiB, {before:.0f} before")
    # Between two looks Linux may drop some by itself.
    tap.check(int(vm.sysfs("cache_trimmed_bytes")) >> 20 >= FILE_MIB / 2, "the driver counts it",
              vm.sysfs("cache_trimmed_bytes"))
    tap.check(int(vm.sysfs("committed_blocks")) <= borrowed + 128, "and borrowed little for it",
              borrowed, vm.sysfs("committed_blocks"), vm.sysfs("borrowed_for"))
    tap.equal(vmstat(vm, "pgsteal_direct"), 0, "nobody who wanted memory had to reclaim it himself")

    vm.sh("cat /mnt/file /mnt/file /mnt/file >/dev/null", 60)
    for _ in range(12):
        vm.sh("cat /mnt/file >/dev/null", 60)
        time.sleep(1)
    tap.check(cache_mib(vm) >= FILE_MIB - 16, "what is read again and again stays", cache_mib(vm))
    vm.sh("umount /mnt")


def makes_way(tap, kernel):
    h = host(tap, pool="3G")
    vm = vm_with_file(h, "way", kernel)
    vm.sh("cd /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease && echo off >cache_trim")
    vm.spawn("hog", f"hog fill:{HOG_MIB} mark:/tmp/full until:/tmp/go check")
    vm.wait_mark("hog", "/tmp/full")
    vm.sh("cat /mnt/file >/dev/null", 60)
    time.sleep(1)
    was, borrowed = cache_mib(vm), int(vm.sysfs("committed_blocks")) * 2
    target = borrowed - 128
    tap.need(was >= 128 and target >= 0, f"{was} MiB of page cache in {borrowed} MiB borrowed")
    vm.set("--target", f"{target + 512}M")
    met = until(lambda: vm.sysfs("target_state") == "met", 30, 0.1)
    tap.check(met, "a target 128 MiB below is met", vm.sysfs("target_state"),
              vm.sysfs("committed_blocks"), vm.sysfs("memory_blocks"))
    tap.say(f"page cache {was} MiB before, {cache_mib(vm)} MiB after; trimmed "
            f"{int(vm.sysfs('cache_trimmed_bytes')) >> 20} MiB")
    tap.equal(vm.killed(), 0, "nothing was killed for it")
    vm.sh("touch /tmp/go")
    tap.equal(vm.wait("hog", 60)[0], 0, "and the program has what it had")
    vm.sh("umount /mnt")


def slab_mib(vm):
    return int(vm.sh("grep SReclaimable: /proc/meminfo").split()[1]) // 1024


def names(tap, kernel):
    """Names that were looked for and do not exist: the kernel remembers them all."""
    h = host(tap, pool="3G")
    vm = h.vm("names", kernel=kernel, boot="512M", limit="2G")
    until(lambda: vm.resident_mib() < 200, 5)
    before = vm.resident_mib()
    vm.sh(f"storm names:{NAMES}", 60)
    slab = slab_mib(vm)
    tap.need(slab >= 96, f"{NAMES} names take {slab} MiB")
    gone = until(lambda: slab_mib(vm) <= 64 and vm.resident_mib() <= before + NEAR_MIB, COLD_S, 0.5)
    tap.check(gone, "nobody asks again, and the host has them back", f"{slab_mib(vm)} MiB left, resident "
              f"{vm.resident_mib():.0f} MiB, {before:.0f} before", vm.sysfs("memory_blocks"), vm.sysfs("kernel_blocks"))
    tap.equal(vm.killed(), 0, "nothing was killed for it")


main(*each_load(cold), (names, paths.NEWEST), (makes_way, paths.NEWEST))
