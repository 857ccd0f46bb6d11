#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Free memory in small pieces comes back too: blocks of 2 MiB are emptied into others,
on demand and in the background, and nothing is done without need."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.frag import counter, ends_well, fragmented, settled, write
from lib.host import host
from lib.paths import NEWEST
from lib.remote import RemoteError
from lib.tap import each_load, main, until

import patience


def on_demand(tap, kernel):
    h = host(tap, pool="3G")
    vm = h.vm("defrag", kernel=kernel, limit="1792M")
    write(vm, "defrag", "off")
    for policy, pattern in (("cheapest", "quarter"), ("fewest", "uneven:3:25"), ("address", "build:5")):
        write(vm, "defrag_policy", policy)
        tap.check(f"[{policy}]" in vm.sysfs("defrag_policy"), f"the policy can be set to {policy}")
        fragmented(vm, 400, pattern)
        before, strewn, cleared = settled(vm), counter(vm, "strewn_bytes"), counter(vm, "defrag_cleared_blocks")
        moved = counter(vm, "defrag_moved_pages")
        began = time.monotonic_ns()
        write(vm, "defrag", "now")
        seconds = (time.monotonic_ns() - began) / 1e9
        after = settled(vm)
        peak = max(blocks for at, blocks in h.sampler.curve(vm.files) if at >= began)
        cleared, moved = counter(vm, "defrag_cleared_blocks") - cleared, counter(vm, "defrag_moved_pages") - moved
        tap.say(f"{policy} on {pattern}: {strewn >> 20} MiB were strewn, {before:.0f} blocks resident; "
                f"{cleared} cleared with {moved} pages in {seconds:.2f} s, {after:.0f} resident")
        tap.check(strewn > 150 << 20, f"{pattern}: memory was strewn", strewn)
        tap.check(before - after >= 0.7 * (strewn >> 21), f"{pattern}: most of it came back by {policy}",
                  before, after, strewn)
        tap.check(cleared >= before - after - 16, f"{pattern}: and that is what was cleared", cleared, before, after)
        tap.check(peak <= before + 16, f"{pattern}: what is moved goes into holes, not into new memory", before, peak)
        ends_well(tap, vm, f"{pattern}: what stayed in use is as it was")

    # What can be written where, and what it does not do.
    for name, value in (("defrag", "never"), ("defrag_policy", "best")):
        try:
            write(vm, name, value)
            tap.check(False, f"{name} refuses {value}")
        except RemoteError as error:
            tap.check("nvalid" in str(error), f"{name} refuses {value}", error)
    tap.equal(vm.sysfs("defrag"), "off", "defrag stays off")
    rounds = counter(vm, "defrag_rounds")
    fragmented(vm, 200, "quarter")
    time.sleep(6)
    tap.equal(counter(vm, "defrag_rounds"), rounds, "off means off")
    ends_well(tap, vm, "and the program ends")
    vm.stop()
    h.check_bill(tap, vm)


def background(tap, kernel):
    h = host(tap, pool="3G")
    vm = h.vm("defrag", kernel=kernel, limit="1792M")
    tap.equal(vm.sysfs("defrag"), "auto", "it works in the background by itself")
    fragmented(vm, 240, "build:7")
    strewn, cleared = counter(vm, "strewn_bytes"), counter(vm, "defrag_cleared_blocks")
    work, began = counter(vm, "defrag_work_us"), time.monotonic()
    low = until(lambda: counter(vm, "strewn_bytes") < strewn / 2, 100, 0.5)
    seconds, work = time.monotonic() - began, counter(vm, "defrag_work_us") - work
    cleared = counter(vm, "defrag_cleared_blocks") - cleared
    tap.say(f"{strewn >> 20} MiB were strewn; {cleared} blocks cleared in {seconds:.0f} s, {work / 1e6:.2f} s of work")
    tap.check(low and cleared, "strewn memory becomes less by itself", strewn, counter(vm, "strewn_bytes"))
    tap.check(work / 1e6 < 0.1 * seconds + 0.5, "within its budget of time", work, seconds)
    # It comes to rest, and then does nothing.
    def rests():
        rounds = counter(vm, "defrag_rounds")
        time.sleep(4)
        return counter(vm, "defrag_rounds") == rounds
    tap.check(until(rests, 90), "it comes to rest", counter(vm, "defrag_rounds"))
    task = vm.sh("for p in /proc/[0-9]*; do grep -q '(memlease_defrag)' $p/stat 2>/dev/null && echo ${p#/proc/}; done; true").strip()
    ticks = lambda: sum(int(word) for word in vm.sh(f"cat /proc/{task}/stat").split(")")[1].split()[11:13])
    wakes = lambda: int(vm.sh(f"awk '/^voluntary_ctxt/ {{ print $2 }}' /proc/{task}/status"))
    work = lambda: (counter(vm, "defrag_rounds"), counter(vm, "defrag_work_us"))
    def look():
        """Ticks, wakings and how slow the guest's processors were in 5 s; None if a round fell into them: after
        one in vain another follows, ever later."""
        done, before, woken = work(), ticks(), wakes()
        began, calm = time.monotonic(), patience.clock()
        time.sleep(5)
        # An emulated processor that has to wait for a real one works all the while, as the guest sees it.
        slow = (time.monotonic() - began) / (patience.clock() - calm)
        seen = ticks() - before, wakes() - woken, slow
        return seen if work() == done else None
    seen = until(look, 90)
    if not tap.check(seen, "for 5 s on end", counter(vm, "defrag_rounds")):
        return
    used, woken, slow = seen
    tap.check(used <= 5 * slow, "and costs next to nothing then", used, slow)
    tap.check(woken <= 10 * slow, "for it only looks, now and then", woken, slow)
    ends_well(tap, vm, "what stayed in use is as it was")


main(*each_load(on_demand), (background, NEWEST))
