# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of its own for a test: a memleased with its own directories, and what
can be done to it. Everything is used as an operator would: the command line, the
control socket, signals."""

import glob
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

from . import paths
from .remote import tail
from .sampler import Sampler
from .tap import until
from .vm import Vm

from .paths import Qmp

START_LIMIT_S = 10
MIB = 1 << 20
ENDED_LIMIT_S = 30	# until the ledger has a VM's end


class CommandFailed(Exception):
    """memlease ended with an error."""


class Host:
    """Use it through Tap's hosts: make it by host(tap, ...)."""

    def __init__(self, tap, pool, arguments=(), keep=False):
        self.tap = tap
        self.dir = tempfile.mkdtemp(prefix="memlease-vm-")
        os.chmod(self.dir, 0o711)	# QEMUs become users of their own, and come back
        self.run_dir = os.path.join(self.dir, "run")
        self.ledger = os.path.join(self.dir, "ledger.db")
        self.log = os.path.join(self.dir, "memleased.log")
        self.control = os.path.join(self.run_dir, "control.sock")
        self.arguments = ["--run-dir", self.run_dir, "--ledger", self.ledger, "--pool", pool, *arguments]
        if keep:
            self.arguments.append("--keep")
        self.vms = []
        self.process = None
        self.sampler = None
        self.keep_logs = False
        tap.hosts.append(self)
        self.start()
        self.pool_dir = self.qmp()("query-pool")["pool-dir"]
        self.sampler = Sampler(self.pool_dir)

    # --- the daemon ---

    def start(self):
        """Start the daemon, or start it anew."""
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([paths.DAEMON, *self.arguments], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        self.wait_up()

    def wait_up(self, timeout_s=START_LIMIT_S):
        """Until the daemon answers on its control socket; its pid."""
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"memleased ended with status {self.process.returncode}")
            try:
                with Qmp(self.control, timeout_s=2) as qmp:
                    qmp("query-version")
                return True
            except (OSError, ValueError):
                return False
        if not until(answers, timeout_s):
            raise AssertionError("memleased does not answer on its control socket")
        return self.pid()

    def daemon_lives(self):
        return self.process is not None and self.process.poll() is None

    def pid(self):
        """The daemon's own pid; with --keep a child of the process that was started."""
        if "--keep" not in self.arguments:
            return self.process.pid
        children = _children(self.process.pid)
        return children[0] if children else None

    def kill_daemon(self):
        """kill -9 the daemon. With --keep another one comes up by itself."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        if pid == self.process.pid:
            self.process.wait(60)
        return pid

    def qmp(self, timeout_s=20):
        return Qmp(self.control, timeout_s)

    # --- memlease ---

    def command(self, *words, check=True, timeout_s=120):
        """Run memlease; its standard output, or the CompletedProcess unless check."""
        got = subprocess.run([paths.CLI, *self.cli_words(words)], capture_output=True, text=True,
                             timeout=timeout_s, stdin=subprocess.DEVNULL, env=self.environment(), check=False)
        if not check:
            return got
        if got.returncode:
            raise CommandFailed(f"memlease {' '.join(words)}: status {got.returncode}: {got.stderr.strip()}")
        return got.stdout

    def cli_words(self, words):
        return [words[0], "--socket", self.control, *words[1:]]

    def environment(self):
        return {**os.environ, "MEMLEASE_QEMU": paths.qemu(), "LC_ALL": "C"}

    def json(self, *words):
        return json.loads(self.command(*words, "--json"))

    # --- VMs ---

    def vm(self, name, **how):
        """Start a VM and wait until it is up; see Vm."""
        vm = self.vm_start(name, **how)
        vm.wait_up()
        return vm

    def vm_start(self, name, **how):
        vm = Vm(self, name, **how)
        self.vms.append(vm)
        vm.start()
        return vm

    def pool(self):
        with self.qmp() as qmp:
            return qmp("query-pool")

    def vm_status(self, name):
        """query-vm, or None if the daemon does not know it."""
        with self.qmp() as qmp:
            for vm in qmp("query-vms"):
                if vm["name"] == name:
                    return vm
        return None

    def pool_whole(self):
        """Nothing lent, nothing in the pool's files: True, or why not."""
        pool = self.pool()
        files = sum(os.stat(f).st_blocks for f in glob.glob(self.pool_dir + "/**", recursive=True)
                    if os.path.isfile(f))
        if pool["lent-blocks"] == 0 and pool["free-blocks"] == pool["pool-blocks"] and not files:
            return True
        return None

    # --- the ledger, read as a file of SQLite's, not through the daemon ---

    def billed(self, vm=None):
        """Resident block-seconds in the ledger, of one VM or all."""
        db = sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True, timeout=10)
        try:
            where, values = ("WHERE vm.name = ?", (vm,)) if vm else ("", ())
            total, = db.execute("SELECT sum(resident_block_ns) FROM usage JOIN vm ON vm.id = usage.vm "
                                + where, values).fetchone()
            return (total or 0) / 1e9
        finally:
            db.close()

    def ledger_rows(self, columns, vm):
        db = sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(f"SELECT {columns} FROM usage JOIN vm ON vm.id = usage.vm WHERE vm.name = ? "
                              "ORDER BY start_ms", (vm,)).fetchall()
        finally:
            db.close()

    def check_bill(self, tap, vm, bound_percent=0.2, least=0):
        """The ledger agrees with the sampler about a VM that has ended."""
        until(lambda: self.ledger_rows("vm.ended_ms", vm.name)[-1:] not in ([], [(None,)]), ENDED_LIMIT_S)
        billed, seen = self.billed(vm.name), self.sampler.block_seconds(vm.files)
        agrees, text = self.sampler.agrees(billed, vm.files, bound_percent)
        tap.say(f"{vm.name}: {text}")
        return tap.check(agrees and seen > least,
                         f"{vm.name}: the ledger is within {bound_percent} % of what the file system had", text)

    # --- the end ---

    def end(self, tap):
        """End all that is left, and check what every test must hold."""
        for vm in self.vms:
            vm.end(tap)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
                tap.check(self.process.returncode in (0, -signal.SIGTERM), "the daemon ended in order",
                          f"status {self.process.returncode}")
            except subprocess.TimeoutExpired:
                tap.check(False, "the daemon ends when asked to")
        else:
            tap.check(False, f"the daemon lived (status {self.process.returncode})")
        if self.sampler:
            self.sampler.stop()
        with open(self.log, errors="replace") as log:
            bad = [l for l in log if "AddressSanitizer" in l or "assert" in l.lower() or "runtime error" in l]
        tap.check(not bad, "no assertion failed in the daemon", *bad[:5])

    def broke(self):
        """What these VMs stand on is this machine."""
        return ""

    def tails(self):
        parts = [f"--- {os.path.basename(self.log)}", tail(self.log, 40)]
        for vm in self.vms:
            for log in (vm.out, vm.console):
                parts += [f"--- {os.path.basename(log)}", tail(log, 40)]
        return "\n".join(parts)

    def clean(self):
        for vm in self.vms:
            vm.kill()
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
        _unmount_below(self.dir)
        if self.keep_logs:
            kept = os.path.join(paths.LOGS, os.path.basename(self.dir))
            os.makedirs(kept, exist_ok=True)
            for log in glob.glob(os.path.join(self.dir, "*.log")):
                shutil.copy(log, kept)
            self.tap.say(f"logs: {os.path.relpath(kept, paths.TOP)}")
        shutil.rmtree(self.dir, ignore_errors=True)


def host(tap, pool="2G", **how):
    """A host that ends with the test."""
    return Host(tap, pool, **how)


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _unmount_below(directory):
    with open("/proc/self/mounts") as file:
        mounts = [line.split()[1] for line in file]
    for mount in reversed(mounts):
        if mount.startswith(directory + "/"):
            subprocess.run(["umount", "-l", mount], check=False)
