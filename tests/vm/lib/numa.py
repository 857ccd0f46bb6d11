# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM with two NUMA nodes, as its firmware tells: 0 is its boot memory, with all processors,
and 1 the window, without any. QEMU's own nodes (-numa) want each a memory backend, and our
device wants boot memory in one; so the table that tells of nodes is our own."""

import struct
import tempfile

WINDOW_AT = 4 << 30	# of a PC with less than 2 GiB of boot memory; all above is node 1
WINDOW_MOST = 1 << 40
ENABLED, HOT_PLUGGABLE = 1, 2


def _processor(number, node):
    """A local APIC's affinity (ACPI 6.5, 5.2.16.1)."""
    return struct.pack("<BBBBIBBBBI", 0, 16, node, number, ENABLED, 0, 0, 0, 0, 0)


def _memory(start, size, node, flags):
    """A range's affinity (ACPI 6.5, 5.2.16.2)."""
    return struct.pack("<BBIHQQIIQ", 1, 40, node, 0, start, size, 0, flags, 0)


def two_nodes(boot_mib, cpus=2):
    """The file of the table, which QEMU reads as it starts: close it after that."""
    file = tempfile.NamedTemporaryFile(prefix="memlease-srat-")
    file.write(struct.pack("<IQ", 1, 0))
    for cpu in range(cpus):
        file.write(_processor(cpu, 0))
    file.write(_memory(0, boot_mib << 20, 0, ENABLED))
    file.write(_memory(WINDOW_AT, WINDOW_MOST, 1, ENABLED | HOT_PLUGGABLE))
    file.flush()
    return file


def words(table):
    """For QEMU's command line. A newer machine has a table of its own wherever memory can be added."""
    return ("-machine", "pc-q35-5.0", "-acpitable", f"sig=SRAT,rev=3,data={table.name}")
