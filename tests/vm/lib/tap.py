# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of a test file in TAP. A file describes its tests as functions and
hands them to main(); a function gets a Tap to report to. What a test leaves
behind (hosts, VMs) ends with it, whatever happens, and its logs are shown when
it fails."""

import faulthandler
import os
import signal
import sys
import time
import traceback

from . import paths

FILE_LIMIT_S = 300	# a test file that takes longer is stuck


class Failed(Exception):
    """A check without which the test cannot go on."""


class Tap:
    def __init__(self):
        self.count = 0
        self.failures = 0
        self.prefix = ""
        self.hosts = []
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
            caller = traceback.extract_stack(limit=2)[0]
            self.say(f"at {os.path.relpath(caller.filename, paths.TOP)}:{caller.lineno}")
        return holds

    def need(self, holds, what, *details):
        """check(), and the end of this test if it does not hold."""
        if not self.check(holds, what, *details):
            raise Failed(what)

    def equal(self, got, wanted, what):
        return self.check(got == wanted, what, f"got    {got!r}", f"wanted {wanted!r}")

    def between(self, low, got, high, what):
        return self.check(low <= got <= high, f"{what} ({round(got, 4)})",
                          f"not between {low} and {high}")

    def finish(self, host, failures=0):
        """End a host now; its logs are shown if there were more failures than these."""
        self.hosts.remove(host)
        try:
            try:
                host.end(self)
            except Exception:
                self.check(False, "the host ended in order", traceback.format_exc())
            if self.failures > failures:
                host.keep_logs = True
                self.say(host.tails())
        finally:	# even if nobody reads what is printed here
            host.clean()

    def _one(self, function, arguments):
        self.prefix = "".join(f"{a}: " for a in arguments)
        failures = self.failures
        try:
            function(self, *arguments)
        except Failed:
            pass
        except BaseException as error:	# whatever it was, the next test shall run
            self.check(False, f"{function.__name__} came to its end", traceback.format_exc())
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        finally:
            for host in list(reversed(self.hosts)):
                self.finish(host, failures)
            self.prefix = ""


def main(*tests):
    """Run tests, each a function or a pair of a function and its arguments.
    Arguments of the command line choose: words of a test's name."""
    tap = Tap()
    try:
        paths.check()
    except paths.Missing as missing:
        print(f"Bail out! {missing}", flush=True)
        sys.exit(1)
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, lambda *_: _stuck())
    signal.alarm(int(os.environ.get("MEMLEASE_TEST_LIMIT_S", FILE_LIMIT_S)))
    for test in tests:
        function, *arguments = test if isinstance(test, tuple) else (test,)
        name = " ".join([function.__name__, *map(str, arguments)])
        if not all(word in name.split() for word in sys.argv[1:]):
            continue
        tap.say(name)
        tap._one(function, arguments)
    print(f"1..{tap.count}", flush=True)
    sys.exit(1 if tap.failures or not tap.count else 0)


def _stuck():
    faulthandler.dump_traceback()
    raise TimeoutError("this test file took too long")


def skip(tap, why):
    """What this machine cannot show."""
    tap.count += 1
    print(f"ok {tap.count} # SKIP {why}", flush=True)


def until(holds, timeout_s, every_s=0.05):
    """Wait until holds() is true; its last value, true or not."""
    deadline = time.monotonic() + timeout_s
    while True:
        got = holds()
        if got or time.monotonic() >= deadline:
            return got
        time.sleep(every_s)
