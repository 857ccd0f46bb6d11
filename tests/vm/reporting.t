#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that cannot report free memory says so, to its operator and to the host: another
driver has the kernel's only place, until it goes."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import signal
import time

from lib.host import host
from lib.paths import NEWEST
from lib.tap import each, main, until

# With free page hints, for which we have no use, all queues of the balloon's are there: the virtio
# of Linux 6.12 faults as it removes a balloon that lacks one before the last.
BALLOON = ("-object", "iothread,id=hints", "-device",
           "virtio-balloon-pci,id=balloon0,free-page-reporting=on,free-page-hint=on,iothread=hints")
FILL_MIB = 200
# What a kernel may say of seconds in which it did not run.
MISSED = ("soft lockup", r"rcu.*(detected stalls|self-detected)", "rcu: INFO", "blocked for more than", "Call Trace")
SILENT_S = 22		# after 20 s without a word of the guest's it is said


def told(vm):
    """What the host has heard of it."""
    return vm.status()["guest"].get("reporting")


def gives_back(tap, vm):
    vm.spawn("hog", f"hog fill:{FILL_MIB} mark:/tmp/full until:/tmp/end")
    vm.wait_mark("hog", "/tmp/full")
    full = vm.resident_mib()
    vm.sh("touch /tmp/end")
    return until(lambda: vm.resident_mib() < full - FILL_MIB / 2, 15, 0.2)


def taken(tap, kernel):
    h = host(tap, pool="2G")
    vm = h.vm("taken", kernel=kernel, boot="512M", limit="1G", driver=False, qemu=BALLOON)
    vm.sh("insmod /lib/modules/virtio_balloon.ko; insmod /lib/modules/virtio_memlease.ko")
    tap.equal(vm.sysfs("reporting"), "off: another driver reports", "a balloon reports, so the driver does not")
    tap.equal(vm.sysfs("defrag"), "off", "nor are blocks emptied in the background, for nobody")
    tap.check(until(lambda: told(vm) == "another-driver", 15, 0.2), "which the host hears", vm.status()["guest"])
    tap.has(h.command("status", "taken"), "another driver of the guest reports free memory", "and tells the operator")
    vm.sh("rmmod virtio_balloon")
    tap.check(until(lambda: vm.sysfs("reporting") == "on", 15, 0.2), "when the balloon has gone the driver reports, by itself",
              vm.sysfs("reporting"))
    tap.equal(vm.sysfs("defrag"), "auto", "and defragments")
    tap.check(until(lambda: told(vm) == "on", 15, 0.2), "which the host hears, too", vm.status()["guest"])
    tap.check("another driver" not in h.command("status", "taken"), "and the operator hears no more of it")
    tap.check(gives_back(tap, vm), "what is freed goes back", vm.resident_mib())
    vm.stop()


def stopped(tap, kernel):
    """Nobody claims that a guest which cannot answer reported, or is shrinking."""
    h = host(tap, pool="2G")
    vm = h.vm("stopped", kernel=kernel, boot="256M", limit="1G", expected=MISSED)
    until(lambda: told(vm) == "on", 15)
    os.kill(vm.qemu_pid(), signal.SIGSTOP)
    vm.set("--target", "256M")
    time.sleep(SILENT_S)
    got = h.command("report-now", "stopped", check=False)
    tap.check(got.returncode == 3 and "no answer from stopped" in got.stderr and "stopped by a signal" in got.stderr,
              "report-now says that no answer is to be had", got)
    status = h.command("status", "stopped")
    tap.has(status, "its QEMU was stopped by a signal", "so does status")
    tap.check("shrinking" not in status, "also of the target", status)
    tap.has(h.command("list"), "no answer from the guest", "and list")
    os.kill(vm.qemu_pid(), signal.SIGCONT)
    tap.check(until(lambda: "no answer" not in h.command("status", "stopped"), 30, 0.5), "when it goes on all is well",
              h.command("status", "stopped"))
    vm.stop()


main(*each(taken), (stopped, NEWEST))
