# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP (tests/lib/tap.py) for tests with hosts and VMs. What a test leaves behind
ends with it, whatever happens, and its logs are shown when it fails."""

import sys
import traceback

from . import paths	# first: it says where the shared part is

import tap as base
from tap import until  # noqa: F401: for the tests

FILE_LIMIT_S = 300	# a test file that takes longer is stuck
Failed = base.Failed


class Tap(base.Tap):
    def __init__(self):
        super().__init__()
        self.hosts = []

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

    def again(self):
        broken = [host for host in self.hosts if host.broke()]
        for host in broken:
            self.say(f"the machine under this test ended by itself: {host.broke()}", host.tails())
        while broken and self.hosts:
            self.hosts.pop().clean()
        return bool(broken)

    def after(self, failures):
        for host in list(reversed(self.hosts)):
            self.finish(host, failures)


def main(*tests, limit_s=FILE_LIMIT_S, check=paths.check):
    """Run tests, each a function or a pair of a function and its arguments.
    Arguments of the command line choose: words of a test's name. check: raises
    paths.Missing if something was not built."""
    try:
        check()
    except paths.Missing as missing:
        print(f"Bail out! {missing}", flush=True)
        sys.exit(1)
    base.run(Tap(), tests, limit_s)


def each(function):
    """The test on each of the kernels, for main()."""
    return [(function, kernel) for kernel in paths.KERNELS]


def each_load(function):
    """The same for a test that is a long load: all kernels have their turn in `make check-long`."""
    return [(function, kernel) for kernel in paths.LOAD_KERNELS]


def skip(tap, why):
    """What this machine cannot show."""
    tap.skip("", why)
