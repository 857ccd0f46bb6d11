#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The `file` backend with KVM, in the lab: what a guest touches is mapped by 2 MiB
entries, what it reports is gone from KVM's tables, contents are right over a restart of
the daemon, and the pool is whole at the end."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

from lab import Lab, main, until
from guest import Guest

FILL_MIB = 96


def file_backend(tap):
    lab = Lab(tap, carve_mib=0)
    lab.daemon("--pool", "768M", "--keep")
    vm = Guest(lab, "one", limit="384M").start().wait_up()
    idle = vm.kvm("pages_2m")
    vm.spawn("hog", f"hog fill:{FILL_MIB} check mark:/tmp/full until:/tmp/go check free mark:/tmp/freed until:/tmp/end")
    vm.wait_mark("hog", "/tmp/full")
    full, small = vm.kvm("pages_2m"), vm.kvm("pages_4k")
    tap.check(full - idle >= FILL_MIB // 4, f"{full} entries of 2 MiB, {idle} before", vm.status())
    tap.say(f"{small} entries of 4 KiB")
    before = lab.pid()
    lab.sh(f"kill -9 {before}")
    lab.wait_daemon()
    tap.check(lab.pid() != before, "a daemon that is killed comes back")
    tap.check(until(lambda: vm.status()["state"] == "running", 10), "and has its VM", vm.status())
    vm.sh("touch /tmp/go")
    tap.check(until(lambda: vm.kvm("pages_2m") <= full - FILL_MIB // 4, 10),
              "what is free leaves KVM's tables", full, vm.kvm("pages_2m"))
    vm.sh("touch /tmp/end")
    tap.check(vm.wait("hog")[0] == 0, "contents were right", vm.sh("cat /tmp/hog.log"))
    vm.stop()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    tap.check(until(lambda: lab.pool()["free-blocks"] == lab.pool()["pool-blocks"], 5), "the pool is whole", lab.pool())


main(file_backend)
