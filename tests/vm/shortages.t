#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shortages of memory. No program is killed and no guest stops while the host would lend; what
is of no use goes back.

The matrix: each kind, with no target and with one that stands below what is needed, in a VM that
may be lent much more and in one that has been lent all it may have (at the limit). Some cells are
for `make check`, once; all of them, fifty times each, for `make check-long` (MEMLEASE_ROUNDS).

  kind      who is short of memory, and how
  movable   programs: one fills what it can
  kernel    the kernel: pipes are filled
  pieces    the kernel, of two pages and more in one piece: its free memory is in single
            pages, between others that do not move, and thousands of pipes want 16 KiB each
  node      programs that may use one NUMA node only, the window's
  marks     the kernel keeps more for itself: vm.min_free_kbytes jumps beside a program that fills
  offline   programs: blocks were taken off line by hand
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import contextlib
import time

from lib import numa
from lib.console import PINNED_MEANWHILE
from lib.host import host
from lib.paths import LONG, NEWEST
from lib.tap import main, until

ROUNDS = int(os.environ.get("MEMLEASE_ROUNDS") or (50 if LONG else 1))
BLOCK_MIB = 2
BOOT_MIB = 512
TARGET = "768M"		# one that stands
LIMIT_MIB = {"below": 3072, "at": 1536}
KEEP_MIB = {"below": 450, "at": 700}	# of a program that has memory before, of the window too
TARGETS = ("none", "standing")
OFFLINE_S = 2		# Linux tries for ever where it has no room for what is in a block, and says so
NO_ROOM_BY_HAND = (r"sh: page allocation failure: order:0,.*__GFP_RETRY_MAYFAIL", "page dumped because: migration failure")
MAY_GROW_MIB = 512	# for who is not bound: the kernel is short of what the bound program took
FILE_LIMIT_S = 6 * 3600 if LONG else 300


def number(vm, name):
    return int(vm.sysfs(name))


def stays(vm, name, for_s, within_s):
    """Does a number of the driver's come to rest?"""
    began, since, was = time.monotonic(), time.monotonic(), number(vm, name)
    while time.monotonic() - since < for_s:
        if time.monotonic() - began > within_s:
            return False
        time.sleep(0.5)
        if number(vm, name) != was:
            since, was = time.monotonic(), number(vm, name)
    return True


def lent_mib(vm):
    return number(vm, "committed_blocks") * BLOCK_MIB


def full(vm, name):
    return vm.sh_status(f"[ -e /tmp/{name}.full ]", 60)[0] == 0


def fill(vm, name, mib, before="", steps="", timeout_s=90):
    """A program that fills so much and then waits for its end; whether it got it."""
    vm.spawn(name, f"hog {before} fill:{mib} mark:/tmp/{name}.full {steps} until:/tmp/{name}.end check")
    return until(lambda: vm.ended(name) is not None or full(vm, name), timeout_s, 0.1) and vm.ended(name) is None


def end(vm, *names):
    """They end; whether all found what they wrote."""
    vm.sh(f"touch {' '.join(f'/tmp/{name}.end' for name in names)}")
    codes = [vm.wait(name, 60)[0] for name in names]
    vm.sh("rm -f /tmp/*.end /tmp/*.full")
    return not any(codes)


def log(vm, name):
    return vm.sh(f"cat /tmp/{name}.log")


def storm(vm, steps):
    code, out = vm.sh_status(f"storm {steps}", 120)
    return code == 0, out


def down(vm, to=f"{BOOT_MIB}M"):
    """Back to boot memory, so that the next begins from there."""
    vm.set("--target", to, "--deadline", "10s")
    until(lambda: vm.status()["target-state"] in ("met", "partly"), 20)
    vm.set("--target", "none")


def why(vm):
    """What the driver has to say where a program was killed."""
    return vm.sh("cd /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease; "
                 "head -n 20 last_refusal refusals last_error target_state limit memory_blocks")


# The kinds: each brings a shortage about, in a VM "below" or "at" its limit, and says whether
# nobody failed, and what it saw. What programs are left end with the round.

def movable(vm, limit, go):
    return fill(vm, "hog", {"below": 1200, "at": 550}[limit]), log(vm, "hog")


def kernel(vm, limit, go):
    return storm(vm, {"below": "pipes:900:500", "at": "pipes:450:500"}[limit])


def pieces(vm, limit, go):
    return storm(vm, f"sieve:300 rings:{({'below': 12000, 'at': 9000}[limit])} fork:{10 * (go % 7)}")


def node(vm, limit, go):
    return fill(vm, "hog", {"below": 1000, "at": 400}[limit], before="bind:1"), log(vm, "hog")


def marks(vm, limit, go):
    mib, keep_kib = {"below": (1000, 786432), "at": (250, 300000)}[limit]
    was = vm.sh("cat /proc/sys/vm/min_free_kbytes").strip()
    vm.spawn("hog", f"hog fill:{mib} mark:/tmp/hog.full until:/tmp/hog.end check")
    vm.sh(f"usleep {go % 10 * 100000}; echo {keep_kib} >/proc/sys/vm/min_free_kbytes", 60)
    until(lambda: vm.ended("hog") is not None or full(vm, "hog"), 90, 0.1)
    well, out = storm(vm, "fork:200")
    alive = vm.ended("hog") is None
    vm.sh(f"echo {was} >/proc/sys/vm/min_free_kbytes")
    return well and alive, log(vm, "hog") + out


