#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-interference: what a program feels that does nothing but read and write
memory, on the only vCPU of a VM, while the host takes 2 of its 4 GiB and gives
them back, again and again. QEMU's vCPU thread has one core of the host and all
else another. Run by scripts/bench; what the figures mean is in docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), os.path.join(HERE, "lib")]

import statistics
import time

from measure import Bench, Watch, percentile, settle
from tables import show

UNDISTURBED = "undisturbed"
KEYS = [UNDISTURBED, "memlease", "virtio_mem", "virtio_balloon", "virtio_balloon_reporting"]
VM_MIB, BOOT_MIB, MOVE_MIB, TOUCH_MIB = 4096, 1024, 2048, 2048
ARRAYS_MIB, SAMPLE_MS, SECONDS = 192, 100, 52
VCPU_CORE, OTHER_CORE = 0, 1
FREE_AT_S = 2		# a program that held 2 GiB ends
ASK_S = range(4, SECONDS, 8)	# then down, up, down, up: each with time to be done in
LIMIT_S = 180


def host_asks(bench, system, began):
    """Down and up, on a schedule that heeds nobody; MiB that moved, and the lowest size."""
    sizes = []
    for number, at in enumerate(ASK_S):
        time.sleep(max(0.0, began + at - time.monotonic()))
        sizes.append(system.size_mib())
        system.ask(VM_MIB if number % 2 else VM_MIB - MOVE_MIB)
    time.sleep(max(0.0, began + SECONDS - time.monotonic()))
    sizes.append(system.size_mib())
    moved = sum(abs(a - b) for a, b in zip(sizes, sizes[1:]))
    bench.say(f"sizes when the host asked: {' '.join(map(str, sizes))} MiB")
    return {"moved_gib": moved / 1024, "sizes_mib": sizes}


def turn(bench, key):
    bench.say("boot")
    s = bench.start("fixed" if key == UNDISTURBED else key, mib=VM_MIB, boot_mib=BOOT_MIB, smp=1)
    s.pin(VCPU_CORE, OTHER_CORE)
    settle(s)
    bench.say(f"a program takes {TOUCH_MIB} MiB")
    s.sh(f"elastic touch {TOUCH_MIB}", timeout_s=LIMIT_S)
    if key == "memlease":
        s.take_all()
    s.spawn("stream", f"stream {ARRAYS_MIB} {SAMPLE_MS} {SECONDS}")
    s.wait_that("stream", "grep -q begin /tmp/stream.log")
    began, out = time.monotonic(), {}
    with Watch(s) as watch:
        time.sleep(FREE_AT_S)
        before, cpu = s.resident(), s.cpu()
        s.sh("elastic free")
        if key != UNDISTURBED:
            out = host_asks(bench, s, began)
        time.sleep(max(0.0, began + SECONDS - time.monotonic()))
        out["lowest_resident_gib"] = min(got for _, got in watch.curve) / (1 << 30)
        out["before_gib"], out["host_cpu_s"] = before / (1 << 30), s.cpu().host - cpu.host
    status, text = s.wait("stream", LIMIT_S)
    if status:
        raise AssertionError(f"stream ended with status {status}: {text[-500:]}")
    lines = [list(map(int, line.split())) for line in text.splitlines()[1:]]
    rates = [moved / ns * 1e9 / (1 << 30) for _, ns, moved, _ in lines]
    shares = [100 * cpu / ns for _, ns, _, cpu in lines]
    bench.end(s)
    out.update(p1_gib_s=percentile(rates, 1), median_gib_s=statistics.median(rates),
               p1_cpu_percent=percentile(shares, 1),
               samples_gib_s=[round(rate, 3) for rate in rates], samples_cpu_percent=[round(s) for s in shares])
    bench.say(f"slowest percentile {out['p1_gib_s']:.2f} GiB/s, median {out['median_gib_s']:.2f} GiB/s, "
              f"slowest {min(rates):.2f} GiB/s; it had at least {out['p1_cpu_percent']:.0f} % of the vCPU")
    return out


def main():
    if os.cpu_count() <= max(VCPU_CORE, OTHER_CORE):
        raise SystemExit("bench-interference: needs two processors, one for the vCPU and one for the host")
    bench = Bench("interference", KEYS)
    os.sched_setaffinity(0, {OTHER_CORE})
    bench.go(turn)
    result = {key: {field: bench.median(key, field) for field in ("p1_gib_s", "median_gib_s")} for key in bench.keys}
    alone = result.get(UNDISTURBED)
    if alone:
        for key, figures in result.items():
            if key != UNDISTURBED:
                figures["p1_of_undisturbed_percent"] = 100 * figures["p1_gib_s"] / alone["p1_gib_s"]
    bench.write(result)
    show(result)


if __name__ == "__main__":
    main()
