#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The README to the letter: from a clean clone, the commands of its section "Going on", one
after the other as they stand there, end with a bill for a Debian guest that one of them made.
What is done for the reader: an ssh that does not ask about a key it has never seen, and
waiting until the guest is up."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import tap as base

SECTION = "## Going on"
MAKE_S, UP_S, COMMAND_S = 1800, 300, 600
FILL_MIB = 700
SSH = ("ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR")


def commands():
    """The lines of the section's first block, continued ones joined."""
    with open(os.path.join(TOP, "README.md")) as file:
        text = file.read()
    block = re.search(r"```\n(.*?)```", text[text.index(SECTION):], re.S).group(1)
    return [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]


class Reader:
    """A shell in the clone: what one command exports, the next has."""

    def __init__(self, tap):
        self.tap = tap
        self.dir = tempfile.mkdtemp(prefix="memlease-readme-", dir="/var/tmp")
        self.tree = os.path.join(self.dir, "memlease")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        with open(os.path.join(self.bin, "ssh"), "w") as file:
            file.write(f"#!/bin/sh\nPATH={os.environ['PATH']}\nexec {' '.join(SSH)} \"$@\"\n")
        os.chmod(os.path.join(self.bin, "ssh"), 0o755)
        self.exports = {}
        self.daemon = None

    def environment(self):
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "LC_ALL": "C", **self.exports}

    def run(self, line, timeout_s=COMMAND_S):
        """Status and output."""
        got = subprocess.run(["bash", "-c", line], cwd=self.tree, env=self.environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False)
        return got.returncode, got.stdout

    def until(self, line, timeout_s):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.run(line)[0] == 0:
                return True
            time.sleep(2)
        return False

    def background(self, line):
        self.log = open(os.path.join(self.dir, "daemon.log"), "w")
        self.daemon = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=self.tree, env=self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def export(self, line):
        name = re.match(r"export (\w+)=", line).group(1)
        status, out = self.run(f"{line}; echo ${name}")
        self.exports[name] = out.strip()
        return status, out

    def end(self):
        self.run("build/memlease stop --force web1 >/dev/null 2>&1")
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)


def follow(tap, reader, line):
    """One line of the README."""
    bare = re.sub(r"\s+# .*", "", line)
    if bare.startswith("ssh "):
        tap.check(reader.until(re.sub(r"memlease-guest$", "true", bare), UP_S), "the guest lets its owner in")
    if bare.endswith("&"):
        reader.background(bare[:-1])
        tap.check(reader.until("build/memlease list", 30), bare, reader.tail())
        return ""
    if bare.endswith(" top"):	# which a reader leaves with a key
        status, out = reader.run(f"timeout -s INT 5 {bare}")
        return tap.check(status in (0, 124, 130) and "web1" in out, bare, status, out) and out
    status, out = reader.export(bare) if bare.startswith("export ") else reader.run(bare, MAKE_S)
    tap.check(status == 0, bare, *out.splitlines()[-20:])
    return out


def readme(tap):
    reader = Reader(tap)
    reader.tail = lambda: open(os.path.join(reader.dir, "daemon.log")).read()
    try:
        subprocess.run(["git", "clone", "-q", TOP, reader.tree], check=True)
        tap.say("a clean clone")
        said = {}
        for line in commands():
            began = time.monotonic()
            if line.startswith("build/memlease set"):
                uses_memory(tap, reader)
            said[line] = follow(tap, reader, line)
            tap.say(f"{time.monotonic() - began:.0f} s")
        sees = next(out for line, out in said.items() if line.startswith("ssh "))
        tap.check("borrowed" in sees and "metered" in sees, "the tenant sees what is borrowed, and metered", sees)
        bill = next(out for line, out in said.items() if " bill " in line)
        amounts = re.findall(r"^acme +web1 .* (\d+\.\d+)$", bill, re.M)
        total = re.findall(r"^total .* (\d+\.\d+)$", bill, re.M)
        tap.check(amounts and total and abs(sum(map(float, amounts)) - float(total[0])) < 2e-6 and float(total[0]) > 0,
                  "the bill has the VM, and adds up", bill)
    finally:
        reader.end()


def uses_memory(tap, reader):
    """A program in the guest, so that there is something to take back."""
    ssh = "ssh -i web1.key -p 2222 root@127.0.0.1 "
    status, out = reader.run(ssh + f"'dd if=/dev/zero of=/dev/null bs={FILL_MIB}M count=1 2>&1 && memlease-guest'")
    borrowed = re.search(r"borrowed +(\d+) MiB", out)
    tap.check(status == 0 and borrowed and int(borrowed.group(1)) > 0, "its programs are lent what they use", out)
    status, out = reader.run(ssh + "'cat /proc/sys/kernel/threads-max; df -m --output=size /dev/shm | tail -n 1; ulimit -u'")
    threads, shm_mib, processes = map(int, out.split())
    tap.check(threads > 30000 and shm_mib > 1900 and processes > 15000,
              "and its limits are those of a machine with 4 GiB", out)


base.run(base.Tap(), [readme], 3600)
