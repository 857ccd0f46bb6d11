# SPDX-License-Identifier: GPL-2.0-or-later
"""What a benchmark is made of: rounds in which every system has its turn, in
rotating order; the time at which memory is back, by the file system's count;
medians, and the two files that a benchmark leaves (build/bench/NAME.json and the
raw samples beside it). A slow machine is no failure. Environment:
MEMLEASE_BENCH_ROUNDS (5), MEMLEASE_BENCH_SYSTEMS (their keys, all),
MEMLEASE_BENCH_ACCEL (tcg), MEMLEASE_BENCH_REPEATS (6), MEMLEASE_BENCH_OUT (build/bench)."""

import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import threading
import time

from lib import console, paths

import guests

console.benchmark = True
OUT = os.environ.get("MEMLEASE_BENCH_OUT", os.path.join(paths.BUILD, "bench"))
SHOWN_OUT = min(os.path.relpath(OUT), OUT, key=len)
RUNS = os.path.join(OUT, "runs")	# every run, for `scripts/bench --ranges`
ROUNDS = 5
LOOK_S = 0.001
STOLEN_LOOK_S = 0.1
STOLEN_TICKS = 3	# of 10 ms each, of all processors, in one look
STOLEN_SHARE = 0.01	# of a turn's looks, that may find so much
REPEATS = int(os.environ.get("MEMLEASE_BENCH_REPEATS", 6))
BLOCK_MIB = 2


def write_results(name, result, raw):
    """What a benchmark leaves: the result, and the samples that it was made of; and the result
    once more, with what is to be known about the run, beside those of other runs. A line that
    says where."""
    date = raw["about"]["date"]
    os.makedirs(RUNS, exist_ok=True)
    for path, what in ((f"{name}.json", result), (f"{name}.raw.json", raw),
                       (f"runs/{name}-{date}.json", {"about": raw["about"], "result": result})):
        path = os.path.join(OUT, path)
        with open(path + ".new", "w") as file:
            json.dump(what, file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)
    return f"{SHOWN_OUT}/{name}.json, samples in {SHOWN_OUT}/{name}.raw.json"


class Bench:
    """name: of the benchmark; keys: the systems it compares, in the table's order.
    timed=False: no figure is a time, so one round will do, and nothing disturbs it."""

    def __init__(self, name, keys, timed=True):
        self.name, self.timed = name, timed
        self.rounds = int(os.environ.get("MEMLEASE_BENCH_ROUNDS", ROUNDS if timed else 1))
        chosen = os.environ.get("MEMLEASE_BENCH_SYSTEMS", " ".join(keys)).split()
        unknown = set(chosen) - set(keys)
        if unknown or self.rounds < 1:
            raise SystemExit(f"bench-{name}: MEMLEASE_BENCH_SYSTEMS may name {', '.join(keys)} (not "
                             f"{', '.join(unknown) or 'nothing'}), and MEMLEASE_BENCH_ROUNDS must be at least 1")
        self.keys = [key for key in keys if key in chosen]
        self.raw = {key: [] for key in self.keys}
        self.began = time.monotonic()
        self.hosts = []		# as Host expects of a test
        self.running = []
        self.prefix = ""

    # --- as Host and Vm expect of a test ---

    def say(self, *words):
        print(f"{time.monotonic() - self.began:7.1f} s  {self.prefix}{' '.join(map(str, words))}", flush=True)

    def check(self, holds, what, *details):
        if not holds:
            raise AssertionError(f"{what}: {' '.join(map(str, details))}")
        return holds

    # --- a run ---

    def start(self, key, **how):
        """Boot a system; see guests.System."""
        system = guests.SYSTEMS[key](self, **how)
        self.running.append(system)
        return system.start()

    def end(self, system):
        self.running.remove(system)
        system.end()

    def go(self, turn):
        """turn(bench, key) gives a dictionary of figures; called once per system and round."""
        try:
            paths.qemu()
            paths.guest(guests.KERNEL, "initrd")
        except paths.Missing as missing:
            raise SystemExit(f"bench-{self.name}: {missing}") from None
        if os.geteuid() != 0:
            raise SystemExit(f"bench-{self.name}: mounting a tmpfs for the VMs' memory takes root: "
                             f"run it as `sudo make bench-{self.name}`")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if self.timed and self.rounds < ROUNDS:
            self.say(f"only {self.rounds} rounds: medians of less than {ROUNDS} are no result to show")
        for number in range(self.rounds):
            at = number % len(self.keys)
            for key in self.keys[at:] + self.keys[:at]:
                self.prefix = f"round {number + 1}/{self.rounds}, {key}: "
                self.raw[key].append({"round": number + 1, **self.undisturbed(turn, key)})
        self.prefix = ""

    def undisturbed(self, turn, key):
        """A turn; again if the machine is a VM itself, and others took its processors meanwhile."""
        for left in range(REPEATS, -1, -1):
            with Stolen() as stolen:
                figures = self.one(turn, key)
            if stolen.share() <= STOLEN_SHARE or not left or not self.timed:
                return {**figures, "stolen_share": round(stolen.share(), 4), "repeated": REPEATS - left}
            self.say(f"its processors were taken from this machine in {100 * stolen.share():.0f} % of the time: again")

    def one(self, turn, key):
        try:
            return turn(self, key)
        except BaseException:
            for system in self.running:
                print(system.host.tails() if getattr(system, "host", None) else "", file=sys.stderr)
            raise
        finally:
            while self.running:
                self.running.pop().clean()

    # --- results ---

    def median(self, key, field):
        """Of all rounds; None if a round has none."""
        values = [turn.get(field) for turn in self.raw[key]]
        return None if None in values or not values else statistics.median(values)

    def write(self, result):
        """result: {system: {field: value}}. Writes both files."""
        self.say(write_results(self.name, result, {"about": self.about(), "systems": self.raw}))

    def about(self):
        version = subprocess.run([paths.qemu(), "--version"], capture_output=True, text=True, check=True).stdout
        return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "rounds": self.rounds, "cpu": cpu_model(), "cores": os.cpu_count(), "host_kernel": platform.release(),
                "guest_kernel": release(guests.KERNEL), "qemu": version.splitlines()[0], "accelerator": guests.accelerator(),
                "load_before": round(os.getloadavg()[2], 2)}


