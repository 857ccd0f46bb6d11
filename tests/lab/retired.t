#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory error in a block that is lent: the machine reports it, the block is retired
for good, its slot emptied, the guest told, the count shown. The error is a machine check
that the lab's own machine raises; on 7.x the kernel's injection is used, too."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, MIB, SERIES, Lab, main, until
from guest import Guest

BLOCK = 2 * MIB
FILL_MIB = 128
TRIES = 8
TOLD = "retired 1 blocks"
# A machine check makes 7.x take the page out of its direct map, in which it never was.
NOT_MAPPED = (r"WARNING: .* __cpa_process_fault",)


def told(vm):
    """Lines of the guest's kernel about retired blocks."""
    return vm.sh(f"dmesg | grep '{TOLD}'", check=False).splitlines()


def machine_check(lab, address):
    lab.memory_error(address)


def injection(lab, address):
    """memory_failure(), which 7.2 and later carry out on memory without a page array."""
    lab.sh(f"echo 0x{address:x} >/sys/devices/system/memory/hard_offline_page", check=False)


def hit(tap, lab, vm, how, first):
    """Errors in blocks from first on until one of them is the VM's; the block after it."""
    for block in range(first, first + TRIES):
        retired, lines = lab.pool()["retired-blocks"], len(told(vm))
        how(lab, CARVE_BASE + block * BLOCK + 0x5000)
        if not until(lambda: lab.pool()["retired-blocks"] == retired + 1, 10, 0.2):
            tap.check(False, f"block {block} is retired", lab.pool(), lab.sh("dmesg | tail -5"))
            return first + TRIES
        if until(lambda: len(told(vm)) > lines, 1, 0.2):
            return block + 1
    return first + TRIES


def retired(tap):
    lab = Lab(tap, expected=NOT_MAPPED if SERIES.startswith("7") else ())
    lab.pool_daemon()
    vm = Guest(lab, "one", limit="384M").start().wait_up()
    idle = vm.resident()
    vm.spawn("hog", f"hog fill:{FILL_MIB} mark:/tmp/full until:/tmp/never")
    until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n", 60, 0.2)
    resident = vm.resident()
    # Blocks are handed out in order; those in the middle of what came last are the program's.
    at = (idle + resident) // 2
    for number, how in enumerate([machine_check] + ([injection] if SERIES.startswith("7") else []), 1):
        at = hit(tap, lab, vm, how, at)
        tap.need(len(told(vm)) == number, f"{how.__name__}: the guest is told", vm.sh("dmesg | tail -5"))
        tap.say(told(vm)[-1])
    tap.check(until(lambda: vm.resident() == resident - number, 5), "what is behind it is a block less",
              vm.resident(), resident)
    tap.check(vm.ended("hog") is None and vm.status()["state"] == "running", "and the VM goes on", vm.status())
    gone = lab.pool()["retired-blocks"]
    tap.has(lab.command("status"), "after memory errors", "status shows the count")
    lab.kill_daemon()
    lab.wait_daemon()
    tap.equal(lab.pool()["retired-blocks"], gone, "a new daemon knows of them")
    vm.kill()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    pool = lab.pool()
    tap.check(until(lambda: lab.pool()["lent-blocks"] == 0, 5), "all else is back", pool)
    tap.equal(lab.pool()["free-blocks"], lab.pool()["pool-blocks"] - gone, "but for those retired")


main(retired)
