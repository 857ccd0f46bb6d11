#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-lab: what a block costs inside the lab, where KVM is KVM and the host's memory
has no page array: the first touch by a guest, giving back what is free, and being
taken. Beside memlease stand virtio-mem and the balloon with the same nested KVM. Times
are of the lab's clock, under emulation: only their ratios mean something. Run by
scripts/bench; what the figures mean is in docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib"), os.path.join(TESTS, "lab", "lib")]

import time

from measure import Bench
from tables import show

import systems

LAB = True	# for scripts/bench
FIELDS = ["touch_us", "touch_again_us", "report_us", "return_us"]
TOUCH_MIB = 256
BLOCK_BYTES = 2 << 20
ENOUGH = 0.8		# of what the guest freed: more the balloon does not always give back
LIMIT_S = 120
CALM_S = 1


class Turn:
    """One system's turn, in a lab of its own."""

    def __init__(self, bench, key):
        self.bench, self.key, self.out = bench, key, {}
        bench.say("boot")
        self.s = systems.SYSTEMS[key](bench)
        bench.running.append(self.s)
        self.s.start()
        self.s.lab.spawn("behind", "behind " + " ".join(self.s.files()))
        time.sleep(CALM_S)

    def curve(self):
        """What has been behind the VM, as (ns, bytes)."""
        if self.s.lab.ended("behind") is not None:
            raise AssertionError(f"the lab's program that looks behind the VM has ended: {self.s.lab.wait('behind')}")
        lines = self.s.lab.sh("cat /tmp/behind.log", 60).splitlines()
        return [tuple(map(int, line.split())) for line in lines if len(line.split()) == 2]

    def now(self):
        return self.curve()[-1][1]

    def note(self, name, seconds, moved):
        blocks = moved / BLOCK_BYTES
        self.out[name] = seconds / blocks * 1e6
        self.out[name[:-3] + "_blocks"] = blocks
        self.bench.say(f"{name}: {blocks:.0f} blocks in {seconds * 1e3:.0f} ms: {self.out[name]:.0f} us each")

    def touch(self, name, resident=False):
        """A program writes to each page of so much memory; resident: of which the host has
        all already. The guest's own seconds, of its monotonic clock."""
        before = self.now()
        seconds = float(self.s.vm.sh(f"elastic touch {TOUCH_MIB}", LIMIT_S))
        time.sleep(CALM_S)
        moved = self.now() - before
        wanted = TOUCH_MIB << 20
        if (moved > wanted // 8) if resident else (moved < wanted * 3 // 4):
            raise AssertionError(f"{self.key}: {name}: {moved >> 20} MiB became resident, of {TOUCH_MIB} MiB touched")
        self.note(name, seconds, wanted)

    def free(self):
        self.s.vm.sh("elastic free", LIMIT_S)

    def back(self, name, ask, before, said=None):
        """From the asking until enough is gone of what was behind the VM before."""
        wanted = ENOUGH * (TOUCH_MIB << 20)
        sent = ask()
        deadline = time.monotonic() + LIMIT_S
        while True:
            gone = next(((ns, got) for ns, got in self.curve() if ns >= sent and got <= before - wanted), None)
            if gone and (said is None or said()):
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.key}: {name}: only {(before - self.now()) >> 20} MiB came back")
            time.sleep(0.3)
        self.note(name, (gone[0] - sent) / 1e9, before - gone[1])

    def done(self):
        self.s.lab.sh("killall behind")
        self.bench.running.remove(self.s)
        self.s.end()
        return self.out


def turn(bench, key):
    t = Turn(bench, key)
    t.touch("touch_us")
    if key != "virtio_balloon_reporting":	# which would give back meanwhile
        t.free()
        t.touch("touch_again_us", resident=True)
    full = t.now()
    t.free()
    if t.s.keeps_right:
        t.back("report_us", t.s.give_back, full)
        t.touch("touch_returned_us")
        full = t.now()
        t.free()
    if t.s.takes:
        time.sleep(CALM_S)
        t.back("return_us", t.s.take, full, t.s.taken)
    return t.done()


def main():
    bench = Bench("lab", list(systems.SYSTEMS))
    bench.go(turn)
    result = {key: {field: bench.median(key, field) for field in FIELDS} for key in bench.keys}
    bench.write(result)
    show(result)


if __name__ == "__main__":
    main()
