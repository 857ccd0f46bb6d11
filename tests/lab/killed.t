#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the daemon on the `reserved` backend, at 50 random points, the start of the
daemon among them, while two VMs take and give back memory: they go on, their contents
are right, and no block is lost, lent twice or lent dirty. MEMLEASE_LAB_KILLS and
MEMLEASE_LAB_SEED choose how many, and which."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import random
import shlex

from lab import Lab, main, until
from guest import Guest

KILLS = int(os.environ.get("MEMLEASE_LAB_KILLS", 50))
SEED = int(os.environ.get("MEMLEASE_LAB_SEED", 4))
LONGEST_MS = 900	# that a daemon lives; it is up after some 100
LOOK_EVERY = 10		# kills
# Pauses, for the two of them else leave no time of the emulated processors to the daemon.
HOG = "hog fill:48 sleep:50 check free-half sleep:50 check fill:32 check free sleep:100 loop:100000"

# Start a daemon, let it live for a random time, and kill it; then one that may answer.
# The VM's QEMUs are nobody's children, so none ends with a daemon.
ROUND = """
for ms in {lives}; do
	{daemon} >>/tmp/killed.log 2>&1 & pid=$!
	usleep ${{ms}}000
	kill -9 $pid || echo "ended by itself after $ms ms"
	wait $pid 2>/dev/null
done
true
"""


def look(tap, lab, vms, number):
    """What must hold when a daemon has come up again."""
    lab.pool_daemon(keep=False)
    tap.check(until(lambda: all(vm.status()["state"] == "running" for vm in vms), 20),
              f"after {number} kills its successor has both VMs")
    pool = lab.pool()
    tap.equal(pool["lent-blocks"] + pool["free-blocks"], pool["pool-blocks"], "each block is lent or free")
    for vm in vms:
        tap.check(vm.ended("hog") is None and not vm.status()["broken"], f"{vm.name} goes on", vm.sh("tail -3 /tmp/hog.log"))


def killed(tap):
    chance = random.Random(SEED)
    lab = Lab(tap)
    lab.pool_daemon(keep=False)
    vms = [Guest(lab, name, boot="192M", limit="320M").start() for name in ("one", "two")]
    for vm in vms:
        vm.wait_up()
        vm.spawn("hog", HOG)
    pids = [vm.qemu_pid() for vm in vms]
    tap.say(f"seed {SEED}")
    for done in range(0, KILLS, LOOK_EVERY):
        lives = [chance.randrange(LONGEST_MS) for _ in range(min(LOOK_EVERY, KILLS - done))]
        lab.kill_daemon()
        out = lab.sh(ROUND.format(lives=" ".join(map(str, lives)), daemon=shlex.join(["memleased", *lab.pool_words()])), 120)
        tap.check("by itself" not in out, f"the daemon was killed after {lives} ms", out, lab.sh("cat /tmp/killed.log"))
        look(tap, lab, vms, done + len(lives))
    tap.equal([vm.qemu_pid() for vm in vms], pids, "the QEMUs are the same processes")
    for vm in vms:
        vm.sh("killall hog")
    level = lambda: sum(vm.resident() for vm in vms) == lab.pool()["lent-blocks"]
    tap.check(until(level, 10), "what is lent is behind the VMs", lab.pool(), [vm.resident() for vm in vms])
    for vm in vms:
        code, out = vm.wait("hog", 30)
        tap.check("WRONG" not in out and code == 143, f"{vm.name} never found other contents than it wrote", code, out[-500:])
        tap.check(out.count("loop") + out.count("free, holds") > 2, "and got on", out[-500:])
        vm.stop()
        tap.check(vm.wait_ended() is not None, f"{vm.name} ends")
    tap.check(until(lambda: lab.pool()["lent-blocks"] == 0, 10), "the pool is whole", lab.pool())


main(killed)
