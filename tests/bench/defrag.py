#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-defrag: how to choose the blocks that are emptied, so that strewn free memory
can be reported. The driver's three choosers, and Linux' own compaction, in the same
guest on the same fragmented states: pages moved, time, blocks that the host had back
by the file system's count. Run by scripts/bench; what the figures mean is in
docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), os.path.join(HERE, "lib")]

import time

from measure import Bench, settle
from tables import show

KEYS = ["cheapest", "fewest", "address", "linux_compaction"]
STATES = ["quarter", "uneven", "build"]
FIELDS = ["pages_moved", "s", "cleared_blocks", "pages_per_block", "before_blocks", "after_blocks", "guest_cpu_s"]
VM_MIB, BOOT_MIB = 2048, 512
FRAG_MIB = 1280
SYSFS = "/sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease"
BLOCK = 2 << 20
LIMIT_S = 120


def pattern(state, seed):
    """What frag is to keep; the seed is the round's, so that all choosers get the same."""
    return {"quarter": "quarter", "uneven": f"uneven:{seed}:25", "build": f"build:{seed}"}[state]


def moved(s):
    """Pages that the kernel has migrated, by its own count."""
    return int(s.sh("grep pgmigrate_success /proc/vmstat").split()[1])


def settled(s):
    """Blocks behind the VM when what is free has been reported."""
    s.report_now()
    return settle(s, quiet_s=1.5) / BLOCK


def one_state(bench, s, key, state, seed):
    """Fragment, defragment, and see that the program has what it kept."""
    s.sh("rm -f /tmp/thin /tmp/end")
    s.spawn("frag", f"frag take:{FRAG_MIB} {pattern(state, seed)} mark:/tmp/thin until:/tmp/end check")
    s.wait_mark("frag", "/tmp/thin", LIMIT_S)
    before, pages, cpu = settled(s), moved(s), s.cpu()
    how = "echo 1 >/proc/sys/vm/compact_memory" if key == "linux_compaction" else f"echo now >$(echo {SYSFS}/defrag)"
    began = time.monotonic()
    s.sh(how, timeout_s=LIMIT_S)
    seconds = time.monotonic() - began
    spent = s.cpu().guest - cpu.guest
    after, pages = settled(s), moved(s) - pages
    s.sh("touch /tmp/end")
    status, said = s.wait("frag", LIMIT_S)
    if status:
        raise AssertionError(f"the program that fragments has ended with status {status}: {said}")
    cleared = before - after
    bench.say(f"{state}: {cleared:.0f} of {before:.0f} blocks back with {pages} pages in {seconds:.2f} s")
    return {f"{state}_{name}": value for name, value in zip(FIELDS, (
        pages, seconds, cleared, pages / cleared if cleared > 0 else None, before, after, spent))}


def turn(bench, key):
    bench.say("boot")
    s = bench.start("memlease", mib=VM_MIB, boot_mib=BOOT_MIB)
    s.sysfs("defrag", "off")
    if key != "linux_compaction":
        s.sysfs("defrag_policy", key)
    seed = len(bench.raw[key]) + 1
    out = {}
    for state in STATES:
        out.update(one_state(bench, s, key, state, seed))
    bench.end(s)
    return out


def main():
    bench = Bench("defrag", KEYS)
    bench.go(turn)
    result = {key: {f"{state}_{field}": bench.median(key, f"{state}_{field}") for state in STATES for field in FIELDS}
              for key in bench.keys}
    bench.write(result)
    show(result)


if __name__ == "__main__":
    main()
