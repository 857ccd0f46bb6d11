#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-footprint: what a job costs in memory over time. A C project from Debian is
built in a VM of at most 4 GiB, which then idles; once a second the memory behind the
VM is read from the file system. Run by scripts/bench; what the figures mean is in
docs/benchmarks.md. Environment: MEMLEASE_BENCH_IDLE_S (45)."""

import os
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), os.path.join(HERE, "lib"), os.path.join(TOP, "scripts", "lib")]

import chart
from measure import OUT, SHOWN_OUT, Bench, settle
from tables import show

KEYS = ["memlease", "virtio_mem", "virtio_balloon_reporting", "fixed"]
FIELDS = ["gib_min", "build_s", "build_gib_min", "idle_gib_min", "peak_mib", "end_mib"]
VM_MIB, BOOT_MIB = 4096, 512
SCRATCH_MIB = 1024	# the disk for source and objects: a sparse file
PERIOD_S = 1.0
BUILD_LIMIT_S = 900
IDLE_S = float(os.environ.get("MEMLEASE_BENCH_IDLE_S", "45"))
GIB = 1 << 30

# The controller of virtio-mem: available memory is kept between the two marks.
LOW_MIB, HIGH_MIB, STEP_MIB, START_MIB = 256, 512, 128, 1024

MOUNT = """
mkdir -p /job
mount -t ext4 -o ro /dev/vda /job
mount -t ext4 /dev/vdb /job/scratch
mount -t proc proc /job/proc
mount -t devtmpfs dev /job/dev
mkdir /job/scratch/tmp
"""
# Source from one disk to the other, and make with a job a vCPU; seconds by the guest's clock.
JOB = ("read -r began rest </proc/uptime; "
       "chroot /job /bin/sh -c 'export TMPDIR=/scratch/tmp && cp -r /src /scratch/src && cd /scratch/src && "
       "make -j2 linux' || exit 1; read -r ended rest </proc/uptime; echo \"took $began $ended\"")
LOOK = "cat /tmp/build.rc 2>/dev/null; grep MemAvailable: /proc/meminfo"
COLOURS = {"memlease": "#2060c0", "virtio_mem": "#309040", "virtio_balloon_reporting": "#d08020", "fixed": "#888888"}
SHORT = {"memlease": "memlease", "virtio_mem": "virtio-mem", "virtio_balloon_reporting": "reporting balloon",
         "fixed": "fixed size"}


class Sampler:
    """What is behind a system, once a second from its making on."""

    def __init__(self, system):
        self.system, self.points = system, []
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            self.points.append((time.monotonic() - self.began, self.system.resident()))
            self._stop.wait(max(0.0, self.began + len(self.points) * PERIOD_S - time.monotonic()))
        self.points.append((time.monotonic() - self.began, self.system.resident()))

    def stop(self):
        self._stop.set()
        self._thread.join()


def integral(points, since=0.0, until=float("inf")):
    """GiB·min, trapezoids."""
    total = 0.0
    for (t0, b0), (t1, b1) in zip(points, points[1:]):
        a, b = max(t0, since), min(t1, until)
        if b > a:
            total += (b0 + b1) / 2 * (b - a)
    return total / GIB / 60


def control(system, available_mib):
    """One step of the controller: plug below the low mark, unplug above the high one."""
    size = system.size_mib()
    if available_mib < LOW_MIB:
        size += STEP_MIB * -(-(LOW_MIB - available_mib) // STEP_MIB)
    elif available_mib > HIGH_MIB:
        size -= (available_mib - HIGH_MIB) // STEP_MIB * STEP_MIB
    system.ask(max(system.boot_mib, min(VM_MIB, size)))


def look(system):
    """All that the host asks of the guest, once a second, of every system alike; only the
    controller heeds what memory there is. The build's exit status, or None."""
    words = system.sh(LOOK).split()
    if system.key == "virtio_mem":
        control(system, int(words[words.index("MemAvailable:") + 1]) // 1024)
    return int(words[0]) if words[0].isdigit() else None


def watch(system, until):
    """Once a second look, until that says so; the build's exit status."""
    began = time.monotonic()
    beat = 0
    while True:
        status = look(system)
        if until(status, time.monotonic() - began):
            return status
        beat += 1
        time.sleep(max(0.0, began + beat * PERIOD_S - time.monotonic()))


def disks(directory, image):
    scratch = os.path.join(directory, "scratch.ext4")
    with open(scratch, "w") as file:
        file.truncate(SCRATCH_MIB << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", scratch], check=True,
                   env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    return ["-drive", f"file={image},format=raw,if=none,id=root,readonly=on",
            "-device", "virtio-blk-pci,drive=root",
            "-drive", f"file={scratch},format=raw,if=none,id=scratch",
            "-device", "virtio-blk-pci,drive=scratch"]


def turn(bench, key):
    bench.say("boot")
    s = bench.start(key, mib=VM_MIB, boot_mib=BOOT_MIB, qemu=disks(bench.scratch, bench.image))
    s.sh(MOUNT)
    if key == "virtio_mem":
        s.ask(START_MIB)
    settle(s)
    sampler, spent = Sampler(s), s.cpu()
    bench.say(f"build; {s.resident() >> 20} MiB at the start")
    s.spawn("build", JOB)
    status = watch(s, lambda status, t: status is not None or t > BUILD_LIMIT_S)
    built, at_built = time.monotonic() - sampler.began, s.cpu()
    text = s.sh("tail -n 20 /tmp/build.log")
    if status != 0:
        raise AssertionError(f"the build has ended with status {status}:\n{text}")
    build_s = float(text.split()[-1]) - float(text.split()[-2])
    bench.say(f"built in {build_s:.1f} s, {at_built.guest - spent.guest:.1f} s of vCPUs; idle for {IDLE_S:g} s")
    watch(s, lambda status, t: t >= IDLE_S)
    sampler.stop()
    at_end = s.cpu()
    points = sampler.points
    out = {"gib_min": integral(points), "build_s": build_s, "build_gib_min": integral(points, until=built),
           "idle_gib_min": integral(points, since=built), "start_mib": points[0][1] / (1 << 20),
           "peak_mib": max(b for _, b in points) / (1 << 20), "end_mib": points[-1][1] / (1 << 20),
           "build_guest_cpu_s": at_built.guest - spent.guest, "build_host_cpu_s": at_built.host - spent.host,
           "idle_guest_cpu_s": at_end.guest - at_built.guest, "idle_host_cpu_s": at_end.host - at_built.host,
           "seconds": points[-1][0], "points": [(round(t, 3), b >> 20) for t, b in points],
           "meminfo": s.sh("grep -E '^(Mem|Cached|Buffers|Slab|SReclaimable|AnonPages|PageTables|KernelStack)' "
                           "/proc/meminfo").split("\n")}
    bench.say(f"{out['gib_min']:.3f} GiB·min; at most {out['peak_mib']:.0f} MiB, {out['end_mib']:.0f} MiB at the end")
    bench.end(s)
    return out


def draw(bench):
    """The curves of each system's round in the middle, by its GiB·min."""
    series = []
    for key in bench.keys:
        rounds = sorted(bench.raw[key], key=lambda r: r["gib_min"])
        points = rounds[len(rounds) // 2]["points"]
        total = bench.median(key, "gib_min")
        series.append((SHORT[key], f"{total:.2f}", COLOURS[key], False, points))
    with open(os.path.join(OUT, "footprint.svg"), "w") as file:
        file.write(chart.svg("Memory behind a VM of at most 4 GiB that builds a program, then idles (GiB·min)", series, [],
                             legend=220))
    bench.say(f"the curves: {SHOWN_OUT}/footprint.svg")


def main():
    bench = Bench("footprint", KEYS)
    made = subprocess.run([os.path.join(TOP, "scripts", "build-bench-image")], stdout=subprocess.PIPE, text=True,
                          check=False)
    if made.returncode:
        raise SystemExit("bench-footprint: there is no disk to build on; see above")
    bench.image = made.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="memlease-bench-") as bench.scratch:
        bench.go(turn)
    result = {key: {field: bench.median(key, field) for field in FIELDS} for key in bench.keys}
    bench.write(result)
    draw(bench)
    show(result)


if __name__ == "__main__":
    main()
