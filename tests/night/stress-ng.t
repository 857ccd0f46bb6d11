#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, two guests are compared in what they do in some seconds
"""stress-ng's programs that use memory in all the ways there are, one after the other, each for some
seconds: in a guest that is lent its memory each ends as in one with fixed memory, no program is
killed that is not killed there, its kernel says nothing that the other's does not, and the
driver works on."""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), HERE]

from pair import Pair, check, status, with_disk

from lib.tap import main

LIMIT_S = 7200		# of the file
EACH_S = 5
PROCESSES = 2
END_S = 180		# for one to end in, after that
# All of stress-ng's class vm, of memory all but those that compute with what little they have, ...
CLASSES = ("vm", "memory")
COMPUTE = """atomic bitonicsort bsearch bubblesort context fibsearch heapsort hsearch insertionsort judy list lockbus lsearch
          matrix matrix-3d mcontend membarrier memcpy mergesort misaligned prefetch qsort radixsort shellsort skiplist
          sparsematrix spinmem str tree tsearch wcs zlib""".split()
# ... and of other classes those that make the kernel take or move memory.
OTHERS = {
    "os": """cgroup clone daemon fork forkheavy io-uring memhotplug pidfd procfs pthread rlimit sockmany
          splice switch sysfs sysinfo vfork vforkmany zombie""".split(),
    "filesystem": """copy-file dentry dir dirdeep dirmany fallocate fd-fork filename hdd inode-flags iomix link metamix open
                  ramfs readahead rename seek symlink touch xattr""".split(),
}


def of_stressor(said):
    """Its exit status, and of how many of its processes stress-ng says that they passed, failed or were skipped."""
    return {**status(said), **{word: f"{count} {word}" for word, count in re.findall(r" (passed|failed|skipped): (\d+)", said)
                               if count != "0"}}


def of_class(pair, name):
    said = pair.lent.sh(f"chroot /mnt /usr/bin/stress-ng --class {name}? 2>&1")
    return re.search(r"stressors?: (.*)", said).group(1).split()


def stressors(pair, group):
    """Each of them in one group."""
    if group == "vm":
        return of_class(pair, "vm")
    others = set(of_class(pair, "vm"))
    return [name for name in OTHERS.get(group) or of_class(pair, group) if name not in others and name not in COMPUTE]


def stress(tap, group, disk):
    pair = Pair(tap, disk)
    for name in stressors(pair, group):
        pair.step(f"stress-ng {name}", f"stress-ng --{name} {PROCESSES} --timeout {EACH_S}s --verify --temp-path /scratch 2>&1; "
                  "echo exit status $?; rm -rf /scratch/*", of_stressor, EACH_S + END_S)
    pair.end()


main(*(with_disk(stress, group) for group in (*CLASSES, *OTHERS)), limit_s=LIMIT_S, check=check)
