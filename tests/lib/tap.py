# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP for every test that is written in Python. A file describes its tests as
functions and hands them to its harness (tests/lib/daemon.py, tests/cli/fake.py,
tests/vm/lib/tap.py), which calls run() here. A function gets a Tap to report to.
Nothing here starts or ends a process."""

import faulthandler
import os
import signal
import sys
import time
import traceback

import patience

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failed(Exception):
    """A check without which the test cannot go on."""


class Tap:
    def __init__(self):
        self.count = 0
        self.failures = 0
        self.prefix = ""
        self.began = time.monotonic()

    def say(self, *words):
        """A comment, with the seconds since the file began."""
        text = " ".join(str(w) for w in words)
        for line in text.splitlines() or [""]:
            print(f"# {time.monotonic() - self.began:6.1f} {line}", flush=True)

    def check(self, holds, what, *details):
        """One result. Details are shown when it does not hold. Returns whether it does."""
        self.count += 1
        holds = bool(holds)
        print(f"{'' if holds else 'not '}ok {self.count} - {self.prefix}{what}", flush=True)
        if not holds:
            self.failures += 1
            for detail in details:
                self.say(detail)
            caller = next((f for f in reversed(traceback.extract_stack()[:-1])
                           if f.filename != __file__), None)
            if caller:
                self.say(f"at {os.path.relpath(caller.filename, TOP)}:{caller.lineno}")
        return holds

    def need(self, holds, what, *details):
        """check(), and the end of this test if it does not hold."""
        if not self.check(holds, what, *details):
            raise Failed(what)

    def equal(self, got, wanted, what):
        return self.check(got == wanted, what, f"got    {got!r}", f"wanted {wanted!r}")

    def has(self, text, words, what):
        return self.check(words in text, what, f"got    {text!r}", f"wanted {words!r} in it")

    def between(self, low, got, high, what):
        return self.check(low <= got <= high, f"{what} ({round(got, 4)})",
                          f"not between {low} and {high}")

    def skip(self, what, why):
        """What this machine cannot show."""
        self.count += 1
        print(f"ok {self.count} - {self.prefix}{what} # SKIP {why}", flush=True)

    def again(self):
        """Did what a test stands on end, and not what it tests? Then it is gone, and the test
        runs once more."""
        return False

    def after(self, failures):
        """What a harness does after each test; failures: how many there were before it."""


def chosen(tests):
    """(name, function, arguments) of the tests that the command line's words choose:
    a test is a function, or a tuple of a function and its arguments."""
    for test in tests:
        function, *arguments = test if isinstance(test, tuple) else (test,)
        name = " ".join([function.__name__, *map(str, arguments)])
        parts = name.replace("_", " ").split() + name.split()
        if all(word in parts for word in sys.argv[1:]):
            yield name, function, arguments


def run(tap, tests, limit_s):
    """Run tests one after the other, and exit. MEMLEASE_TEST_LIMIT_S replaces limit_s,
    after which the file counts as stuck."""
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, _stuck)
    signal.alarm(int(os.environ.get("MEMLEASE_TEST_LIMIT_S", limit_s)) * patience.SLOWEST)
    for name, function, arguments in chosen(tests):
        tap.say(name)
        _one(tap, function, arguments)
    print(f"1..{tap.count}", flush=True)
    sys.exit(1 if tap.failures or not tap.count else 0)


def _one(tap, function, arguments):
    tap.prefix = "".join(f"{a}: " for a in arguments)
    failures = tap.failures
    try:
        try:
            function(tap, *arguments)
        except Exception:
            if tap.failures > failures or not tap.again():
                raise
            tap.say("once more:")
            function(tap, *arguments)
    except Failed:
        pass
    except BaseException as error:	# whatever it was, the next test shall run
        tap.check(False, f"{function.__name__} came to its end", traceback.format_exc())
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
    finally:
        tap.after(failures)
        tap.prefix = ""


def _stuck(*_):
    faulthandler.dump_traceback()
    raise TimeoutError("this test file took too long")


def until(holds, timeout_s, every_s=0.05):
    """Wait until holds() is true; its last value, true or not. The limit is for what is
    stuck, not for what is slow (patience.py)."""
    deadline = patience.clock() + timeout_s
    while True:
        got = holds()
        if got or patience.clock() >= deadline:
            return got
        time.sleep(every_s)
