#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, what a program freed must be back in 2 s, and at once when asked
"""A guest grows when a program needs memory, and what the program frees comes back to
the host by itself, or at once when asked."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.host import host
from lib.tap import each, main, until

NEED_MIB = 1600
NEAR_MIB = 128
FALL_S = 2.0
AT_ONCE_S = 0.5


def grows(tap, kernel):
    h = host(tap, pool="3G")
    vm = h.vm("grow", kernel=kernel, limit="2304M")
    until(lambda: vm.resident_mib() < 200, 5)
    before = vm.resident_mib()

    vm.spawn("hog", f"hog fill:{NEED_MIB} check mark:/tmp/full until:/tmp/go free mark:/tmp/freed until:/tmp/end")
    until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n" or vm.ended("hog") is not None, 60, 0.2)
    tap.need(vm.ended("hog") is None, f"a program that needs {NEED_MIB} MiB lives in a VM with 256 MiB",
             vm.sh("cat /tmp/hog.log"))
    full = vm.resident_mib()
    status = vm.status()
    tap.say(f"resident {before:.0f} MiB before, {full:.0f} MiB with the program; "
            f"committed {status['committed-blocks'] * 2} MiB")
    tap.check(full >= 1536, "at least 1.5 GiB became resident", full)
    tap.check(status["committed-blocks"] <= status["limit-blocks"], "committed is within the limit", status)
    tap.check(status["resident-blocks"] <= status["committed-blocks"], "and resident within committed", status)

    asked_ns = time.monotonic_ns()
    vm.wait_mark("hog", "/tmp/freed", first="touch /tmp/go", every_us=5000)
    freed_ns = time.monotonic_ns()
    until(lambda: vm.resident_mib() <= before + NEAR_MIB, 8)
    time.sleep(0.1)
    took = h.sampler.since(freed_ns, (before + NEAR_MIB) / 2, vm.files)
    tap.say(f"back to {vm.resident_mib():.0f} MiB, {took} s after it was freed, which took "
            f"{(freed_ns - asked_ns) / 1e9:.2f} s")
    tap.check(took is not None and took <= FALL_S,
              f"within {FALL_S} s of its end the VM is within {NEAR_MIB} MiB of where it began",
              f"{took} s, {vm.resident_mib():.0f} MiB")
    tap.check(vm.status()["reported-blocks"] >= 700, "by reports")
    vm.sh("touch /tmp/end")
    tap.equal(vm.wait("hog")[0], 0, "the program ended well")

    at_once(tap, h, vm, before + NEAR_MIB)
    vm.stop()
    h.check_bill(tap, vm, least=1000)


def at_once(tap, h, vm, low):
    """REPORT_NOW: no waiting for the guest's own rhythm."""
    before, asked_ns = 0, 0
    # Right after the end of a program, before the guest reports by itself.
    for _ in range(5):
        vm.sh("hog zero:400 check free", 60)
        before, asked_ns = vm.resident_mib(), time.monotonic_ns()
        h.command("report-now", vm.name)
        if before > 1.5 * low:
            break
    tap.check(before > 1.5 * low, f"a program left {before:.0f} MiB behind")
    until(lambda: vm.resident_mib() < low, 5, 0.01)
    time.sleep(0.1)
    took = h.sampler.since(asked_ns, low / 2, vm.files)
    tap.check(took is not None and took < AT_ONCE_S, f"report-now takes them at once ({took} s)",
              f"{before:.0f} MiB before, {vm.resident_mib():.0f} MiB after, {low:.0f} MiB wanted")


main(*each(grows))
