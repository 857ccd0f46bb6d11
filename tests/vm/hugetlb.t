#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# run-tests: alone, the number of huge pages is the machine's
"""The pool on hugetlbfs, which an operator has set up: a VM grows, gives back and ends as
on a tmpfs."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.host import host
from lib.tap import main, skip, until
from lib.vm import wait_ended

PAGES = 448	# of 2 MiB
SYSCTL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"


def read_pages():
    with open(SYSCTL) as file:
        return int(file.read())


def write_pages(number):
    with open(SYSCTL, "w") as file:
        file.write(str(number))


def make_room():
    for name, value in (("drop_caches", "3"), ("compact_memory", "1")):
        with open(f"/proc/sys/vm/{name}", "w") as file:
            file.write(value)


def on_hugetlbfs(tap):
    if os.geteuid() or not os.access(SYSCTL, os.W_OK):
        skip(tap, "only root can set huge pages aside")
        return
    before = read_pages()
    directory = tempfile.mkdtemp(prefix="memlease-huge-")
    try:
        write_pages(before + PAGES)
        if read_pages() < before + PAGES:	# what other tests have left in the page cache is in the way
            make_room()
            write_pages(before + PAGES)
        if read_pages() < before + PAGES:
            skip(tap, f"this machine has no {PAGES} huge pages to spare")
            return
        subprocess.run(["mount", "-t", "hugetlbfs", "-o", f"pagesize=2M,size={PAGES * 2}M,mode=700",
                        "memlease-test", directory], check=True)
        lends(tap, directory)
    finally:
        for h in list(tap.hosts):	# left by a failure: its files hold the pages
            tap.finish(h)
        subprocess.run(["umount", "--quiet", directory], check=False)
        write_pages(before)
        os.rmdir(directory)


def lends(tap, directory):
    h = host(tap, pool=f"{PAGES * 2}M", arguments=("--pool-dir", directory))
    tap.check("hugetlbfs" in h.pool()["backend"], "the backend says what it is", h.pool())
    vm = h.vm("huge", limit="768M")
    low = vm.resident_mib()
    vm.sh("hog fill:400 check free", 60)
    tap.check(until(lambda: vm.resident_mib() < low + 128, 5), "what a program freed came back",
              low, vm.resident_mib())
    tap.check(h.sampler.peak(vm.files) >= 200 + low / 2 - 64, "after it was there", h.sampler.peak(vm.files))
    vm.stop()
    tap.check(wait_ended(vm) is not None and until(h.pool_whole, 3), "the pool is whole at the end", h.pool())
    h.check_bill(tap, vm)


main(on_hugetlbfs)
