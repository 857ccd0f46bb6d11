#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each attack of the catalogue (tests/lib/attacks.py) for a moment: a quiet VM's touches are
served meanwhile, the daemon answers after it, and it is the same daemon. How long a touch
takes is measured by bench-hostile; here the bound is for one that hangs."""

import os
import platform
import subprocess
import sys
import time

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")
sys.path.insert(0, LIB)

from attacks import CATALOGUE, MIB, Assault, victim
from daemon import run, until

if platform.machine() != "x86_64":
    print("1..0 # SKIP knows userfaultfd's number on x86-64 only")
    sys.exit(0)

TOUCHES, REST_US, LIMIT_S = 60, 20000, 60
HANGS_S = 5	# generous: sanitizers and others share the machine


def quiet(daemon):
    bytes_ = (TOUCHES + 20) * 2 * MIB
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name="quiet", tenant="t", plan="standard", boot=bytes_, limit=bytes_ + 128 * MIB,
                 guarantee=bytes_)
    process = subprocess.Popen([sys.executable, os.path.join(LIB, "quiet.py"), vm["vhost-socket"], vm["boot-path"],
                                vm["window-path"], str(TOUCHES), str(REST_US), str(LIMIT_S)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def answer_s(daemon):
    began = time.monotonic()
    with daemon.qmp() as qmp:
        qmp("query-pool")
    return time.monotonic() - began


def attacked(tap, name):
    daemon = victim("1200M")
    process, pid = quiet(daemon), daemon.child()
    assault = Assault(name, daemon)
    try:
        tap.check(until(lambda: assault.goes() > 0), f"{name}: the attack comes through", assault.log())
        us = sorted(map(float, process.communicate("go\n", timeout=2 * LIMIT_S)[0].split()))
        tap.check(len(us) == TOUCHES and us[-1] < HANGS_S * 1e6, f"{name}: all touches of a quiet VM are served",
                  len(us), us[-3:], daemon.log()[-1500:])
        took = answer_s(daemon)
        tap.check(took < HANGS_S, f"{name}: the daemon answers", took)
    finally:
        assault.end()
        process.kill()
    tap.equal(daemon.child(), pid, f"{name}: and is the one it was")


def one(name):
    def test(tap):
        attacked(tap, name)
    test.__name__ = name
    return test


run(*map(one, CATALOGUE))
