#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-pool: what getting a block of the pool and putting it back costs, by 1 and 2
threads (and 16 where the machine has as many cores), beside a list under a mutex and the
cost of one compare-and-swap; and how long a pool of 1 TiB takes to open after a crash. No
guest, no root. Run by scripts/bench; what the figures mean is in docs/benchmarks.md.
Environment: MEMLEASE_BENCH_ROUNDS (7)."""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib")]

from lib import paths
from measure import cpu_model, write_results
from tables import plain

GUESTS = False		# scripts/bench need not build any
ROUNDS = 7
SYSTEMS = ["memlease", "mutex_list", "cas"]
PROGRAM = os.path.join(paths.BUILD, "bench", "pool")


def thread_counts():
    return [n for n in (1, 2, 16) if n <= os.cpu_count()] or [1]


def ask(*words):
    """The numbers that the program prints. Its table's file is on a tmpfs where there is one."""
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="memlease-bench.", dir=shm) as scratch:
        ran = subprocess.run([PROGRAM, *map(str, words), scratch], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr.strip() or f"bench-pool: {PROGRAM} has failed: {ran.returncode}")
    return [float(word) for word in ran.stdout.split()]


def samples(rounds, counts):
    """All systems by turns, so that what else the machine does meets them alike."""
    turns = []
    for number in range(rounds):
        at = number % len(SYSTEMS)
        for system in SYSTEMS[at:] + SYSTEMS[:at]:
            for threads in counts:
                get_ns, put_ns = ask("threads", system, threads)
                turns.append({"round": number + 1, "system": system, "threads": threads,
                              "get_ns": get_ns, "put_ns": put_ns})
        turns.append({"round": number + 1, "recovery_1tib_ms": ask("recovery")[0]})
        print(f"  round {number + 1} of {rounds}", flush=True)
    return turns


def median(turns, field, **which):
    return round(statistics.median(turn[field] for turn in turns if field in turn and
                                   all(turn[key] == value for key, value in which.items())), 2)


def main():
    rounds = int(os.environ.get("MEMLEASE_BENCH_ROUNDS", ROUNDS))
    counts = thread_counts()
    subprocess.run(["make", "-s", "build/bench/pool"], cwd=paths.TOP, check=True)
    load = round(os.getloadavg()[0], 2)
    turns = samples(rounds, counts)
    result = {system: {field: [median(turns, field, system=system, threads=n) for n in counts]
                       for field in ("get_ns", "put_ns")} for system in SYSTEMS}
    recovery = median(turns, "recovery_1tib_ms")
    result["recovery_1tib_ms"] = recovery
    about = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "rounds": rounds,
             "threads": " and ".join(map(str, counts)), "cpu": cpu_model(), "cores": os.cpu_count(),
             "host_kernel": platform.release(), "load_before": load}
    where = write_results("pool", result, {"about": about, "turns": turns})
    lines = [["", *(f"{what}, {n} thread{'s' * (n > 1)}, ns" for what in ("get", "put") for n in counts)]]
    lines += [[system, *(f"{ns:.1f}" for field in ("get_ns", "put_ns") for ns in result[system][field])]
              for system in SYSTEMS]
    print(plain(lines))
    print(f"a pool of 1 TiB is open {recovery:.2f} ms after a crash")
    print(where)


if __name__ == "__main__":
    main()
