#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, tests of Linux' own have limits of time, and two guests are compared
"""Linux' own tests of its memory management, of adding and removing memory and of cgroups, of
the source that Debian has for the guests' kernel: in a guest that is lent its memory they have
the results that they have in one with fixed memory, its kernel says nothing that the other's
does not, and the driver works on."""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), HERE]

from pair import Pair, check, status, with_disk

from lib.tap import main, until

LIMIT_S = 7200		# of the file
PROGRAM_S = 1200		# of one program, as the guest's clock goes; no result is then a result
CATEGORY_S = 3600	# of all of a category
HELD_MIB = 900		# by a program while memory is taken off line

# run_vmtests.sh's categories, together as they are run in one pair of guests.
MM = {
    "small": "mmap gup_test mlock mremap madv_populate memfd_secret process_mrelease pkey soft_dirty pagemap mkdirty mdwe".split(),
    "large": "compaction hugevm vmalloc hmm migration".split(),
    "userfaultfd": ["userfaultfd"],
    "cow": ["cow"],
    "hugetlb": ["hugetlb"],
    "thp": ["thp"],
    "ksm": ["ksm", "ksm_numa"],
}
# No end in sight after eight and five minutes: ten thousand rounds with up to a hundred pages of 2 MiB
# to clear in each, and all of the address space, a GiB at a time; and one that waits for ever, with
# fixed memory too, for reservations of its cgroup to go.
TOO_SLOW = ("hugetlb_fault_after_madv", "hugetlb_madv_vs_map", "virtual_address_range", "charge_reserved_hugetlb")
# Those that have to do with memory; test_cpu, test_freezer and test_cpuset_prs.sh measure processors.
CGROUP = ("test_core", "test_cpuset", "test_hugetlb_memcg", "test_kill", "test_kmem", "test_memcontrol", "test_pids",
          "test_zswap")


def of_tap(said):
    """{name: pass, fail or skip} of the lines of TAP, those inside of a program's, too. Numbers,
    which some have measured, are left out of a name; one that comes again has its own."""
    outcomes, seen = {}, {}
    for line in said.splitlines():
        found = re.match(r"[# \t]*(not )?ok \d+(?: -)? *(.*)", line)
        if not found:
            continue
        name, _, comment = found.group(2).partition("#")
        name = re.sub(r"\d+(\.\d+)?", "N", name.strip())
        seen[name] = seen.get(name, 0) + 1
        outcome = "fail" if found.group(1) else "skip" if comment.strip().upper().startswith("SKIP") else "pass"
        outcomes[name if seen[name] == 1 else f"{name} ({seen[name]})"] = outcome
    return outcomes


def of_program(said):
    """The same of a program that need not speak TAP, and its status, which comes last."""
    return {**of_tap(said), **status(said)}


def limited(category):
    """A script: the tests of a category, each for so long at most."""
    left_out = r"\|".join(TOO_SLOW)
    return (f"""cd /selftests/mm && sed -e 's/("$@" 2>&1)/(timeout -k 10 {PROGRAM_S} "$@" 2>\\&1)/' """
            f"""-e '/run_test .*\\({left_out}\\)/d' run_vmtests.sh >limited.sh && bash limited.sh -t {category}""")


def mm(tap, group, disk):
    pair = Pair(tap, disk, swap=group == "cow")
    for category in MM[group]:
        pair.step(f"mm {category}", limited(category), of_tap, CATEGORY_S)
    pair.end()


def cgroup(tap, disk):
    pair = Pair(tap, disk, swap=True)
    for program in CGROUP:
        pair.step(f"cgroup {program}", f"cd /selftests/cgroup && timeout -k 10 {PROGRAM_S} ./{program}; echo exit status $?",
                  of_program, PROGRAM_S + 60)
    pair.end()


def memory_hotplug(tap, disk):
    """While a program holds and compares memory that was lent."""
    pair = Pair(tap, disk)
    for vm in pair.vms:
        vm.spawn("hog", f"hog fill:{HELD_MIB} mark:/tmp/held rewrite:/tmp/end check")
    for vm in pair.vms:
        until(lambda vm=vm: vm.sh_status("[ -e /tmp/held ]")[0] == 0, 120, 0.5)
    tap.say(f"a program holds {HELD_MIB} MiB: {', '.join(pair.sizes())}")
    for ratio in (2, 10):
        pair.step(f"memory-hotplug {ratio} %", "cd /selftests/memory-hotplug && "
                  f"timeout -k 10 {PROGRAM_S} ./mem-on-off-test.sh -r {ratio}; echo exit status $?", of_program, PROGRAM_S + 60)
    for vm in pair.vms:
        vm.sh("touch /tmp/end")
        code, out = vm.wait("hog", 60)
        tap.check(code == 0, f"{vm.name}: the program's memory holds what it held", out)
    pair.end()


main(*(with_disk(mm, group) for group in MM), with_disk(cgroup), with_disk(memory_hotplug), limit_s=LIMIT_S, check=check)
