#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-zero: how fast one thread makes blocks of the pool zero, the daemon's way, by
memset(), by each store loop that the CPU can run, and as the kernel does it for who gets
memory from it. No guest, no root. Run by scripts/bench; what the figures mean is in docs/benchmarks.md. Environment:
MEMLEASE_BENCH_ROUNDS (15), MEMLEASE_BENCH_MIB (4096, or a quarter of what is free)."""

import datetime
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib")]

from lib import paths
from measure import cpu_model, write_results

GUESTS = False		# scripts/bench need not build any
ROUNDS = 15
MOST_MIB, LEAST_MIB = 4096, 256
BESIDE = ("memlease", "kernel")		# all other ways but bounds are loops
BOUND = "bound-"			# these do not zero
GIB = 1 << 30


def mapping_mib():
    """So large that what a turn leaves in the cache is nothing beside it."""
    asked = os.environ.get("MEMLEASE_BENCH_MIB")
    if asked:
        return int(asked)
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable:"))
    mib = min(MOST_MIB, free // 4)
    if mib < LEAST_MIB:
        raise SystemExit(f"bench-zero: {free} MiB of memory are free; it takes {4 * LEAST_MIB}")
    return mib


def samples(mib, rounds):
    """[{round, way, cpu_gib_s, wall_gib_s}], and what the program said first."""
    program = os.path.join(paths.BUILD, "bench", "zero")
    with subprocess.Popen([program, str(mib), str(rounds)], stdout=subprocess.PIPE, text=True) as ran:
        said, turns, done = [], [], 0
        for line in ran.stdout:
            words = line.split()
            if not words[0].isdigit():
                said.append(line.strip())
                print(f"  {line.strip()}", flush=True)
                continue
            number, way, cpu_ns, wall_ns, size, stolen, repeated = int(words[0]), words[1], *map(int, words[2:])
            turns.append({"round": number, "way": way, "cpu_gib_s": size / GIB / (cpu_ns / 1e9),
                          "wall_gib_s": size / GIB / (wall_ns / 1e9), "stolen_ticks": stolen, "repeated": repeated})
            if number > done:
                done = number
                print(f"  round {number} of {rounds}", flush=True)
    if ran.returncode:
        raise SystemExit(f"bench-zero: {program} has failed: {ran.returncode}")
    return said, turns


def median(turns, way, field="cpu_gib_s"):
    return statistics.median(turn[field] for turn in turns if turn["way"] == way)


def disturbed(turn):
    """Its repetitions have all been so, too."""
    return turn["stolen_ticks"] > 0 or turn["wall_gib_s"] < 0.9 * turn["cpu_gib_s"]


def times(turns, way, other):
    """How many times as fast as another way, round by round, from the least to the most."""
    by_round = {}
    for turn in turns:
        by_round.setdefault(turn["round"], {})[turn["way"]] = turn["cpu_gib_s"]
    return sorted(ways[way] / ways[other] for ways in by_round.values())


def main():
    rounds = int(os.environ.get("MEMLEASE_BENCH_ROUNDS", ROUNDS))
    mib = mapping_mib()
    subprocess.run(["make", "-s", "build/bench/zero"], cwd=paths.TOP, check=True)
    print(f"{mib} MiB in blocks of 2 MiB, {rounds} rounds", flush=True)
    load = round(os.getloadavg()[0], 2)
    said, turns = samples(mib, rounds)
    ways = sorted({turn["way"] for turn in turns}, key=lambda way: -median(turns, way))
    loops = [way for way in ways if way not in BESIDE and not way.startswith(BOUND)]
    result = {"memlease_gib_s": median(turns, "memlease"), "memset_gib_s": median(turns, "memset"),
              "best_loop_gib_s": median(turns, loops[0]), "kernel_gib_s": median(turns, "kernel")}
    ratios = times(turns, "memlease", "memset")
    about = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "rounds": rounds,
             "mib": mib, "cpu": cpu_model(), "cores": os.cpu_count(), "host_kernel": platform.release(),
             "c_library": " ".join(platform.libc_ver()), "load_before": load, "said": said, "best_loop": loops[0],
             "ways_gib_s": {way: median(turns, way) for way in ways},
             "disturbed_turns_percent": round(100 * sum(disturbed(turn) for turn in turns) / len(turns), 1),
             "memlease_wall_gib_s": round(median(turns, "memlease", "wall_gib_s"), 1), "times_memset_by_round": ratios}
    where = write_results("zero", result, {"about": about, "turns": turns})
    for way in ways:
        print(f"{way:<20} {median(turns, way):7.1f} GiB/s")
    print(f"memlease: {result['memlease_gib_s'] / result['memset_gib_s']:.2f} times memset() ({ratios[0]:.2f} to "
          f"{ratios[-1]:.2f} in single rounds), {result['memlease_gib_s'] / result['kernel_gib_s']:.2f} times the "
          f"kernel, {100 * result['memlease_gib_s'] / result['best_loop_gib_s']:.1f} % of the best loop, {loops[0]}")
    if about["disturbed_turns_percent"]:
        print(f"{about['disturbed_turns_percent']:.0f} % of all turns had no CPU to themselves: memset() looks faster "
              "in these than it is, and the others slower")
    print(where)


if __name__ == "__main__":
    main()
