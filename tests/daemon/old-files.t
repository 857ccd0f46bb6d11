#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""State files as each memleased wrote them that ever was, kept under tests/daemon/state/: the
daemon of today takes them over. Each set has a VM that was defined, and one whose process had
touched three blocks when the daemon was killed. A new version of a file's format comes with a
new set; none is ever taken away."""

import glob
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from daemon import MIB, Daemon, run

BOOT_ID_AT = 16	# in the block table


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()


def put(daemon, name):
    """The set's files as if they were of this boot of the machine."""
    state = daemon.run_dir + "/state"
    os.makedirs(state, mode=0o700)
    source = os.path.join(HERE, "state", name)
    with open(source + "/blocks", "rb") as file:
        then = file.read()[BOOT_ID_AT:BOOT_ID_AT + 36]
    for path in glob.glob(source + "/*"):
        if path.endswith("ledger.db"):
            shutil.copy(path, daemon.ledger)
            continue
        with open(path, "rb") as file:
            data = file.read()
        with open(os.path.join(state, os.path.basename(path)), "wb") as file:
            file.write(data.replace(then, boot_id()))


def taken_over(tap, name):
    daemon = Daemon(pool="128M", start=False)
    put(daemon, name)
    daemon.start()
    with daemon.qmp() as qmp:
        pool = qmp("query-pool")
        tap.equal((pool["notices"], pool["orphans"]), ([], 0), "nothing is set aside")
        vms = qmp("query-vms")
        tap.equal([vm["name"] for vm in vms], ["kept"], "the VM that was defined is there, the other has ended")
        kept = vms[0]
        tap.equal([kept[key] for key in ("tenant", "plan", "boot-blocks", "window-blocks", "guarantee-blocks")],
                  ["acme", "standard", 32, 64, 32], "as it was defined")
        tap.equal((pool["free-blocks"], pool["lent-blocks"]), (64, 0), "all blocks are free")
        bill = {line["vm"]: line for line in qmp("query-bill")["lines"]}
        tap.equal(sorted(bill), ["gone", "kept"], "both are on the bill")
        tap.check(int(bill["gone"]["resident-block-ns"]) > 3 * 10 ** 9 and bill["gone"]["touches"] == 3,
                  "with what was used then", bill["gone"])
        qmp("vm-delete", name="kept")
        tap.check(qmp.wait_event("VM_ENDED", 10), "it can be ended")
    tap.equal(daemon.stop(), 0, "the daemon ends in order")


def names():
    return sorted(os.listdir(os.path.join(HERE, "state")))


run(*[(taken_over, name) for name in names()])
