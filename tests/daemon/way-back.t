#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that root started, and that became a user of its own once it was connected: it comes
back when the daemon was restarted, and nobody else does."""

import errno
import os
import stat
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import MIB, Daemon, run, until

OWN, OTHER = 1879048193, 1879048194
NO_ID = 0xffffffff
# Connects, becomes a user, and connects again for each line that it is told.
STAND_IN = """
import os, socket, sys
path, uid, first = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "first"
held = socket.socket(socket.AF_UNIX)
if first:
    held.connect(path)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
print("ready", flush=True)
for line in sys.stdin:
    held.close()
    held = socket.socket(socket.AF_UNIX)
    print(held.connect_ex(path), flush=True)
"""


class StandIn:
    def __init__(self, path, uid, first):
        self.process = subprocess.Popen([sys.executable, "-c", STAND_IN, path, str(uid), "first" if first else "later"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout.readline() == "ready\n"

    def connect(self):
        self.process.stdin.write("again\n")
        return int(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.wait()


def comes_back(tap, *arguments):
    daemon = Daemon(*arguments, start=False)
    os.chmod(daemon.dir, 0o711 if not arguments else 0o777)
    daemon.start()
    state = lambda: qmp("query-vm", name="vm")["state"]
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
        tap.equal(stat.S_IMODE(os.stat(vm["vhost-socket"]).st_mode), 0o600, "the socket is the daemon's user's")
        early = StandIn(vm["vhost-socket"], OTHER, False)
        tap.equal(early.connect(), errno.EACCES, "another user cannot be the first")
        mine = StandIn(vm["vhost-socket"], OWN, True)
        tap.check(until(lambda: state() == "running"), "root can")
    daemon.stop(9)
    daemon.start()
    with daemon.qmp() as qmp:
        tap.equal(state(), "detached", "the daemon was restarted")
        tap.equal(mine.connect(), 0, "whom the first one became by now can come back")
        tap.check(until(lambda: state() == "running"), "and is its VM's again")
        tap.equal(mine.connect(), 0, "also where only the connection went")
        tap.check(until(lambda: state() == "running"), "without a restart")
        tap.equal(early.connect(), errno.EACCES, "another user cannot come now either")
        mine.end()
        early.end()
        tap.check(qmp.wait_event("VM_ENDED", 5), "its end is seen")


def by_a_list(tap):
    """An operator lets a user at a socket (setfacl) whose QEMU root does not start."""
    daemon = Daemon(start=False)
    daemon.start()
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
        entries = [(1, 6, NO_ID), (2, 6, OWN), (4, 0, NO_ID), (16, 6, NO_ID), (32, 0, NO_ID)]
        os.setxattr(vm["vhost-socket"], "system.posix_acl_access",
                    struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries))
        mine, other = StandIn(vm["vhost-socket"], OWN, False), StandIn(vm["vhost-socket"], OTHER, False)
        tap.equal((other.connect(), mine.connect()), (errno.EACCES, 0), "it can be the first, and another cannot")
        tap.check(until(lambda: qmp("query-vm", name="vm")["state"] == "running"), "it is the VM's QEMU")
    daemon.stop(9)
    daemon.start()
    tap.equal((other.connect(), mine.connect()), (errno.EACCES, 0), "after a restart it comes back, with no list set anew")
    mine.end()
    other.end()


def to_root(tap):
    comes_back(tap)


def to_another(tap):
    comes_back(tap, "--user", "nobody")


run(to_root, to_another, by_a_list)
