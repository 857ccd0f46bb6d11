#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock of large pages: in a VM whose free memory is strewn in small pieces a program
that asks for pages of 2 MiB gets them, as fast as it takes them, and nobody has to put the
pieces together first. While nobody asks, nothing more is borrowed."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main, until

FRAGMENT_MIB = 1024
PAGES = 300
IDLE_S = 15
SPARED = 0.9	# of them that need no compaction: the rest were asked for before the stock had grown


def number(vm, name):
    return int(vm.sysfs(name))


def vmstat(vm, *names):
    values = dict(line.split() for line in vm.sh("cat /proc/vmstat").splitlines())
    return {name: int(values[name]) for name in names}


def stock(tap, kernel):
    h = host(tap, pool="5G")
    vm = h.vm("strewn", kernel=kernel, limit="4G")
    # The kernel's own compaction, and ours, would spoil what the test is about.
    vm.sh("echo 0 >/proc/sys/vm/compaction_proactiveness; echo 1 >/proc/sys/vm/overcommit_memory")
    # Linux leaves large pages off in machines that boot with less than 512 MiB.
    vm.sh("echo always >/sys/kernel/mm/transparent_hugepage/enabled")
    vm.sh("echo off >$(echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/defrag)", check=False)
    vm.spawn("frag", f"frag take:{FRAGMENT_MIB} quarter mark:/tmp/strewn until:/tmp/end check")
    until(lambda: vm.sh("ls /tmp/strewn", check=False) == "/tmp/strewn\n" or vm.ended("frag") is not None, 90, 0.2)
    tap.need(vm.ended("frag") is None, f"of {FRAGMENT_MIB} MiB every fourth page is kept", vm.sh("cat /tmp/frag.log"))
    time.sleep(1)
    before = number(vm, "committed_blocks")
    tap.say(f"{before * 2} MiB borrowed for {vm.sysfs('borrowed_for').split()}; "
            f"free {vm.free_mib()} MiB, {number(vm, 'large_free_bytes') >> 20} MiB of it in large pages")
    tap.check(number(vm, "large_free_bytes") >= 64 << 20, "there is a stock of large pages",
              vm.sh("cat /proc/buddyinfo"))
    time.sleep(IDLE_S)
    tap.equal(number(vm, "committed_blocks"), before, f"in {IDLE_S} s without a need nothing is borrowed")

    # As fast as one processor can.
    was = vmstat(vm, "compact_stall", "thp_fault_alloc")
    code, out = vm.sh_status(f"storm huge:{PAGES}", 60)
    tap.say(out.strip(), f"borrowed now {number(vm, 'committed_blocks') * 2} MiB for "
                         f"{vm.sysfs('borrowed_for').split()}")
    got = int(out.split("huge pages:")[1].split()[0]) if code == 0 else 0
    tap.equal(got, PAGES, f"{PAGES} large pages in a row, as fast as it goes: all of them were to be had")
    now = vmstat(vm, "compact_stall", "thp_fault_alloc")
    stalls = now["compact_stall"] - was["compact_stall"]
    tap.check(stalls <= PAGES * (1 - SPARED), f"{stalls} had to wait for compaction", was, now)
    vm.sh("touch /tmp/end")
    code, out = vm.wait("frag")
    tap.check(code == 0, "what the program kept is as it was", out)
    vm.stop()


main((stock, NEWEST))
