#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A pool of two ranges in the lab, on two NUMA nodes, one of them called slower: the
daemon knows where each lies, and lends the faster one first."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CARVE_BASE, CARVE_MIB, MIB, Lab, main, until
from guest import Guest

NODE_MIB = 2048		# the first node has all that is below 4 GiB
SLOW_BASE, SLOW_MIB = 0x40000000, 256
FAST_BLOCKS = CARVE_MIB // 2
ON_FAST_MIB, ON_BOTH_MIB = 256, 640


def nodes():
    """Words for the machine: two nodes with a processor each."""
    words = []
    for node in range(2):
        words += ["-object", f"memory-backend-ram,id=node{node},size={NODE_MIB}M",
                  "-numa", f"node,nodeid={node},cpus={node},memdev=node{node}"]
    return words


def lent(lab, base):
    return next(r["lent-blocks"] for r in lab.pool()["ranges"] if r["base"] == base)


def ranges(tap):
    lab = Lab(tap, memory_mib=2 * NODE_MIB, smp="2,sockets=2", qemu=nodes(), append=f"memmap={SLOW_MIB}M$0x{SLOW_BASE:x}")
    lab.insmod()
    lab.daemon("--pool", f"reserved:0x{SLOW_BASE:x},{SLOW_MIB}M/1,0x{CARVE_BASE:x},{CARVE_MIB}M")
    known = [(r["base"], r["bytes"] // MIB, r["node"], r["tier"]) for r in lab.pool()["ranges"]]
    tap.equal(known, [(SLOW_BASE, SLOW_MIB, 0, 1), (CARVE_BASE, CARVE_MIB, 1, 0)],
              "base, size, node and tier of each range")
    vm = Guest(lab, "one", boot=f"{ON_BOTH_MIB}M", limit=f"{ON_BOTH_MIB + 128}M", driver=False, qemu=["-S"]).start()
    tap.need(until(lambda: (vm.status() or {}).get("state") == "running", 20), "a VM is there", lab.daemon_log())
    lab.sh(f"window touch {vm.status()['boot-path']} {ON_FAST_MIB}")
    tap.check(lent(lab, CARVE_BASE) >= ON_FAST_MIB // 2, "what it touches", lab.pool()["ranges"])
    tap.equal(lent(lab, SLOW_BASE), 0, "is of the faster range")
    lab.sh(f"window touch {vm.status()['boot-path']} {ON_BOTH_MIB}", 60)
    tap.check(until(lambda: lent(lab, CARVE_BASE) + lent(lab, SLOW_BASE) == vm.resident(), 5), "and more", lab.pool()["ranges"])
    tap.check(0 < lent(lab, SLOW_BASE) <= vm.resident() - FAST_BLOCKS + 1, "of the slower one when that is used up",
              lab.pool()["ranges"])
    vm.kill()
    tap.check(vm.wait_ended() is not None, "it ends")
    tap.equal([r["lent-blocks"] for r in lab.pool()["ranges"]], [0, 0], "and leaves nothing behind")


main(ranges)
