# SPDX-License-Identifier: GPL-2.0-or-later
"""A memleased of a test's own, without VMs, and how tests that use it are run.
Each Daemon has its own directories; run() ends what a test left behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

import tap
from qmp import Qmp, QmpError
from tap import TOP

BINARY = os.environ.get("MEMLEASED", os.path.join(TOP, "build", "memleased"))
LIMIT_S = 10
FILE_LIMIT_S = 120
MIB = 1 << 20
BLOCK = 2 * MIB

# A sanitizer looks for leaks by means that the daemon's sandbox forbids.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

_started = []


def until(holds, timeout_s=LIMIT_S):
    """Wait until holds() is true; its last value."""
    return tap.until(holds, timeout_s, 0.02)


def links(pid):
    """What the descriptors of a process are, as readlink() has them."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:	# closed meanwhile
            pass
    return found


class Daemon:
    """pool None leaves --pool out; directory: that of an earlier Daemon, to go on with."""

    def __init__(self, *arguments, pool="64M", directory=None, start=True):
        self.dir = directory or tempfile.mkdtemp(prefix="mld-")
        if not directory:
            os.chmod(self.dir, 0o711)	# QEMUs of other users pass through it
        self.run_dir = os.path.join(self.dir, "run")
        self.control = os.path.join(self.run_dir, "control.sock")
        self.ledger = os.path.join(self.dir, "ledger.db")
        self.pool_dir = os.path.join(self.run_dir, "pool")
        self.log_path = os.path.join(self.dir, "log")
        self.arguments = ["--run-dir", self.run_dir, "--ledger", self.ledger, *arguments]
        if pool:
            self.arguments += ["--pool", pool]
        self.pass_fds = ()
        self.process = None
        _started.append(self)
        if start:
            self.start()

    def start(self, wait=True, prefix=()):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([*prefix, BINARY, *self.arguments], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=ENVIRONMENT, pass_fds=self.pass_fds)
        if wait and not until(self.answers):
            raise AssertionError("memleased does not answer:\n" + self.log())
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"memleased ended with {self.process.returncode}:\n{self.log()}")
        try:
            with Qmp(self.control, timeout_s=5):
                return True
        except (OSError, ValueError):
            return False

    def qmp(self):
        return Qmp(self.control)

    def log(self):
        try:
            with open(self.log_path) as log:
                return log.read()
        except OSError:
            return ""

    def wait(self, timeout_s=LIMIT_S):
        """The exit status, or None if it lives on."""
        until(lambda: self.process.poll() is not None, timeout_s)
        return self.process.poll()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def child(self):
        """With --keep: the daemon's own pid, or None."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                pids = file.read().split()
        except OSError:
            return None
        return int(pids[0]) if pids else None

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            if self.wait() is None:
                self.process.kill()
                self.process.wait()
        while os.path.ismount(self.pool_dir):
            subprocess.run(["umount", "--lazy", self.pool_dir], check=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def outcome(*arguments):
    """Run memleased where it ends by itself: exit status and what it said."""
    got = subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=6 * LIMIT_S, env=ENVIRONMENT, check=False)
    return got.returncode, got.stdout + got.stderr


class Tap(tap.Tap):
    def refuses(self, klass, words, command, *arguments, **named):
        """command(...) fails with an error of this class, or of this kind of GenericError,
        whose text holds the words."""
        what = f"refused: {arguments} {named}: {words}"
        try:
            got = command(*arguments, **named)
        except QmpError as error:
            kind = error.klass == "GenericError" and error.kind or error.klass
            return self.check(kind == klass and words in error.desc, what, error)
        return self.check(False, what, f"got {got!r}")

    def after(self, failures):
        while _started:
            daemon = _started.pop()
            if self.failures > failures:
                self.say(daemon.log()[-4000:])
            daemon.clean()


def root_or_skip():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root, to mount the pool")
        sys.exit(0)


def run(*tests):
    """Run tests, functions that take a Tap; words of the command line choose some."""
    if not os.path.exists(BINARY):
        print(f"Bail out! {BINARY} is missing: make host")
        sys.exit(1)
    root_or_skip()
    tap.run(Tap(), tests, FILE_LIMIT_S)
