#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Blocks are emptied while programs change what they hold, and while memory comes and
goes by itself and by hand: nothing that a program holds is lost."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import time

from lib.console import NO_ROOM
from lib.frag import END, counter, fragmented, write
from lib.host import host
from lib.tap import each, each_load, main

# What the kernel says of what it met on its way when memory is taken offline by hand;
# it tries again until it is told to stop.
BY_HAND = (*NO_ROOM, r"page dumped because: (isolation failed|migration failure)", "sh: page allocation failure: order:0,")


def keep_asking(vm, names, besides, seconds):
    """Defragment by one policy after the other while programs run, and do something
    else now and then. Returns how often."""
    chance = random.Random(11)
    asked, until_s = 0, time.monotonic() + seconds
    while time.monotonic() < until_s and any(vm.ended(name) is None for name in names):
        write(vm, "defrag_policy", chance.choice(("address", "fewest", "cheapest")))
        write(vm, "defrag", "now")
        if asked % 3 == 0:
            besides(chance)
        asked += 1
        time.sleep(0.2)
    return asked


def all_well(tap, vm, names, asked):
    for name in names:
        code, out = vm.wait(name, 60)
        tap.check(code == 0, f"{name} never found other contents than it wrote", out)
    tap.say(f"asked {asked} times: {counter(vm, 'defrag_cleared_blocks')} blocks cleared with "
            f"{counter(vm, 'defrag_moved_pages')} pages, {counter(vm, 'defrag_failures')} failures")
    tap.check(counter(vm, "defrag_cleared_blocks") > 50, "blocks were cleared meanwhile")
    tap.check(vm.status()["broken"] == "", "the device is well", vm.status())


def under_use(tap, kernel):
    """Programs change what they hold, and the VM grows and shrinks, while everything is
    defragmented over and over."""
    h = host(tap, pool="3G")
    vm = h.vm("defrag", kernel=kernel, limit="1792M", expected=NO_ROOM)
    vm.spawn("frag", "frag " + " ".join(f"take:120 uneven:{i}:40 rewrite:8 check" for i in range(5)) +
                     " take:100 random:9:30 rewrite:40 check")
    vm.spawn("hog", "hog fill:200 check free-half fill:100 check free zero:150 check free loop:3")

    def target(chance):
        vm.set(*chance.choice((("--target", "none"), ("--target", "900M", "--deadline", "1s"),
                               ("--target", "1100M", "--deadline", "1s"))))
    asked = keep_asking(vm, ("hog", "frag"), target, 80)
    vm.set("--target", "none")
    all_well(tap, vm, ("hog", "frag"), asked)


def by_hand(tap, kernel):
    """Somebody takes memory blocks offline and online again meanwhile."""
    h = host(tap, pool="3G")
    vm = h.vm("defrag", kernel=kernel, limit="1792M", expected=BY_HAND)
    write(vm, "low_mark", "200M")
    fragmented(vm, 400, "uneven:3:25")
    vm.spawn("more", "frag " + " ".join(f"take:20 uneven:{i}:40 rewrite:60 check" for i in range(6)))

    def offline():
        vm.sh("for f in $(grep -lx Movable /sys/devices/system/memory/memory*/valid_zones | shuf -n 1); do "
              "timeout 1 sh -c \"echo offline >${f%/*}/state\"; done; true", 20)

    def online():
        vm.sh("for m in $(grep -lx offline /sys/devices/system/memory/memory*/state); do "
              "echo online_movable >$m; done; true", 20)

    def both(_):
        offline()
        write(vm, "defrag", "now")
        online()
    asked = keep_asking(vm, ("more",), both, 60)
    online()
    vm.sh(f"touch {END}")
    all_well(tap, vm, ("frag", "more"), asked)


main(*each_load(under_use), *each(by_hand))
