#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-looks: what the guest driver's looks at memory cost a guest that is in steady use, by the size of
its window: at rest, and while a target stands that cannot be met, because programs use all. In
milliseconds of a vCPU per second, of each of the driver's threads; of growing, which runs in a
kernel worker, with all else that these do. Run by scripts/bench; what the figures mean is in
docs/benchmarks.md. Environment: MEMLEASE_BENCH_WINDOWS (GiB each, "1 2 4 8")."""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib")]

from lib.host import host
from measure import Bench, until
from tables import show

import guests

WINDOWS_GIB = os.environ.get("MEMLEASE_BENCH_WINDOWS", "1 2 4 8").split()
BOOT_MIB = 512
LEAVE_MIB = 320		# of all memory, to programs and kernel
SETTLE_S, LOOK_S = 20, 30
THREADS = {"shrink": "memlease_shrink", "split": "memlease_split", "report": "memlease_report",
           "defrag": "memlease_defrag", "workers": "kworker/u*"}
READ = "; ".join(f"cat /dev/null $(for p in /proc/[0-9]*; do case $(cat $p/comm) in {comm}*) echo $p/schedstat;; esac; done) | "
                 f"awk '{{ ns += $1 }} END {{ printf \"%d\\n\", ns }}'" for comm in THREADS.values())


def work_ns(vm):
    """What each thread has run for so far."""
    return dict(zip(THREADS, map(int, vm.sh(f"({READ}) 2>/dev/null").split())))


def work_ms_s(vm, prefix):
    """Over LOOK_S, in milliseconds per second of the guest's clock."""
    def clock():
        return float(vm.sh("cat /proc/uptime").split()[0])
    before, began = work_ns(vm), clock()
    time.sleep(LOOK_S)
    after, took = work_ns(vm), clock() - began
    return {f"{prefix}_{name}_ms_s": (after[name] - before[name]) / 1e6 / took for name in THREADS}


def turn(bench, key):
    window = int(key.split("_")[0]) << 10
    h = host(bench, pool=f"{BOOT_MIB + window + 512}M")
    try:
        vm = h.vm("looks", kernel=guests.KERNEL, boot=f"{BOOT_MIB}M", limit=f"{BOOT_MIB + window}M")
        vm.sysfs_set("spare_after_ms", "0")
        vm.spawn("hog", f"hog fill:{BOOT_MIB + window - LEAVE_MIB - window // 64} mark:/tmp/full until:/tmp/end")
        full = until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n" or vm.ended("hog") is not None, 300, 0.5)
        bench.check(full is not None and vm.ended("hog") is None, "a program fills the VM", vm.sh("cat /tmp/hog.log"))
        bench.check(vm.status()["window-committed-blocks"] == window // 2, "all is lent", vm.status())
        time.sleep(SETTLE_S)
        figures = work_ms_s(vm, "rest")
        vm.set("--target", f"{BOOT_MIB}M")
        time.sleep(SETTLE_S)
        figures |= work_ms_s(vm, "target")
        bench.check(vm.status()["window-committed-blocks"] >= window // 2 - 128, "hardly anything can be given back", vm.status())
        bench.say(", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
        vm.stop()
        return figures
    finally:
        while bench.hosts:
            ended = bench.hosts.pop()
            ended.clean()


def main():
    keys = [f"{gib}_GiB" for gib in WINDOWS_GIB]
    bench = Bench("looks", keys, timed=False)
    bench.go(turn)
    fields = [f"{state}_{name}_ms_s" for state in ("rest", "target") for name in THREADS]
    result = {key: {field: bench.median(key, field) for field in fields} for key in bench.keys}
    bench.write(result)
    show(result)


if __name__ == "__main__":
    main()
