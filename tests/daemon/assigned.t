#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has a device assigned (VFIO) is no VM's QEMU: the daemon refuses the connection of a
process that has one open, where it may look at it."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import MIB, Daemon, run, until

# In a /dev of its own, in which there is a device to assign: opens the path, becomes nobody (and
# may be looked at all the same, like a program that was started so), connects, and says whether
# the connection stays.
STAND_IN = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
held = open(sys.argv[2], "w")
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
PR_SET_DUMPABLE = 4
libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.settimeout(3)
try:
    print("closed" if peer.recv(1) == b"" else "?")
except socket.timeout:
    print("open")
except ConnectionResetError:
    print("closed")
"""


def connect(vm, path):
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs x /dev && mkdir /dev/vfio && exec "$@"', "sh", sys.executable,
         "-c", STAND_IN, vm["vhost-socket"], path], capture_output=True, text=True, timeout=60, check=False)


def refused(tap):
    daemon = Daemon("--user", "nobody", start=False)
    os.chmod(daemon.dir, 0o777)
    daemon.start()
    with daemon.qmp() as qmp:
        vms = [qmp("vm-create", name=f"vm{i}", tenant="t", plan="standard", boot=2 * MIB, limit=130 * MIB)
               for i in range(4)]
        for vm, path in zip(vms, ("/dev/vfio/7", "/dev/vhost-vdpa-0", "/dev/iommu")):
            got = connect(vm, path)
            tap.check(got.stdout == "closed\n", f"a process with {path} open is refused", got)
            tap.check(f"it has {path} open" in daemon.log(), "which the log says", daemon.log())
            tap.check(any(known["name"] == vm["name"] and known["state"] == "defined" for known in qmp("query-vms")),
                      "and is not the VM's QEMU")
        got = connect(vms[3], "/dev/another")
        tap.check(got.stdout == "open\n", "another one is not", got)
        tap.check(until(lambda: len(qmp("query-vms")) == 3), "and has been its QEMU")


run(refused)
