#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is published of several runs of a benchmark (tests/bench/lib/tables.py): how many times
better one is, is a ratio of one run, and its range over the runs is what `scripts/bench --ranges`
prints."""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "bench", "lib")]

import tables
from tap import TOP, Tap, run


def a_run(ours, theirs, **more):
    return {"memlease": {"reclaim_gib_s": ours, "wait_us": 2.0, **more}, "other": {"reclaim_gib_s": theirs, "wait_us": None}}


def ranges(tap):
    figures, times = tables.ranges([a_run(100.0, 1.0), a_run(300.0, 2.0), a_run(50.0, 1.0)])
    tap.equal(figures[0], ["", "reclaim, GiB/s", "wait, µs"], "a column for each field")
    tap.equal(figures[1], ["memlease", "50.0 to 300", "2.00"], "the least and the most of the runs, or what all have")
    tap.equal(figures[2], ["other", "1.00 to 2.00", "–"], "and nothing where no run has any")
    tap.equal(times[1], ["other", "50.0 to 150", "–"], "ratios are of one run each: not the most of one by the least of another")


def published(tap):
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "runs"))

        def ask(name="some"):
            return subprocess.run([os.path.join(TOP, "scripts", "bench"), "--ranges", name], text=True, capture_output=True,
                                  env={**os.environ, "MEMLEASE_BENCH_OUT": directory}, check=False)
        for n, (ours, theirs) in enumerate(((100.0, 1.0), (300.0, 2.0), (50.0, 1.0))):
            got = ask()
            tap.check(got.returncode and f"{n} runs of bench-some" in got.stderr and not got.stdout,
                      f"{n} runs give no range", got)
            with open(os.path.join(directory, "runs", f"some-2026-11-30T0{n}:00:00+00:00.json"), "w") as file:
                json.dump({"about": {"date": f"day {n}", "rounds": 5, "said": ["words"]}, "result": a_run(ours, theirs)}, file)
        got = ask()
        tap.equal(got.stdout.splitlines()[:3], ["### bench-some", "", "3 runs; date day 0 and day 1 and day 2, rounds 5"],
                  "three do, with what is known of them")
        tap.has(got.stdout, "| other | 50.0 to 150 | – |", "as Markdown")
        tap.equal((got.returncode, got.stderr), (0, ""), "without complaint")


run(Tap(), [ranges, published], 120)
