# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab by hand, for scripts/lab: boots one, starts the daemon on its carve-out and a VM,
and carries out the lines that are typed, in the lab or in the VM. The lab is gone when
it ends. Does nothing that tests/lab/lib does not."""

import argparse
import os
import sys

try:
    import readline  # noqa: F401: for input()
except ImportError:
    pass

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "tests", "lab", "lib"))

from lab import CARVE_MIB, MEMORY_MIB, Lab, check_built, paths  # noqa: E402
from guest import Guest  # noqa: E402
from lib.remote import RemoteError  # noqa: E402

COMMAND_LIMIT_S = 600
HELP = """Each line runs in a shell of its own, as root, on the lab; after `vm: ` in the VM.
  memlease status             the pool: reserved memory, its supply, zeroing
  memlease list               VMs (memlease help: all verbs)
  vm: hog fill:96 check free  a program that fills memory, checks it, and ends
  cat /sys/kernel/debug/kvm/pages_2m
  grep -i memlease /proc/iomem
The end of the input (Ctrl-D) ends the lab."""


class Owner:
    """What a Lab expects of a test."""

    def __init__(self):
        self.hosts = []

    def say(self, *words):
        print("  ".join(str(word) for word in words), file=sys.stderr)


def options():
    parser = argparse.ArgumentParser(prog="scripts/lab", description="Boot the lab, an emulated KVM host with "
                                     "memory carved out, and run what is typed in it. " + HELP,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carve", type=int, default=CARVE_MIB, metavar="MIB", help="size of the carve-out (%(default)s)")
    parser.add_argument("--bare", action="store_true", help="load no module, start no daemon and no VM")
    parser.add_argument("--boot", default="256M", metavar="SIZE", help="boot memory of the VM (%(default)s)")
    parser.add_argument("--limit", default="384M", metavar="SIZE", help="limit of the VM (%(default)s)")
    chosen = parser.parse_args()
    if chosen.carve < 64 or chosen.carve % 2:
        parser.error(f"--carve {chosen.carve}: must be even, and at least 64")
    return chosen


def read_line():
    try:
        return input("lab# " if sys.stdin.isatty() else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        print()
        return ""


def loop(lab, vm):
    while (line := read_line()) is not None:
        where = lab
        if line.startswith("vm:"):
            where, line = vm, line[3:]
        if not line.strip():
            continue
        if not where:
            print("there is no VM: it was started with --bare")
            continue
        try:
            status, out = where.sh_status(line.strip(), COMMAND_LIMIT_S)
        except RemoteError as error:
            print(f"no answer: {error}")
            return 1
        sys.stdout.write(out)
        if status:
            print(f"[status {status}]")
    return 0


def main():
    chosen = options()
    try:
        check_built()
    except paths.Missing as missing:
        raise SystemExit(f"lab: {missing}") from None
    lab, vm = None, None
    try:
        lab = Lab(Owner(), carve_mib=chosen.carve, memory_mib=MEMORY_MIB + max(0, chosen.carve - CARVE_MIB))
        if not chosen.bare:
            print("memlease_pool.ko, memleased", flush=True)
            lab.pool_daemon()
            print("a VM", flush=True)
            vm = Guest(lab, "one", boot=chosen.boot, limit=chosen.limit).start().wait_up()
        print(HELP, flush=True)
        return loop(lab, vm)
    except (RemoteError, AssertionError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    finally:
        if lab:
            lab.clean()


if __name__ == "__main__":
    sys.exit(main())
