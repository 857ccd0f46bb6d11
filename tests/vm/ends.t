#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM's ends: reboot of the guest, unloading of the driver, kill -9 of QEMU. The pool is
whole afterwards, and the ledger right."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import signal

from lib.host import host
from lib.tap import each, main, until
from lib.vm import wait_ended


def ends(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("ends", kernel=kernel, limit="1536M")

    # Programs use memory of the window until the very end.
    vm.spawn("hog", "hog fill:640 " + "check " * 50)
    tap.check(until(lambda: vm.resident_mib() > 640, 30) and vm.status()["window-committed-blocks"] > 0,
              "the VM has grown")
    pid = vm.qemu_pid()
    vm.sh("(sleep 0.3; reboot -f) >/dev/null 2>&1 &")
    tap.check(until(lambda: vm.status()["window-committed-blocks"] == 0, 15, 0.01),
              "a reboot of the guest empties its window", vm.status())
    vm.wait_reboot()
    tap.equal((vm.status()["state"], vm.qemu_pid()), ("running", pid), "the guest comes back, in the same QEMU")
    vm.sh("hog fill:700 check free", 60)
    tap.check(vm.status()["broken"] == "", "grows and uses memory as before")

    driver(tap, h, vm)

    vm.spawn("hog", "hog fill:500 until:/never")
    until(lambda: vm.resident_mib() > 500, 30)
    os.kill(vm.qemu_pid(), signal.SIGKILL)
    took = wait_ended(vm)
    tap.check(took is not None and took < 3, f"kill -9 of QEMU ends the VM ({took} s)")
    tap.check(until(h.pool_whole, 3), "the pool is whole", h.pool())
    tap.equal([f for f in vm.files if os.path.exists(f)], [], "the VM's files are gone")
    h.check_bill(tap, vm, least=500)
    tap.check(h.ledger_rows("vm.ended_ms", "ends")[-1][0] is not None, "the ledger knows that the VM ended")
    vm.process.wait(60)

    again = h.vm_start("ends", kernel=kernel, limit="1536M")
    tap.check(until(lambda: again.status() and again.status()["resident-blocks"] > 0, 10),
              "a VM of the same name can follow")
    again.kill()
    again.checked = True	# it had no time to boot


def driver(tap, h, vm):
    """The driver comes and goes while the guest lives; and what it must refuse."""
    vm.sh("echo disk >/sys/power/state", check=False)
    tap.check("hibernation" in vm.sh("dmesg | tail -20"), "hibernation is refused while memory is borrowed",
              vm.sh("dmesg | tail -20"))
    vm.set("--target", "256M")
    until(lambda: vm.status()["window-committed-blocks"] == 0, 10)
    vm.sh("rmmod virtio_memlease")
    tap.check("virtio_memlease" not in vm.sh("lsmod"), "with nothing borrowed the driver unloads")
    vm.sh("insmod /lib/modules/virtio_memlease.ko")
    vm.set("--target", "none")
    vm.sh("hog fill:400 check", 60)
    tap.check(vm.status()["window-committed-blocks"] > 0, "loaded again, it grows again")


main(*each(ends))
