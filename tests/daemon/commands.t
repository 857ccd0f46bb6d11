#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command of the control socket: what it returns, against the schema, and what it
refuses, with which words."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import BLOCK, MIB, Daemon, run

GIB = 1 << 30


def fits(schema, type_, value):
    """Why a value that was returned is not of the schema's type, or None."""
    if isinstance(type_, dict):
        if not isinstance(value, dict):
            return f"{value!r} is no object"
        known = {k.rstrip("?") for k in type_}
        for key in value:
            if key not in known:
                return f"'{key}' is not in the schema"
        for key, inner in type_.items():
            name = key.rstrip("?")
            if name not in value:
                if key.endswith("?") or isinstance(inner, str) and inner.endswith("?"):
                    continue
                return f"'{name}' is missing"
            why = fits(schema, inner, value[name])
            if why:
                return f"{name}: {why}"
        return None
    if isinstance(type_, list):
        if not isinstance(value, list):
            return f"{value!r} is no list"
        return next(filter(None, (fits(schema, type_[0], v) for v in value)), None)
    if type_ in schema["commands"]:
        return fits(schema, schema["commands"][type_]["returns"], value)
    kind, _, rest = type_.partition(":")
    if "or null" in type_ and value is None:
        return None
    kind = re.split("[ ,?]", kind)[0]
    good = {"name": lambda v: isinstance(v, str) and re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", v),
            "string": lambda v: isinstance(v, str), "bool": lambda v: isinstance(v, bool)}
    number = lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0
    if not good.get(kind, number)(value):
        return f"{value!r} is no {type_}"
    return None


class Checked:
    """A client that holds every return value against the schema."""

    def __init__(self, tap, daemon):
        self.tap = tap
        self.qmp = daemon.qmp()
        self.schema = self.qmp("query-schema")
        self.used = set()

    def __call__(self, command, **arguments):
        got = self.qmp(command, **arguments)
        self.used.add(command)
        why = fits(self.schema, self.schema["commands"][command]["returns"], got)
        if command != "query-schema" and why:
            self.tap.check(False, f"{command} returns what the schema says", why)
        return got

    def create(self, name, **more):
        how = {"tenant": "acme", "plan": "standard", "boot": 64 * MIB, "limit": 256 * MIB}
        how.update(more)
        return self("vm-create", name=name, **how)


