#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU that `memlease run` started as root has left of root: a user that no other VM
has, under a filter of system calls, with its own memory open and no other's. The guest and a
restart of the daemon work as ever."""

import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.host import host
from lib.tap import main, until

UID_BASE = 1879048192


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(re.findall(r"^(\w+):\t(.*)$", file.read(), re.M))


def as_user(uid, *words):
    """Can this user do it?"""
    return subprocess.run(words, user=uid, group=uid, extra_groups=[], capture_output=True, check=False).returncode == 0


def connects(uid, path):
    """Can this user connect to a socket? In a child: an interpreter may lie where he cannot go."""
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            socket.socket(socket.AF_UNIX).connect(path)
            os._exit(0)
        except OSError:
            os._exit(1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def jailed(tap):
    if os.geteuid():
        return tap.skip("QEMU becomes another user", "needs root")
    h = host(tap, pool="2G", keep=True)
    one, two = h.vm("one", limit="768M"), h.vm("two", limit="768M")
    uids = []
    for vm in (one, two):
        status, known = status_of(vm.qemu_pid()), vm.status()
        uids.append(UID_BASE + known["number"])
        tap.equal(set(status["Uid"].split()) | set(status["Gid"].split()), {str(uids[-1])},
                  f"{vm.name}: QEMU is user {uids[-1]}")
        tap.equal((status["Groups"].split(), int(status["CapPrm"], 16)), ([str(uids[-1])], 0), "in no other group, with no rights")
        tap.equal((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"), "under a filter, and gains none")
    tap.check(uids[0] != uids[1], "each is another")
    for path in ("boot-path", "window-path"):
        tap.check(not as_user(uids[1], "sh", "-c", f"exec 3<>{one.status()[path]}"), f"one's {path} is closed to two")
    for path in (one.status()["vhost-socket"], one.status()["qmp-socket"], h.control):
        tap.check(not connects(uids[1], path), f"{os.path.basename(path)} is closed to two")
    tap.check(not as_user(uids[1], "ls", os.path.join(h.run_dir, "state")) and
              not as_user(uids[1], "ls", os.path.join(h.run_dir, "vm")), "and so are the daemon's directories")
    tap.check(not as_user(uids[1], "kill", "-0", str(h.pid())), "it cannot signal the daemon")

    one.sh("hog fill:64 check free")
    h.kill_daemon()
    h.wait_up()
    tap.check(until(lambda: {vm.status()["state"] for vm in (one, two)} == {"running"}, 20),
              "both connect again to the next daemon", one.status()["state"], two.status()["state"])
    tap.equal([connects(uid, one.status()["vhost-socket"]) for uid in uids], [True, False],
              "one's socket is open to it by then, and still closed to two")
    one.sh("hog fill:300 check free")
    one.sh("(sleep 0.3; reboot -f) >/dev/null 2>&1 &")
    tap.check(until(lambda: one.status()["window-committed-blocks"] == 0, 15, 0.01), "a reboot of the guest empties its window")
    one.wait_reboot()
    tap.check(True, "and the guest can reboot")
    one.stop()
    two.stop()


main(jailed)
