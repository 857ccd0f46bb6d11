#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memlease_pool.ko alone, without daemon and VM: programs in the lab (pool-*.c) play
both. The kernel stops the lab on its first warning."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, CARVE_MIB, MIB, SERIES, Lab, main

SECONDS = int(os.environ.get("MEMLEASE_LAB_SECONDS", 10))	# of what takes as long as it is given
RANGE = f"0x{CARVE_BASE:x} 0x{CARVE_MIB * MIB:x}"


def run(tap, lab, program, *arguments, limit_s=60):
    """Run one of the programs to its end: its checks become checks here."""
    status, out = lab.sh_status(" ".join([program, RANGE, *map(str, arguments)]), limit_s)
    for line in out.splitlines():
        if line.startswith(("ok ", "not ok ")):
            holds, what = line.startswith("ok "), line.split("ok ", 1)[1]
            tap.check(holds, what)
        else:
            tap.say(line)
    tap.check(status == 0, f"{program} came to its end", f"status {status}")


def rules(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-rules")
    types = [line for line in lab.read("/sys/kernel/debug/x86/pat_memtype_list").splitlines()
             if f"{CARVE_BASE:x}" in line]
    tap.check(types and all("write-back" in line for line in types), "the pool is mapped write-back", *types)
    tap.check("memlease pool" in lab.read("/proc/iomem"), "/proc/iomem shows whose it is")
    lab.sh("rmmod memlease_pool")
    tap.check("memlease pool" not in lab.read("/proc/iomem"), "which ends with the module")


def touches(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-wait")
    run(tap, lab, "pool-touch")
    lab.sh("rmmod memlease_pool")


def view(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-view")
    lab.sh("rmmod memlease_pool")


def machine_checks(tap, lab):
    lab.insmod()
    lab.insmod("mce-inject")
    run(tap, lab, "pool-poison", "mce")
    lab.sh("rmmod memlease_pool")


def broken_pages(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-poison", "page")
    lab.sh("rmmod memlease_pool")


def calls(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-calls")
    lab.sh("rmmod memlease_pool")


def walks(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-walks", limit_s=400)
    lab.sh("rmmod memlease_pool")


def busy(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-busy", limit_s=200)
    lab.sh("rmmod memlease_pool")


def storm(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-storm", SECONDS, limit_s=10 * SECONDS + 60)
    lab.sh("rmmod memlease_pool")


def fuzz(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-fuzz", SECONDS, limit_s=SECONDS + 60)
    lab.sh("rmmod memlease_pool")


def kvm(tap, lab):
    lab.insmod()
    run(tap, lab, "pool-kvm")
    tap.check(lab.sh_status("rmmod memlease_pool")[0] != 0, "a module that has a window cannot be unloaded")


# Kernels before 7.2 tell nobody of broken pages without a page structure.
SINCE_7 = () if SERIES.startswith("6.") else (broken_pages,)
PARTS = {part.__name__: part for part in (rules, touches, view, calls, walks, busy, machine_checks, *SINCE_7, storm, fuzz, kvm)}


def module(tap, *names):
    """One lab for all parts; a part that the command line names is run alone."""
    lab = Lab(tap, append="panic_on_warn=1")
    for name in [name for name in names if name in sys.argv] or names:
        tap.say(name)
        tap.prefix = f"{name}: "
        PARTS[name](tap, lab)
    tap.prefix = ""


main((module, *PARTS))
