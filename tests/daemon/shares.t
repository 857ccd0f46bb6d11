#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What one client of the control socket may take of the daemon, and how long others wait for
what it asked: descriptors, places, bills, records."""

import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import MIB, Daemon, run, until
from qmp import Qmp

GIB = 1 << 30
TIB = 1 << 40
ROWS = 200000
NOBODY = 65534


def ask(daemon, command):
    """A client that has asked, and does not read."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(daemon.control)
    sock.settimeout(30)
    sock.sendall(b'{"execute": "qmp_capabilities"}{"execute": "%s"}' % command)
    return sock


def bill_s(daemon):
    """How long one bill takes, by itself."""
    began = time.monotonic()
    with Qmp(daemon.control, timeout_s=100) as qmp:
        qmp("query-bill")
    return time.monotonic() - began


def long_ledger(daemon, rows=ROWS):
    """A VM with so many periods behind it."""
    with sqlite3.connect(daemon.ledger) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("INSERT INTO vm VALUES (999, 'f0000000-0000-4000-8000-000000000000', 'old', 't', 'standard', 1, 0, 1)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   "INSERT INTO usage SELECT 999, i * 300000, i * 300000 + 300000, 1, 1, 0, 1, 0, 0, 0 FROM n", (rows,))
    db.close()


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limits(tap):
    """A limit that the pool can never fill."""
    daemon = Daemon(pool="512M")
    with daemon.qmp() as qmp:
        for limit in (58 * TIB, 65 * GIB):
            tap.refuses("invalid-argument", "more than this pool can come to lend: at most 64G", qmp, "vm-create",
                        name="huge", tenant="t", plan="standard", boot=64 * MIB, limit=limit)
        vm = qmp("vm-create", name="large", tenant="t", plan="standard", boot=128 * MIB, limit=64 * GIB)
        tap.equal(vm["limit-blocks"], 32768, "what is at the bound is taken")


def no_descriptors(tap):
    """Where no descriptor is left, who waits to be accepted does not keep the daemon busy."""
    daemon = Daemon()
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 1
    fill = [ask(daemon, b"query-version") for _ in range(3)]
    time.sleep(0.5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
    waits = [ask(daemon, b"query-version") for _ in range(10)]
    began = cpu_s(pid)
    time.sleep(3)
    spent = cpu_s(pid) - began
    tap.check(spent < 1, f"3 s of it cost {spent:.2f} s")
    tap.has(daemon.log(), "no client can be accepted now", "the log says so")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    tap.check(all(sock.recv(100) for sock in waits), "when there are some again, all are accepted")
    for sock in fill + waits:
        sock.close()


def one_user(tap):
    """Another user does not lock out a third, nor root."""
    daemon = Daemon("--socket-group", "nogroup")
    os.chmod(daemon.dir, 0o755)
    ready, tell = os.pipe()

    def as_user(uid, count):
        pid = os.fork()
        if pid:
            return pid
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(uid)
        socks, refused = [], 0
        for _ in range(count):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(daemon.control)
            refused += b"Too many" in sock.recv(1000)
            socks.append(sock)
        os.write(tell, b"%3d" % refused)
        time.sleep(60)
        os._exit(0)
    pids = [as_user(NOBODY, 70)]
    tap.equal(int(os.read(ready, 3)), 42, "28 places for one user")
    pids.append(as_user(NOBODY - 1, 1))
    tap.equal(int(os.read(ready, 3)), 0, "another gets in")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def abandoned_bills(tap):
    """Who asks for a bill and leaves leaves no work behind."""
    daemon = Daemon()
    long_ledger(daemon)
    alone = bill_s(daemon)
    for _ in range(60):
        ask(daemon, b"query-bill").close()
    after = bill_s(daemon)
    tap.check(after < 6 * alone + 1, f"a bill takes {after:.1f} s after 60 that nobody waits for, {alone:.1f} s alone")


def restart(tap):
    """The end of the daemon, and so a restart, does not wait for bills that run."""
    daemon = Daemon()
    long_ledger(daemon, 4 * ROWS)
    alone = bill_s(daemon)
    socks = [ask(daemon, b"query-bill") for _ in range(3)]
    time.sleep(min(alone / 4, 1))
    began = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    tap.equal(daemon.wait(60), 0, "it ends in order")
    took = time.monotonic() - began
    tap.check(took < alone / 3 + 0.3, f"after {took:.2f} s, where a bill takes {alone:.1f} s")
    for sock in socks:
        sock.close()


def audit(tap):
    """A bill makes no thread: that would be a system call which the sandbox refuses, and each
    such a line in the kernel's log."""
    def lines():
        got = subprocess.run(["dmesg"], capture_output=True, text=True, check=False)
        return got.stdout.count("syscall=435") if got.returncode == 0 else None

    daemon = Daemon()
    long_ledger(daemon)
    pid = daemon.process.pid
    threads = lambda: sorted(os.listdir(f"/proc/{pid}/task"))
    before, before_lines = threads(), lines()
    sock = ask(daemon, b"query-bill")
    seen = set()
    until(lambda: seen.update(threads()) or b'"total"' in sock.recv(1 << 20), 60)
    tap.equal(sorted(seen), before, "the same threads before and during a bill")
    if before_lines is None:
        tap.skip("no line in the kernel's log", "it cannot be read here")
    else:
        tap.equal(lines(), before_lines, "no line in the kernel's log")
    sock.close()


run(limits, no_descriptors, one_user, abandoned_bills, restart, audit)
