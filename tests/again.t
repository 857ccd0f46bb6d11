#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A test whose emulated machine ends by a fault of the emulator's runs once more, aloud; one
that fails for any other reason does not. Without a machine: a process here stands for it."""

import contextlib
import io
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lab", "lib"), os.path.join(HERE, "vm")]

from lab import Lab
from lib import tap as vm_tap
from tap import Tap, _one, run


class Machine(Lab):
    """A lab that is a shell's process."""

    def __init__(self, tap, script):
        self.tap, self.guests, self.ports, self.daemons = tap, [], {}, 0
        self.keep_logs, self.console, self.dir = False, os.devnull, HERE
        self.process = subprocess.Popen(["sh", "-c", script], start_new_session=True)
        tap.hosts.append(self)

    def end(self, tap):
        tap.check(self.alive(), "the lab lives")

    def tails(self):
        return "(what it said)"

    def clean(self):
        if self.alive():
            self.process.kill()
            self.process.wait()


def attempts(*scripts, wrong=False):
    """A test that needs its machine to live, on these one after the other: how often it began,
    how many of its results were good and bad, and all that it said."""
    tap, left, out = vm_tap.Tap(), list(scripts), io.StringIO()

    def test(tap):
        machine = Machine(tap, left.pop(0))
        if wrong:
            tap.check(False, "something else is wrong")
        if machine.emulator() != "the emulator runs":
            raise ConnectionError("no answer")
        tap.check(True, "it answers")

    with contextlib.redirect_stdout(out):
        _one(tap, test, ())
    return len(scripts) - len(left), tap.count - tap.failures, tap.failures, out.getvalue()


LIVES = "exec sleep 60"
FAULT = "kill -SEGV $$"


def again(tap):
    began, good, bad, said = attempts(FAULT, LIVES)
    tap.equal((began, good, bad), (2, 2, 0), "a fault of the emulator: the test runs once more, and passes")
    tap.has(said, "ended by itself: the emulator ended: SIGSEGV", "which is said, with the signal")
    tap.has(said, "(what it said)", "and with the logs")
    tap.equal(attempts(FAULT, FAULT, LIVES)[:2], (2, 0), "a second fault is not forgiven")
    tap.equal(attempts("exit 1", LIVES)[0], 1, "an emulator that ends in order, too soon, is not a fault of its own")
    tap.equal(attempts("kill -TERM $$", LIVES)[0], 1, "nor is one that somebody ended")
    tap.equal(attempts(FAULT, LIVES, wrong=True)[0], 1, "and what had failed before stays failed")


run(Tap(), (again,), 120)
