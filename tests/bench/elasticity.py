#!/usr/bin/python3
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
ENOUGH = 0.95		# of what the guest freed: then it is back
MOST = 0.75		# of what was never touched, that must be reported
CALM_S = 2		# after a program's end: no system shall be judged by how it treats a rush
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
        self.floor = 0		# resident bytes while no program uses memory

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

    def release(self, calm_s=0):
        self.s.sh("elastic free")
        time.sleep(calm_s)

    def rest(self, quiet_s=1):
        """Until nothing changes; that is the floor from now on."""
        self.floor = settle(self.s, quiet_s, timeout_s=60)

    # --- giving back ---

    def back(self, name, start_ns, before, counts=True, at_least_s=0.0):
        """Until enough is back of what was resident at the start, above the floor;
        at_least_s: when the system itself said that it was done."""
        cpu, wanted = self.cpu_before, before - self.floor
        got = self.watch.below(before - ENOUGH * wanted, start_ns, LIMIT_S)
        if wanted < MOVE_MIB << 19 or got is None:
            raise AssertionError(f"{name}: of {wanted >> 20} MiB only {(before - self.watch.now()) >> 20} MiB "
                                 f"came back in {LIMIT_S} s")
        seconds, left = got
        self.rate(name, before - left, max(seconds, at_least_s), seen_s=seconds)
        self.cpu(name, cpu, counts)

    def begin(self):
        self.cpu_before = self.s.cpu()
        return time.monotonic_ns(), self.s.resident()

    def shrink(self, name):
        """The host lowers the VM's size, and the books say so; the seconds that took."""
        mib = VM_MIB - MOVE_MIB
        self.s.ask(mib)
        said = until(lambda: self.s.size_mib() <= mib, LIMIT_S)
        if said is None:
            raise AssertionError(f"{name}: still {self.s.size_mib()} MiB after {LIMIT_S} s")
        return said

    def shrink_untouched(self, name):
        """Of memory that nobody touched the file system cannot see the going; but it sees
        what a guest touches on the way, and that must be gone too."""
        start_ns, before = self.begin()
        was, said = self.s.size_mib(), self.shrink(name)
        got = self.watch.below(before + (1 - ENOUGH) * (MOVE_MIB << 20), start_ns + int(said * 1e9), LIMIT_S)
        if got is None:
            raise AssertionError(f"{name}: {(self.watch.now() - before) >> 20} MiB more resident than before")
        self.rate(name, (was - self.s.size_mib()) << 20, said + got[0],
                  peak_bytes=self.watch.peak(start_ns) - before)
        self.cpu(name, self.cpu_before)

    def shrink_touched(self, name, counts=False):
        """The host takes memory that the guest touched and freed. It is over when the
        books and the file system both say so."""
        start_ns, before = self.begin()
        self.back(name, start_ns, before, counts, self.shrink(name))

    # --- getting it again ---

    def total_mib(self):
        return int(self.s.sh("grep MemTotal: /proc/meminfo").split()[1]) // 1024

    def waiter(self, command):
        """Start a command of the guest that waits for something; a function that waits
        for it to end, and gives its output. It fails if the command has."""
        self.s.sh(f"rm -f /tmp/waiter; mkfifo /tmp/waiter; "
                  f"({{ {command}; echo $?; }} >/tmp/waiter 2>&1) >/dev/null 2>&1 &")

        def wait():
            *said, status = self.s.sh("cat /tmp/waiter", timeout_s=LIMIT_S).splitlines() or ["killed"]
            if status != "0":
                raise AssertionError(f"{command} has ended with status {status}: {' '.join(said)}")
            return " ".join(said)
        return wait

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

    def give_and_touch(self, name, total, ask=False):
        """The same, and a program that touches it: as soon as it is all there, or if
        total is None at once."""
        cpu, began = self.s.cpu(), time.monotonic()
        if total or ask:
            self.s.ask(VM_MIB)
        if total:
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
    turn.rest()
    total = turn.total_mib() - 8
    turn.shrink_untouched("reclaim_untouched")
    turn.give("return_untouched", total)
    turn.fill()
    turn.release(CALM_S)
    turn.shrink_touched("reclaim_touched", counts=True)
    turn.give("return", total, counts=True)
    turn.shrink("again")
    turn.give_and_touch("return_touch", total)
    turn.release()
    if turn.s.refuses:
        turn.out["shrink_gib_s"] = turn.out["reclaim_touched_gib_s"]
    return turn.done()


def reporting(bench, key):
    """The guest reports what is free, at its own pace; the host cannot ask for it."""
    turn = Turn(bench, key)
    turn.rest(quiet_s=5)
    turn.fill()
    turn.release()
    turn.back("reclaim_touched", *turn.begin())
    turn.rest(quiet_s=5)
    turn.give_and_touch("return_touch", None)
    return turn.done()


def memlease(bench, key):
    """Both ways: free memory reported because the host asks, and memory blocks taken."""
    turn = Turn(bench, key)
    s = turn.s
    turn.rest()
    # The driver reports by itself within half a second; here the host asks, and a
    # start that is blurred by the other would be none.
    s.sysfs("report_interval_ms", 0)
    turn.fill()
    turn.release()
    start = turn.begin()
    s.report_now()
    turn.back("reclaim_touched", *start)
    turn.rest()
    turn.give_and_touch("return_touch", None)
    s.take_all()
    total = turn.total_mib() - 8
    turn.release(CALM_S)
    turn.shrink_touched("shrink")
    turn.give("return", total, counts=True)
    untouched(turn)
    time.sleep(CALM_S)
    turn.shrink_untouched("shrink_untouched")
    s.sysfs("low_mark", "auto")
    turn.give_and_touch("shrunk_return_touch", None, ask=True)
    turn.release()
    return turn.done()


def untouched(turn):
    """Memory that was borrowed a moment ago and never touched. The file system cannot
    see it go; it is over when the host has answered the guest's reports of it."""
    s = turn.s
    path = s.sh("echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/reported_blocks").strip()
    was = int(s.sh(f"cat {path}"))
    cpu = s.cpu()
    # The kernel's own passes, one in 2 s, may have had a sixteenth or two.
    wanted = int(MOST * MOVE_MIB / BLOCK_MIB)
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
