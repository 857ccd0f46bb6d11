#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-hostile: how long the first touches of a quiet VM take while another VM, a QEMU that
was taken over, or a local process does each attack of a catalogue (tests/lib/attacks.py), beside
undisturbed. A real daemon, its `file` pool, real userfaultfds; no guest. Run by
scripts/bench; what the figures mean is in docs/benchmarks.md.
Environment: MEMLEASE_BENCH_ROUNDS (5), MEMLEASE_BENCH_ATTACKS (their names, all)."""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib"), os.path.join(TESTS, "lib")]

from lib import paths
from attacks import CATALOGUE, MIB, Assault, victim
from measure import cpu_model, write_results
from tables import plain

GUESTS = False		# scripts/bench need not build any
ROUNDS = 5
TOUCHES, REST_US = 1000, 2000
LEAD_S = 0.5		# of the attack, before the quiet VM's first touch
LIMIT_S = 20		# then it is left at the touches there were
GOAL_US = 10000		# above undisturbed
NO_ATTACK = ("undisturbed", "bystander")
QUIET = os.path.join(TESTS, "lib", "quiet.py")


def ahead():
    """The quiet VM has a processor at its command: how long it waits for one is the host's scheduler's matter."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.setpriority(os.PRIO_PROCESS, 0, -19)


def quiet(daemon, name):
    """The touches of the quiet VM, in microseconds."""
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name=name, tenant="t", plan="standard", boot=(TOUCHES + 20) * 2 * MIB,
                 limit=(TOUCHES + 20) * 2 * MIB + 128 * MIB, guarantee=(TOUCHES + 20) * 2 * MIB)
    process = subprocess.Popen([sys.executable, QUIET, vm["vhost-socket"], vm["boot-path"], vm["window-path"],
                                str(TOUCHES), str(REST_US), str(LIMIT_S)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, preexec_fn=ahead)
    if process.stdout.readline() != "ready\n":
        raise SystemExit(f"bench-hostile: the quiet VM did not start:\n{daemon.log()[-2000:]}")
    return process


def turn(name):
    """One attack, or none, and what the quiet VM saw of it: p99 and longest, in microseconds."""
    daemon = victim("6G")
    assault = None
    try:
        process = quiet(daemon, "quiet")
        assault = Assault(name, daemon)
        time.sleep(LEAD_S)
        us = sorted(map(float, process.communicate("go\n")[0].split()))
        if not us or process.returncode:
            raise SystemExit(f"bench-hostile: {name}: the quiet VM was ended:\n{daemon.log()[-2000:]}")
        return {"p99_us": us[len(us) * 99 // 100], "max_us": us[-1], "median_us": us[len(us) // 2],
                "touches": len(us), "goes": assault.goes()}
    finally:
        if assault:
            assault.end()
        daemon.clean()


def main():
    rounds = int(os.environ.get("MEMLEASE_BENCH_ROUNDS", ROUNDS))
    chosen = os.environ.get("MEMLEASE_BENCH_ATTACKS", " ".join(CATALOGUE)).split()
    if set(chosen) - set(CATALOGUE) or rounds < 1:
        raise SystemExit(f"bench-hostile: MEMLEASE_BENCH_ATTACKS may name {', '.join(CATALOGUE)}, "
                         "and MEMLEASE_BENCH_ROUNDS must be at least 1")
    if os.geteuid():
        raise SystemExit("bench-hostile: mounting the pool takes root: run it as `sudo make bench-hostile`")
    load, turns = round(os.getloadavg()[0], 2), []
    for number in range(rounds):
        for name in ["undisturbed", *chosen]:
            turns.append({"round": number + 1, "attack": name, **turn(name)})
            last = turns[-1]
            print(f"  round {number + 1} of {rounds}: {name}: p99 {last['p99_us']:.0f} us, longest "
                  f"{last['max_us']:.0f} us, {last['goes']} goes", flush=True)
    result = {name: {field: round(statistics.median(t[field] for t in turns if t["attack"] == name), 1)
                     for field in ("p99_us", "max_us")} for name in ["undisturbed", *chosen]}
    about = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "rounds": rounds,
             "touches": TOUCHES, "rest_us": REST_US, "cpu": cpu_model(), "cores": os.cpu_count(), "host_kernel": platform.release(),
             "load_before": load}
    where = write_results("hostile", result, {"about": about, "turns": turns})
    bound = result["undisturbed"]["max_us"] + GOAL_US
    print(plain([["", "p99, us", "longest, us", ""]] +
                [[name, f"{r['p99_us']:.0f}", f"{r['max_us']:.0f}", "" if r["max_us"] <= bound or name in NO_ATTACK else "over the goal"]
                 for name, r in result.items()]))
    print(where)


if __name__ == "__main__":
    main()
