#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-hugepages: what a page of 2 MiB costs in a fragmented guest. A program
keeps a quarter of the pages in every 2 MiB; then a module takes as many pages of
2 MiB as there is free memory for, each timed: with compaction on demand, after the
kernel was told to compact, and while a host lends. Also draws what the memory of
the guest looks like before, between and after. Run by scripts/bench; what the
figures mean is in docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), os.path.join(HERE, "lib")]

import time

import regions
from measure import OUT, SHOWN_OUT, Bench, percentile, settle
from tables import show

KEYS = ["memlease", "on_demand", "compacted"]
FIELDS = ["p50_us", "p95_us", "p99_us", "max_us", "wanted", "allocated", "before_failure", "failed", "compact_s", "take_s",
          "use_p50_us"]
ZEROED_FIELDS = ["p50_us", "p99_us", "allocated", "before_failure", "compact_s", "take_s"]
PERCENTS = (5, 10, 25, 30, 40, 50, 60, 75, 80, 90, 95, 99)
GUEST_MIB = 2048	# what is fragmented, in all systems
LEND_MIB = 2560		# what the host would lend besides
# What the program leaves free of a guest of fixed size: its own page tables (4 MiB), the reserve
# below, what the kernel keeps back of the lowest 16 MiB, and what two boots differ by. The
# original left an eighth of its machine.
LEAVE_MIB = 64
MIN_FREE_KIB = 8192	# so that Linux lets it take that much
PAGE_MIB = 2
LIMIT_S = 240
# Debian fills what it allocates with zeros, which takes the same time in all systems; the
# experiment that this one repeats did not. Both are measured; the first makes the figures
# without a prefix.
SETTINGS = (("", "init_on_alloc=0", FIELDS), ("zeroed_", "init_on_alloc=1", ZEROED_FIELDS))
HOG = "/sys/kernel/debug/hugehog"
STAGES = ("filled", "three quarters freed", "2 MiB pages allocated")
SHOWN = {"memlease": "memlease: the host lends", "on_demand": "Fixed size, compaction on demand",
         "compacted": "Fixed size, compacted beforehand"}


def prepare(s):
    """Before a guest is filled; the reserve that it had, KiB."""
    # Compaction by itself, in the background, would be help that no allocation asked for.
    s.sh("echo 0 >/proc/sys/vm/compaction_proactiveness")
    reserve = s.sh("cat /proc/sys/vm/min_free_kbytes").strip()
    s.sh(f"echo {MIN_FREE_KIB} >/proc/sys/vm/min_free_kbytes; insmod /lib/modules/hugehog.ko")
    return reserve