class Stolen:
    """Watches in how much of the time others than this machine had its processors."""

    def __init__(self):
        self.looks = self.hits = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        last = stolen_ticks()
        while not self._stop.wait(STOLEN_LOOK_S):
            now = stolen_ticks()
            self.looks += 1
            self.hits += now - last >= STOLEN_TICKS
            last = now

    def share(self):
        return self.hits / self.looks if self.looks else 0


def stolen_ticks():
    """Of all processors, in ticks of 10 ms."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8])


class Watch:
    """Reads once in a millisecond how much the file system has behind a system, from
    its making to stop(), and keeps every change."""

    def __init__(self, system):
        self.system = system
        self.curve = [(time.monotonic_ns(), system.resident())]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _run(self):
        try:	# above what it watches, where that is allowed
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        except OSError:
            pass
        while not self._stop.is_set():
            self._look()
            time.sleep(LOOK_S)

    def _look(self):
        got = self.system.resident()
        now = time.monotonic_ns()
        if got != self.curve[-1][1]:
            self.curve.append((now, got))

    def stop(self):
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()

    def now(self):
        return self.curve[-1][1]

    def peak(self, since_ns):
        before = [got for at, got in self.curve if at <= since_ns][-1:]
        return max(before + [got for at, got in self.curve if at > since_ns])

    def below(self, at_most, since_ns, timeout_s):
        """Wait until no more than this is behind the system: (seconds since then, bytes
        behind it by that time), or None if it does not come to that in time."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            curve, seen_to = self.curve[seen:], len(self.curve)
            for at, got in curve:
                if at >= since_ns and got <= at_most:
                    return (at - since_ns) / 1e9, got
            seen = seen_to
            if self.now() <= at_most and self.curve[-1][0] < since_ns:
                return 0.0, self.now()
            if not self.system.alive():
                raise AssertionError("it is waited for memory of a VM whose QEMU, or daemon, has ended")
            if time.monotonic() > deadline:
                return None
            time.sleep(0.002)


def until(holds, timeout_s, every_s=LOOK_S):
    """Seconds until holds() is true, or None."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            return None
        time.sleep(every_s)
    return time.monotonic() - began


def settle(system, quiet_s=1.0, timeout_s=30, near_mib=8):
    """Until what is behind a system has been level for a while; bytes."""
    deadline = time.monotonic() + timeout_s
    last, since = system.resident(), time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < quiet_s:
        time.sleep(0.05)
        now = system.resident()
        if abs(now - last) > near_mib << 20:
            last, since = now, time.monotonic()
    return system.resident()


def percentile(values, percent):
    """The smallest value that at least so many percent of all are at or below."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def us_per_block(gib_s):
    return 1e6 * BLOCK_MIB / 1024 / gib_s if gib_s else None


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def release(series):
    with open(paths.guest(series, "kernel/release")) as file:
        return file.read().strip()