def offline(vm, limit, go):
    if limit == "below" and not (fill(vm, "hog", 900) and end(vm, "hog")):
        return False, log(vm, "hog")
    vm.sh("n=0; for m in /sys/devices/system/memory/memory*; do [ $n = 2 ] && break; "
          f"[ $(cat $m/valid_zones | cut -d' ' -f1) = Movable ] && timeout {OFFLINE_S} sh -c \"echo offline >$m/state\" 2>/dev/null "
          "&& n=$((n + 1)); done; true", 60)
    return fill(vm, "hog", {"below": 900, "at": 250}[limit]), log(vm, "hog")


KINDS = {kind.__name__: kind for kind in (movable, kernel, pieces, node, marks, offline)}


def to_limit(tap, vm):
    """All that it may have is lent, and some of it is free again."""
    fill(vm, "most", 600)
    got = until(lambda: lent_mib(vm) == LIMIT_MIB["at"] - BOOT_MIB, 20, 0.1)
    end(vm, "most")
    tap.need(got, "all is lent", vm.sysfs("memory_blocks"))


def matrix(tap, series, kind, target, limit):
    """One cell."""
    h = host(tap, pool="4G")
    with numa.two_nodes(BOOT_MIB) if kind == "node" else contextlib.nullcontext() as nodes:
        vm = h.vm("cell", kernel=series, boot=f"{BOOT_MIB}M", limit=f"{LIMIT_MIB[limit]}M",
                  expected=PINNED_MEANWHILE + (NO_ROOM_BY_HAND if kind == "offline" else ()),
                  qemu=numa.words(nodes) if nodes else ())
    vm.sh("cd /proc/sys; echo 1 >vm/overcommit_memory; echo 20000 >kernel/threads-max; echo 100000 >fs/file-max")
    for go in range(ROUNDS):
        tap.need(fill(vm, "keep", KEEP_MIB[limit]), "a program has memory", log(vm, "keep"))
        if limit == "at":
            to_limit(tap, vm)
        if target == "standing":
            vm.set("--target", TARGET, "--deadline", "5s")
        well, saw = KINDS[kind](vm, limit, go)
        tap.check(well, "nobody fails for want of memory", saw)
        tap.say(f"{lent_mib(vm)} MiB lent, {number(vm, 'kernel_blocks')} kernel blocks, {number(vm, 'moved_to_kernel')} went over, "
                f"{number(vm, 'oom_rescues')} rescues, {number(vm, 'offline_failures')} attempts failed; "
                f"borrowed for {vm.sysfs('borrowed_for').split()}")
        left = [name for name in ("keep", "hog") if vm.sh_status(f"[ -e /tmp/{name}.log ]")[0] == 0]
        tap.check(end(vm, *left), "what is left finds what it wrote", [log(vm, name) for name in left])
        if not tap.equal(vm.killed(), 0, "nothing was killed"):
            tap.say(why(vm))
            break
        vm.sh("rm -f /tmp/*.log")
        down(vm)
    vm.stop()


CELLS = [(matrix, NEWEST, kind, target, limit) for kind in KINDS for target in TARGETS for limit in LIMIT_MIB]
QUICK = (("pieces", "standing", "below"), ("marks", "none", "at"))


def bound_elsewhere(tap, series):
    """A program may use one NUMA node only, and not the window's. Memory of the window is no help
    to it: it is killed, as on a machine with fixed memory, alone, and the window is not drained."""
    h = host(tap, pool="4G")
    with numa.two_nodes(BOOT_MIB) as nodes:
        vm = h.vm("bound", kernel=series, boot=f"{BOOT_MIB}M", limit=f"{LIMIT_MIB['below']}M", qemu=numa.words(nodes),
                  expected=("oom-kill", "Out of memory"))
    vm.sh("echo 1 >/proc/sys/vm/overcommit_memory")
    # A node that has no memory yet cannot be bound to.
    tap.need(fill(vm, "other", 200, before="fill:500 free bind:1"), "a program has memory of the window", log(vm, "other"))
    vm.sh("echo 1000 >/proc/$(pidof hog)/oom_score_adj")
    before = lent_mib(vm)
    vm.spawn("hog", f"hog bind:0 fill:{2 * BOOT_MIB}")
    code, out = vm.wait("hog", 90)
    tap.say(f"{before} MiB lent before, {lent_mib(vm)} after; borrowed for {vm.sysfs('borrowed_for').split()}")
    tap.equal(code, 137, "one that is bound to the other node, and wants more than that has, is killed")
    tap.check(lent_mib(vm) <= before + MAY_GROW_MIB, "and what it cannot use is not lent", before, lent_mib(vm), out)
    tap.has(vm.sh("dmesg"), "out of memory: found nothing (nothing that can be lent is short", "and the log says why")
    tap.check(end(vm, "other"), "nobody else is", log(vm, "other"))
    vm.stop()


