#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The pool is used up: a touch waits until another VM gives back, the wait is shown, and
the bills of all add up."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time
from decimal import Decimal

from lib.host import host
from lib.paths import NEWEST, OLDEST
from lib.tap import main, until
from lib.vm import wait_ended


def used_up(tap):
    h = host(tap, pool="1G", arguments=("--overbook", "200", "--period", "5"))
    first = h.vm("first", kernel=OLDEST, limit="1G", tenant="acme")
    second = h.vm("second", kernel=NEWEST, limit="1G", tenant="bolt")
    first.spawn("hog", "hog fill:550 mark:/tmp/full until:/tmp/go free mark:/tmp/freed until:/tmp/end")
    first.wait_mark("hog", "/tmp/full")
    second.spawn("hog", "hog fill:550 check mark:/tmp/full until:/tmp/end")
    waits = until(lambda: h.pool()["waiting-touches"] > 0, 60)
    pool = h.pool()
    tap.need(waits, "with the pool used up a touch waits", pool)
    time.sleep(0.7)
    pool, status = h.pool(), second.status()
    tap.check(pool["free-blocks"] <= pool["pool-blocks"] // 32 and pool["waiting-touches"] > 0,
              "the pool's status shows it, and that a few blocks are kept for the other VM", pool)
    tap.check(status["waiting-touches"] > 0 and status["wait-ns"] > 5e8, "and the VM's, with its time", status)
    tap.check("wait" in h.command("status", "second").lower(), "and memlease status, in words")
    tap.equal(first.sh("echo there"), "there\n", "the other VM runs on")

    first.wait_mark("hog", "/tmp/freed", first="touch /tmp/go", every_us=5000)
    freed = time.monotonic()
    done = until(lambda: h.pool()["waiting-touches"] == 0, 10, 0.02)
    tap.check(done, f"the touch is served once the other VM reports ({time.monotonic() - freed:.2f} s)", h.pool())
    second.wait_mark("hog", "/tmp/full")
    status = second.status()
    tap.check(status["waited-touches"] > 0 and status["longest-wait-ns"] > 5e8, "the wait is remembered", status)
    for vm in (first, second):
        vm.sh("touch /tmp/end")
        tap.equal(vm.wait("hog")[0], 0, f"{vm.name}: the program ended well")
    for vm in (first, second):
        vm.stop()
        wait_ended(vm)
        h.check_bill(tap, vm, least=500)
    bills(tap, h)


def bills(tap, h):
    """Every way of cutting the bill gives the same sums, to the last digit."""
    totals = set()
    for by in ("vm", "tenant", "period"):
        bill = h.json("bill", "--by", by)
        total = Decimal(bill["total"]["amount"])
        tap.equal(sum(Decimal(line["amount"]) for line in bill["lines"]), total, f"the lines by {by} add up")
        usage = sum(int(line["resident-block-ns"]) for line in bill["lines"])
        tap.equal(usage, int(bill["total"]["resident-block-ns"]), "in usage too")
        totals.add((total, usage))
    tap.check(len(totals) == 1 and min(totals)[0] > 0, "and all come to the same", totals)
    tap.equal(min(totals)[1], round(h.billed() * 1e9), "which is what the ledger holds")
    lines = h.json("bill", "--by", "tenant")["lines"]
    tap.equal(sorted(line["tenant"] for line in lines), ["acme", "bolt"], "each tenant has its line")
    tap.check("acme" in h.command("bill") and "," in h.command("bill", "--format", "csv"), "as a table and as CSV")


main((used_up,))
