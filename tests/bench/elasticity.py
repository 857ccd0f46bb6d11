#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-elasticity: the HyperAlloc paper's inflate test, scaled to a VM of 4 GiB
of which 3 GiB come and go. How fast does the host get memory back that a guest
touched and freed, or never touched; how fast can the guest have it again, and use
it? Run by scripts/bench; what the figures mean is in docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), os.path.join(HERE, "lib")]

import time

from measure import BLOCK_MIB, Bench, Watch, settle, until
from tables import show

KEYS = ["memlease", "virtio_mem", "virtio_balloon", "virtio_balloon_reporting"]
FIELDS = ["reclaim_touched_gib_s", "reclaim_untouched_gib_s", "shrink_gib_s", "return_gib_s", "return_touch_gib_s",
          "guest_cpu_s", "host_cpu_s"]
VM_MIB, BOOT_MIB, MOVE_MIB = 4096, 1024, 3072
TOUCH_MIB = 2944	# what is free of 3 GiB in all systems, page arrays and the kernel's reserves taken off
ENOUGH = 0.95		# of what was asked for: then it is back
LIMIT_S = 180
GIB = 1 << 30


class Turn:
    """One system's turn: one VM, from its boot to its end."""

    def __init__(self, bench, key):
        self.bench, self.key = bench, key
        self.out = {}
        bench.say("boot")
        self.s = bench.start(key, mib=VM_MIB, boot_mib=BOOT_MIB)
        self.watch = Watch(self.s)
        self.spent = [0.0, 0.0]

    def rate(self, name, amount, seconds, **more):
        """Note a figure, and its parts."""
        self.out[f"{name}_gib_s"] = amount / GIB / seconds
        self.out[f"{name}_bytes"], self.out[f"{name}_s"] = amount, seconds
        self.out.update({f"{name}_{k}": v for k, v in more.items()})
        self.bench.say(f"{name}: {amount / GIB:.2f} GiB in {seconds * 1e3:.0f} ms, {amount / GIB / seconds:.2f} GiB/s")

    def cpu(self, name, before, counts=False):
        now = self.s.cpu()
        self.out[f"{name}_guest_cpu_s"] = now.guest - before.guest
        self.out[f"{name}_host_cpu_s"] = now.host - before.host
        if counts:
            self.spent[0] += now.guest - before.guest
            self.spent[1] += now.host - before.host

    # --- what the guest does ---

    def fill(self):
        """3 GiB touched by a program; the host's seconds for it."""
        began = time.monotonic()
        self.out.setdefault("guest_touch_s", []).append(
            float(self.s.sh(f"elastic touch {TOUCH_MIB}", timeout_s=LIMIT_S)))
        return time.monotonic() - began

    def release(self):
        self.s.sh("elastic free")

    # --- giving back ---

    def back(self, name, start_ns, before, wanted, counts=True, at_least_s=0.0):
        """Until enough of `wanted` bytes is back; before: what was resident at the start.
        at_least_s: when the system itself said that it was done."""
        cpu = self.cpu_before
        got = self.watch.below(before - ENOUGH * wanted, start_ns, LIMIT_S)
        if got is None:
            raise AssertionError(f"{name}: of {wanted >> 20} MiB only {(before - self.watch.now()) >> 20} MiB "
                                 f"came back in {LIMIT_S} s")
        seconds, left = got
        self.rate(name, before - left, max(seconds, at_least_s), said_s=at_least_s)
        self.cpu(name, cpu, counts)

    def begin(self):
        self.cpu_before = self.s.cpu()
        return time.monotonic_ns(), self.s.resident()

    def resize(self, name, mib, counts=False):
        """Ask for less, and wait until the host's books say so; for memory that the file
        system cannot see going, and what it takes besides must be gone too."""
        start_ns, before = self.begin()
        was = self.s.size_mib()
        self.s.ask(mib)
        said = until(lambda: self.s.size_mib() <= mib, LIMIT_S)
        if said is None:
            raise AssertionError(f"{name}: still {self.s.size_mib()} MiB after {LIMIT_S} s")
        peak = self.watch.peak(start_ns)
        self.watch.below(before + (1 - ENOUGH) * MOVE_MIB * (1 << 20), start_ns, LIMIT_S)
        seconds = max(said, 0.0)
        self.rate(name, (was - self.s.size_mib()) << 20, seconds, peak_bytes=peak - before)
        self.cpu(name, self.cpu_before, counts)

    def shrink_touched(self, name, counts=False):
        """The host takes memory that the guest touched and freed. It is over when the
        books and the file system both say so."""
        start_ns, before = self.begin()
        self.s.ask(VM_MIB - MOVE_MIB)
        said = until(lambda: self.s.size_mib() <= VM_MIB - MOVE_MIB, LIMIT_S)
        if said is None:
            raise AssertionError(f"{name}: still {self.s.size_mib()} MiB after {LIMIT_S} s")
        self.back(name, start_ns, before, TOUCH_MIB << 20, counts, said)

    # --- getting it again ---

    def total_mib(self):
        return int(self.s.sh("grep MemTotal: /proc/meminfo").split()[1]) // 1024

    def waiter(self, command):
        """Start a command of the guest that waits for something; a function that waits
        for it to end, and gives its output."""
        self.s.sh(f"rm -f /tmp/waiter; mkfifo /tmp/waiter; ({command} >/tmp/waiter) >/dev/null 2>&1 &")
        return lambda: self.s.sh("cat /tmp/waiter", timeout_s=LIMIT_S)

    def give(self, name, total, counts=False):
        """Until Linux in the guest has it all (of total MiB) again."""
        wait = self.waiter(f"elastic total {total}")
        cpu, was = self.s.cpu(), self.s.size_mib()
        began = time.monotonic()
        self.s.ask(VM_MIB)
        wait()
        seconds = time.monotonic() - began
        until(lambda: self.s.size_mib() >= VM_MIB, 5)
        self.rate(name, (self.s.size_mib() - was) << 20, seconds)
        self.cpu(name, cpu, counts)
        return seconds

    def give_and_touch(self, name, total):
        """The same, and a program that touches it as soon as it is there."""
        cpu, began = self.s.cpu(), time.monotonic()
        if total:
            self.s.ask(VM_MIB)
            self.s.sh(f"elastic total {total}", timeout_s=LIMIT_S)
        self.fill()
        self.rate(name, TOUCH_MIB << 20, time.monotonic() - began)
        self.cpu(name, cpu)

    def done(self):
        self.watch.stop()
        self.out["guest_cpu_s"], self.out["host_cpu_s"] = self.spent
        self.bench.end(self.s)
        return self.out


