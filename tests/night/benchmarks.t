#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-tests: alone, figures with nothing beside them, and guests of 4 GiB and more
"""Every benchmark, one round of it, as a user runs it: it comes to its end, and leaves figures
of every system. What the figures are is not looked at, but where they show that the set-up is
wrong. A test for each: `tests/night/benchmarks.t hugepages` is one of them. With
MEMLEASE_BENCH_OUT they are kept there."""

import contextlib
import glob
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import tap as base

LIMIT_S = 3600		# for one: then it is stuck
IDLE_S = "5"		# of bench-footprint
LINES = 30		# of one that failed
NO_RESULT = ("daemon",)	# it prints, and keeps nothing
# Of the pages of 2 MiB that are free in a fragmented guest Linux gets 94 % in the experiment that
# bench-hugepages repeats. Where it gets few, it is the state of the guest that is none for it.
MOST_PAGES = 0.5


def numbers(value):
    return isinstance(value, (int, float)) or isinstance(value, list) and all(map(numbers, value))


def figures(tap, name, result):
    """Of every system, and of each field of one system at least."""
    systems = {key: value for key, value in result.items() if isinstance(value, dict)} or {"memlease": result}
    without = [key for key, fields in systems.items() if not any(map(numbers, fields.values()))]
    fields = {field for figures in systems.values() for field in figures}
    empty = [field for field in fields if not any(numbers(figures.get(field)) for figures in systems.values())]
    tap.check(not without and not empty, f"bench-{name} has figures of {', '.join(systems)}", without, empty, result)


def compactable(tap, result):
    """What Linux is shown in bench-hugepages is what it can compact."""
    for key in ("on_demand", "compacted"):
        got, wanted = result[key]["allocated"], result[key]["wanted"]
        tap.check(got >= MOST_PAGES * wanted, f"{key}: {got:g} of {wanted:g} pages of 2 MiB", result[key])


CHECKS = {"hugepages": compactable}


def results():
    """A directory for the results, which are not of the kind that is published."""
    kept = os.environ.get("MEMLEASE_BENCH_OUT")
    return contextlib.nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="memlease-night-")


def benchmark(tap, name):
    with results() as out:
        ran = subprocess.run(["make", "-s", f"bench-{name}"], cwd=TOP, text=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False,
                             env={**os.environ, "MEMLEASE_BENCH_OUT": out, "MEMLEASE_BENCH_ROUNDS": "1",
                                  "MEMLEASE_BENCH_REPEATS": "0", "MEMLEASE_BENCH_IDLE_S": IDLE_S})
        tap.need(ran.returncode == 0, f"make bench-{name} comes to its end", *ran.stdout.splitlines()[-LINES:])
        for line in ran.stdout.splitlines():
            tap.say(line)
        if name in NO_RESULT:
            return
        with open(os.path.join(out, f"{name}.json")) as file:
            result = json.load(file)
    figures(tap, name, result)
    CHECKS.get(name, lambda *_: None)(tap, result)


ALL = [*NO_RESULT, *sorted(os.path.basename(path)[:-len(".py")] for path in
                           glob.glob(os.path.join(TOP, "tests", "bench", "*.py")))]
base.run(base.Tap(), [(benchmark, name) for name in ALL], LIMIT_S * len(ALL))
