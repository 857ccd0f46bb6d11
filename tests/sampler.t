#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests compare bills with (tests/vm/lib/looks.py, sampler.py): it bears with a
machine that is slow, and with nothing else. A bill that is wrong by one block for a while
does not pass; nor, while nothing moves, if nobody looked for seconds."""

import os
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "vm")]

from lib.looks import LATE_NS, Looks
from lib.sampler import BLOCK_BYTES, Sampler
from patience import SLOWEST, advance, clock
from tap import Tap, run, until

S = 1_000_000_000
STEP_NS = S // 100
LOOK_NS = S // 5000	# how long a look lasts


def looks(blocks_at, seconds, late=()):
    """Looks at a file "vm" that has blocks_at(ns) blocks, none in the times of late (seconds)."""
    seen = Looks()
    at = 0
    while at <= seconds * S:
        if not any(since * S < at < until_s * S for since, until_s in late):
            seen.add(at, at + LOOK_NS, {"vm": blocks_at(at)})
        at += STEP_NS
    return seen


def steady(_):
    return 100.0


def sawtooth(at_ns):
    """Up by 300 blocks in half a second, down again in the next."""
    phase = at_ns % S / S
    return 50 + 600 * (phase if phase < 0.5 else 1 - phase)


def on_time(tap):
    seen = looks(steady, 10)
    low, high = seen.bounds()
    tap.check(low == high and abs(low - 1000) < 0.1, "looks that were on time give one figure", low, high)
    for billed, wanted, what in ((1000, True, "the right bill passes"),
                                 (1000 + 4, False, "one more block for 4 s does not"),
                                 (1000 - 4, False, "one less for 4 s does not"),
                                 (0, False, "no bill does not")):
        agrees, text = seen.agrees(billed)
        tap.check(agrees == wanted, what, text)
    long = looks(steady, 100)
    tap.check(not long.agrees(10000 + 21)[0] and long.agrees(10000 + 19)[0], "of a long bill 0.2 % are the bound",
              long.agrees(10000 + 21))
    tap.check(seen.block_seconds({"other"}) == 0 and not seen.agrees(1000, {"other"})[0],
              "what other files had does not count")
    busy = looks(sawtooth, 20)
    low, high = busy.bounds()
    tap.check(low == high and abs(low - 20 * 200) < 1, "also while blocks come and go", low, high)
    tap.check(busy.agrees(4000)[0] and not busy.agrees(4000 + 10)[0] and not busy.agrees(4000 - 10)[0],
              "one more block for half of the time does not pass", busy.agrees(4010))


def nobody_looked(tap):
    seen = looks(steady, 10, late=((3, 6),))
    low, high = seen.bounds()
    tap.check(len(seen.gaps) == 1 and abs(seen.gaps[0][1] - seen.gaps[0][0] - 3 * S) < 2 * STEP_NS, "a gap is known",
              seen.gaps)
    tap.check(abs(high - low) < 0.001, "where nothing moved before and after, nothing is allowed for it", low, high)
    tap.check(seen.agrees(1000)[0] and not seen.agrees(1000 + 4)[0] and not seen.agrees(1000 - 4)[0],
              "a block for 4 s is still found", seen.agrees(1004))

    # The gap hides the fall, wherever it was.
    for fall in (4.1, 5, 5.9):
        dropped = looks(lambda at, fall=fall: 100.0 if at < fall * S else 20.0, 20, late=((4, 6),))
        truth = 100 * fall + 20 * (20 - fall)
        agrees, text = dropped.agrees(truth)
        tap.check(agrees, f"a fall at {fall} s that nobody saw passes", truth, text)
    low, high = dropped.bounds()
    tap.check(high - low < 80 * 2.1, "what is allowed is what can have been", low, high)
    for billed in (low - 4, high + 4):
        tap.check(not dropped.agrees(billed)[0], "a block for 4 s beyond that does not pass", dropped.agrees(billed))

    # One whole swing in the gap, from a valley to a valley.
    swing = looks(sawtooth, 20, late=((5, 6),))
    agrees, text = swing.agrees(4000)
    tap.check(agrees, "what comes and goes within a gap passes", text)
    late = looks(sawtooth, 20, late=((5, 5 + LATE_NS / S / 3),))
    tap.check(not late.gaps, "a delay of some milliseconds is no gap", late.gaps)


def comes_and_goes(tap):
    """Files are there for a part of the time; long looks; looks that follow each other late."""
    seen = Looks()
    for at in range(0, 10 * S, STEP_NS):
        seen.add(at, at + LOOK_NS, {"vm": 50.0} if 2 * S <= at < 7 * S else {})
    tap.check(abs(seen.block_seconds() - 250) < 1 and seen.now() == 0 and seen.peak() == 50,
              "a file counts from when it is there until it is gone", seen.block_seconds(), seen.now())
    tap.between(4.9, seen.since(2 * S, 0), 5.1, "when it was gone is known")
    long = Looks()
    for at in range(0, S, STEP_NS):
        long.add(at, at + (S // 10 if at == S // 2 else LOOK_NS), {"vm": 10.0})
    tap.check(len(long.gaps) == 1, "a look that lasted long is as good as none", long.gaps)
    slow = looks(steady, 10, late=((1, 1.5), (1.5, 2), (2, 2.5), (6, 6.2)))
    tap.check(len(slow.gaps) == 2, "gaps that touch are one", slow.gaps)


def of_files(tap):
    """A real directory; and the process that looks is stopped meanwhile."""
    with tempfile.TemporaryDirectory(prefix="memlease-looks-", dir="/dev/shm") as directory:
        sampler = Sampler(directory)
        path = os.path.join(directory, "vm")
        at = [time.monotonic()]	# before and after each change
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 10 * BLOCK_BYTES)
        at.append(time.monotonic())
        tap.equal(sampler.now({path}), 10, "what is allocated is counted")
        os.kill(sampler.process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        at.append(time.monotonic())
        os.truncate(path, 4 * BLOCK_BYTES)
        at.append(time.monotonic())
        time.sleep(0.3)
        os.kill(sampler.process.pid, signal.SIGCONT)
        time.sleep(0.3)
        at.append(time.monotonic())
        os.unlink(path)
        at.append(time.monotonic())
        tap.check(until(lambda: sampler.now({path}) == 0, 10), "what is gone is gone", sampler.now({path}))
        least = 10 * (at[2] - at[1]) + 4 * (at[4] - at[3])
        most = 10 * (at[3] - at[0]) + 4 * (at[5] - at[2])
        low, high = sampler.bounds({path})
        tap.check(low <= most + 0.2 and least <= high + 0.2 and high - low >= 1, "the truth lies within the bounds",
                  low, least, most, high)
        sampler.stop()
        tap.equal((sampler.process.poll(), sampler.peak({path})), (0, 10), "it stops, and can still be asked")
        sampler.stop()
        again = Sampler(directory)
        again.process.kill()
        again.thread.join()
        again.process.wait()
        try:
            tap.check(False, "one that died says so", again.now())
        except AssertionError as error:
            tap.has(str(error), "has ended", "one that died says so")


def few_words(tap):
    """What did not change is told in one line for many looks, and is known as well."""
    few = Looks()
    few.add(0, LOOK_NS, {"vm": 100.0})
    for at in range(STEP_NS, 4 * S, STEP_NS):
        if at % S == 0:
            few.held(at - STEP_NS, at - STEP_NS + LOOK_NS)
            few.add(at, at + LOOK_NS, {"vm": 100.0})
    few.held(4 * S - STEP_NS, 4 * S - STEP_NS + LOOK_NS)
    few.add(4 * S, 4 * S + LOOK_NS, {"vm": 20.0})
    tap.check(not few.gaps, "looks that are not told of are no gap", few.gaps)
    tap.between(-1, few.block_seconds() - 4 * 100, 1, "and the integral is the same")
    few.add(5 * S, 5 * S + LOOK_NS, {"vm": 20.0})
    tap.equal(len(few.gaps), 1, "but looks that were missed are one")
    with tempfile.TemporaryDirectory(prefix="memlease-looks-", dir="/dev/shm") as directory:
        sampler = Sampler(directory)
        path = os.path.join(directory, "vm")
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 10 * BLOCK_BYTES)
        began = time.monotonic()
        tap.equal(sampler.now({path}), 10, "a file that has just come is seen")
        before = sampler.block_seconds({path})
        time.sleep(1)
        lasted = time.monotonic() - began
        tap.between(0, sampler.block_seconds({path}) - before, 10 * lasted + 0.5, "and counted while nothing changes")
        low, high = sampler.bounds({path})
        tap.check(high >= 10 * 0.95, "for all the time", low, high)
        sampler.stop()


def patience(tap):
    """The clock of waits' limits: the wall's, less what the machine was busy with others."""
    tap.equal(advance(2.0, 0.0), 2.0, "on a machine with room it is the wall's")
    tap.equal(advance(2.0, 0.5), 1.5, "what was waited for a processor does not count")
    tap.equal((advance(2.0, 2.0), advance(2.0, 1.9)), (2.0 / SLOWEST,) * 2, "but a part of the time always does")
    tap.equal(advance(2.0, -1.0), 2.0, "nor does it run faster")
    began, wall = clock(), time.monotonic()
    time.sleep(0.2)
    went, lasted = clock() - began, time.monotonic() - wall
    tap.check(0.2 / SLOWEST <= went <= lasted, "it goes on", went, lasted)
    asked = time.monotonic()
    tap.check(not until(lambda: False, 0.1) and time.monotonic() - asked >= 0.1, "a wait ends, not before its time")


run(Tap(), (patience, on_time, nobody_looked, comes_and_goes, few_words, of_files), 120)