def peer(bench, key):
    """virtio-mem and the balloon: one way to give memory back."""
    turn = Turn(bench, key)
    settle(turn.s)
    total = turn.total_mib() - 8
    turn.resize("reclaim_untouched", VM_MIB - MOVE_MIB)
    turn.give("return_untouched", total)
    turn.fill()
    turn.release()
    turn.shrink_touched("reclaim_touched", counts=True)
    turn.give("return", total, counts=True)
    turn.resize("again", VM_MIB - MOVE_MIB)
    turn.give_and_touch("return_touch", total)
    turn.release()
    if turn.s.refuses:
        turn.out["shrink_gib_s"] = turn.out["reclaim_touched_gib_s"]
    return turn.done()


def reporting(bench, key):
    """The guest reports what is free, at its own pace; the host cannot ask for it."""
    turn = Turn(bench, key)
    settle(turn.s, quiet_s=5, timeout_s=60)
    turn.fill()
    turn.release()
    start_ns, before = turn.begin()
    turn.back("reclaim_touched", start_ns, before, TOUCH_MIB << 20)
    settle(turn.s, quiet_s=5, timeout_s=60)
    turn.give_and_touch("return_touch", None)
    return turn.done()


def memlease(bench, key):
    """Both ways: free memory reported because the host asks, and memory blocks taken."""
    turn = Turn(bench, key)
    s = turn.s
    # The driver reports by itself within half a second; here the host asks, and a
    # start that is blurred by the other would be none.
    s.sysfs("report_interval_ms", 0)
    turn.fill()
    turn.release()
    start_ns, before = turn.begin()
    s.report_now()
    turn.back("reclaim_touched", start_ns, before, TOUCH_MIB << 20)
    settle(s)
    turn.give_and_touch("return_touch", None)
    turn.release()
    # It shall borrow all it may as soon as it may, as if programs needed it.
    s.sysfs("low_mark", f"{VM_MIB * 7 // 8}M")
    total = turn.total_mib() - 8
    turn.shrink_touched("shrink")
    turn.give("return", total, counts=True)
    untouched(turn)
    turn.resize("shrink_untouched", VM_MIB - MOVE_MIB)
    s.sysfs("low_mark", "auto")
    began = time.monotonic()
    s.ask(VM_MIB)
    turn.fill()
    turn.rate("shrunk_return_touch", TOUCH_MIB << 20, time.monotonic() - began)
    turn.release()
    return turn.done()


def untouched(turn):
    """Memory that was borrowed a moment ago and never touched. The file system cannot
    see it go; it is over when the host has answered the guest's reports of it."""
    s = turn.s
    path = s.sh("echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/reported_blocks").strip()
    was = int(s.sh(f"cat {path}"))
    cpu = s.cpu()
    wanted = int(ENOUGH * TOUCH_MIB / BLOCK_MIB)
    wait = turn.waiter(f"elastic count {path} {was + wanted}")
    began = time.monotonic()
    s.report_now()
    done = int(wait())
    turn.rate("reclaim_untouched", (done - was) * BLOCK_MIB << 20, time.monotonic() - began)
    turn.cpu("reclaim_untouched", cpu)


def turn(bench, key):
    return {"memlease": memlease, "virtio_balloon_reporting": reporting}.get(key, peer)(bench, key)


def main():
    bench = Bench("elasticity", KEYS)
    bench.go(turn)
    result = {key: {field: bench.median(key, field) for field in FIELDS} for key in bench.keys}
    bench.write(result)
    show(result)


if __name__ == "__main__":
    main()
