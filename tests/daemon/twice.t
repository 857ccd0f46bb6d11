#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line that `memlease run --print` prints, started twice: the second QEMU ends and
says why, and the first keeps its monitor. No guest is needed: firmware is."""

import os
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import patience
from daemon import Daemon, run, until
from qmp import Qmp

CLI = os.environ.get("MEMLEASE", os.path.join(TOP, "build", "memlease"))
START_S = 60 * patience.SLOWEST


def qemu():
    if "MEMLEASE_QEMU" in os.environ:
        return os.environ["MEMLEASE_QEMU"]
    got = subprocess.run([os.path.join(TOP, "scripts", "build-qemu"), "--print-path"], capture_output=True, text=True, check=False)
    return got.stdout.strip() if got.returncode == 0 else None


class Line:
    """A VM, its QEMU's command line, and who runs it."""

    def __init__(self, path):
        self.daemon = Daemon(pool="512M")
        self.running = []
        disk = os.path.join(self.daemon.dir, "disk.raw")
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        line = self.cli("run", "--tenant", "t", "--plan", "standard", "--name", "vm", "--boot", "128M", "--limit", "256M",
                        "--accel", "tcg", "--qemu", path, "--print", disk).stdout
        self.words = shlex.split(line.replace("\\\n", ""))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.running:
            process.kill()
            process.communicate()

    def cli(self, *words):
        return subprocess.run([CLI, *words], env={**os.environ, "MEMLEASE_SOCKET": self.daemon.control},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False)

    def start(self):
        self.running.append(subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                             stderr=subprocess.STDOUT, text=True))
        return self.running[-1]

    def vm(self):
        with self.daemon.qmp() as qmp:
            return qmp("query-vm", name="vm")

    def told(self):
        """What the monitor says at which people look for it; it fails where nobody answers."""
        with Qmp(self.vm()["qmp-socket"]) as qmp:
            return qmp("query-status")["status"]


def twice(tap):
    path = qemu()
    if not path:
        tap.skip("there is no QEMU with the device: scripts/build-qemu")
        return
    with Line(path) as line:
        mark = line.vm().get("unstarted-path", "/nonexistent")
        tap.check(os.path.exists(mark) and os.stat(mark).st_mode & 0o777 == 0o444, "until it starts there is a mark", mark)
        first = line.start()
        tap.check(until(lambda: line.vm()["state"] == "running", START_S), "the first QEMU runs", line.daemon.log)
        tap.check(not os.path.exists(mark), "and the mark is gone")
        for again in ("", ", of a new daemon too"):
            second = line.start()
            said = second.communicate(timeout=START_S)[0]
            tap.check(second.returncode and f"Could not open '{mark}'" in said, "the second ends, and says why" + again,
                      second.returncode, said)
            tap.equal((line.vm()["pid"], line.told()), (first.pid, "running"), "the first has its VM, and its monitor")
            line.daemon.stop()
            line.daemon.start()
        tap.check("refused" not in line.daemon.log(), "the daemon was not troubled", line.daemon.log)
        stop = line.cli("stop", "vm", "--timeout", "100ms")
        tap.check("still runs" in stop.stderr, "its power button can be pressed", stop)
        line.cli("stop", "vm", "--force")
        tap.check(first.wait(START_S) and not os.path.exists(mark), "it ends, and nothing is left")


def a_mark_is_of_one_vm(tap):
    """One that is made anew, after an end that nobody saw, has a mark of its own."""
    daemon = Daemon()
    words = dict(name="vm", tenant="t", plan="standard", boot=16 << 20, limit=256 << 20)
    with daemon.qmp() as qmp:
        mark = qmp("vm-create", **words)["unstarted-path"]
        qmp("vm-delete", name="vm")
        tap.check(not os.path.exists(mark), "vm-delete takes it away")
        os.symlink("/nonexistent", mark)
        qmp("vm-create", **words)
        tap.check(os.path.isfile(mark) and not os.path.islink(mark), "what lay there gives way")
    daemon.stop()
    os.unlink(mark)
    daemon.start()
    tap.check(os.path.isfile(mark), "the next daemon sees to it that it is there")


run(twice, a_mark_is_of_one_vm)
