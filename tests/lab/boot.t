#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab is the host that the `reserved` backend is for: a KVM host with memory that
Linux leaves alone, and for which it keeps no page array."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import re

from lab import CARVE_BASE, CARVE_MIB, MIB, Lab, main

REGION_BYTES = 2 * MIB
PAGES_PER_MIB = 256
PAGE_ARRAY_SHARE = 64	# struct page has 64 bytes for 4096
# Where the kernel lies makes a difference of some KiB; both boots shall be alike.
ALIKE = "nokaslr"


def present_pages(lab):
    """Pages for which Linux has a struct page, and memory."""
    return sum(map(int, re.findall(r"^ *present +(\d+)$", lab.read("/proc/zoneinfo"), re.M)))


def boots(tap):
    carved = Lab(tap, append=ALIKE)
    first, last = CARVE_BASE // REGION_BYTES, (CARVE_BASE + CARVE_MIB * MIB) // REGION_BYTES
    regions = {int(line.split()[0]) for line in carved.sh("regions").splitlines()}
    inside = regions.intersection(range(first, last))
    tap.check(not inside, "/proc/kpageflags knows no page of the carve-out", sorted(inside)[:5])
    tap.check({first - 1, last} <= regions, "and those right before and after it")
    tap.check(f"{CARVE_BASE:x}-{CARVE_BASE + CARVE_MIB * MIB - 1:x} : Reserved" in carved.read("/proc/iomem"),
              "/proc/iomem shows it", carved.read("/proc/iomem"))
    tap.equal(carved.sh("cat /sys/module/kvm_amd/parameters/npt").strip(), "Y", "KVM has nested paging")
    total, present = carved.meminfo_kib("MemTotal"), present_pages(carved)
    tap.finish(carved)

    whole = Lab(tap, carve_mib=0, append=ALIKE)
    tap.equal(present_pages(whole) - present, CARVE_MIB * PAGES_PER_MIB,
              "Linux has exactly so many pages less than without the carve-out")
    # Of 64 bytes that Linux manages one is for struct page; these come back.
    tap.equal(whole.meminfo_kib("MemTotal") - total, (CARVE_MIB - CARVE_MIB // PAGE_ARRAY_SHARE) * 1024,
              "and MemTotal is lower by exactly its size, less the page array that it would have had")


main(boots)
