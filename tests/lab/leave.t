#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver leaves while the host has not answered what it asked for: what is granted then is
used by nobody. In the lab, where touches are served without the daemon, so that a guest can run
while that is stopped."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import Lab, main, until
from guest import Guest

BOOT_MIB = 448
KEEP_KIB = range(20000, 200000, 10000)	# by the kernel: at some of it too little is free, though nobody touches anything
LEAVES_S = 2		# how long the driver has been leaving when the host answers
BLOCKS = "/sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/memory_blocks"


def mem_total_mib(vm):
    return int(re.search(r"MemTotal: +(\d+)", vm.sh("cat /proc/meminfo")).group(1)) // 1024


def borrowing(tap):
    lab = Lab(tap)
    lab.pool_daemon(keep=False)
    vm = Guest(lab, "leaves", boot=f"{BOOT_MIB}M", limit=f"{BOOT_MIB + 1024}M").start().wait_up()
    tap.need(until(lambda: "vacant 8" in vm.sysfs("memory_blocks"), 20, 0.2), "nothing of the window is lent")
    daemon = lab.pid()
    lab.sh(f"kill -STOP {daemon}")
    marks = "/proc/sys/vm/min_free_kbytes"
    vm.sh(f"was=$(cat {marks}); for kib in {' '.join(map(str, KEEP_KIB))}; do grep -q 'borrowing 0' {BLOCKS} || break; "
          f"echo $kib >{marks}; usleep 300000; done; echo $was >{marks}; echo $kib", 60)
    tap.say(vm.sysfs("memory_blocks").split())
    tap.check("borrowing 0" not in vm.sysfs("memory_blocks"), "it asks for more, and the daemon is stopped")
    vm.spawn("rmmod", "rmmod virtio_memlease")
    # Its reset of the device waits for the daemon, with all of the VM.
    lab.sh(f"sleep {LEAVES_S}; kill -CONT {daemon}")
    code, out = vm.wait("rmmod", 60)
    tap.equal(code, 0, "it leaves, and the answer comes then")
    tap.say(out, vm.sh("dmesg | tail -5"))
    tap.check(mem_total_mib(vm) < BOOT_MIB, "nothing that was granted then is Linux' memory", mem_total_mib(vm))
    tap.check(until(lambda: vm.status()["window-committed-blocks"] == 0, 10), "nor the VM's", vm.status())
    vm.sh("insmod /lib/modules/virtio_memlease.ko")
    vm.spawn("again", "hog fill:400 check")
    tap.equal(vm.wait("again")[0], 0, "the driver comes again, and brings memory")
    vm.stop()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    tap.check(until(lambda: lab.pool()["lent-blocks"] == 0, 10), "the pool is whole", lab.pool())


main(borrowing)
