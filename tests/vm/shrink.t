#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host asks for memory: the guest shrinks as far as it can, says how far it came,
and loses nothing that it holds."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import time

from lib.console import NO_ROOM
from lib.host import host
from lib.tap import each_load, main, until

import patience

DEADLINE_S = 10
QUIET_TIMES = 8


def blocks(mib):
    return mib // 2


def shrinks(tap, kernel):
    h = host(tap, pool="3G")
    vm = h.vm("shrink", kernel=kernel, limit="2304M", expected=NO_ROOM)
    vm.spawn("hog", "hog fill:1200 mark:/tmp/full until:/tmp/half free-half check mark:/tmp/halved "
                    "until:/tmp/end check")
    vm.wait_mark("hog", "/tmp/full")
    grown = vm.status()["committed-blocks"]
    tap.check(grown >= blocks(1200), "the VM has grown", grown)

    # What cannot be: nearly all of it is in use.
    vm.set("--target", "512M", "--deadline", "2s")
    until(lambda: vm.status()["target-state"] == "partly", 10, 0.1)
    status = vm.status()
    tap.equal(status["target-state"], "partly", "a target that cannot be met is reported as partly met")
    tap.check(status["guest"].get("committed-blocks") == status["window-committed-blocks"],
              "and the guest says how far it came", status)
    vm.set("--target", "none")

    # What can: half of it is freed, in pieces of 4 MiB all over the place.
    vm.wait_mark("hog", "/tmp/halved", first="touch /tmp/half")
    began = time.monotonic()
    vm.set("--target", "1280M", "--deadline", f"{DEADLINE_S}s")
    met = until(lambda: vm.status()["target-state"] == "met", DEADLINE_S + 5, 0.05)
    status = vm.status()
    tap.say(f"from {grown * 2} to {status['committed-blocks'] * 2} MiB in {time.monotonic() - began:.1f} s")
    tap.check(met, "a target that can be met is met", status)
    tap.check(status["committed-blocks"] <= blocks(1280), "committed came down to it", status)
    vm.sh("touch /tmp/end")
    code, out = vm.wait("hog")
    tap.check(code == 0, "and the program's memory holds what it held", out)

    # Nothing in use any more: down to boot memory, and up again after. If kernel
    # memory had run short, one memory block went to it, and need not come back.
    vm.set("--target", "256M", "--deadline", f"{DEADLINE_S}s")
    until(lambda: vm.status()["target-state"] in ("met", "partly"), DEADLINE_S + 5)
    status = vm.status()
    kernel_blocks = int(vm.sh("cd /sys/devices/system/memory; "
                              "grep -lx Normal $(grep -lx online memory*/state | sed s/state/valid_zones/) | wc -l"))
    tap.say(f"{kernel_blocks} memory blocks of the window hold kernel memory")
    tap.check(kernel_blocks <= 1 and status["window-committed-blocks"] == kernel_blocks * blocks(128),
              "with nothing in use the window is returned, but for what became kernel memory", status)
    tap.equal(status["target-state"], "partly" if kernel_blocks else "met", "and the state says so")
    vm.set("--target", "none")
    quiet(tap, vm)
    vm.sh("hog fill:600 check", 60)
    tap.check(True, "the VM grows again when the target is gone")

    contents(tap, h, vm)

    # A limit is a promise to others: nothing is granted above it.
    vm.set("--target", "256M")
    until(lambda: vm.status()["window-committed-blocks"] == 0, 10)
    vm.set("--target", "none", "--limit", "512M")
    vm.sh("hog fill:350 check", 60)
    status = vm.status()
    tap.check(status["committed-blocks"] <= blocks(512), "a lowered limit holds", status)
    vm.set("--limit", "2304M")
    vm.spawn("hog", "hog fill:600 " + "check " * 50)
    until(lambda: vm.status()["window-committed-blocks"] > blocks(512), 10)
    vm.stop()
    tap.check(True, "a VM that uses its window can be shut down")
    h.check_bill(tap, vm)


def quiet(tap, vm):
    """Memory of a block that is being emptied is missing, and no program took it: so
    shrinking never leaves off for programs where there are none."""
    mark = "/sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/low_mark"
    # As if programs needed all that the VM may have; no mark is above the memory there is.
    grown = lambda: (vm.sh(f"awk '/MemTotal/ {{ print ($2 < 2064384 ? $2 : 2064384) \"K\" }}' /proc/meminfo >$(echo {mark})"),
                     vm.status()["committed-blocks"] >= blocks(2304))[1]
    yields, times = int(vm.sysfs("shrink_yields")), 0
    while times < QUIET_TIMES and until(grown, 20):
        time.sleep(1)	# until the rate of growing is forgotten
        vm.set("--target", "640M", "--deadline", f"{DEADLINE_S}s")
        times += until(lambda: vm.status()["target-state"] == "met", DEADLINE_S, 0.02)
        vm.set("--target", "none")
    vm.sh(f"echo auto >$(echo {mark})")
    tap.equal(times, QUIET_TIMES, "memory that nobody uses comes and goes at the host's word")
    tap.equal(int(vm.sysfs("shrink_yields")), yields, f"with no program about, shrinking never waits for one, {QUIET_TIMES} times")


def contents(tap, h, vm):
    """A large working set, changing all the time, while the host keeps asking. No target
    is below what the program needs at most: the host grants nothing above a target."""
    vm.spawn("hog", "hog fill:500 check fill:200 free-half check fill:300 check free-half check "
                    "zero:200 check free loop:2")
    chance = random.Random(7)
    asked = 0
    until_s = patience.clock() + 90
    while vm.ended("hog") is None and patience.clock() < until_s:
        for what in chance.sample(range(4), 4):
            if what == 0:
                h.command("report-now", vm.name)
            elif what == 1:
                vm.set("--target", "none")
            else:
                vm.set("--target", f"{2 * chance.randrange(480, 700)}M", "--deadline", "1s")
            asked += 1
            time.sleep(0.1)
    vm.set("--target", "none")
    code, out = vm.wait("hog", 60)
    tap.say(f"asked {asked} times; {vm.status()['reported-blocks']} blocks reported")
    tap.check(code == 0, "while the host kept asking, a program never found other contents than it wrote", out)
    tap.check(vm.status()["broken"] == "", "the device is well", vm.status())


main(*each_load(shrinks))
