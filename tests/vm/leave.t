#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver is made to leave while Linux uses memory of the window: that memory stays, and
nobody takes it away."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.host import host
from lib.paths import NEWEST
from lib.tap import main

# Virtio expects a reset, which would take the memory away.
LEAVING = (r"WARNING: .* virtio_dev_remove",)


def bound_again(tap, kernel):
    """Root unbinds the device from virtio's driver for PCI while its memory is in use. To bind
    it again would reset it, and so take that memory away: there is none that may."""
    h = host(tap, pool="2G")
    vm = h.vm("bound", kernel=kernel, boot="256M", limit="1G", expected=LEAVING)
    vm.spawn("hog", "hog fill:400 mark:/tmp/full until:/tmp/end check")
    vm.wait_mark("hog", "/tmp/full")
    # /sys/devices/pci.../0000:00:04.0/virtioN
    address = os.path.basename(os.path.dirname(vm.sh("readlink -f /sys/bus/virtio/drivers/virtio_memlease/virtio*").strip()))
    drivers = "/sys/bus/pci/drivers/virtio-pci"
    vm.sh(f"echo {address} >{drivers}/unbind", 60)
    code, out = vm.sh_status(f"echo {address} >{drivers}/bind", 30)
    tap.check(code != 0, "it cannot be bound again", out)
    vm.sh("touch /tmp/end")
    tap.equal(vm.wait("hog", 60)[0], 0, "and the program's memory holds what it held")
    tap.equal(vm.status()["state"], "running", "the VM lives on")
    vm.sh("sync")
    vm.kill()


main((bound_again, NEWEST))
