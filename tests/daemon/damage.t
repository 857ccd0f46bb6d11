#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One file of the daemon's that is damaged, or of a version it does not know, stops one
thing and no more: it is set aside under a name, the daemon starts, the VMs go on. What a VM
without a record has is shown, lent to nobody, and taken back when its process ends."""

import contextlib
import glob
import os
import platform
import signal
import sqlite3
import subprocess
import sys

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
sys.path.insert(0, LIB)

from daemon import MIB, Daemon, outcome, run, until
from tap import TOP
from toucher_client import Toucher

CLI = os.environ.get("MEMLEASE", os.path.join(TOP, "build", "memlease"))

if platform.machine() != "x86_64":
    print("1..0 # SKIP knows userfaultfd's number on x86-64 only")
    sys.exit(0)


def write_at(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def is_dead(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


def while_dead(daemon, damage):
    """kill -9 the kept daemon, and damage something before its keeper starts the next."""
    old = daemon.child()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(old, signal.SIGKILL)
        until(lambda: is_dead(old))
        damage()
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    return until(lambda: daemon.child() not in (None, old) and daemon.answers())


def adds_up(pool):
    return sum(pool[f"{kind}-blocks"] for kind in ("free", "lent", "orphaned", "retired")) == pool["pool-blocks"]


def record_of(daemon, vm):
    return f"{daemon.run_dir}/state/{vm['uuid']}.vm"


def orphaned(tap, what, damage, asides):
    """damage(record) with both VMs running; asides: how many files were set aside."""
    daemon = Daemon("--keep", "--overbook", "none", pool="128M")
    with daemon.qmp() as qmp:
        sick, well = Toucher(qmp, "sick"), Toucher(qmp, "well")
        for slot in range(20):
            sick.touch("boot", slot)
        for slot in range(3):
            well.touch("boot", slot)
        files = [qmp("query-vm", name="sick")[f"{region}-path"] for region in ("boot", "window")]
        record = record_of(daemon, qmp("query-vm", name="sick"))
    up = while_dead(daemon, lambda: damage(record))
    tap.need(up, f"{what}: the daemon starts", daemon.log()[-2000:])
    tap.check(well.touch("boot", 10), f"{what}: another VM's touch is served")
    with daemon.qmp() as qmp:
        tap.equal([vm["name"] for vm in qmp("query-vms")], ["well"], f"{what}: all VMs but that one are there")
        pool = qmp("query-pool")
        tap.check(adds_up(pool), f"{what}: free, lent, orphaned and retired are the pool", pool)
        tap.equal((pool["orphaned-blocks"], pool["lent-blocks"], pool["orphans"]), (20, 4, 1),
                  f"{what}: what it has is nobody else's")
        events = [event["event"] for event in qmp.events]
        tap.equal(sorted(events), ["ORPHAN"] + ["SET_ASIDE"] * asides, f"{what}: who connects later is told, too")
        tap.equal([n["event"] for n in pool["notices"]].count("ORPHAN"), 1, f"{what}: and the status has it")
        tap.equal(len(glob.glob(record + ".damaged-*")), asides, f"{what}: the record has another name")
        tap.equal(os.stat(files[0]).st_blocks * 512, 20 * 2 * MIB, f"{what}: its memory is untouched")
        third = Toucher(qmp, "third")
        free = qmp("query-pool")["free-blocks"]
        tap.equal(sum(third.touch("boot", slot) for slot in range(32)), 32, f"{what}: what is called free can be had")
        tap.equal(qmp("query-pool")["free-blocks"], free - 32, f"{what}: and is counted")
        third.end()
        tap.check(until(lambda: qmp("query-pool")["lent-blocks"] == 4), f"{what}: it comes back")
    while_dead(daemon, lambda: None)
    with daemon.qmp() as qmp:
        pool = qmp("query-pool")
        tap.equal((pool["orphaned-blocks"], adds_up(pool)), (20, True), f"{what}: the next daemon knows of it, too")
        sick.end()
        tap.check(qmp.wait_event("ORPHAN_ENDED", 10), f"{what}: its process ends: ORPHAN_ENDED")
        pool = qmp("query-pool")
        tap.equal((pool["orphaned-blocks"], pool["orphans"], adds_up(pool)), (0, 0, True), f"{what}: its blocks are free")
        tap.equal([n for n in pool["notices"] if n["event"] == "ORPHAN"], [], f"{what}: nobody need see to it any more")
        tap.equal([f for f in files if os.path.exists(f)], [], f"{what}: its files are gone")
        tap.check(well.touch("boot", 11), f"{what}: the other VM goes on")
        well.end()
        qmp.wait_event("VM_ENDED", 10)
        tap.equal(qmp("query-pool")["free-blocks"], 64, f"{what}: the pool is whole")


def truncated(tap):
    orphaned(tap, "a record that is cut off", lambda record: os.truncate(record, 100), 1)


def of_a_newer_version(tap):
    orphaned(tap, "a record of version 4", lambda record: write_at(record, 8, b"\x04"), 1)


def moved_away(tap):
    orphaned(tap, "a record that was moved away", lambda record: os.rename(record, record + ".away"), 0)


def each_damage(tap):
    """No QEMU runs: what else a record may be."""
    def empty(path):
        os.truncate(path, 0)

    def garbage(path):
        write_at(path, 0, os.urandom(os.path.getsize(path)))

    def directory(path):
        os.unlink(path)
        os.mkdir(path)

    def link(path):
        os.rename(path, path + ".there")
        os.symlink(path + ".there", path)

    def longer(path):
        with open(path, "ab") as file:
            file.write(b"x")

    def slots(path):
        write_at(path, os.path.getsize(path) - 4, b"\xff" * 4)

    def another(path):
        with open(next(p for p in glob.glob(os.path.dirname(path) + "/*.vm") if p != path), "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(data)

    for damage in (empty, garbage, directory, link, longer, slots, another):
        daemon = Daemon("--overbook", "none")
        what = f"a record that is {damage.__name__}"
        with daemon.qmp() as qmp:
            vms = [qmp("vm-create", name=name, tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
                   for name in ("sick", "well")]
        daemon.stop()
        record = record_of(daemon, vms[0])
        damage(record)
        try:
            daemon.start()
        except AssertionError:
            tap.check(False, f"{what}: the daemon starts", daemon.log()[-600:])
            continue
        with daemon.qmp() as qmp:
            tap.equal([vm["name"] for vm in qmp("query-vms")], ["well"], f"{what}: the other VM is there")
            tap.check(any(e["event"] == "SET_ASIDE" and os.path.basename(record) in e["data"]["reason"]
                          and ".damaged-1" in e["data"]["reason"] for e in qmp.events), f"{what}: SET_ASIDE names it",
                      qmp.events)
            if damage in (longer, slots):
                tap.check(any("VM 'sick'" in e["data"]["reason"] for e in qmp.events), f"{what}: and the VM", qmp.events)
            tap.check(adds_up(qmp("query-pool")), f"{what}: the pool adds up")
            again = qmp("vm-create", name="sick", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
            tap.check(again["uuid"] != vms[0]["uuid"], f"{what}: its name can be given anew")
        tap.check(os.path.lexists(record + ".damaged-1"), f"{what}: the file is kept")
        daemon.clean()


def block_table(tap):
    """The records know what is lent as well."""
    for what, damage in (("of a newer version", lambda path: write_at(path, 8, b"\x03")),
                         ("cut off", lambda path: os.truncate(path, 5000)),
                         ("with a word that cannot be", lambda path: write_at(path, 4096 + 8 * 60, b"\xff" * 8)),
                         ("gone", os.unlink)):
        daemon = Daemon("--keep", "--overbook", "none", pool="128M")
        with daemon.qmp() as qmp:
            one, two = Toucher(qmp, "one"), Toucher(qmp, "two")
            for slot in range(5):
                one.touch("boot", slot)
                two.touch("boot", 2 * slot)
        table = daemon.run_dir + "/state/blocks"
        tap.need(while_dead(daemon, lambda: damage(table)), f"a block table {what}: the daemon starts", daemon.log()[-2000:])
        tap.equal(os.path.exists(table + ".damaged-1"), what != "gone", f"a block table {what}: it is kept")
        tap.check(one.touch("boot", 20) and two.touch("boot", 20), f"a block table {what}: touches are served")
        with daemon.qmp() as qmp:
            got = [(vm["resident-blocks"]) for vm in qmp("query-vms")]
            pool = qmp("query-pool")
            tap.equal((got, pool["lent-blocks"], pool["fs-resident-blocks"], pool["orphans"]), ([6, 6], 12, 12, 0),
                      f"a block table {what}: all VMs have what they had")
            one.end()
            two.end()
            tap.check(until(lambda: qmp("query-pool")["free-blocks"] == 64), f"a block table {what}: all comes back")
        daemon.clean()


PLANS = '{"currency": "EUR", "plans": {"standard": {"resident": "%s", "committed": "0", "guarantee": "0"}}}'


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def hangup(daemon):
    os.kill(daemon.child() if "--keep" in daemon.arguments else daemon.process.pid, signal.SIGHUP)


def with_plans(pool="128M"):
    daemon = Daemon("--keep", "--overbook", "none", pool=pool, start=False)
    daemon.plans = daemon.dir + "/plans.json"
    daemon.arguments += ["--plans", daemon.plans]
    write(daemon.plans, PLANS % "1")
    return daemon.start()


def resident_price(qmp):
    return qmp("query-plans")["plans"][0]["resident"]


def plans_with_a_typo(tap):
    daemon = with_plans()
    with daemon.qmp() as qmp:
        vm = Toucher(qmp)
        vm.touch("boot", 0)
    up = while_dead(daemon, lambda: write(daemon.plans, (PLANS % "2")[:-3]))
    tap.need(up, "plans with a typo: the daemon starts", daemon.log()[-2000:])
    tap.check(vm.touch("boot", 1), "a touch is served")
    with daemon.qmp() as qmp:
        tap.equal(resident_price(qmp), "1", "by the plans that could be read last")
        tap.check(qmp("query-bill")["total"]["amount"] is not None, "by which bills are made")
        refused = [n for n in qmp("query-pool")["notices"] if n["event"] == "PLANS_REFUSED"]
        tap.check(len(refused) == 1 and daemon.plans in refused[0]["reason"] and "not JSON" in refused[0]["reason"],
                  "the status says what is wrong", refused)
        tap.check(qmp.wait_event("PLANS_REFUSED", 5), "so does an event")
        write(daemon.plans, PLANS % "2")
        hangup(daemon)
        tap.check(qmp.wait_event("PLANS_READ", 10), "mended, and SIGHUP: PLANS_READ")
        tap.equal((resident_price(qmp), qmp("query-pool")["notices"]), ("2", []), "the new prices hold, nothing is left to do")
        pid = daemon.child()
        write(daemon.plans, "{")
        hangup(daemon)
        tap.check(qmp.wait_event("PLANS_REFUSED", 10), "SIGHUP with a typo: PLANS_REFUSED")
        tap.equal((resident_price(qmp), daemon.child()), ("2", pid), "and the same daemon goes on by the same prices")
        tap.check(vm.touch("boot", 2), "serving touches")
        vm.end()


def plans_and_no_copy(tap):
    """Nobody knows a price any more. VMs are metered all the same, and billed once it is mended."""
    daemon = with_plans()
    with daemon.qmp() as qmp:
        vm = Toucher(qmp)
        vm.touch("boot", 0)

    def damage():
        for copy in glob.glob(daemon.ledger + ".plans*"):
            os.unlink(copy)
        os.unlink(daemon.plans)
    tap.need(while_dead(daemon, damage), "no plans, and no copy: the daemon starts", daemon.log()[-2000:])
    tap.check(vm.touch("boot", 1), "a touch is served")
    with daemon.qmp() as qmp:
        before = int(qmp("query-vm", name="vm")["resident-block-ns"])
        tap.refuses("GenericError", daemon.plans, qmp, "query-bill")
        tap.refuses("GenericError", daemon.plans, qmp, "query-plans")
        tap.refuses("GenericError", daemon.plans, qmp, "vm-create", name="new", tenant="t", plan="standard", boot=64 * MIB,
                    limit=256 * MIB)
        tap.check(until(lambda: int(qmp("query-vm", name="vm")["resident-block-ns"]) > before), "it is metered")
        write(daemon.plans, PLANS % "3")
        hangup(daemon)
        tap.check(qmp.wait_event("PLANS_READ", 10), "mended, and SIGHUP: PLANS_READ")
        metered = int(qmp("query-vm", name="vm")["resident-block-ns"])
        tap.check(until(lambda: int(qmp("query-bill")["total"]["resident-block-ns"]) >= metered),
                  "the bill has all of it")
        vm.end()


def hangup_of_any_daemon(tap):
    """Also of one without a file of plans: it ends nobody."""
    daemon = Daemon()
    daemon.process.send_signal(signal.SIGHUP)
    with daemon.qmp() as qmp:
        tap.check(until(lambda: "read again" in daemon.log()), "SIGHUP reads the plans", daemon.log())
        tap.check(qmp("query-plans"), "and the daemon goes on")



def sql(path, text):
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute(text).fetchall()
        db.commit()
        return rows


def newer(path):
    sql(path, "PRAGMA user_version = 2")


def garbage(path):
    with open(path, "r+b") as file:
        file.write(b"no ledger " * 1000)


def deep(path):
    """What is seen only when it is written to: the first page is whole."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = os.path.getsize(path)
    write_at(path, 4096, os.urandom(size - 4096))


