#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM comes up: the device, the window, the driver, what memlease shows of it; and an
idle VM with much boot memory costs little."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import re
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import each, main, until
from lib.vm import wait_ended

IDLE_LIMIT_MIB = 300
IDLE_SETTLE_S = 10


def boots(tap, kernel):
    h = host(tap, pool="6G")
    vm = h.vm("first", kernel=kernel, boot="4G", limit="5G", guarantee="256M", image="vmlinuz")
    began = time.monotonic()

    info = vm.monitor("info memory-devices")
    tap.check("memlease" in info, "`info memory-devices` shows the window", info)
    address = re.search(r"addr: 0x([0-9a-f]+)", info)
    address = int(address.group(1), 16) if address else 0
    tap.check(address >= 4 << 30 and address % (128 << 20) == 0, "the window lies above RAM", info)

    tap.check("virtio_memlease" in vm.sh("lsmod"), "the driver is loaded")
    tap.equal((vm.sysfs("state"), vm.sysfs("reporting")), ("running", "on"), "and well")

    status = h.json("status", "first")
    tap.equal((status["state"], status["tenant"], status["plan"], status["broken"]),
              ("running", "acme", "standard", ""), "status tells state, tenant and plan")
    tap.equal((status["boot-blocks"], status["limit-blocks"], status["guarantee-blocks"]),
              (2048, 2560, 128), "and sizes in blocks")
    tap.equal([v["name"] for v in h.json("list")], ["first"], "list has the VM")
    tap.check("first" in h.command("list"), "list has it for people too")

    settled = until(lambda: vm.resident_mib() < IDLE_LIMIT_MIB, IDLE_SETTLE_S)
    took = time.monotonic() - began
    time.sleep(1)
    tap.check(settled and vm.resident_mib() < IDLE_LIMIT_MIB,
              f"an idle guest with 4 GiB of boot memory settles under {IDLE_LIMIT_MIB} MiB",
              f"{vm.resident_mib():.0f} MiB")
    tap.say(f"{vm.resident_mib():.0f} MiB resident of 4 GiB, {took:.1f} s after boot")
    tap.check(until(lambda: abs(vm.resident() - vm.status()["resident-blocks"]) <= 1, 2),
              "the daemon counts what the file system counts", vm.resident(), vm.status())
    pool = h.pool()
    tap.equal(pool["lent-blocks"] + pool["free-blocks"], pool["pool-blocks"], "each block is lent or free")

    vm.stop()
    tap.check(wait_ended(vm) is not None, "stop ends the VM")
    tap.check(until(h.pool_whole, 3), "the pool is whole afterwards", h.pool())
    h.check_bill(tap, vm)


def detached(tap, kernel):
    """memlease run --detach: it returns, and the VM stays."""
    h = host(tap, pool="1G")
    vm = h.vm_start("apart", kernel=kernel, limit="512M", options=["--detach"])
    vm.attach()
    vm.process.wait(60)
    tap.equal(vm.process.returncode, 0, "run --detach returns")
    tap.equal(vm.status()["state"], "running", "and the VM runs")
    vm.wait_up()
    got = h.command("stop", "apart", "--force")
    tap.check(wait_ended(vm) is not None, "stop --force ends it", got)
    tap.check(until(h.pool_whole, 3), "the pool is whole afterwards", h.pool())
    got = h.command("stop", "apart", check=False)
    tap.check(got.returncode == 1 and "apart" in got.stderr, "a VM that is gone is named in the complaint", got)


main(*each(boots), (detached, NEWEST))
