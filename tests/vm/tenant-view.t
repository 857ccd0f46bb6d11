#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a tenant sees in the VM is what the host's meter counts; and a host that is
away costs who looks two seconds, and nothing else."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import threading
import time

from lib import paths
from lib.host import host
from lib.tap import main, until

AWAY_S = 5
NEAR_BLOCKS = 24	# what a shell in the guest touches meanwhile


def view(vm):
    return json.loads(vm.sh("memlease-guest --json"))


def sees_its_meter(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("view", kernel=kernel, limit="1G")
    vm.spawn("hog", "hog fill:400 mark:/tmp/full until:/tmp/go")
    vm.wait_mark("hog", "/tmp/full")
    seen, status = view(vm), vm.status()
    tap.check(abs(seen["resident_blocks"] - status["resident-blocks"]) <= NEAR_BLOCKS and
              abs(seen["resident_blocks"] - vm.resident()) <= NEAR_BLOCKS and seen["resident_blocks"] > 200,
              f"resident: {seen['resident_blocks']} blocks in the guest, {status['resident-blocks']} on the host")
    tap.equal(seen["committed_blocks"], status["committed-blocks"] - 128, "borrowed, without boot memory")
    tap.check(0 < seen["resident_boot_blocks"] <= 128, "boot memory's part", seen)
    tap.equal((seen["limit_blocks"], seen["target_blocks"], seen["state"]), (status["limit-blocks"] - 128, None,
              "running"), "limit and target")
    first, at = seen["metered_block_seconds"], time.monotonic()
    time.sleep(2)
    gained, lasted = view(vm)["metered_block_seconds"] - first, time.monotonic() - at
    tap.between(0.8, gained / (seen["resident_blocks"] * lasted), 1.2, "the meter runs with what is resident")
    vm.sh("memlease-guest")

    # A guest without a daemon stops where it touches memory that nothing backs yet; so
    # there is a new one before long, and only who was not stopped must have given up.
    h.kill_daemon()
    began = time.monotonic()
    later = threading.Timer(AWAY_S, h.start)
    later.start()
    silent = json.loads(vm.sh("memlease-guest --json"))
    took = time.monotonic() - began
    tap.check((silent["resident_blocks"] is None or took > AWAY_S) and
              silent["committed_blocks"] == seen["committed_blocks"],
              f"without a daemon: what the guest knows itself ({took:.1f} s)", silent)
    later.join()
    tap.check(until(lambda: view(vm)["resident_blocks"], 10), "with the next daemon it is answered again")
    after = view(vm)
    tap.check(after["metered_block_seconds"] > first, "and the meter has gone on", first, after)
    vm.sh("touch /tmp/go")
    vm.wait("hog")


main(*[(sees_its_meter, kernel) for kernel in paths.KERNELS])
