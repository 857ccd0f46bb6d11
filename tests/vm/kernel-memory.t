#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory for the kernel's own allocations. A VM that grew to 16 times its boot memory,
all of the window borrowed and most of it in use by a program, can still fork, open files
and load its page arrays: movable memory goes over to the kernel. When the kernel does not
need it any more it comes back. Nothing is killed, and the program finds what it wrote."""

import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time

from lib.host import host
from lib.paths import NEWEST, OLDEST
from lib.tap import main, until

FILL_MIB = 3000
PIPES_MIB = 450
PROCESSES = 1500
FILES = 30000
BACK_S = 60
APPEND = {"inside": "memory_hotplug.memmap_on_memory=1", "outside": "memory_hotplug.memmap_on_memory=0"}


def numbers(vm, *names):
    return {name: int(vm.sysfs(name)) for name in names}


def state_of(vm):
    return numbers(vm, "committed_blocks", "kernel_blocks", "moved_to_kernel", "moved_to_movable",
                   "kernel_returned", "offline_failures", "oom_rescues")


def came_back(vm):
    """Memory blocks that were the kernel's, and are not any more."""
    return sum(numbers(vm, "moved_to_movable", "kernel_returned").values())


@contextlib.contextmanager
def crowded(pid):
    """The VM has one of the host's processors, and shares it: its own wait for each other then."""
    cpu = max(os.sched_getaffinity(0))
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {cpu})
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"],
                             preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        yield
    finally:
        other.kill()
        other.wait()
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), os.sched_getaffinity(0))


def sixteen_times(tap, kernel, arrays):
    h = host(tap, pool="5G")
    vm = h.vm("big", kernel=kernel, boot="256M", limit="4G", append=APPEND[arrays])
    # Limits that Linux derives from the memory that it boots with.
    vm.sh("cd /proc/sys; echo 1 >vm/overcommit_memory; echo 20000 >kernel/threads-max; echo 100000 >fs/file-max; "
          "mkdir /tmp/storm; mount -t tmpfs -o nr_inodes=100000 storm /tmp/storm")
    vm.spawn("hog", f"hog fill:{FILL_MIB} mark:/tmp/full until:/tmp/end check")
    until(lambda: vm.sh("ls /tmp/full", check=False) == "/tmp/full\n" or vm.ended("hog") is not None, 90, 0.2)
    tap.need(vm.ended("hog") is None, f"a program of {FILL_MIB} MiB lives in a VM with 256 MiB of boot memory",
             vm.sh("cat /tmp/hog.log"))
    grown = state_of(vm)
    tap.say(f"grown: {grown}; borrowed for: {vm.sysfs('borrowed_for').split()}")
    total = int(vm.sh("grep MemTotal: /proc/meminfo").split()[1]) // 1024
    tap.check(total >= 3500, f"it has {total} MiB")

    # Nothing more from the host: what the kernel needs has to come from what is there.
    vm.set("--target", str(vm.status()["committed-blocks"] * 2) + "M")

    came_back_before = came_back(vm)
    storms(tap, vm, grown)

    vm.sh("touch /tmp/end")
    code, out = vm.wait("hog", 60)
    tap.check(code == 0, "the program's memory holds what it held", out)

    began = time.monotonic()
    until(lambda: came_back(vm) > came_back_before, BACK_S, 0.5)
    tap.say(f"{time.monotonic() - began:.1f} s later: {state_of(vm)}")
    tap.check(came_back(vm) > came_back_before, "what the kernel does not need any more comes back", came_back_before, state_of(vm))
    tap.equal(vm.status()["broken"], "", "the device is well")
    vm.stop()


def storms(tap, vm, grown):
    began = time.monotonic()
    code, out = vm.sh_status(f"storm fork:{PROCESSES} files:{FILES} fork:{PROCESSES}", 120)
    tap.check(code == 0, f"{PROCESSES} processes at once, {FILES} open files and the processes again", out)
    after = state_of(vm)
    tap.say(f"{time.monotonic() - began:.1f} s; after the storm: {after}")
    # Unless it was lent one already while the program grew.
    tap.check((after["moved_to_kernel"] or grown["kernel_blocks"]) and after["committed_blocks"] <= grown["committed_blocks"],
              "a memory block is the kernel's, and none was borrowed for that", after)
    vm.set("--target", "none")
    with crowded(vm.qemu_pid()):
        code, out = vm.sh_status(f"storm pipes:{PIPES_MIB}:2000", 120)
    tap.check(code == 0, f"{PIPES_MIB} MiB in pipes, more than boot memory", out)
    after = state_of(vm)
    tap.say(f"with {PIPES_MIB} MiB in pipes: {after}")
    tap.check(after["moved_to_kernel"] > 0, "memory blocks went over to the kernel", after)
    tap.equal(vm.killed(), 0, "nothing was killed")


# Either kind, on either end of what we support.
main((sixteen_times, NEWEST, "inside"), (sixteen_times, OLDEST, "outside"))