def online_by_hand(tap, kernel):
    """Who puts a block on line by hand may choose the kernel's memory, which is seen."""
    h = host(tap, pool="2G")
    vm = h.vm("online", kernel=kernel, boot="256M", limit="1G")
    for word in ("online", "online_kernel") if LONG else ("online",):
        tap.need(fill(vm, "hog", 500), "a program grows the VM")
        end(vm, "hog")
        before = number(vm, "kernel_blocks")
        got = vm.sh("n=0; for m in $(ls -d /sys/devices/system/memory/memory* | sort -V); do [ $n = 1 ] && break; "
                    "[ $(cat $m/valid_zones | cut -d' ' -f1) = Movable ] && echo offline >$m/state 2>/dev/null && "
                    f"echo {word} >$m/state && n=$((n + 1)) && cat $m/valid_zones; done", 60).split()
        tap.say(f"{word}: {got}")
        tap.check(number(vm, "kernel_blocks") - before == int(got[0] != "Movable"),
                  f"{word}: it is counted as what it is", got, before, vm.sysfs("kernel_blocks"), vm.sysfs("memory_blocks"))
        down(vm, "256M")
        stays = number(vm, "committed_blocks") // 64
        tap.check(stays <= number(vm, "kernel_blocks"), "what stays is known to be the kernel's", vm.sysfs("memory_blocks"),
                  vm.sysfs("kernel_blocks"))
        tap.check(until(lambda: vm.status()["guest"]["kernel-blocks"] == 64 * number(vm, "kernel_blocks"), 12, 0.2),
                  "also to the host", vm.status()["guest"])
    vm.stop()


def pinned_offline(tap, kernel):
    """Root takes a block off line that holds a pinned page: that never ends, holding the
    kernel's lock, but growing does not wait for it."""
    h = host(tap, pool="3G")
    vm = h.vm("pinned", kernel=kernel, boot="256M", limit="2G", expected=("page dumped because: migration failure",))
    tap.need(fill(vm, "pin", 300, steps="pin:2"), "a program pins some of its memory")
    vm.sh("for m in /sys/devices/system/memory/memory*; do [ $(cat $m/valid_zones | cut -d' ' -f1) = Movable ] && "
          "{ (echo offline >$m/state) </dev/null >/tmp/offline.log 2>&1 & }; done; sleep 2; true")
    tap.say("at work in the kernel:", vm.sh("cat /proc/[0-9]*/stack 2>/dev/null | grep -c offline_pages; cat /tmp/offline.log; true"))
    began = time.monotonic()
    tap.check(fill(vm, "hog", 400, timeout_s=20), "the VM grows all the same", vm.sh("cat /tmp/hog.log"))
    tap.say(f"{time.monotonic() - began:.1f} s")
    tap.equal(vm.killed(), 0, "nothing was killed")
    tap.check(end(vm, "pin", "hog"), "both find what they wrote")
    vm.stop()


def unasked(tap, kernel):
    """What a VM has borrowed and does not use any more goes back by itself after some minutes (of
    these the test makes seconds), and so does a block that somebody has left off line."""
    h = host(tap, pool="3G")
    vm = h.vm("unasked", kernel=kernel, boot="256M", limit="2G")
    vm.sysfs_set("spare_after_ms", "3000")
    tap.need(fill(vm, "hog", 800), "a program grows the VM")
    # On a slow machine it has grown further than that, and some goes back, a block every 5 s.
    tap.check(stays(vm, "spare_returned", 7, 60), "while it is used what it takes stays", vm.sysfs("memory_blocks"))
    most = lent_mib(vm)
    tap.check(most + 256 > 800, "which is more than the program has", most)
    end(vm, "hog")
    tap.check(until(lambda: lent_mib(vm) <= most - 256, 90, 0.2), "when the program has ended it goes back", vm.sysfs("memory_blocks"))
    least = lent_mib(vm)
    time.sleep(5)
    tap.check(lent_mib(vm) <= least, "and does not come and go", least, lent_mib(vm))
    tap.say(f"{most} MiB, then {lent_mib(vm)}; {vm.sysfs('spare_returned')} blocks went back unasked")
    vm.sysfs_set("spare_after_ms", "0")
    tap.need(fill(vm, "hog", 600), "a program grows it again")
    end(vm, "hog")
    most = lent_mib(vm)
    vm.sh("for m in /sys/devices/system/memory/memory*; do [ $(cat $m/valid_zones | cut -d' ' -f1) = Movable ] && "
          "echo offline >$m/state && break; done; true", 60)
    tap.check("added 1" in vm.sysfs("memory_blocks"), "a block is off line", vm.sysfs("memory_blocks"))
    tap.check(until(lambda: lent_mib(vm) == most - 128, 40, 0.5), "it goes back, and all else stays until the host wants it",
              most, vm.sysfs("memory_blocks"))
    vm.stop()


main(*CELLS if LONG else [cell for cell in CELLS if cell[2:] in QUICK],
     *[(test, NEWEST) for test in (bound_elsewhere, online_by_hand, pinned_offline, unasked)], limit_s=FILE_LIMIT_S)
