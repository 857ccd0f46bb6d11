#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's kernel crashes while it is lent memory, and the one that it starts for that reads
what the first one left: with the driver the dump has boot memory, and zeros for the window; without
it the window is read as memory that nobody has borrowed, and the host ends the VM."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import paths
from lib.console import cmdline
from lib.host import host
from lib.paths import NEWEST
from lib.remote import RemoteError, text_of
from lib.tap import main
from lib.vm import wait_ended

CRASH_MIB = 160		# kept for the second kernel
HOLD_MIB = 600		# by a program, more than boot memory has
CRASHED = ("Kernel panic", "Call Trace", r"\bOops\b", "sysrq")
# A page of each 4 MiB: all of it takes minutes.
READ = ("size=$(stat -c %s /proc/vmcore); at=0; while [ $at -lt $size ]; do "
        "dd if=/proc/vmcore of=/dev/null bs=4096 skip=$((at / 4096)) count=1 2>/dev/null || exit; at=$((at + 4194304)); done; echo $size")
READ_LIMIT_S = 90


def crashes(tap, kernel, driver):
    """A host, and a VM of it whose second kernel is up, with or without the driver."""
    h = host(tap, pool="2G")
    files = [paths.guest(kernel, name) for name in ("kernel/vmlinuz", "initrd")]
    vm = h.vm("crashes", kernel=kernel, boot="512M", limit="1536M", append=f"crashkernel={CRASH_MIB}M", expected=CRASHED,
              qemu=[word for file in files for word in ("-drive", f"file={file},if=virtio,format=raw,readonly=on")])
    vm.sh("cat /dev/vda >/tmp/kernel; cat /dev/vdb >/tmp/initrd")
    words = f"{cmdline()} nr_cpus=1 reset_devices {'' if driver else 'memlease_test.driver=no'}"
    vm.sh(f"crash /tmp/kernel /tmp/initrd '{words}'; rm /tmp/kernel /tmp/initrd")
    vm.spawn("hog", f"hog fill:{HOLD_MIB} mark:/tmp/full until:/tmp/end")
    vm.wait_mark("hog", "/tmp/full")
    tap.check(vm.status()["window-committed-blocks"] > 0, "memory is lent to it")
    vm.sh("(sleep 0.5; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    vm.wait_reboot()
    return h, vm


def with_driver(tap, kernel):
    _, vm = crashes(tap, kernel, True)
    tap.equal(vm.status()["window-committed-blocks"], 0, "the second kernel runs, and the window is nobody's")
    got = int(vm.sh(READ, READ_LIMIT_S))
    tap.check(got > (512 + HOLD_MIB // 2) << 20, f"it reads all over what the first one had: {got >> 20} MiB")
    tap.equal(vm.status()["state"], "running", "and the VM lives on")
    tap.equal(vm.status()["window-committed-blocks"], 0, "nothing was lent for it")
    vm.kill()


def without(tap, kernel):
    h, vm = crashes(tap, kernel, False)
    try:
        tap.say(vm.sh(READ, READ_LIMIT_S))
    except RemoteError as error:
        tap.say(error)
    tap.check(wait_ended(vm, 30) is not None, "without the driver the host ends the VM")
    tap.has(text_of(h.log), "which it had not borrowed", "and its log says why")


main((with_driver, NEWEST), (without, NEWEST))
