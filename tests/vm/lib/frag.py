# SPDX-License-Identifier: GPL-2.0-or-later
"""A fragmented guest: what tests of defragmenting have in common."""

import time

from .tap import until

SYSFS = "/sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease"
FULL, THIN, END = "/tmp/full", "/tmp/thin", "/tmp/end"


def write(vm, name, value, timeout_s=90):
    """Write to one of the driver's files."""
    vm.sh(f"echo {value} >$(echo {SYSFS}/{name})", timeout_s)


def counter(vm, name):
    """A number that the driver shows."""
    return int(vm.sysfs(name))


def fragmented(vm, mib, pattern):
    """A program that has left holes all over its memory, and waits for END."""
    vm.sh(f"rm -f {FULL} {THIN} {END}")
    vm.spawn("frag", f"frag take:{mib} mark:{FULL} {pattern} mark:{THIN} until:{END} check")
    vm.wait_mark("frag", THIN)


def settled(vm):
    """Blocks behind the VM when nothing more is reported."""
    last = [vm.resident()]

    def still():
        last.append(vm.resident())
        return last[-1] == last[-2]
    time.sleep(1)
    until(still, 10, 0.7)
    return last[-1]


def ends_well(tap, vm, what):
    """Let the program of fragmented() check what it kept, and end."""
    vm.sh(f"touch {END}")
    code, out = vm.wait("frag")
    tap.check(code == 0, what, out)
