#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Touches of a process that stands in for QEMU and never connects again: served by the
daemon, by the next one that got the userfaultfd from the keeper, and, where nothing was
borrowed, answered with the end of that process."""

import os
import platform
import signal
import subprocess
import sys
import time

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
sys.path.insert(0, LIB)

from daemon import BLOCK, MIB, Daemon, links, run, until
from toucher_client import Toucher

if platform.machine() != "x86_64":
    print("1..0 # SKIP knows userfaultfd's number on x86-64 only")
    sys.exit(0)


def kill_daemon(daemon):
    """kill -9 under --keep; returns when it is dead, not when the next one is up."""
    pid = daemon.child()
    os.kill(pid, signal.SIGKILL)
    return pid


def served(tap):
    daemon = Daemon("--keep")
    with daemon.qmp() as qmp:
        toucher = Toucher(qmp)
        tap.check(toucher.touch("boot", 3), "a touch is served")
        vm = qmp("query-vm", name="vm")
        tap.equal((vm["resident-blocks"], vm["touches"], vm["pid"]), (1, 1, toucher.process.pid), "and counted")
        tap.equal(qmp("query-pool")["lent-blocks"], 1, "by the pool too")
    time.sleep(1.1)
    pid = kill_daemon(daemon)
    began = time.monotonic()
    toucher.begin("boot", 5)
    tap.check(toucher.done(), f"a touch while no daemon runs is served by the next one "
              f"({(time.monotonic() - began) * 1000:.0f} ms)")
    tap.check(until(lambda: daemon.child() not in (None, pid) and daemon.answers()), "which is another process")
    with daemon.qmp() as qmp:
        vm = qmp("query-vm", name="vm")
        tap.equal((vm["state"], vm["resident-blocks"], vm["pid"]), ("detached", 2, toucher.process.pid),
                  "QEMU did not connect again, its blocks are counted")
    for slot in range(6, 9):
        kill_daemon(daemon)
        tap.check(toucher.touch("boot", slot), f"and once more, slot {slot}")
    tap.check(until(daemon.answers), "the daemon is there")
    with daemon.qmp() as qmp:
        before = qmp("query-vm", name="vm")["resident-blocks"]
        tap.equal(before, 5, "five slots were touched")
        toucher.end()
        tap.check(qmp.wait_event("VM_ENDED", 5), "the end of the process ends the VM")
        pool = qmp("query-pool")
        tap.equal((pool["lent-blocks"], pool["vms"]), (0, 0), "all blocks came back")
        bill = qmp("query-bill", name="vm")
        tap.check(int(bill["total"]["resident-block-ns"]) > 0, "and are on the bill", bill)


def dropped(tap):
    """A VM that ended leaves nothing in the keeper."""
    daemon = Daemon("--keep", "--overbook", "none")
    held = lambda: links(daemon.process.pid).count("anon_inode:[userfaultfd]")
    with daemon.qmp() as qmp:
        touchers = [Toucher(qmp, f"vm{i}") for i in range(3)]
        tap.check(until(lambda: held() == 3), "the keeper keeps one userfaultfd per VM", held())
        touchers[0].end()
        tap.check(until(lambda: held() == 2), "and drops that of a VM that ended", held())
    # One that ends while no daemon is there is found by the next.
    kill_daemon(daemon)
    touchers[1].end()
    tap.check(until(lambda: held() == 1), "also when it ended without a daemon", held())
    until(daemon.answers)
    tap.check(touchers[2].touch("boot", 0), "the third is served as ever")
    touchers[2].end()


def not_borrowed(tap, *arguments):
    daemon = Daemon(*arguments, start=False)
    os.chmod(daemon.dir, 0o777)
    daemon.start()
    with daemon.qmp() as qmp:
        bad, good = Toucher(qmp, "bad"), Toucher(qmp, "good")
        bad.begin("window", 1)
        event = qmp.wait_event("VM_STOPPED", 5)
        tap.check(event and event["data"]["name"] == "bad", "a touch of what was not borrowed: VM_STOPPED", event)
        tap.equal(bad.process.wait(10), -signal.SIGKILL, "the process is killed")
        tap.check(qmp.wait_event("VM_ENDED", 5, lambda data: data["name"] == "bad"), "its VM ends")
        tap.check(good.touch("boot", 1), "another one is served as before")
        good.end()
        tap.check(qmp.wait_event("VM_ENDED", 5), "VM_ENDED")
        tap.equal(qmp("query-pool")["lent-blocks"], 0, "the pool is whole")


def not_borrowed_as_root(tap):
    not_borrowed(tap)


def not_borrowed_of_another_user(tap):
    """The daemon is not root, the process is: the one capability that was kept does it."""
    not_borrowed(tap, "--user", "nobody")


def past_its_lease(tap):
    """A process that fills its own files takes what another VM is guaranteed: it goes, and who is
    owed a block gets it."""
    daemon = Daemon(pool="64M")
    with daemon.qmp() as qmp:
        greedy, owed = Toucher(qmp, "greedy", 8 * MIB), Toucher(qmp, "owed", 16 * MIB, guarantee=16 * MIB)
        path = qmp("query-vm", name="greedy")["window-path"]
        fd = os.open(path, os.O_RDWR)
        os.posix_fallocate(fd, 0, 20 * BLOCK)
        tap.check(qmp.wait_event("MISMATCH", 5), "what it fills is found")
        tap.check(not qmp.wait_event("VM_STOPPED", 1.5), "and metered, as long as nobody is the worse for it")
        os.posix_fallocate(fd, 0, 28 * BLOCK)
        os.close(fd)
        event = qmp.wait_event("VM_STOPPED", 5)
        tap.check(event and event["data"]["name"] == "greedy" and "guaranteed" in event["data"]["reason"],
                  "what others are guaranteed it cannot have: VM_STOPPED", event)
        tap.equal(greedy.process.wait(10), -signal.SIGKILL, "the process is killed")
        tap.check(all(owed.touch("boot", slot) for slot in range(8)), "the other has all of its guarantee")
        owed.end()
        tap.check(until(lambda: qmp("query-pool")["lent-blocks"] == 0), "the pool is whole", qmp("query-pool"))


def killed_by_word(tap):
    daemon = Daemon()
    with daemon.qmp() as qmp:
        toucher = Toucher(qmp)
        tap.refuses("GenericError", "vm-kill", qmp, "vm-delete", name="vm")
        qmp("vm-kill", name="vm")
        tap.equal(toucher.process.wait(10), -signal.SIGKILL, "vm-kill")
        event = qmp.wait_event("VM_ENDED", 5)
        tap.check(event and event["data"]["reason"], "VM_ENDED says why", event)
        tap.refuses("DeviceNotFound", "'vm'", qmp, "vm-kill", name="vm")


HUGE_PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/"


def number_of(name):
    with open(HUGE_PAGES + name) as file:
        return int(file.read())


def want_huge_pages(count):
    with open(HUGE_PAGES + "nr_hugepages", "w") as file:
        file.write(str(count))
    return number_of("nr_hugepages")


def on_hugetlbfs(tap):
    """The other file system that a pool may be on; with huge pages set aside meanwhile."""
    blocks = 16
    had = number_of("nr_hugepages") if os.path.exists(HUGE_PAGES) else None
    if had is None or had + blocks > want_huge_pages(had + blocks):
        if had is not None:
            want_huge_pages(had)
        tap.skip("a pool on hugetlbfs", f"the host has no {blocks} huge pages to spare")
        return
    daemon = Daemon("--keep", "--overbook", "none", pool="32M", start=False)
    pool = daemon.dir + "/huge"
    os.mkdir(pool)
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", f"pagesize=2M,mode=0700,size={blocks * 2}M", "none", pool],
                   check=True)
    try:
        daemon.arguments += ["--pool-dir", pool]
        daemon.start()
        with daemon.qmp() as qmp:
            tap.equal(qmp("query-pool")["backend"], "file: hugetlbfs", "the pool is on hugetlbfs")
            toucher = Toucher(qmp)
            tap.check(toucher.touch("boot", 0) and toucher.touch("boot", 31), "touches are served")
        kill_daemon(daemon)
        tap.check(toucher.touch("boot", 9), "and by the next daemon")
        until(daemon.answers)
        with daemon.qmp() as qmp:
            pool_status = qmp("query-pool")
            tap.equal((pool_status["lent-blocks"], pool_status["fs-resident-blocks"]), (3, 3),
                      "the file system counts the same")
            toucher.end()
            qmp.wait_event("VM_ENDED", 5)
            tap.equal(qmp("query-pool")["fs-resident-blocks"], 0, "all came back")
    finally:
        daemon.stop()
        subprocess.run(["umount", "--lazy", pool], check=True)
        want_huge_pages(had)


run(served, dropped, on_hugetlbfs, not_borrowed_as_root, not_borrowed_of_another_user, killed_by_word, past_its_lease)
