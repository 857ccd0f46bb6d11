#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the CLI promises to those who build on it: an option holds in every form of the
output or is refused, output that got lost is a failure, and what failed leaves no VM."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake import CLI, Fake, Refuse, cli, run, vm

LINE = {"tenant": "acme", "vm": "web1", "uuid": "u", "plan": "standard", "start": 1795219200000, "until": 1795222800000,
        "covered-ms": 3600000, "resident-block-ns": "1", "committed-block-ns": "1", "guarantee-block-ns": "0",
        "peak-resident-blocks": 9, "touches": 8, "waits": 1, "wait-ns": 5, "amount": "60.010000"}
TOTAL = {k: LINE[k] for k in ("covered-ms", "resident-block-ns", "committed-block-ns", "guarantee-block-ns", "amount")}


def bill_of(lines):
    return {"currency": "EUR", "by": "vm", "lines": lines, "unpriced-plans": [], "total": TOTAL}


def lists(tap):
    with Fake({"query-vms": [vm("web1"), vm("db", tenant="bolt"), vm("web2")]}) as fake:
        tap.equal(fake.run("list", "--tenant", "acme", "--names").out, "web1\nweb2\n", "list --tenant --names: only that tenant's")
        tap.equal([v["name"] for v in json.loads(fake.run("list", "--tenant", "bolt", "--json").out)], ["db"], "--tenant --json")
        result = fake.run("list", "--tenant", "bolt")
        tap.check("db" in result.out and "web" not in result.out, "--tenant", result)
        tap.equal(fake.run("list", "--names").out, "web1\ndb\nweb2\n", "without --tenant all names")
        result = fake.run("list", "--tenant", "nobody", "--names")
        tap.equal((result.status, result.out), (0, ""), "no name of a tenant without VMs")
        tap.says(fake.run("list", "--tenant", "nobody"), 0, "'nobody' has no VM", "and the table says so", "out")


def combined(tap):
    """Options of which one would be silently without effect."""
    for words, says in ((("list", "--names", "--json"), ["--names", "--json", "contradict"]),
                        (("plans", "--names", "--json"), ["--names", "--json", "contradict"]),
                        (("top", "--json", "--sort", "name"), ["--sort"]),
                        (("--socket", "/a", "list", "--socket", "/b"), ["--socket", "twice"]),
                        (("--socket=/a", "list", "--socket=/b"), ["--socket", "twice"]),
                        (("--socket=", "list"), ["--socket", "not empty"]), (("--socket", "", "list"), ["--socket", "not empty"])):
        tap.says(cli(*words, socket_path="/nonexistent/s"), 2, says, "refused: " + " ".join(words))
    tap.equal([v["name"] for v in json.loads(cli("help", "list", "--json").out)], ["list"], "help VERB --json: that verb only")
    tap.check(len(json.loads(cli("help", "--json").out)) > 10, "help --json: all")


