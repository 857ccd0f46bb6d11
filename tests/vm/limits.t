#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""guest/tools/memlease-limits: what Linux derives from the memory that it boots with is, after
it ran, what a machine has that booted with all that this one may be lent. It lowers nothing,
and says what it did."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import paths
from lib.host import host
from lib.tap import main

LIMIT_MIB = 3072
HUGE = ("enabled", "defrag", "use_zero_page", "khugepaged/defrag")
NAMES = ("kernel/threads-max", "net/ipv4/tcp_mem", "net/ipv4/udp_mem")


def limits(vm):
    values = {name: [int(word) for word in vm.sh(f"cat /proc/sys/{name}").split()] for name in NAMES}
    values["/tmp MiB"] = [int(vm.sh("df -m /tmp | tail -n 1").split()[1])]
    return values


def huge(vm):
    """Of each of these files what it says, or of a choice that which is made."""
    return {name: re.sub(r".*\[(.*)\].*", r"\1", vm.sh(f"cat /sys/kernel/mm/transparent_hugepage/{name}").strip())
            for name in HUGE}


def as_if_booted_so(tap, kernel):
    h = host(tap, pool="8G")
    with open(os.path.join(paths.TOP, "guest", "tools", "memlease-limits")) as file:
        script = file.read()
    small = h.vm("small", kernel=kernel, boot="256M", limit=f"{LIMIT_MIB}M")
    large = h.vm("large", kernel=kernel, boot=f"{LIMIT_MIB}M", limit=f"{LIMIT_MIB + 128}M")
    wanted, before = limits(large), limits(small)
    tap.check(all(a < b for name in wanted for a, b in zip(before[name], wanted[name])), "a small VM has small limits", before, wanted)
    said = small.sh(script)
    tap.say(said)
    after = limits(small)
    for name, values in wanted.items():
        tap.check(all(0.9 * b <= a <= 1.1 * b for a, b in zip(after[name], values)), f"{name}: as if it had booted with {LIMIT_MIB} MiB",
                  before[name], after[name], values)
    tap.equal(huge(small), huge(large), "transparent huge pages, too, with all that goes with them")
    tap.equal(small.sh("cat /proc/sys/vm/overcommit_memory").strip(), "1", "and it may ask for more than it has")
    tap.check("threads-max" in said and "tcp_mem" in said, "it says what it did", said)
    small.sh("echo 100000000 >/proc/sys/fs/file-max")
    tap.equal(small.sh(script), "", "a second time there is nothing to do")
    tap.equal(small.sh("cat /proc/sys/fs/file-max").strip(), "100000000", "what is higher stays")
    for vm in (small, large):
        vm.stop()


main((as_if_booted_so, paths.NEWEST))
