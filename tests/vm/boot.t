#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM comes up: the device, the window, the driver, what memlease shows of it, and
that an idle VM with much boot memory costs little."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import re
import time

from lib import paths
from lib.host import host
from lib.tap import main, until
from lib.vm import wait_ended

IDLE_LIMIT_MIB = 300
IDLE_SETTLE_S = 10


def boots(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("first", kernel=kernel, boot="256M", limit="1G", guarantee="256M")

    info = vm.monitor("info memory-devices")
    tap.check("memlease" in info, "`info memory-devices` shows the window", info)
    # QEMU puts memory devices above 4 GiB where RAM ends below that.
    address = re.search(r"addr: 0x([0-9a-f]+)", info)
    address = int(address.group(1), 16) if address else 0
    tap.check(address >= 256 << 20 and address % (2 << 20) == 0, "the window lies above RAM", info)

    tap.check("virtio_memlease" in vm.sh("lsmod"), "the driver is loaded")
    tap.check(vm.sh("ls /sys/bus/virtio/drivers/virtio_memlease/").count("virtio") >= 1, "and bound to the device")

    status = h.json("status", "first")
    status = status[0] if isinstance(status, list) else status
    tap.equal((status["state"], status["tenant"], status["plan"], status["broken"]),
              ("running", "acme", "standard", ""), "status tells state, tenant and plan")
    tap.equal((status["boot-blocks"], status["limit-blocks"], status["guarantee-blocks"]),
              (128, 512, 128), "and sizes in blocks")
    tap.check(0 < status["resident-blocks"] <= 128, "boot memory is resident as far as touched", status)
    tap.equal([v["name"] for v in h.json("list")], ["first"], "list has the VM")
    tap.check("first" in h.command("list"), "list has it for people too")
    tap.check(abs(vm.resident() - vm.status()["resident-blocks"]) <= 2,
              "the daemon counts what the file system counts")

    pool = h.pool()
    tap.equal(pool["lent-blocks"] + pool["free-blocks"], pool["pool-blocks"], "each block is lent or free")

    vm.stop()
    tap.check(wait_ended(vm) is not None, "stop ends the VM")
    tap.check(until(h.pool_whole, 3), "the pool is whole afterwards", h.pool())
    h.check_bill(tap, vm)


def idle(tap, kernel):
    h = host(tap, pool="6G")
    vm = h.vm("idle", kernel=kernel, boot="4G", limit="5G")
    began = time.monotonic()
    settled = until(lambda: vm.resident_mib() < IDLE_LIMIT_MIB, IDLE_SETTLE_S)
    took = time.monotonic() - began
    time.sleep(1)
    tap.say(f"{vm.resident_mib():.0f} MiB resident of 4 GiB, {took:.1f} s after boot")
    tap.check(settled and vm.resident_mib() < IDLE_LIMIT_MIB,
              f"an idle guest with 4 GiB of boot memory settles under {IDLE_LIMIT_MIB} MiB",
              f"{vm.resident_mib():.0f} MiB")


main(*[(test, kernel) for kernel in paths.KERNELS for test in (boots, idle)])
