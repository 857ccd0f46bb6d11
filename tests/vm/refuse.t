#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU must refuse, each with a line that says why and what to do: memory that
is not shared, sizes that do not match, no room for the window, migration."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import paths
from lib.host import host
from lib.tap import main

BOOT_MIB, WINDOW_MIB = 256, 512
MIB = 1 << 20


def line(vm, **change):
    """A command line for a VM that the daemon knows; change: parts of it."""
    part = dict(machine="q35,memory-backend=boot", memory=f"{BOOT_MIB}M,maxmem=4G", boot_size=f"{BOOT_MIB}M",
                boot_more="share=on,align=2M", window_size=f"{WINDOW_MIB}M", window_more="share=on,align=2M",
                window_path=vm["window-path"], device="chardev=lender,memdev=window,bootmem=boot")
    part.update(change)
    return [paths.qemu(), "-accel", "tcg", "-nodefaults", "-nographic", "-S", "-monitor", "none",
            "-machine", part["machine"], "-m", part["memory"],
            "-object", f"memory-backend-file,id=boot,size={part['boot_size']},mem-path={vm['boot-path']},"
            + part["boot_more"],
            "-object", f"memory-backend-file,id=window,size={part['window_size']},mem-path={part['window_path']},"
            + part["window_more"],
            "-chardev", f"socket,id=lender,path={vm['vhost-socket']}",
            "-device", "vhost-user-memlease-pci," + part["device"]]


REFUSED = (
    ("boot memory with share=off", "add share=on", dict(boot_more="share=off,align=2M")),
    ("a window with share=off", "add share=on", dict(window_more="share=off,align=2M")),
    ("a window of another size", "memdev has", dict(window_size=f"{WINDOW_MIB // 2}M")),
    ("preallocated memory", "prealloc=off", dict(window_more="share=on,align=2M,prealloc=on",
                                                 window_size="128M", window_path="/dev/shm")),
    ("no window", "memdev", dict(device="chardev=lender,bootmem=boot")),
    ("no boot memory", "bootmem", dict(device="chardev=lender,memdev=window")),
    ("the same memory twice", "same backend", dict(device="chardev=lender,memdev=boot,bootmem=boot")),
    ("boot memory that is not the machine's", "memory-backend=", dict(machine="q35")),
    ("no back-end", "chardev", dict(device="memdev=window,bootmem=boot")),
    ("no room for the window", "maxmem", dict(memory=f"{BOOT_MIB}M")),
)


def refusals(tap):
    h = host(tap, pool="2G")
    for number, (what, says, change) in enumerate(REFUSED):
        with h.qmp() as qmp:	# a VM each: the daemon forgets one whose QEMU has ended
            vm = qmp("vm-create", name=f"refused-{number}", tenant="acme", plan="standard",
                     boot=BOOT_MIB * MIB, limit=(BOOT_MIB + WINDOW_MIB) * MIB)
        try:
            got = subprocess.run(line(vm, **change), capture_output=True, text=True, timeout=120, check=False,
                                 stdin=subprocess.DEVNULL)
            tap.check(got.returncode == 1 and says in got.stderr, f"QEMU refuses {what}, and names '{says}'",
                      got.returncode, got.stderr)
            tap.say(*[text.split(": memlease: ")[-1] for text in got.stderr.splitlines()[-1:]])
        except subprocess.TimeoutExpired:
            tap.check(False, f"QEMU refuses {what}")
    tap.equal(h.pool()["waiting-touches"], 0, "the daemon is none the worse")
    vm = h.vm("fine", limit="768M")
    answer = vm.monitor("migrate file:/dev/null")
    tap.check("cannot migrate" in answer, "migration is refused with its reason", answer)
    tap.equal(vm.sh("echo there"), "there\n", "and the VM goes on")


main(refusals)
