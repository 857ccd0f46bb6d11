#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who waits for what a program of a test VM shall do (tests/vm/lib/shell.py) is told at once when
that program has ended instead, with its status and its words: without a VM, by a shell here in
place of the guest's. And nobody waits in another way, in tests or benchmarks."""

import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "vm")]

from lib.remote import RemoteError
from lib.shell import Shell
from tap import TOP, Tap, run

STUCK_S = 30	# for what takes milliseconds: only who waits in vain comes near it
# Of a guest: files in /tmp there, and a sleep that the shell here may not have.
USLEEP = "usleep() { sleep 0.02; }; "
FOLDERS = ("tests/bench", "tests/vm", "tests/lab", "tests/soak")
# A shell's loop, or one here, until there is a file, or a line of a log, of a program's.
LOOP = re.compile(r"while ! (\[ -e|grep)|until \[ -e|until\(lambda: .*(\[ -e /tmp|ls /tmp)")
LOOKS = re.compile(r"\bended\(")
ITS_PLACE = "tests/vm/lib/shell.py"


class Local:
    """In place of a Remote; its /tmp is a directory of its own."""

    def __init__(self, directory):
        self.directory = directory

    def run(self, script, timeout_s=20):
        got = subprocess.run(["sh", "-c", USLEEP + script.replace("/tmp/", f"{self.directory}/")], text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=min(timeout_s, STUCK_S), check=False)
        return got.returncode, got.stdout


class Here(Shell):
    def __init__(self, directory):
        self.remote = Local(directory)


def raises(wait):
    """The words of a wait that fails; None if it does not. Seconds."""
    began = time.monotonic()
    try:
        wait()
        words = None
    except RemoteError as error:
        words = str(error)
    except subprocess.TimeoutExpired:
        words = "it waited in vain"
    return words, time.monotonic() - began


def ended(tap):
    for command, how in (("echo oh dear; exit 3", "with status 3"), ("echo oh dear; kill -9 $$", "by signal 9"),
                         ("echo oh dear", "with status 0")):
        with tempfile.TemporaryDirectory() as directory:
            shell = Here(directory)
            shell.spawn("one", f"sh -c '{command}'")
            words, seconds = raises(lambda: shell.wait_mark("one", "/tmp/mark"))
            tap.check(words and f"one has ended before [ -e {directory}/mark ], {how}".replace(directory, "/tmp") in words
                      and "oh dear" in words, f"a program that ends {how} before it makes its mark", words)
            tap.check(seconds < STUCK_S / 2, "is not waited for", seconds)


def lives(tap):
    with tempfile.TemporaryDirectory() as directory:
        shell = Here(directory)
        shell.spawn("one", "sleep 0.3; touch /tmp/mark; while ! [ -e /tmp/go ]; do sleep 0.02; done; touch /tmp/gone")
        tap.equal(raises(lambda: shell.wait_mark("one", "/tmp/mark"))[0], None, "one that lives is waited for")
        tap.equal(raises(lambda: shell.wait_mark("one", "/tmp/gone", first="touch /tmp/go"))[0], None,
                  "one that is told to, makes its mark and ends, too")
        shell.wait("one", STUCK_S)
        tap.equal(raises(lambda: shell.wait_mark("one", "/tmp/mark"))[0], None, "a mark of one that has ended is there")
        shell.spawn("two", "echo begin; sleep 0.5")
        tap.equal(raises(lambda: shell.wait_that("two", "grep -q begin /tmp/two.log"))[0], None, "or a line of its log")
        words, seconds = raises(lambda: shell.wait_that("two", "grep -q never /tmp/two.log"))
        tap.check(words and "two has ended before grep" in words and seconds < STUCK_S / 2, "that never comes", words)


def only_so(tap):
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *FOLDERS], cwd=TOP, text=True,
                           capture_output=True, check=True).stdout.split()
    found = []
    for name in files:
        if not name.endswith((".py", ".t")) or name == ITS_PLACE or not os.path.exists(os.path.join(TOP, name)):
            continue
        with open(os.path.join(TOP, name)) as file:
            found += [f"{name}:{n}: {line.strip()}" for n, line in enumerate(file, 1)
                      if LOOP.search(line) and not LOOKS.search(line)]
    tap.equal(found, [], "nobody waits for a file or a line without looking whether its program runs")


run(Tap(), [ended, lives, only_so], 120)
