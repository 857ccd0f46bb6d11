#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memlease_pool.ko alone, without daemon and VM: programs in the lab (pool-*.c) play
both. The kernel stops the lab on its first warning."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, CARVE_MIB, MIB, Lab, main

RANGE = f"0x{CARVE_BASE:x} 0x{CARVE_MIB * MIB:x}"


def run(tap, lab, program, limit_s=60):
    """Run one of the programs to its end: its checks become checks here."""
    status, out = lab.sh_status(f"{program} {RANGE}", limit_s)
    for line in out.splitlines():
        if line.startswith(("ok ", "not ok ")):
            holds, what = line.startswith("ok "), line.split("ok ", 1)[1]
            tap.check(holds, what)
        else:
            tap.say(line)
    tap.check(status == 0, f"{program} came to its end", f"status {status}")


def loaded(tap):
    lab = Lab(tap, append="panic_on_warn=1")
    lab.insmod()
    return lab


def rules(tap):
    lab = loaded(tap)
    run(tap, lab, "pool-rules")
    types = [line for line in lab.read("/sys/kernel/debug/x86/pat_memtype_list").splitlines()
             if f"{CARVE_BASE:x}" in line]
    tap.check(types and all("write-back" in line for line in types), "the pool is mapped write-back", *types)
    tap.check("memlease pool" in lab.read("/proc/iomem"), "/proc/iomem shows whose it is")
    lab.sh("rmmod memlease_pool")
    tap.check("memlease pool" not in lab.read("/proc/iomem"), "which ends with the module")
    lab.insmod()
    lab.sh("rmmod memlease_pool")


def touches(tap):
    lab = loaded(tap)
    run(tap, lab, "pool-touch")
    lab.sh("rmmod memlease_pool")


main(rules, touches)
