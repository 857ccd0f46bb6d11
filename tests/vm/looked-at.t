#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who looks at a VM's memory from outside leaves it as it was: QEMU's own ways touch nothing,
lent or not; and what another program touches in passing comes back, asked and unasked."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mmap
import re
import time

from lib.host import MIB, host
from lib.paths import NEWEST, Qmp
from lib.tap import each_load, main, until

BLOCK = 2 * MIB
BOOT_MIB = 512
MARK = "memlease is looked at: " + os.urandom(8).hex()
NEAR_BLOCKS = 12	# what the guest itself uses or lets go meanwhile
DUMP_LIMIT_S = 120
WINDOW_MIB = 1536 - BOOT_MIB
ANEW_LIMIT_S = 90	# unasked: half a minute after the time before, at the earliest


def rest(vm):
    """Until the guest has given back what it does not use; blocks that it has then."""
    was, now = None, vm.resident()
    while was is None or abs(was - now) > 2:
        time.sleep(3)
        was, now = now, vm.resident()
    return now


def has(path, mark):
    """Is the mark in the file? Overlapping pieces, so that no edge hides it."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return data.find(mark.encode()) >= 0


def as_before(tap, vm, before, what):
    now = vm.resident()
    tap.check(now <= before + NEAR_BLOCKS, f"{what}: {before:.0f} blocks before, {now:.0f} after it")


def human(qmp, line):
    """A line to the human monitor, through a connection that is there: QEMU has one at a time."""
    return qmp("human-monitor-command", command_line=line)


def window_of(qmp):
    """Where the guest has its window."""
    return int(re.search(r"memaddr: 0x([0-9a-f]+)", human(qmp, "info memory-devices")).group(1), 16)


def by_qemu(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("seen", kernel=kernel, boot=f"{BOOT_MIB}M", limit="1536M")
    out = os.path.join(h.dir, "out")
    os.mkdir(out)
    os.chmod(out, 0o777)	# for QEMU's user
    with Qmp(vm.status()["qmp-socket"], DUMP_LIMIT_S) as qmp:
        window = window_of(qmp)
        vacant = window + (WINDOW_MIB * MIB - BLOCK)
        said = human(qmp, f"xp /1xg 0x{vacant:x}")
        tap.check("0x0000000000000000" in said, "xp reads zeros in a slot that is not lent", said)
        qmp("pmemsave", val=vacant, size=BLOCK, filename=f"{out}/vacant")
        with open(f"{out}/vacant", "rb") as file:
            tap.check(not file.read().strip(b"\0"), "so does pmemsave")
    tap.equal(vm.status()["window-committed-blocks"], 0, "nothing is lent by that")
    vm.sh(f"hog fill:600 check free; echo '{MARK}' >/dev/kmsg", 60)
    before = rest(vm)
    tap.check(vm.status()["committed-blocks"] > before + 100, "of what the VM may use much is not backed", vm.status())
    with Qmp(vm.status()["qmp-socket"], DUMP_LIMIT_S) as qmp:
        for form in ("elf", "kdump-zlib"):
            qmp("dump-guest-memory", paging=False, protocol=f"file:{out}/{form}", format=form)
            as_before(tap, vm, before, f"a dump ({form}) touches nothing")
        tap.check(os.path.getsize(f"{out}/elf") > BOOT_MIB * MIB and has(f"{out}/elf", MARK), "it has what is in boot memory")
        tap.check(os.path.getsize(f"{out}/kdump-zlib") < before * BLOCK, "and zeros take no room where they need not")
        qmp("pmemsave", val=MIB, size=(BOOT_MIB - 1) * MIB, filename=f"{out}/pmem")
        as_before(tap, vm, before, "pmemsave touches nothing")
        tap.check(has(f"{out}/pmem", MARK), "and saves what is there")

        said = [human(qmp, f"xp /1xg 0x{window + i * BLOCK:x}")
                for i in range(WINDOW_MIB * MIB // BLOCK)]
        tap.check(all("0x" in line for line in said), "xp reads each slot of the window")
        as_before(tap, vm, before, "and touches none")
        human(qmp, f"sum 0x{16 * MIB:x} 0x{MIB:x}")
        qmp("calc-dirty-rate", calc_time=1)
        tap.check(until(lambda: qmp("query-dirty-rate")["status"] == "measured", 30, 0.2), "a dirty rate is measured")
        as_before(tap, vm, before, "which touches nothing")
    tap.equal(vm.status()["state"], "running", "the VM runs on")
    vm.sh("hog fill:600 check free", 60)
    vm.stop()


def touch_all(path):
    """What a program does that maps a VM's memory and reads it all."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        return sum(memory[at] for at in range(0, len(memory), BLOCK))


def by_another(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("touched", kernel=kernel, boot=f"{BOOT_MIB}M", limit="1G")
    before, boot = rest(vm), vm.status()["boot-path"]

    touch_all(boot)
    most = vm.resident()
    tap.check(most > before + 100, f"a program that reads boot memory has it backed: {before:.0f} blocks, then {most:.0f}")
    # Some of it the guest's kernel holds and has never used: that was zeros, and stays.
    lowest = before + (most - before) / 4
    tap.check(until(lambda: vm.resident() < lowest, ANEW_LIMIT_S, 0.5), "they go back by themselves",
              vm.resident(), vm.sh("memlease-guest"))
    until(lambda: int(vm.sysfs("stale_blocks")) < NEAR_BLOCKS, 10, 0.5)
    tap.check("within a second" in vm.sh("memlease-guest"), "after which the tenant reads that free memory is the host's")

    before = rest(vm)
    touch_all(boot)
    most = vm.resident()
    # Or it is late, and they went back unasked.
    told = until(lambda: "not less   about" in (said := vm.sh("memlease-guest")) and said or
                 vm.resident() < before + NEAR_BLOCKS and "touched by somebody, within a minute", 20, 0.2)
    tap.check(told and "touched by somebody" in told and "within a minute" in told, "before it reads that some is not",
              told or vm.sh("memlease-guest"))
    h.command("report-now", "touched")
    tap.check(until(lambda: vm.resident() < before + NEAR_BLOCKS, 15, 0.2), "asked, they go back at once",
              before, most, vm.resident())
    vm.sh("hog fill:400 check free", 60)
    vm.stop()


main((by_qemu, NEWEST), *each_load(by_another))
