#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bash completion: it knows every verb and option that --help knows, and no
other, and the names that the daemon has. It is made, as the manual page is, from the
verbs' own table."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake import CLI, TOP, Fake, cli, run, vm

SCRIPT = os.path.join(TOP, "scripts", "completion", "memlease.bash")


def complete(line, socket_path="/nonexistent"):
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{w}'" for w in [CLI, *words[1:]])
    script = (f". {SCRIPT}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _memlease; "
              'printf "%s\\n" "${COMPREPLY[@]}"')
    got = subprocess.run(["bash", "-uc", script], capture_output=True, text=True, timeout=20, check=False,
                         env={**os.environ, "MEMLEASE_SOCKET": socket_path})
    if got.stderr:
        raise AssertionError(got.stderr)
    return sorted(got.stdout.split())


def verbs(tap):
    names = sorted(re.findall(r"^  ([a-z-]+) ", cli("help").out, re.M))
    tap.equal([w for w in complete("memlease ") if w[0] != "-"], names, "all verbs")
    tap.equal(complete("memlease st"), ["status", "stop"], "verbs that begin so")
    tap.equal(complete("memlease help e"), ["events"], "help knows them too")
    tap.equal(complete("memlease --socket /x li"), ["list"], "after --socket PATH")
    for name in names:
        options = sorted([*re.findall(r"^  (--[a-z-]+)", cli(name, "--help").out, re.M), "--help"])
        tap.equal(complete(f"memlease {name} --"), options, f"options of {name}, as in its help")


def values(tap):
    tap.equal(complete("memlease run --accel "), ["auto", "kvm", "tcg"], "values of --accel")
    tap.equal(complete("memlease bill --by t"), ["tenant"], "values of --by")
    sorts = re.search(r"--sort KEY +(.*)", cli("top", "--help").out).group(1)
    tap.equal(complete("memlease top --sort "), sorted(re.findall(r"\w+", sorts.replace(" or ", " "))), "values of --sort")
    tap.equal(complete("memlease run --tenant a -- -"), [], "QEMU's own words are left alone")
    tap.check("/etc/passwd" in complete("memlease run --kernel /etc/pass"), "files for --kernel")
    tap.check("/etc/passwd" in complete("memlease run --tenant a /etc/pass"), "files for the disk")


def made(tap):
    """Completion and manual page say what the table of verbs says."""
    maker = os.path.join(TOP, "scripts", "cli-texts")
    got = subprocess.run([maker, "--check", "--cli", CLI], capture_output=True, text=True, timeout=20, check=False)
    tap.check(got.returncode == 0, "scripts/cli-texts has nothing to write", got.stdout + got.stderr)


def names(tap):
    with Fake({"query-vms": [vm("web1"), vm("db")], "query-plans": {"plans": [{"name": "standard"}]}}) as fake:
        for verb in ("status", "set", "stop", "report-now"):
            tap.equal(complete(f"memlease {verb} ", fake.path), ["db", "web1"], f"names of VMs for {verb}")
        tap.equal(complete("memlease bill --name w", fake.path), ["web1"], "names for --name")
        tap.equal(complete("memlease run --plan ", fake.path), ["standard"], "plans for --plan")
        tap.equal(complete(f"memlease --socket {fake.path} stop d"), ["db"], "--socket is heeded")
    tap.check("--force" in complete("memlease stop "), "without a daemon: options")


run(verbs, values, made, names)
