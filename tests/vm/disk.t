#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`memlease run IMAGE` boots what is on a disk, raw or qcow2, as a user without a kernel at
hand does. The system on it is the smallest there is: a boot sector that loads one more
sector and writes it to the serial port. It has no driver; it runs in its boot memory,
and is metered all the same."""

import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.host import host
from lib.tap import main, until
from lib.vm import wait_ended

SECTOR = 512
DISK_BYTES = 1 << 20
SAYS = "the disk has booted"

CLUSTER_BITS = 16
COPIED = 1 << 63	# of an entry of qcow2's tables: the cluster is there, once
# Which cluster of the qcow2 file holds what.
HEADER, L1, REFCOUNTS, REFCOUNT_BLOCK, L2, DATA, CLUSTERS = range(7)


def boot_sector():
    """Real-mode code for address 0x7c00: read sector 2 to 0x7e00, write it to COM1, halt."""
    code = bytes.fromhex(
        "fa 31c0 8ed8 8ec0 8ed0 bc007c fb"		# no interrupts; segments 0, a stack; interrupts
        "b80102 b90200 b600 bb007e cd13"		# int 13h: read a sector, cylinder 0, head 0, sector 2
        "721a"						# on an error: to hlt
        "be007e"
        "ac 84c0 7412 88c4"				# the next letter; at the end: to hlt
        "bafd03 ec a820 74fb"				# until the port is ready
        "88e0 baf803 ee ebe9"				# write it, and on to the next
        "f4 ebfd")					# hlt, for ever
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def content():
    return (boot_sector() + f"{SAYS}\r\n".encode().ljust(SECTOR, b"\0")).ljust(DISK_BYTES, b"\0")


def raw(path):
    with open(path, "wb") as file:
        file.write(content())


def qcow2(path):
    """Version 2, of which only the first cluster of the disk is there."""
    at = {part: part << CLUSTER_BITS for part in range(CLUSTERS)}
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, CLUSTER_BITS, DISK_BYTES, 0, 1, at[L1],
                         at[REFCOUNTS], 1, 0, 0)
    parts = {HEADER: header, L1: struct.pack(">Q", at[L2] | COPIED), REFCOUNTS: struct.pack(">Q", at[REFCOUNT_BLOCK]),
             REFCOUNT_BLOCK: struct.pack(f">{CLUSTERS}H", *[1] * CLUSTERS), L2: struct.pack(">Q", at[DATA] | COPIED),
             DATA: content()[:1 << CLUSTER_BITS]}
    with open(path, "wb") as file:
        for part, data in parts.items():
            file.seek(at[part])
            file.write(data.ljust(1 << CLUSTER_BITS, b"\0"))


def boots(tap, make):
    h = host(tap, pool="1G")
    path = os.path.join(h.dir, f"disk.{make}")
    {"raw": raw, "qcow2": qcow2}[make](path)
    vm = h.vm_start("disk", boot="64M", limit="256M", disk=path)

    def said():
        try:
            with open(vm.console, errors="replace") as file:
                return SAYS in file.read()
        except OSError:
            return False
    tap.need(until(lambda: said() or not vm.alive(), 60) and said(), "what is on the disk runs", open(vm.out).read())
    status = vm.status()
    vm.files = (status["boot-path"], status["window-path"])
    tap.equal((status["state"], status["window-committed-blocks"]), ("running", 0), "in its boot memory alone")
    tap.check(0 < vm.resident() <= status["boot-blocks"], "of which it has what it touched", vm.resident())
    tap.check(until(lambda: int(vm.status()["resident-block-ns"]) > 0, 5), "and that is metered")
    h.command("stop", "disk", "--force")
    tap.check(wait_ended(vm) is not None, "stop --force ends it, which hears of no power button")
    tap.check(until(h.pool_whole, 3), "the pool is whole afterwards", h.pool())
    h.check_bill(tap, vm)


main((boots, "qcow2"), (boots, "raw"))