def cli(daemon, *arguments):
    got = subprocess.run([CLI, *arguments, "--socket", daemon.control],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return got.returncode, got.stdout, got.stderr


def ledger(tap, how, words):
    daemon = Daemon("--keep", "--overbook", "none", "--period", "1", pool="128M")
    with daemon.qmp() as qmp:
        vm = Toucher(qmp)
        vm.touch("boot", 0)
        until(lambda: len(qmp("query-bill", by="period")["lines"]) > 2)
    what = f"a ledger with damage '{how.__name__}'"
    tap.need(while_dead(daemon, lambda: how(daemon.ledger)), f"{what}: the daemon starts", daemon.log()[-2000:])
    tap.check(vm.touch("boot", 1), f"{what}: a touch is served")
    aside = daemon.ledger + ".damaged-1"
    with daemon.qmp() as qmp:
        tap.check(qmp.wait_event("SET_ASIDE", 10, lambda data: aside in data["reason"] and words in data["reason"]),
                  f"{what}: SET_ASIDE says to where, and why", qmp.events)
        tap.check(os.path.exists(aside), f"{what}: it is kept")
        tap.check(until(lambda: len(qmp("query-bill", by="period")["lines"]) > 1), f"{what}: a new one goes on")
        bill = qmp("query-bill")
        tap.check(len(bill["gaps"]) == 1 and bill["gaps"][0]["ledger"] == aside and words in bill["gaps"][0]["reason"],
                  f"{what}: the bill says what is missing", bill["gaps"])
        tap.equal(qmp("query-bill", **{"from": bill["gaps"][0]["until"]})["gaps"], [], f"{what}: one from then on lacks nothing")
        tap.check(not qmp("query-pool")["ledger-behind"], f"{what}: nothing is behind")
        code, out, err = cli(daemon, "bill")
        tap.check(code == 1 and aside in err and "vm" in out, f"{what}: memlease bill says it, too", code, out, err)
        code, out, err = cli(daemon, "status")
        tap.check(code == 0 and "SET_ASIDE" in out and aside in out, f"{what}: and memlease status", out, err)
        vm.end()
    if how is newer:
        tap.equal(sql(aside, "PRAGMA user_version"), [(2,)], f"{what}: nothing of it was changed")


def ledger_of_a_newer_version(tap):
    ledger(tap, newer, "version 2")


def ledger_of_garbage(tap):
    ledger(tap, garbage, "not a database")


def ledger_damaged_deep(tap):
    ledger(tap, deep, "malformed")


def ledger_of_another_program(tap):
    """Nothing of ours to rename. VMs go on, and their usage is kept in their records."""
    daemon = Daemon(start=False)
    sql(daemon.ledger, "CREATE TABLE bookmarks (url)")
    daemon.start()
    with daemon.qmp() as qmp:
        pool = qmp("query-pool")
        tap.check(pool["ledger-behind"] and "another program" in pool["ledger-error"], "another program's: behind", pool)
        vm = Toucher(qmp)
        tap.check(vm.touch("boot", 0), "a touch is served")
        vm.end()
    tap.equal(sql(daemon.ledger, "SELECT name FROM sqlite_schema"), [("bookmarks",)], "it is as it was")


def pool_that_is_too_small(tap):
    """A setting, not a file, but the same: nobody waits for it to be mended."""
    daemon = Daemon("--overbook", "none", pool="128M")
    with daemon.qmp() as qmp:
        vm = Toucher(qmp)
        for slot in range(30):
            vm.touch("boot", slot)
    daemon.stop()
    daemon.arguments[daemon.arguments.index("128M")] = "32M"
    daemon.start()
    with daemon.qmp() as qmp:
        pool = qmp("query-pool")
        tap.check(pool["pool-blocks"] >= 30 and adds_up(pool), "--pool 32M with 60 MiB lent: it has what is needed", pool)
        tap.equal([n["event"] for n in pool["notices"]], ["SETTING_REFUSED"], "and says so")
        tap.equal(qmp("query-vm", name="vm")["resident-blocks"], 30, "the VM has what it had")
        vm.end()
        tap.check(qmp.wait_event("VM_ENDED", 10), "it ends")
    daemon.stop()
    daemon.start()
    with daemon.qmp() as qmp:
        tap.equal((qmp("query-pool")["pool-blocks"], qmp("query-pool")["notices"]), (16, []), "the next start has what it was told")


def check_config(tap):
    daemon = Daemon()
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)
    arguments = [*daemon.arguments, "--check-config"]
    daemon.stop()
    before = sorted(glob.glob(daemon.dir + "/**", recursive=True))
    code, said = outcome(*arguments)
    tap.check(code == 0 and "good" in said, "--check-config: all is good", code, said)
    tap.equal(sorted(glob.glob(daemon.dir + "/**", recursive=True)), before, "and nothing was made")
    daemon.start()
    code, said = outcome(*arguments)
    tap.check(code == 0 and "good" in said, "also while a daemon runs", code, said)
    daemon.stop()
    plans = daemon.dir + "/plans.json"
    write(plans, "{")
    os.truncate(record_of(daemon, vm), 100)
    newer(daemon.ledger)
    write_at(daemon.run_dir + "/state/blocks", 8, b"\x09")
    before = {path: open(path, "rb").read() for path in glob.glob(daemon.dir + "/**", recursive=True) if os.path.isfile(path)}
    code, said = outcome(*arguments, "--plans", plans)
    tap.equal(code, 1, "with damage: status 1")
    for words in (f"{plans}: not JSON", f"{vm['uuid']}.vm: is too short", "version 2", "/blocks: is no block table"):
        tap.has(said, words, f"it says: {words}")
    after = {path: open(path, "rb").read() for path in glob.glob(daemon.dir + "/**", recursive=True) if os.path.isfile(path)}
    tap.equal(after, before, "and changes nothing")
    code, said = outcome(*arguments, "--period", "7")
    tap.check(code == 2 and "does not divide" in said, "a wrong option: status 2", code, said)


run(truncated, of_a_newer_version, moved_away, each_damage, block_table, plans_with_a_typo, plans_and_no_copy,
    hangup_of_any_daemon, ledger_of_a_newer_version, ledger_of_garbage, ledger_damaged_deep, ledger_of_another_program,
    pool_that_is_too_small, check_config)