def happy(tap):
    daemon = Daemon(pool="512M")
    ask = Checked(tap, daemon)
    tap.equal(ask("query-version")["abi"], 1, "query-version")
    names = {c["name"] for c in ask("query-commands")}
    tap.equal(names, set(ask.schema["commands"]), "query-commands lists the schema's")
    pool = ask("query-pool")
    tap.equal((pool["pool-blocks"], pool["block-bytes"], pool["vms"]), (256, BLOCK, 0), "query-pool")
    tap.equal((pool["pool-dir"], pool["ledger"]), (daemon.pool_dir, daemon.ledger), "it tells the paths")

    vm = ask.create("one", weight=50, guarantee=64 * MIB)
    tap.equal((vm["name"], vm["tenant"], vm["plan"], vm["state"], vm["weight"], vm["pid"]),
              ("one", "acme", "standard", "defined", 50, 0), "vm-create")
    tap.equal((vm["boot-blocks"], vm["window-blocks"], vm["limit-blocks"], vm["guarantee-blocks"]),
              (32, 64, 96, 32), "the window is rounded down to 128 MiB: 192 MiB asked for")
    tap.equal((vm["target-blocks"], vm["target-state"], vm["resident-blocks"]), (None, "none", 0), "no target, nothing resident")
    for path, size in (("boot-path", 64 * MIB), ("window-path", 128 * MIB)):
        tap.equal(os.stat(vm[path]).st_size, size, f"{path} is a file of its size")
        tap.equal(os.stat(vm[path]).st_mode & 0o077, 0, "nobody else's")
    tap.check(os.path.exists(vm["vhost-socket"]), "the VM's socket is there")
    tap.check(abs(vm["created"] - time.time() * 1000) < 60000, "created is now", vm["created"])
    again = ask("query-vm", name="one")
    tap.check(int(again.pop("committed-block-ns")) >= int(vm.pop("committed-block-ns")), "boot memory's commitment is metered")
    tap.equal(vm, again, "query-vm says the same")

    ask.create("two", limit=2 * GIB)
    tap.equal([v["name"] for v in ask("query-vms")], ["one", "two"], "query-vms, in order")
    tap.equal(ask("query-pool")["vms"], 2, "the pool counts them")
    tap.equal(ask("query-vm", name="two")["weight"], 100, "weight 100 is ordinary")

    vm = ask("vm-set", name="one", limit=128 * MIB)
    tap.equal(vm["limit-blocks"], 64, "vm-set limit")
    vm = ask("vm-set", name="one", guarantee=0)
    tap.equal(vm["guarantee-blocks"], 0, "vm-set guarantee")
    vm = ask("vm-set", name="one", limit=192 * MIB, guarantee=192 * MIB, target=100 * MIB, deadline_ms=500)
    tap.equal((vm["limit-blocks"], vm["guarantee-blocks"], vm["target-blocks"], vm["target-deadline-ms"], vm["target-state"]),
              (96, 96, 50, 500, "working"), "all at once")
    vm = ask("vm-set", name="one", limit=64 * MIB, guarantee=64 * MIB, target=None)
    tap.equal((vm["limit-blocks"], vm["guarantee-blocks"], vm["target-blocks"]), (32, 32, None), "down together")
    tap.equal(ask("vm-report-now", name="one"), {}, "vm-report-now")

    plans = ask("query-plans")
    tap.check("standard" in [p["name"] for p in plans["plans"]], "query-plans", plans)
    for by in ("vm", "tenant", "period"):
        bill = ask("query-bill", by=by)
        tap.check(bill["currency"] == plans["currency"] and isinstance(bill["lines"], list), f"query-bill by {by}", bill)
    bill = ask("query-bill", tenant="nobody")
    tap.equal((bill["lines"], float(bill["total"]["amount"])), ([], 0.0), "a bill of nothing is 0")
    ask("query-bill", name="one", **{"from": 0, "to": int(time.time() * 1000)})

    paths = [ask("query-vm", name="one")[p] for p in ("boot-path", "window-path", "vhost-socket")]
    tap.equal(ask("vm-delete", name="one"), {}, "vm-delete")
    tap.equal([p for p in paths if os.path.exists(p)], [], "its files and socket are gone")
    tap.equal([v["name"] for v in ask("query-vms")], ["two"], "and so is the VM")
    ask.create("one")
    tap.check(True, "its name can be used again")
    # Only a reserved pool can be compacted: in tests/lab.
    left = set(ask.schema["commands"]) - ask.used - {"qmp_capabilities", "vm-kill", "query-schema", "pool-compact"}
    tap.equal(left, set(), "no command was left out")


