#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memleased --keep: the daemon is started again when it dies, and gets back the
descriptors that were kept; the keeper ends with it, and when it is told to."""

import array
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import MIB, Daemon, outcome, run, until


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


def strangers(tap):
    """The notification socket heeds the daemon alone."""
    daemon = Daemon("--keep")
    with open(f"/proc/{daemon.child()}/environ") as file:
        env = dict(e.split("=", 1) for e in file.read().split("\0") if "=" in e)
    tap.check(env["NOTIFY_SOCKET"].startswith("@"), "the daemon has a notification socket", env.get("NOTIFY_SOCKET"))
    tap.equal(env["WATCHDOG_PID"], str(daemon.child()), "and a watchdog")
    fds = lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    before = fds()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    null = os.open("/dev/null", os.O_RDONLY)
    address = "\0" + env["NOTIFY_SOCKET"][1:]
    for i in range(50):
        sock.sendmsg([b"FDSTORE=1\nFDNAME=uffd.evil%d" % i],
                     [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))], 0, address)
        sock.sendto(b"\xff" * 6000, address)
    time.sleep(0.2)
    tap.equal(fds(), before, "a stranger's descriptors are not kept")
    tap.check(alive(daemon.process.pid) and daemon.answers(), "and nothing else happens")


def inherited(tap):
    """What the keeper hands on: nothing that was not stored, and none of its own."""
    daemon = Daemon("--keep")
    with open(f"/proc/{daemon.child()}/environ") as file:
        tap.check("LISTEN_FDS" not in file.read(), "nothing stored, nothing handed on")
    sockets = set()
    with open("/proc/net/unix") as file:
        for line in file:
            fields = line.split()
            if len(fields) == 8 and fields[7].startswith("@"):
                sockets.add(f"socket:[{fields[6]}]")

    def held(pid):
        links = set()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:	# closed meanwhile
                pass
        return links & sockets
    tap.check(held(daemon.process.pid), "the keeper has its notification socket", sockets)
    tap.equal(held(daemon.child()), set(), "the daemon has not inherited it")


run(restarts, daemon_ends, keeper_dies, strangers, inherited)