def to(stream, *words, path=None, **named):
    """Run with standard output there: exit status and what was said."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MEMLEASE")}
    if path:
        variables["MEMLEASE_SOCKET"] = path
    got = subprocess.run([CLI, *words], stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.PIPE, text=True,
                         timeout=60, env=variables, check=False, **named)
    return got.returncode, got.stderr


def defined(name, **more):
    return vm(name, state="defined", pid=0, **more)


def lost_output(tap):
    well = vm("web1", guest={"total-bytes": 1 << 30, "time": int(time.time() * 1000)})
    answers = {"query-vms": [vm("web1")], "query-vm": well, "query-pool": {"pool-blocks": 5}, "query-version": {},
               "query-plans": {"currency": "EUR", "plans": [{"name": "a"}]}, "query-bill": bill_of([LINE]),
               "vm-set": vm("web1"), "vm-report-now": {}, "pool-compact": {}, "vm-delete": {}}
    verbs = ["list", "list --names", "list --json", "status", "status --json", "status web1", "plans", "plans --names",
             "plans --json", "bill", "bill --format csv", "bill --format json", "top --batch --count 1", "top --json --count 1",
             "set web1 --limit 1G", "set web1 --limit 1G --json", "report-now web1", "compact", "version", "help", "help bill",
             "help --json", "list --help", ""]
    with Fake(answers) as fake, open("/dev/full", "w") as full, open(os.devnull, "w") as null:
        for words in verbs:
            status, err = to(full, *words.split(), path=fake.path)
            tap.check(status in (1, 2) and "standard output" in err and "No space left" in err,
                      f"'{words}' to a disk that is full: told, and no success", f"status {status}: {err}")
        for words in verbs[:3]:
            status, err = to(null, *words.split(), path=fake.path)
            tap.equal((status, err), (0, ""), f"'{words}' to where there is room")
        fake.answers["query-vms"] = [vm(f"vm{i}") for i in range(5000)]
        status, err = to(full, "list", "--names", path=fake.path)
        tap.check(status == 1 and "standard output" in err, "more than a buffer", f"status {status}: {err}")
        fake.answers["query-vm"] = defined("web1")
        status, err = to(full, "stop", "web1", path=fake.path)
        tap.check(status == 1 and "standard output" in err, "'stop web1'", f"status {status}: {err}")
        seen = len(fake.peers)
        process = subprocess.Popen([CLI, "events", "--socket", fake.path], stdout=full, stderr=subprocess.PIPE, text=True)
        while len(fake.peers) == seen and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        fake.event("POOL_OK")
        err = process.communicate(timeout=30)[1]
        tap.check(process.returncode == 1 and "standard output" in err, "'events'", err)


class Maker:
    """A fake daemon that makes a VM, and a program in QEMU's place."""

    def __init__(self, script="exit 0\n", **fields):
        self.fake = Fake({"vm-delete": {}})
        self.vm = defined("n", **fields)
        self.fake.answers.update({"vm-create": lambda _: self.vm, "query-vm": lambda _: self.vm})
        self.program = os.path.join(self.fake.dir, "qemu")
        with open(self.program, "w") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(self.program, 0o755)
        self.words = ["run", "--tenant", "a", "--plan", "p", "--name", "n", "--boot", "256M", "--limit", "3G", "--accel", "tcg",
                      "--qemu", self.program, "--kernel", "/etc/passwd", "--socket", self.fake.path]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.fake.close()

    def deleted(self):
        return len(self.fake.called("vm-delete"))

    def start(self, *more):
        return subprocess.Popen([CLI, *self.words, *more], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)


def no_vm_left(tap):
    with Maker() as maker:
        status, err = to(subprocess.DEVNULL, *maker.words, "--print")
        tap.check(status == 0 and maker.deleted() == 0 and "is billed" in err and "memlease stop n" in err,
                  "run --print: the VM stays, and that it is billed is said", f"status {status}: {err}")
    for what in ("a full disk", "a pipe that nobody reads"):
        with Maker() as maker:
            if what == "a full disk":
                with open("/dev/full", "w") as full:
                    status, err = to(full, *maker.words, "--print")
            else:
                reader, writer = os.pipe()
                os.close(reader)
                status, err = to(writer, *maker.words, "--print", restore_signals=True)
                os.close(writer)
            tap.equal((status, maker.deleted()), (1, 1), f"run --print into {what}: no VM is left")
            tap.check("forgotten" in err and "standard output" in err, "and it says so", err)
    with Maker() as maker:
        started = []

        def slowly(_):
            while not started:
                time.sleep(0.01)
            started[0].terminate()
            time.sleep(0.3)
            return maker.vm

        maker.fake.answers["vm-create"] = slowly
        process = maker.start("--print")
        started.append(process)
        err = process.communicate(timeout=30)[1]
        tap.equal((process.returncode, maker.deleted()), (128 + 15, 1), "a signal while the VM is made: none is left")
    with Maker("echo $$ >\"$0.pid\"; exec sleep 60\n") as maker:
        maker.vm["qmp-socket"] = os.path.join(maker.fake.dir, "n.qmp.sock")
        process = maker.start("--detach")
        deadline = time.monotonic() + 30
        while not os.path.exists(maker.program + ".pid") and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=30)[1]
        with open(maker.program + ".pid") as file:
            pid = int(file.read())
        tap.equal((process.returncode, maker.deleted()), (1, 1), "a signal while a detached QEMU starts: no VM is left")
        tap.check(not os.path.exists(f"/proc/{pid}"), "and no QEMU", err)


