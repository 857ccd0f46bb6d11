#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The CLI against a real memleased: every verb, top in a terminal, and run with
programs in QEMU's place that fail in every way QEMU can. Needs root, for the pool."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from decimal import Decimal

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import fake  # noqa: E402
from daemon import Daemon, run, until  # noqa: E402

KERNEL = ("--kernel", "/etc/passwd")


class Host:
    """A daemon and the CLI that talks to it."""

    def __init__(self, *arguments, pool="512M", directory=None):
        self.daemon = Daemon(*arguments, pool=pool, directory=directory)

    def __call__(self, *words, **named):
        return fake.cli(*words, socket_path=self.daemon.control, **named)

    def json(self, *words):
        return json.loads(self(*words, "--json").out)

    def run(self, name, *words, tenant="acme", plan="standard", boot="64M", limit="448M", **named):
        return self("run", "--tenant", tenant, "--plan", plan, "--name", name, "--boot", boot, "--limit", limit, *words, **named)

    def program(self, name, script):
        """A program that stands in QEMU's place."""
        path = os.path.join(self.daemon.dir, name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return path


def says(tap, result, status, words, what, stream="err"):
    return fake.CliTap.says(tap, result, status, words, what, stream)


def reading(tap):
    host = Host()
    says(tap, host("list"), 0, "No VMs", "list without VMs", "out")
    says(tap, host("status"), 0, ["Pool of 512 MiB", "up to date", "no touch"], "status of the pool", "out")
    tap.equal(host.json("status")["pool-blocks"], 256, "status --json")
    says(tap, host("plans"), 0, ["standard", "0.006", "EUR"], "plans", "out")
    tap.check("standard" in host("plans", "--names").out.split(), "plans --names")
    tap.equal(host.json("plans")["currency"], "EUR", "plans --json")
    says(tap, host("version"), 0, ["memlease 0.", "memleased 0.", "ABI 1"], "version", "out")
    says(tap, host("bill"), 0, "No usage", "a bill without usage", "out")
    frames = host("top", "--json", "--count", "2", "--interval", "100ms").out.splitlines()
    tap.equal([len(json.loads(f)["vms"]) for f in frames], [0, 0], "top --json: a line per frame")


def register(tap):
    host = Host()
    program = host.program("true", "exit 0\n")
    result = host.run("web1", "--guarantee", "128M", "--weight", "7", "--print", "--qemu", program, *KERNEL, "--", "-trace", "it's")
    says(tap, result, 0, ["web1", "memlease stop"], "run --print says that the VM is registered")
    words = shlex.split(result.out)
    tap.equal(words[0], program, "the printed line begins with QEMU")
    tap.equal(words[-2:], ["-trace", "it's"], "and ends with what followed '--'")
    shown = host.json("status", "web1")
    tap.equal([shown[k] for k in ("tenant", "plan", "boot-blocks", "limit-blocks", "guarantee-blocks", "weight", "state")],
              ["acme", "standard", 32, 224, 64, 7, "defined"], "the daemon has it as asked for")
    for path in (shown["boot-path"], shown["window-path"]):
        tap.check(any(path in word for word in words) and os.path.exists(path), "its file is in the line: " + os.path.basename(path))
    says(tap, host("list"), 0, ["web1", "acme", "448 MiB", "waiting for its QEMU"], "list", "out")
    says(tap, host("list", "--tenant", "other"), 0, "no VM", "list of another tenant", "out")
    says(tap, host("status", "web1"), 0, ["waiting for its QEMU", "64 MiB", "none"], "status of a VM", "out")
    says(tap, host("set", "web1", "--limit", "300M", "--guarantee", "64M", "--target", "128M"), 0,
         ["300 MiB", "64 MiB", "128 MiB"], "set", "out")
    says(tap, host("set", "web1", "--target", "none"), 0, "target none", "set --target none", "out")
    says(tap, host("stop", "web1"), 0, "forgotten", "stop", "out")
    tap.equal(host.json("list"), [], "it is gone")


def refused_by_the_daemon(tap):
    host = Host()
    program = host.program("true", "exit 0\n")
    words = ("--print", "--qemu", program, *KERNEL)
    says(tap, host.run("a/b", *words), 1, "a/b", "a name that cannot be")
    says(tap, host.run("a", *words, plan="gold"), 1, ["memlease: run: ", "'gold'", "standard"], "a plan that is not there")
    for what, result, sizes in (
            ("a limit too low", host.run("a", *words, limit="130M"), ("130M", "192M")),
            ("a guarantee above the limit", host.run("a", "--guarantee", "600M", *words), ("600M", "448M")),
            ("a limit beyond all", host.run("a", *words, boot="128M", limit="1000T"), ("1000T",)),
            ("a limit beyond what a size can be", host.run("a", *words, limit="5P"), ("5P", "4P"))):
        says(tap, result, 1, ["memlease: run: ", *sizes], f"{what}: in sizes as people write them")
        tap.check(not any(w in result.err for w in (" bytes", " blocks", "vm-create")), f"{what}: and in no others", result)
    says(tap, host.run("a", "--guarantee", "600M", *words), 1, ["guarantee", "limit"], "a guarantee above the limit")
    says(tap, host.run("a", *words, boot="63M"), 2, ["'63M'", "62M or 64M"], "boot memory that is not whole blocks")
    says(tap, host.run("b", *words, limit="500M"), 0, ["448 MiB, not 500 MiB", "128 MiB"], "a limit that was rounded is told")
    host("stop", "b")
    host.run("a", *words)
    says(tap, host.run("a", *words), 1, "'a'", "a name in use")
    tap.equal([vm["name"] for vm in host.json("list")], ["a"], "nothing else was made")


def qemu_fails(tap):
    host = Host()
    bad = host.program("bad", "echo 'no such device' >&2; exit 3\n")
    result = host.run("a", "--qemu", bad, *KERNEL)
    says(tap, result, 3, ["no such device", "forgotten"], "QEMU's own status and words")
    says(tap, host.run("a", "--qemu", bad, "--detach", *KERNEL), 1, ["status 3", "no such device", "forgotten"],
         "--detach shows what QEMU said")
    says(tap, host.run("a", "--qemu", host.program("killed", "kill -9 $$\n"), *KERNEL), 137, "signal 9",
         "QEMU that was killed")
    nothing = os.path.join(host.daemon.dir, "nothing")
    with open(nothing, "w") as file:
        file.write("\x7fELF")
    os.chmod(nothing, 0o755)
    says(tap, host.run("a", "--qemu", nothing, *KERNEL), 1, ["cannot start", "forgotten"], "QEMU that is no program")
    tap.equal(host.json("list"), [], "none of them left a VM behind")
    # A signal from elsewhere reaches QEMU, and memlease passes its end on.
    slow = host.program("slow", "echo up; exec sleep 30\n")
    process = subprocess.Popen([fake.CLI, "--socket", host.daemon.control, "run", "--tenant", "t", "--plan", "standard",
                                "--name", "a", "--boot", "64M", "--limit", "512M", "--qemu", slow, *KERNEL],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    process.stdout.readline()
    process.terminate()
    tap.equal(process.wait(10), 128 + 15, "SIGTERM is passed on")
    tap.equal(host.json("list"), [], "and the VM forgotten")


def commas(tap):
    """A real QEMU, with a comma in every path that it is given."""
    got = subprocess.run([os.path.join(fake.TOP, "scripts", "build-qemu"), "--print-path"], capture_output=True, text=True,
                         timeout=240, check=False)
    if got.returncode:
        tap.skip("QEMU with a comma in its paths", got.stderr.strip())
        return
    where = tempfile.mkdtemp(prefix="mld,x,,")
    os.chmod(where, 0o711)	# QEMU has a user of its own
    host = Host(directory=where)
    disk = os.path.join(host.daemon.dir, "a,b.img")
    with open(disk, "wb") as file:
        file.truncate(1 << 20)
    says(tap, host.run("a", "--accel", "tcg", "--detach", "--qemu", got.stdout.strip(), disk, timeout_s=240), 0, "a runs",
         "QEMU starts", "out")
    files = os.listdir(os.path.join(host.daemon.run_dir, "vm"))
    for name in ("a.qmp.sock", "a.console.sock", "a.console.log"):
        tap.check(name in files, f"{name} is where it should be", files)
    says(tap, host("stop", "a", "--timeout", "100ms"), 1, ["still runs"], "its monitor answers")
    says(tap, host("stop", "a", "--force"), 0, "has ended", "stop --force", "out")


def bills(tap):
    """VMs without QEMU use no memory, but they are guaranteed and committed some."""
    host = Host("--period", "1")
    program = host.program("true", "exit 0\n")
    for name, tenant in (("a", "acme"), ("b", "acme"), ("c", "bolt")):
        host.run(name, "--guarantee", "128M", "--print", "--qemu", program, *KERNEL, tenant=tenant)
    time.sleep(2.2)
    for name in "abc":
        host("stop", name)
    usage = []
    until(lambda: usage.append(host.json("bill")["total"]) or (len(usage) > 8 and usage[-1] == usage[-8]))
    totals = set()
    for by in ("vm", "tenant", "period"):
        bill = host.json("bill", "--by", by)
        totals.add(bill["total"]["amount"])
        tap.equal(sum(Decimal(line["amount"]) for line in bill["lines"]), Decimal(bill["total"]["amount"]),
                  f"by {by} the lines add up to the total")
        rows = list(csv.DictReader(io.StringIO(host("bill", "--by", by, "--format", "csv").out)))
        tap.equal([r["amount"] for r in rows], [line["amount"] for line in bill["lines"]], f"by {by} CSV says the same")
    tap.equal(len(totals), 1, "every cut has the same total")
    tap.check(int(bill["total"]["committed-block-ns"]) >= 3 * 32 * 2 * 10**9, "boot memory of three VMs was metered", bill["total"])
    one = sum(Decimal(host.json("bill", "--tenant", t)["total"]["amount"]) for t in ("acme", "bolt"))
    tap.equal(one, Decimal(totals.pop()), "so do the tenants' own bills")
    says(tap, host("bill", "--by", "period", "--name", "a"), 0, ["acme", "a", "total"], "a table", "out")
    says(tap, host("bill", "--from", "tomorrow"), 0, "No usage", "nothing in the future", "out")
    host.daemon.stop()
    plans = os.path.join(host.daemon.dir, "plans.json")
    with open(plans, "w") as file:
        json.dump({"currency": "CHF", "plans": {"other": {"resident": "1", "committed": "1", "guarantee": "1"}}}, file)
    host.daemon.arguments += ["--plans", plans]
    host.daemon.start()
    says(tap, host("bill"), 1, ["'standard'", "plans file"], "a plan that was taken away is not billed as 0")
    tap.check("0.0" not in re.sub(r"0\.\d{4} ", "", host("bill").out) and "no price" in host("bill").out, "no amount is shown")


def events(tap):
    host = Host()
    process = subprocess.Popen([fake.CLI, "events", "--json", "--count", "2", "--socket", host.daemon.control],
                               stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    host.run("a", "--print", "--qemu", host.program("true", "exit 0\n"), *KERNEL)
    host("set", "a", "--target", "128M")
    out = [json.loads(line) for line in process.communicate(timeout=10)[0].splitlines()]
    tap.equal([(e["event"], e["data"]["name"]) for e in out], [("VM_CREATED", "a"), ("TARGET", "a")], "events as they happen")
    tap.equal(out[1]["data"]["target-blocks"], 64, "with their data")


class Terminal:
    """memlease top in a terminal of 80 by 24."""

    def __init__(self, host):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"LC_ALL": "C.UTF-8", "MEMLEASE_SOCKET": host.daemon.control})
            time.sleep(0.1)
            os.execv(fake.CLI, [fake.CLI, "top"])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.seen = ""

    def read(self, holds, timeout_s=10):
        """Until holds(all that was written)."""
        def step():
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode()
                except OSError:
                    return True
            return holds(self.seen)
        return until(step, timeout_s) and holds(self.seen)

    def key(self, key):
        self.seen = ""
        os.write(self.fd, key.encode())

    def end(self):
        os.close(self.fd)
        return os.waitpid(self.pid, 0)[1]


def top(tap):
    host = Host()
    for i in range(40):
        host.run(f"vm{i:02}", "--print", "--qemu", host.program("true", "exit 0\n"), *KERNEL, boot="2M", limit="130M")
    screen = Terminal(host)
    tap.check(screen.read(lambda s: "vm00" in s and "\033[J" in s), "a frame is drawn", screen.seen)
    tap.check(screen.seen.startswith("\033[?1049h\033[?25l"), "on a screen of its own, without a cursor")
    frame = re.split(r"\033\[J", screen.seen)[0]
    lines = re.sub(r"\033\[[?0-9]*[a-zA-Z]", "", frame).split("\r\n")
    tap.check(len(lines) <= 24 and max(map(len, lines)) <= 80, f"it fits ({len(lines)} lines of {max(map(len, lines))})")
    tap.check("vm39" not in frame, "the last VMs do not fit")
    screen.key("\033[B" * 30)
    tap.check(screen.read(lambda s: "vm39" in s), "they come by scrolling", screen.seen)
    screen.key("n")
    tap.check(screen.read(lambda s: "by name" in s), "a key sorts by name", screen.seen)
    host.daemon.stop()
    tap.check(screen.read(lambda s: "no answer from the daemon" in s), "it says so when the daemon is gone", screen.seen)
    host.daemon.start()
    screen.seen = ""
    tap.check(screen.read(lambda s: "40 VMs" in s), "and goes on when it is back", screen.seen)
    screen.key("q")
    tap.check(screen.read(lambda s: "\033[?1049l" in s), "q gives the screen back", screen.seen)
    tap.equal(screen.end(), 0, "and ends it")


run(reading, register, refused_by_the_daemon, qemu_fails, commas, bills, events, top)