class Turn:
    """One system's turn with one setting: one VM, from its boot to its end."""

    def __init__(self, bench, key, append):
        self.bench, self.key, self.maps, self.out = bench, key, [], {}
        bench.say(f"boot, {append}")
        if key == "memlease":
            self.s = bench.start("memlease", mib=GUEST_MIB + LEND_MIB, boot_mib=GUEST_MIB, append=append)
        else:
            self.s = bench.start("fixed", mib=GUEST_MIB, append=append)

    def map(self):
        self.maps.append(regions.parse(self.s.sh("regions")))

    def fragment(self, take_mib):
        """Fill the guest but for what is to be left, then keep a quarter of the pages."""
        s = self.s
        reserve = prepare(s)
        free_mib = s.vm.free_mib()
        if self.key != "memlease" and free_mib < take_mib + LEAVE_MIB // 2:
            raise AssertionError(f"{free_mib} MiB are free: not enough for a program of {take_mib} MiB, though in the "
                                 f"guest in which that was found {LEAVE_MIB} MiB more were")
        s.spawn("frag", f"frag take:{take_mib} mark:/tmp/full until:/tmp/thin quarter mark:/tmp/thinned "
                        "until:/tmp/end check")
        s.wait_mark("frag", "/tmp/full", LIMIT_S)
        self.map()
        s.sh("touch /tmp/thin")
        s.wait_mark("frag", "/tmp/thinned", LIMIT_S)
        s.sh(f"echo {reserve} >/proc/sys/vm/min_free_kbytes")
        self.map()
        self.bench.say(f"fragmented: a quarter of {take_mib} MiB is in use all over the place")

    def compact(self):
        began = time.monotonic()
        self.s.sh("echo 1 >/proc/sys/vm/compact_memory", LIMIT_S)
        self.out["compact_s"] = time.monotonic() - began
        self.bench.say(f"compacted in {self.out['compact_s']:.1f} s")

    def allocate(self, wanted):
        """Take so many pages of 2 MiB."""
        s, out = self.s, self.out
        began = time.monotonic()
        s.sh(f"echo {wanted} >{HOG}/take", LIMIT_S)
        out["take_s"] = time.monotonic() - began
        lines = [line.split() for line in s.sh(f"cat {HOG}/nanoseconds").splitlines()]
        good = [int(ns) / 1e3 for ns, touch in lines if touch != "failed"]
        touches = [int(touch) / 1e3 for _, touch in lines if touch != "failed"]
        bad = [int(ns) / 1e3 for ns, touch in lines if touch == "failed"]
        first = next((n for n, (_, touch) in enumerate(lines) if touch == "failed"), None)
        if not good:
            raise AssertionError("not one page of 2 MiB could be allocated")
        out.update(wanted=wanted, allocated=len(good), failed=len(bad), max_us=max(good), us=good, failed_us=bad,
                   before_failure=len(good) if first is None else first,
                   touch_us=touches, touch_p50_us=percentile(touches, 50))
        out.update({f"p{p}_us": percentile(good, p) for p in PERCENTS})
        out.update({f"use_p{p}_us": percentile([a + b for a, b in zip(good, touches)], p) for p in (50, 95, 99)})
        failures = f"{first} before the first of {len(bad)} failures" if bad else "no failure"
        self.bench.say(f"{len(good)} of {wanted} allocated in {out['take_s']:.2f} s, {failures}; "
                       f"median {out['p50_us']:.1f} µs, p95 {out['p95_us']:.1f} µs, max {out['max_us']:.0f} µs; "
                       f"with the first touch {out['use_p50_us']:.1f} µs")
        self.map()

    def done(self):
        s = self.s
        s.sh(f"echo 1 >{HOG}/free; touch /tmp/end")
        code, text = s.wait("frag", LIMIT_S)
        if code:
            raise AssertionError(f"the program that fragments ended with status {code}: {text}")
        self.bench.end(s)
        return self.out


class Hugepages:
    """All turns. What the program takes, it takes of every guest."""

    take_mib = None

    def one(self, bench, key, append):
        turn = Turn(bench, key, append)
        turn.fragment(self.take_mib)
        if key == "compacted":
            turn.compact()
        settle(turn.s)
        turn.allocate(self.take_mib * 3 // 4 // PAGE_MIB)
        return turn.done(), turn.maps

    def turn(self, bench, key):
        if not self.take_mib:
            self.take_mib = min(self.measure(bench, append) for _, append, _ in SETTINGS)
        figures = {"take_mib": self.take_mib}
        for prefix, append, _ in SETTINGS:
            got, maps = self.one(bench, key, append)
            figures.update({prefix + name: value for name, value in got.items()})
            if not prefix:
                bench.maps[key] = maps
        return figures

    def measure(self, bench, append):
        """What the program can take of a guest of fixed size: the others have as much, or more."""
        s = bench.start("fixed", mib=GUEST_MIB, append=append)
        prepare(s)
        take_mib = s.vm.free_mib() - LEAVE_MIB
        bench.end(s)
        bench.say(f"{take_mib} MiB can be taken of a guest of {GUEST_MIB} MiB, {append}")
        return take_mib


def main():
    bench = Bench("hugepages", KEYS)
    bench.maps = {}
    bench.go(Hugepages().turn)
    fields = [prefix + field for prefix, _, fields in SETTINGS for field in fields]
    result = {key: {field: bench.median(key, field) for field in fields} for key in bench.keys}
    bench.write(result)
    for key, maps in bench.maps.items():
        path = os.path.join(OUT, f"hugepages-{key}.svg")
        with open(path, "w") as file:
            file.write(regions.svg(SHOWN[key], list(zip(STAGES, maps))))
    bench.say(f"pictures of the guest's memory: {SHOWN_OUT}/hugepages-*.svg")
    show(result)


if __name__ == "__main__":
    main()
