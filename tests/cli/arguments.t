#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the CLI refuses before it asks the daemon, and with which words: the value
that was wrong, and the way out."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake import Fake, cli, run

FULL = ("run", "--tenant", "a", "--plan", "p", "--name", "n", "--boot", "256M", "--limit", "3G")


def usage(tap):
    """Status 2, and these words."""
    for words, says in (
            (("lst",), ["'lst'", "'list'"]),
            (("frobnicate",), ["frobnicate", "memlease help"]),
            (("list", "--tennant", "x"), ["--tennant", "--tenant"]),
            (("list", "-j"), ["-j", "two dashes"]),
            (("list", "--json=yes"), ["--json takes no value", "yes"]),
            (("list", "web1"), ["web1", "usage:"]),
            (("list", "--tenant"), ["--tenant needs a value"]),
            (("list", "--tenant="), ["not empty"]),
            (("list", "--json", "--json"), ["given twice"]),
            (("list", "--", "x"), ["memlease run"]),
            (("status", "a", "b"), ["'b'"]),
            (("set",), ["a VM's name"]),
            (("set", "x"), ["--limit", "--guarantee", "--target"]),
            (("set", "x", "--limit", "5Q"), ["'5Q'", "512M"]),
            (("set", "x", "--limit", "-5G"), ["'-5G'"]),
            (("set", "x", "--limit", "99E"), ["'99E'"]),
            (("set", "x", "--target", "much"), ["--target 'much'"]),
            (("set", "x", "--target", "none", "--deadline", "5s"), ["--deadline goes with --target SIZE"]),
            (("set", "x", "--limit", "5G", "--wait"), ["--wait goes with --target"]),
            (("set", "x", "--target", "1G", "--deadline", "soon"), ["'soon'", "10s"]),
            (("bill", "--by", "months"), ["'months'", "vm, tenant, period"]),
            (("bill", "--by", "tenat"), ["did you mean 'tenant'"]),
            (("bill", "--from", "noon"), ["'noon'", "yesterday"]),
            (("bill", "--from", "2026-02-30"), ["2026-02-30", "calendar"]),
            (("bill", "--from", "today", "--to", "yesterday"), ["nothing lies between"]),
            (("bill", "--json", "--format", "csv"), ["contradict"]),
            (("top", "--interval", "1ms"), ["100 ms"]),
            (("top", "--sort", "colour"), ["'colour'", "resident"]),
            (("top", "--count", "0"), ["'0'", "from 1"]),
            (("events", "--count", "1.5"), ["'1.5'"]),
            (("stop", "x", "--force", "--timeout", "5s"), ["--force"]),
            (("run",), ["--tenant", "--plan", "--name", "--boot", "--limit"]),
            (FULL, ["neither a disk image nor --kernel"]),
            ((*FULL, "/etc/passwd", "--kernel", "/etc/passwd"), ["both"]),
            ((*FULL, "/nonexistent.qcow2"), ["/nonexistent.qcow2", "No such file"]),
            ((*FULL, "/dev/null"), ["empty"]),
            ((*FULL, "/etc/passwd", "--initrd", "x"), ["--initrd goes with --kernel"]),
            ((*FULL, "--kernel", "/nonexistent"), ["kernel '/nonexistent'"]),
            ((*FULL, "--kernel", "/etc/passwd", "--initrd", "/nonexistent"), ["initrd '/nonexistent'"]),
            ((*FULL, "--kernel", "/etc/passwd", "--print", "--detach"), ["--print", "detached"]),
            ((*FULL, "--kernel", "/etc/passwd", "--cpus", "0"), ["'0'"]),
            ((*FULL, "--kernel", "/etc/passwd", "--accel", "xen"), ["'xen'", "auto, kvm, tcg"]),
            (("--socket",), ["--socket needs a value"])):
        tap.says(cli(*words, socket_path="/nonexistent/s"), 2, says, "refused: " + " ".join(words))


def no_qemu(tap):
    words = (*FULL, "--kernel", "/etc/passwd")
    tap.says(cli(*words), 1, ["scripts/build-qemu", "MEMLEASE_QEMU", "--qemu"], "without QEMU: how to get one")
    tap.says(cli(*words, "--qemu", "/nonexistent/q"), 1, ["/nonexistent/q", "--qemu", "No such file"],
             "a QEMU that is not there")
    tap.says(cli(*words, environment={"MEMLEASE_QEMU": "/nonexistent/q"}), 1, ["MEMLEASE_QEMU"],
             "says where the wrong path came from")


def no_daemon(tap):
    for verb in ("list", "status", "plans", "bill", "events", "top"):
        result = cli(verb, socket_path="/nonexistent/s")
        tap.check(result.status == 1 and "/nonexistent/s" in result.err, f"{verb} without a daemon", result)
    tap.says(cli("list", socket_path="/" + "x" * 200), 1, "socket's path", "a path too long for a socket")
    tap.says(cli("version", socket_path="/nonexistent/s"), 0, ["memlease 0.", "no daemon"], "version without a daemon",
             "out")


def help_texts(tap):
    overview = cli("help")
    tap.says(overview, 0, ["run", "bill", "events"], "help", "out")
    tap.check(cli().status == 2, "no verb: the overview, and status 2")
    for verb in re.findall(r"^  ([a-z-]+) ", overview.out, re.M):
        result = cli(verb, "--help")
        tap.says(result, 0, "usage: memlease", f"{verb} --help", "out")
        tap.check(max(map(len, result.out.splitlines())) < 240 and not result.err, f"{verb} --help is neat", result)
        if verb not in ("help", "version"):
            tap.equal(cli("help", verb).out, result.out, f"help {verb} is the same")


def socket_choice(tap):
    with Fake({"query-vms": []}) as fake:
        tap.says(cli("list", "--socket", fake.path), 0, "No VMs", "--socket after the verb", "out")
        tap.says(cli("--socket", fake.path, "list"), 0, "No VMs", "--socket before the verb", "out")
        tap.says(cli("--socket=" + fake.path, "list"), 0, "No VMs", "--socket=PATH before the verb", "out")
        tap.says(cli("list", socket_path=fake.path), 0, "No VMs", "MEMLEASE_SOCKET", "out")
        tap.says(cli("list", "--socket", fake.path, socket_path="/nonexistent"), 0, "No VMs",
                 "--socket wins over MEMLEASE_SOCKET", "out")


run(usage, no_qemu, no_daemon, help_texts, socket_choice)