def commas(tap):
    """In a value of QEMU's a comma is written twice."""
    with Maker() as maker:
        where = os.path.join(maker.fake.dir, "a,b,,c")
        os.mkdir(where)
        for key in ("boot-path", "window-path", "vhost-socket", "qmp-socket"):
            tail = {"boot-path": "n.boot", "window-path": "n.window"}.get(key, f"n.{key[:-7]}.sock")
            maker.vm[key] = os.path.join(where, tail)
        twice = where.replace(",", ",,")
        words = shlex.split(maker.fake.run(*maker.words[:-2], "--print").out)
        tap.check(f"unix:{twice}/n.qmp.sock,server=on,wait=off" in words, "the monitor's socket", words)
        tap.check(any(f"path={twice}/n.vhost.sock," in w for w in words), "the device's socket", words)
        for file in ("boot", "window"):
            tap.check(any(f"mem-path={twice}/n.{file}," in w for w in words), f"the {file} file", words)
    with Maker("printf '%s\\n' \"$@\" >\"$0.words\"; exit 1\n") as maker:
        where = os.path.join(maker.fake.dir, "a,b")
        os.mkdir(where)
        maker.vm["qmp-socket"] = os.path.join(where, "n.qmp.sock")
        maker.fake.run(*maker.words[:-2], "--detach")
        with open(maker.program + ".words") as file:
            words = file.read().splitlines()
        twice = where.replace(",", ",,")
        tap.check(any(f"path={twice}/n.console.sock,server=on" in w for w in words) and
                  os.path.exists(os.path.join(where, "n.console.log")),
                  "the console's socket and log", words)


def verbs_name(tap):
    """The daemon's complaint is passed on in the name of the verb."""
    def refuse(command):
        def answer(_):
            raise Refuse("GenericError", f"{command}: the moon is full")
        return answer

    with Fake({c: refuse(c) for c in ("vm-create", "vm-set", "vm-report-now", "pool-compact", "query-bill")}) as fake:
        fake.answers.update({"query-vm": vm("n"), "query-pool": {}})
        run_ = ("run", "--tenant", "a", "--plan", "p", "--name", "n", "--boot", "256M", "--limit", "3G", "--accel", "tcg", "--qemu",
                "/bin/true", "--kernel", "/etc/passwd")
        for words in (run_, ("set", "n", "--limit", "1G"), ("report-now", "n"), ("compact",), ("bill",)):
            result = fake.run(*words)
            tap.equal((result.status, result.err), (1, f"memlease: {words[0]}: the moon is full\n"), f"{words[0]} complains as {words[0]}")


def bills(tap):
    """A name that nobody has is no name without usage; and a bill says for which time it is."""
    lines = [LINE, {**LINE, "tenant": "bolt", "vm": "db"}]

    def query(arguments):
        if arguments.get("from"):
            return bill_of([])
        return bill_of([l for l in lines if arguments.get("tenant") in (None, l["tenant"]) and arguments.get("name") in (None, l["vm"])])

    with Fake({"query-bill": query, "query-vms": [vm("fresh", tenant="new")], "query-pool": {}}) as fake:
        for form in ("table", "csv", "json"):
            result = fake.run("bill", "--tenant", "amce", "--format", form)
            tap.says(result, 1, ["tenant 'amce'", "did you mean 'acme'"], f"{form}: a tenant that never was")
            tap.equal(result.out, "", f"{form}: nothing that looks like a bill")
        tap.says(fake.run("bill", "--tenant", "nonsense"), 1, "tenant 'nonsense'", "none that is near")
        tap.says(fake.run("bill", "--name", "wbe1"), 1, ["VM 'wbe1'", "did you mean 'web1'"], "a VM that never was")
        result = fake.run("bill", "--name", "web1", "--tenant", "bolt")
        if not tap.says(result, 1, ["'web1'", "of that tenant"], "a VM of another tenant"):
            tap.say(fake.calls[-8:])
        fake.calls.clear()
        for option in ("--tenant", "--name"):
            result = fake.run("bill", option, b"\xff\xfe".decode(errors="surrogateescape"))
            tap.says(result, 2, [option, "UTF-8"], f"{option} that is no UTF-8")
        tap.equal((result.out, fake.called("query-bill")), ("", []), "and no bill of everybody")
        tap.says(fake.run("bill", "--tenant", "acme", "--from", "yesterday"), 0, "No usage of tenant acme in that time",
                 "a tenant without usage in that time", "out")
        tap.says(fake.run("bill", "--tenant", "new"), 0, "No usage of tenant new so far", "a tenant without usage so far", "out")
        tap.says(fake.run("bill", "--name", "fresh"), 0, "No usage of VM fresh so far", "a VM without usage so far", "out")
        tap.says(fake.run("bill"), 0, ["All time", "--from"], "without dates: that it is for all time", "out")
        tap.says(fake.run("bill", "--to", "2026-11-22"), 0, ["From the beginning to 2026-11-22"], "with an end", "out")
        tap.check("All time" not in fake.run("bill", "--format", "csv").out, "but not in CSV")
        tap.says(cli("bill", "--help"), 0, "all time", "--help says so", "out")


run(lists, combined, lost_output, no_vm_left, commas, verbs_name, bills)
