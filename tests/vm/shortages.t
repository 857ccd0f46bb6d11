#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shortages of memory that the kernel can use, or only programs: by marks that the
administrator raises, with memory taken off line or put on line by hand, with a target
standing, at the limit. No program is killed and no guest stops while the host would lend;
and what is of no use goes back. Some of them once here, all fifty times in `make check-long`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import re
import time

from lib.console import PINNED_MEANWHILE
from lib.host import host
from lib.paths import LONG, NEWEST
from lib.tap import main, until

ROUNDS = int(os.environ.get("MEMLEASE_ROUNDS") or (50 if LONG else 1))
BLOCK_MIB = 2


def number(vm, name):
    return int(vm.sysfs(name))


def killed(vm):
    return int(re.search(r"^oom_kill (\d+)", vm.sh("cat /proc/vmstat"), re.M).group(1))


def lent_mib(vm):
    return number(vm, "committed_blocks") * BLOCK_MIB


def full(vm, name):
    return vm.sh_status(f"[ -e /tmp/{name}.full ]", 60)[0] == 0


def fill(vm, name, mib, steps="", timeout_s=60):
    """A program that fills so much and then waits for /tmp/end; whether it got it."""
    vm.spawn(name, f"hog fill:{mib} mark:/tmp/{name}.full {steps} until:/tmp/end check")
    return until(lambda: vm.ended(name) is not None or full(vm, name), timeout_s, 0.1) and vm.ended(name) is None


def end(vm, *names):
    """They end; whether all found what they wrote."""
    vm.sh("touch /tmp/end")
    codes = [vm.wait(name, 60)[0] for name in names]
    vm.sh("rm -f /tmp/end /tmp/*.full")
    return not any(codes)


def down(vm, to="512M"):
    """Back to boot memory, so that the next round begins from there."""
    vm.set("--target", to, "--deadline", "10s")
    until(lambda: vm.status()["target-state"] in ("met", "partly"), 20)
    vm.set("--target", "none")


def marks_jump(tap, kernel):
    """vm.min_free_kbytes is raised to more than the VM booted with, beside a program that fills:
    all of it is kept from the zones of kernel memory."""
    h = host(tap, pool="4G")
    vm = h.vm("marks", kernel=kernel, boot="512M", limit="3G")
    vm.sh("echo 1 >/proc/sys/vm/overcommit_memory")
    before = vm.sh("cat /proc/sys/vm/min_free_kbytes").strip()
    for go in range(ROUNDS):
        vm.spawn("hog", "hog fill:1000 mark:/tmp/hog.full until:/tmp/end check")
        vm.sh(f"usleep {go % 10 * 100000}; echo 786432 >/proc/sys/vm/min_free_kbytes", 60)
        until(lambda: vm.ended("hog") is not None or full(vm, "hog"), 60, 0.1)
        tap.check(vm.ended("hog") is None, "a program lives on while the kernel wants to keep 768 MiB", vm.sh("cat /tmp/hog.log"))
        tap.say(f"{lent_mib(vm)} MiB lent, {number(vm, 'kernel_blocks')} kernel blocks, "
                f"{number(vm, 'oom_rescues')} rescues; borrowed for {vm.sysfs('borrowed_for').split()}")
        vm.sh(f"echo {before} >/proc/sys/vm/min_free_kbytes")
        tap.check(end(vm, "hog"), "it finds what it wrote")
        down(vm)
    tap.equal(killed(vm), 0, "nothing was killed")
    vm.stop()


def marks_jump_at_limit(tap, kernel):
    """The same when all is lent already, and movable: blocks have to go over to the kernel."""
    h = host(tap, pool="4G")
    vm = h.vm("limit", kernel=kernel, boot="512M", limit="2G")
    vm.sh("echo 1 >/proc/sys/vm/overcommit_memory")
    before = vm.sh("cat /proc/sys/vm/min_free_kbytes").strip()
    for _ in range(ROUNDS):
        fill(vm, "most", 1500)
        end(vm, "most")
        tap.need(fill(vm, "hog", 700), "a program fills a third")
        vm.sh("echo 400000 >/proc/sys/vm/min_free_kbytes; storm fork:300", 90)
        tap.check(vm.ended("hog") is None, "it lives on while the kernel wants to keep 390 MiB", vm.sh("cat /tmp/hog.log"))
        tap.say(f"{lent_mib(vm)} MiB lent, {number(vm, 'moved_to_kernel')} blocks went over, {number(vm, 'oom_rescues')} rescues, "
                f"{number(vm, 'offline_failures')} attempts failed")
        vm.sh(f"echo {before} >/proc/sys/vm/min_free_kbytes")
        tap.check(end(vm, "hog"), "it finds what it wrote")
    tap.equal(killed(vm), 0, "nothing was killed")
    vm.stop()


def offline_by_hand(tap, kernel):
    """Blocks taken off line by hand, and a target that stands, below what programs need."""
    h = host(tap, pool="3G")
    vm = h.vm("hand", kernel=kernel, boot="256M", limit="2G", expected=PINNED_MEANWHILE)
    vm.sh("echo 1 >/proc/sys/vm/overcommit_memory")
    vm.set("--target", "768M")
    for _ in range(ROUNDS):
        tap.check(fill(vm, "first", 1100), "a program of 1100 MiB lives at a target of 768", vm.sh("cat /tmp/first.log"))
        tap.check(end(vm, "first"), "and finds what it wrote")
        vm.sh("n=0; for m in /sys/devices/system/memory/memory*; do [ $n = 3 ] && break; "
              "[ $(cat $m/valid_zones | cut -d' ' -f1) = Movable ] && echo offline >$m/state 2>/dev/null && n=$((n + 1)); done; true", 60)
        tap.check(fill(vm, "second", 1000), "so does the next, with blocks off line", vm.sh("cat /tmp/second.log"))
        tap.check(end(vm, "second"), "and finds what it wrote")
    tap.equal(killed(vm), 0, "nothing was killed")
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
    tap.equal(killed(vm), 0, "nothing was killed")
    tap.check(end(vm, "pin", "hog"), "both find what they wrote")
    vm.stop()


def unasked(tap, kernel):
    """What a VM has borrowed and does not use any more goes back by itself after some minutes (of
    these the test makes seconds), and so does a block that somebody has left off line."""
    h = host(tap, pool="3G")
    vm = h.vm("unasked", kernel=kernel, boot="256M", limit="2G")
    vm.sysfs_set("spare_after_ms", "3000")
    tap.need(fill(vm, "hog", 800), "a program grows the VM")
    most = lent_mib(vm)
    time.sleep(4)
    tap.check(lent_mib(vm) >= most, "while it is used all stays", most, lent_mib(vm))
    end(vm, "hog")
    tap.check(until(lambda: lent_mib(vm) <= most - 384, 90, 0.2), "when the program has ended it goes back", vm.sysfs("memory_blocks"))
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


# What the driver bore before its first failure of this kind was mended is for the night.
main(*[(test, NEWEST) for test in (marks_jump_at_limit, online_by_hand, pinned_offline, unasked)
       + ((marks_jump, offline_by_hand) if LONG else ())])