def refused(tap):
    daemon = Daemon(pool="512M")
    ask = daemon.qmp()
    good = {"name": "vm", "tenant": "t", "plan": "standard", "boot": 64 * MIB, "limit": 256 * MIB}

    def create(**change):
        how = {k: v for k, v in {**good, **change}.items() if v != "leave out"}
        return ask("vm-create", **how)

    bad = "invalid-argument"
    tap.refuses("CommandNotFound", "query-commands", ask, "vm-make")
    for missing in good:
        tap.refuses(bad, f"'{missing}' is missing", create, **{missing: "leave out"})
    tap.refuses(bad, "'bot'", create, bot=1)
    tap.refuses(bad, "512 MiB is 536870912", create, boot="64M")
    tap.refuses(bad, "take 67108864 (64M) or 69206016 (66M)", create, boot=64 * MIB + 1)
    tap.refuses(bad, "at least one block", create, boot=0)
    tap.refuses(bad, "is 191M, but must be at least boot memory and 128M, 192M", create, limit=191 * MIB)
    tap.refuses(bad, "'guarantee'", create, guarantee=MIB)
    tap.refuses(bad, "uarantee", create, guarantee=512 * MIB)
    tap.refuses(bad, "from 1 to 10000", create, weight=0)
    tap.refuses(bad, "from 1 to 10000", create, weight=10001)
    tap.refuses(bad, "standard", create, plan="gold")
    tap.refuses(bad, "a name", create, name="../x")
    tap.refuses(bad, "a name", create, tenant="")
    tap.refuses("no-space", "uarantee", create, limit=2 * GIB, guarantee=GIB)
    create()
    tap.refuses(bad, "vm", create)
    tap.equal(len(ask("query-vms")), 1, "what was refused left nothing behind")

    for command in ("query-vm", "vm-delete", "vm-set", "vm-report-now", "vm-kill"):
        more = {"limit": 64 * MIB} if command == "vm-set" else {}
        tap.refuses("DeviceNotFound", "'other'", ask, command, name="other", **more)
    tap.refuses("GenericError", "vm-delete", ask, "vm-kill", name="vm")
    tap.refuses("GenericError", "only a reserved pool", ask, "pool-compact")
    tap.refuses(bad, "at least 1", ask, "pool-compact", gib=0)
    tap.refuses(bad, "nothing to set", ask, "vm-set", name="vm")
    tap.refuses(bad, "no whole number", ask, "vm-set", name="vm", limit=64 * MIB + 1)
    tap.refuses(bad, "deadline", ask, "vm-set", name="vm", limit=64 * MIB, deadline_ms=5000)
    tap.refuses(bad, "deadline", ask, "vm-set", name="vm", target=None, deadline_ms=5000)
    tap.refuses(bad, "", ask, "vm-set", name="vm", target=64 * MIB, deadline_ms=1)
    tap.refuses(bad, "", ask, "vm-set", name="vm", target=64 * MIB, deadline_ms=3600001)
    tap.refuses(bad, "", ask, "vm-set", name="vm", limit=62 * MIB)
    tap.refuses(bad, "", ask, "vm-set", name="vm", limit=GIB)
    tap.refuses(bad, "", ask, "vm-set", name="vm", target=62 * MIB)

    before = ask("query-vm", name="vm")
    tap.refuses(bad, "", ask, "vm-set", name="vm", limit=128 * MIB, guarantee=64 * MIB, target=62 * MIB)
    after = ask("query-vm", name="vm")
    tap.equal([after[k] for k in ("limit-blocks", "guarantee-blocks", "target-blocks")],
              [before[k] for k in ("limit-blocks", "guarantee-blocks", "target-blocks")], "all of a vm-set or nothing")

    tap.refuses(bad, "vm, tenant, period", ask, "query-bill", by="year")
    tap.refuses(bad, "not before", ask, "query-bill", **{"from": 5, "to": 5})
    tap.refuses(bad, "integer", ask, "query-bill", **{"from": "yesterday"})


def many(tap):
    """As many VMs as a busy host has, and the daemon still answers."""
    daemon = Daemon("--overbook", "none", pool="1G")
    ask = daemon.qmp()
    count = 200
    for i in range(count):
        ask("vm-create", name=f"vm-{i:03}", tenant=f"t{i % 7}", plan="standard", boot=64 * MIB, limit=192 * MIB)
    began = time.monotonic()
    vms = ask("query-vms")
    tap.equal(len(vms), count, f"query-vms of {count} VMs ({(time.monotonic() - began) * 1000:.0f} ms)")
    for vm in vms:
        ask("vm-delete", name=vm["name"])
    tap.equal(ask("query-vms"), [], "and none")
    tap.equal(os.listdir(daemon.run_dir + "/vm"), [], "no socket is left")


run(happy, refused, many)
