#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab is the host that the `reserved` backend is for: a KVM host with memory that
Linux leaves alone, and for which it keeps no page array."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import re

from lab import CARVE_BASE, CARVE_MIB, MIB, Lab, main

PAGES_PER_MIB = 256
PAGE_ARRAY_SHARE = 64	# struct page has 64 bytes for 4096
# /proc/kpageflags of what has no struct page: KPF_NOPAGE, or from 6.14 on nothing.
NO_PAGE = {1 << 20, 0}
FLAG_BYTES = 8		# of a page
# Where the kernel lies makes a difference of some KiB; both boots shall be alike.
ALIKE = "nokaslr"
TOLERANCE_KIB = 16	# what else of the kernel's grows with memory


def present_pages(lab):
    """Pages for which Linux has a struct page, and memory."""
    return sum(map(int, re.findall(r"^ *present +(\d+)$", lab.read("/proc/zoneinfo"), re.M)))


def flags_of(lab, base, mib):
    """The values that /proc/kpageflags has for so much memory, from base on."""
    unit = 4096 * FLAG_BYTES	# flags of 16 MiB
    skip, rest = divmod(base // 4096 * FLAG_BYTES, unit)
    assert rest == 0 and mib % 16 == 0
    out = lab.sh(f"dd if=/proc/kpageflags bs={unit} skip={skip} count={mib // 16} 2>/dev/null | "
                 "hexdump -e '2/4 \"%08x \" \"\\n\"'")
    pairs = (line.split() for line in out.splitlines() if line.strip() != "*")	# the lower half first
    return {int(high + low, 16) for low, high in pairs}


def boots(tap):
    carved = Lab(tap, append=ALIKE)
    inside = flags_of(carved, CARVE_BASE, CARVE_MIB)
    tap.check(inside and inside <= NO_PAGE and len(inside) == 1,
              "/proc/kpageflags knows no page of the carve-out", inside)
    for name, base in (("before", CARVE_BASE - 16 * MIB), ("after", CARVE_BASE + CARVE_MIB * MIB)):
        around = flags_of(carved, base, 16)
        tap.check(around - NO_PAGE, f"but those right {name} it", around)
    tap.check(f"{CARVE_BASE:x}-{CARVE_BASE + CARVE_MIB * MIB - 1:x} : Reserved" in carved.read("/proc/iomem"),
              "/proc/iomem shows it", carved.read("/proc/iomem"))
    tap.equal(carved.sh("cat /sys/module/kvm_amd/parameters/npt").strip(), "Y", "KVM has nested paging")
    total, present = carved.meminfo_kib("MemTotal"), present_pages(carved)
    tap.finish(carved)

    whole = Lab(tap, carve_mib=0, append=ALIKE)
    tap.equal(present_pages(whole) - present, CARVE_MIB * PAGES_PER_MIB,
              "Linux has exactly so many pages less than without the carve-out")
    # Of 64 bytes that Linux manages one is for struct page; these come back.
    lower = whole.meminfo_kib("MemTotal") - total - (CARVE_MIB - CARVE_MIB // PAGE_ARRAY_SHARE) * 1024
    tap.between(-TOLERANCE_KIB, lower, TOLERANCE_KIB,
                "MemTotal is lower by its size less the page array it would have had; KiB off")


main(boots)
