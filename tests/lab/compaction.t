#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compaction of the pool in the lab: the blocks of a VM are moved together while it
writes to all of them, so that whole GiBs are free; it loses nothing that it wrote, and
finds nothing that it did not write. Also when the daemon is killed in the midst of it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import CONTROL, Lab, main, until
from guest import Guest

GIB = 3			# of the pool; the first lacks the module's own block
LINUX_MIB = 3072	# 2 GiB below 4 GiB, and one before the carve-out
FILL_MIB = 224
FILLER_MIB = 1792	# with the VM's boot memory it leaves little of two GiBs
KILL_MS = 150		# when some of the moves have been made



def spread(tap, lab):
    """A VM whose blocks lie in all GiBs of the pool, and which writes to them."""
    vm = Guest(lab, "one", boot="192M", limit="448M").start().wait_up()
    filler = Guest(lab, "filler", boot=f"{FILLER_MIB}M", limit=f"{FILLER_MIB + 128}M", driver=False, qemu=["-S"]).start()
    tap.need(until(lambda: (filler.status() or {}).get("state") == "running", 20), "a VM that takes room is there",
             lab.daemon_log())
    lab.sh(f"window touch {filler.status()['boot-path']} {FILLER_MIB}", 60)
    vm.spawn("hog", f"hog fill:{FILL_MIB} check mark:/tmp/full rewrite:/tmp/go check free")
    vm.wait_mark("hog", "/tmp/full")
    filler.kill()
    tap.check(filler.wait_ended() is not None, "the first one is gone")
    return vm


def compaction(tap):
    lab = Lab(tap, carve_mib=GIB * 1024, memory_mib=LINUX_MIB + GIB * 1024)
    lab.pool_daemon()
    vm = spread(tap, lab)
    resident, small = vm.resident(), vm.kvm("pages_4k")
    tap.equal(lab.pool()["compaction"]["whole-gib"], 0, "no GiB of the pool is wholly free")
    before = lab.pid()
    lab.sh(f"ask {CONTROL} pool-compact '{{\"gib\": {GIB}}}'; usleep {KILL_MS}000; kill -9 {before}")
    lab.wait_daemon()
    tap.check(lab.pid() != before and until(lambda: vm.status()["state"] == "running", 10),
              "a daemon that is killed while it moves blocks comes back", vm.status())
    tap.check(abs(vm.resident() - resident) <= 2, f"and counts the VM's {resident} blocks", vm.resident())
    tap.say(lab.command("compact", "--gib", str(GIB)))
    pool = lab.pool()
    tap.check(pool["compaction"]["moved-blocks"] > 0, "blocks were moved", pool)
    tap.check(pool["compaction"]["whole-gib"] >= 1, "whole GiBs are free", pool)
    tap.check(abs(vm.resident() - resident) <= 2, "the VM has as many blocks as before", vm.resident(), resident)
    tap.check(vm.kvm("pages_2m") > FILL_MIB // 4 and vm.kvm("pages_4k") <= small, "mapped by entries of 2 MiB",
              vm.kvm("pages_2m"), vm.kvm("pages_4k"), small)
    vm.sh("touch /tmp/go")
    code, out = vm.wait("hog", 60)
    tap.check(code == 0 and "rewrote" in out, "what it wrote meanwhile is what it holds", out[-500:])
    tap.say(out)
    vm.stop()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    tap.check(until(lambda: lab.pool()["lent-blocks"] == 0, 5), "the pool is whole", lab.pool())


main(compaction)
