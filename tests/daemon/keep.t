#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memleased --keep: the daemon is started again when it dies, and gets back the
descriptors that were kept; the keeper ends with it, and when it is told to."""

import os
import signal
import subprocess
import sys
import time

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
sys.path.insert(0, LIB)

from daemon import MIB, Daemon, links, outcome, run, until
from qmp import Qmp


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def new_child(daemon, old):
    def there():
        pid = daemon.child()
        return pid if pid and pid != old and daemon.answers() else None
    return until(there)


def restarts(tap):
    daemon = Daemon("--keep")
    keeper = daemon.process.pid
    with daemon.qmp() as qmp:
        qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
    first = daemon.child()
    time.sleep(1.1)	# longer than a short life
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    second = new_child(daemon, first)
    tap.check(second, f"a daemon that was killed is there again ({(time.monotonic() - began) * 1000:.0f} ms)")
    with daemon.qmp() as qmp:
        tap.equal([vm["name"] for vm in qmp("query-vms")], ["vm"], "with its VMs")
    tap.has(daemon.log(), "signal 9", "the keeper says what happened")
    os.kill(second, signal.SIGKILL)
    third = new_child(daemon, second)
    tap.check(third, "again, after a short life")
    daemon.process.send_signal(signal.SIGHUP)
    fourth = new_child(daemon, third)
    tap.check(fourth and not alive(third), "SIGHUP restarts it")
    tap.equal(daemon.process.pid, keeper, "the keeper is the same")
    tap.equal(daemon.stop(), 0, "SIGTERM ends both, in order")
    tap.check(not alive(fourth), "no daemon is left")


def daemon_ends(tap):
    daemon = Daemon("--keep")
    os.kill(daemon.child(), signal.SIGTERM)
    tap.equal(daemon.wait(), 0, "a daemon that was told to end is not started again")
    code, said = outcome("--keep", "--run-dir", daemon.run_dir, "--ledger", daemon.ledger, "--pool", "64M",
                         "--plans", "/none")
    tap.check(code == 1 and "/none" in said, "one that never gets ready ends the keeper", code, said)
    code, said = outcome("--keep", "--pool", "x")
    tap.equal(code, 2, "wrong options too, at once")


def keeper_dies(tap):
    daemon = Daemon("--keep")
    child = daemon.child()
    daemon.process.kill()
    daemon.process.wait()
    tap.check(alive(child), "a keeper that is killed does not take the daemon along")
    with daemon.qmp() as qmp:
        qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
        tap.check(qmp("query-pool")["vms"] == 1, "which goes on working")
    os.kill(child, signal.SIGTERM)
    tap.check(until(lambda: not alive(child)), "and ends when told to")


def environment(daemon):
    with open(f"/proc/{daemon.child()}/environ") as file:
        return dict(e.split("=", 1) for e in file.read().split("\0") if "=" in e)


def notified(tap):
    """The daemon has a socket to the keeper, and tells it that it lives."""
    daemon = Daemon("--keep")
    env = environment(daemon)
    tap.check("NOTIFY_SOCKET" not in env and int(env["MEMLEASE_KEEPER"]) > 2, "the keeper's socket is handed on", env)
    tap.equal(env["WATCHDOG_PID"], str(daemon.child()), "and a watchdog")
    tap.check("LISTEN_FDS" not in env, "nothing stored, nothing handed on")
    named = set()
    with open("/proc/net/unix") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if len(fields) == 8:
                named.add(f"socket:[{fields[6]}]")
    tap.equal(set(links(daemon.process.pid)) & named, set(), "it has no name by which others could send")
    tap.equal({link for link in set(links(daemon.process.pid)) & set(links(daemon.child())) if link.startswith("socket:")}, set(),
              "nothing of the keeper's own is inherited")


def not_read(tap):
    """A keeper that is stopped, or slow, stops nobody; what it shall keep it hears of later."""
    daemon = Daemon("--keep")
    with daemon.qmp() as qmp:
        vms = [qmp("vm-create", name=f"vm{i}", tenant="t", plan="standard", boot=2 * MIB, limit=130 * MIB)
               for i in range(8)]
    daemon.process.send_signal(signal.SIGSTOP)
    touchers = [subprocess.Popen([sys.executable, os.path.join(LIB, "toucher.py"), vm["vhost-socket"], vm["boot-path"],
                                  vm["window-path"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for vm in vms]
    tap.check(all(t.stdout.readline() == b"ready\n" for t in touchers), "eight VMs begin while the keeper is stopped")
    began = time.monotonic()
    try:
        with Qmp(daemon.control, timeout_s=10) as qmp:
            qmp("query-pool")
        tap.check(True, f"the daemon answers ({time.monotonic() - began:.1f} s)")
    except (OSError, TimeoutError) as error:
        tap.check(False, "the daemon answers", error)
    daemon.process.send_signal(signal.SIGCONT)
    uffds = lambda: links(daemon.process.pid).count("anon_inode:[userfaultfd]")
    tap.check(until(lambda: uffds() == 8), "and the keeper gets all it shall keep", uffds())
    for toucher in touchers:
        toucher.kill()
        toucher.wait()
    tap.check(until(lambda: uffds() == 0), "and lets it go when the VMs end", uffds())


run(restarts, daemon_ends, keeper_dies, notified, not_read)
