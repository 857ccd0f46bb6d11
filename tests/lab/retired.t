#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory error in a block that is lent: the machine reports it, the block is retired
for good, its slot emptied, the guest told, the count shown. The error is a machine check
that the lab's own machine raises; on 7.x the kernel's injection is used, too."""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, CARVE_MIB, MIB, SERIES, Lab, Qmp, main, until
from guest import Guest

BLOCK = 2 * MIB
FILL_MIB = 128
PAGE = 4096
OFFSET = 0x5000
PATTERN_STEP = 0x9e3779b97f4a7c15	# hog.c: from word to word of a page
SLACK_BLOCKS = 1	# that the guest's kernel touches meanwhile
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


def of_program(lab, qmp, block):
    """Is each page of a block the program's? In one that it shares, the shell of the guest may
    have its stack, and would not live on."""
    path = os.path.join(lab.dir, "block")
    qmp("pmemsave", val=CARVE_BASE + block * BLOCK, size=BLOCK, filename=path)
    with open(path, "rb") as file:
        data = file.read()
    pairs = (struct.unpack_from("<QQ", data, page) for page in range(0, BLOCK, PAGE))
    return all((second - first) % 2**64 == PATTERN_STEP for first, second in pairs)


def held(lab, window):
    """Blocks of the program's behind the window: what is there is found again in the
    memory of the lab's machine. Gives a block to each slot, as it looks at all."""
    blocks = []
    there = set(lab.sh(f"window peek {window} {OFFSET}").split())
    with Qmp(lab.machine_socket) as qmp:
        for block in range(1, CARVE_MIB // 2):
            line = qmp("human-monitor-command", command_line=f"xp /gx 0x{CARVE_BASE + block * BLOCK + OFFSET:x}")
            if line.split(":")[1].split()[0][2:] in there and of_program(lab, qmp, block):
                blocks.append(block)
    return blocks


def hit(tap, lab, vm, how, number, block):
    """An error in a block of the program's: in the window, for in boot memory the guest's kernel
    may lie beside, and would not live on."""
    before = lab.pool()["retired-blocks"]
    how(lab, CARVE_BASE + block * BLOCK + OFFSET)
    tap.check(until(lambda: lab.pool()["retired-blocks"] == before + 1, 10, 0.2), f"{how.__name__}: the block is retired",
              block, lab.pool(), lab.sh("dmesg | tail -5"))
    tap.need(until(lambda: len(told(vm)) == number, 5, 0.2), f"{how.__name__}: the guest is told", vm.sh("dmesg | tail -5"))
    tap.say(told(vm)[-1])


def retired(tap):
    lab = Lab(tap, expected=NOT_MAPPED if SERIES.startswith("7") else ())
    lab.pool_daemon()
    vm = Guest(lab, "one", limit="384M").start().wait_up()
    vm.spawn("hog", f"hog fill:{FILL_MIB} mark:/tmp/full until:/tmp/never")
    vm.wait_mark("hog", "/tmp/full")
    blocks = held(lab, vm.status()["window-path"])
    tap.need(len(blocks) > 1, f"{len(blocks)} blocks of the window are a program's")
    resident = vm.resident()
    for number, how in enumerate([machine_check] + ([injection] if SERIES.startswith("7") else []), 1):
        hit(tap, lab, vm, how, number, blocks[number])
    tap.check(until(lambda: abs(vm.resident() - (resident - number)) <= SLACK_BLOCKS, 5), "what is behind it is a block less",
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
