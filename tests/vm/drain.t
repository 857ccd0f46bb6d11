#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside grow.t: what happens to a program without the driver; and the pages that each
processor of a guest keeps for itself are given back."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main, until

NEED_MIB = 1600
PER_CPU_MIB = 12	# on the lists of a zone; the driver leaves under 8, and they fill
MIB = 1 << 20


def killed_without(tap, kernel):
    """The control: without the driver the same program is killed."""
    h = host(tap, pool="3G")
    vm = h.vm("without", kernel=kernel, limit="2304M", driver=False, expected=(".",))
    status = vm.sh(f"hog fill:{NEED_MIB}; echo $?")
    tap.check(status.split()[-1] == "137", "without the driver the program is killed for want of memory", status)


def per_cpu_mib(vm):
    """What stands on per-CPU lists: MiB in the zone with the most."""
    most, sum_pages = 0, 0
    for line in vm.sh("grep -E '^Node|^ *count:' /proc/zoneinfo").splitlines():
        sum_pages = 0 if line.startswith("Node") else sum_pages + int(line.split()[1])
        most = max(most, sum_pages)
    return most * 4096 / MIB


def drains(tap, kernel):
    """Pages that a processor keeps for itself are neither merged nor reported by Linux;
    with 1 GiB of boot memory they can be 50 MiB, strewn over as many blocks."""
    h = host(tap, pool="3G")
    vm = h.vm("drain", kernel=kernel, boot="1G", limit="2G")
    left = []
    for _ in range(5):
        vm.sh("hog fill:600 free", 60)
        seen = []
        until(lambda: seen.append(per_cpu_mib(vm)) or seen[-1] < PER_CPU_MIB, 3, 0.2)
        left.append(round(seen[-1], 1))
    tap.check(max(left) < PER_CPU_MIB, f"per-CPU lists of free pages are emptied ({left} MiB left)")
    vm.stop()


main((killed_without, NEWEST), (drains, NEWEST))
