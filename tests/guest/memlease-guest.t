#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memlease-guest on made-up machines: what it says, its JSON, its complaints."""

import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from tap import TOP, Tap, run

TOOL = os.path.join(TOP, "build", "memlease-guest")
DRIVER = "sys/bus/virtio/drivers/virtio_memlease/virtio1/memlease"
FILES = {
    "state": "running", "committed_blocks": "1024", "window_blocks": "1920", "limit": "1792", "target": "none",
    "target_state": "none", "resident_blocks": "700", "resident_boot_blocks": "128",
    "metered_block_seconds": "12345.678", "kernel_blocks": "64", "large_free_bytes": str(600 << 20),
    "strewn_bytes": str(80 << 20), "refusals": "0", "last_refusal": "none", "offline_failures": "0",
    "online_failures": "0", "oom_rescues": "0", "reporting": "on", "defrag": "auto", "stale_blocks": "0",
}
MEMINFO = "MemTotal: 2304000 kB\nMemFree: 700000 kB\nMemAvailable: 900000 kB\nCached: 204800 kB\n"


class Machine:
    """A root directory with files of sysfs and procfs."""

    def __init__(self, files=None, **others):
        self.root = tempfile.TemporaryDirectory(prefix="memlease-guest-")
        self.write("proc/meminfo", MEMINFO)
        if files is not None:
            self.write("sys/bus/virtio/devices/virtio1/device", "0x003f")
            for name, text in {**files, **others}.items():
                if text is not None:
                    self.write(f"{DRIVER}/{name}", text)

    def write(self, path, text):
        path = os.path.join(self.root.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text + "\n")

    def tool(self, *words):
        return subprocess.run([TOOL, f"--root={self.root.name}", *words], capture_output=True, text=True,
                              timeout=20, check=False)


def says(tap, got, words, what):
    tap.check(got.returncode == 0 and all(word in got.stdout for word in words), what, got.returncode, got.stdout,
              got.stderr)


def people(tap):
    says(tap, Machine(FILES).tool(), [
        "borrowed   2048 MiB of at most 3584 MiB; 128 MiB of it for the kernel", "resident   1400 MiB",
        "256 MiB of it boot memory", "metered    12345.678 block-seconds", "200 MiB page cache",
        "free       600 MiB in whole blocks", "80 MiB strewn", "target     none",
        "not less   80 MiB of free memory lie in pieces"], "what is borrowed, resident, billed, free and strewn")
    got = Machine(FILES, strewn_bytes="0").tool()
    tap.check("lie in pieces" not in got.stdout and "not more" not in got.stdout, "no reason is made up", got.stdout)


def reasons(tap):
    for others, words in (
            ({"limit": "1024"}, ["not more   the limit is reached"]),
            ({"target": "512", "target_state": "working"},
             ["target     1024 MiB: working", "not more   the host wants this VM to come down"]),
            ({"target": "512", "target_state": "partly", "offline_failures": "7"},
             ["not less   the target was missed", "7 attempts"]),
            ({"refusals": "3", "last_refusal": "pool: the host sells no more at present"},
             ["not more   3 requests were refused", "pool: the host sells no more"]),
            ({"reporting": "off: another driver reports"}, ["not reported to the host: off: another driver"]),
            ({"stale_blocks": "100"}, ["which the host has or gets within a minute", "about 200 MiB of free memory were touched"]),
            ({"stale_blocks": "7"}, ["which the host has or gets within a second"]),
            ({"oom_rescues": "2"}, ["2 times memory ran out"]),
            ({"state": "broken: a vacant slot was touched"}, ["state      broken: a vacant slot was touched"])):
        says(tap, Machine(FILES, **others).tool(), words, f"{', '.join(others)}: {words[-1]}")


def for_programs(tap):
    got = json.loads(Machine(FILES).tool("--json").stdout)
    tap.equal((got["resident_blocks"], got["metered_block_seconds"], got["free_whole_bytes"], got["target_blocks"],
               got["total_bytes"], got["state"]), (700, 12345.678, 600 << 20, None, 2304000 << 10, "running"),
              "--json has the figures, and null where there is none")
    got = Machine(FILES, resident_blocks=None, kernel_blocks=None, last_refusal='a "b" \\ c').tool("--json")
    tap.check(json.loads(got.stdout)["resident_blocks"] is None, "a host that does not tell", got.stdout)
    tap.equal(json.loads(got.stdout)["last_refusal"], 'a "b" \\ c', "quotes and backslashes")
    got = json.loads(Machine(FILES, committed_blocks="many").tool("--json").stdout)
    tap.equal(got["committed_blocks"], None, "a file that holds no number")


def complaints(tap):
    for machine, words in ((Machine(), "no virtio devices"), (Machine({}), "driver is not loaded")):
        got = machine.tool()
        tap.check(got.returncode == 1 and words in got.stderr and not got.stdout, words, got.stderr)
    other = Machine()
    other.write("sys/bus/virtio/devices/virtio1/device", "0x0005")
    got = other.tool()
    tap.check(got.returncode == 1 and "no memlease device" in got.stderr, "a VM without the device", got.stderr)
    other.write("sys/bus/virtio/devices/virtio1/device", "0x003f")
    other.write("sys/bus/virtio/drivers/virtio_memlease/module", "")
    got = other.tool()
    tap.check(got.returncode == 1 and "has not taken the device" in got.stderr, "a driver that did not bind",
              got.stderr)
    for words, value in ((["x"], "'x'"), (["--watch=0"], "'0'"), (["--watch=soon"], "'soon'"), (["--frob"], "--help")):
        got = Machine(FILES).tool(*words)
        tap.check(got.returncode == 2 and value in got.stderr, f"{words[0]} is refused with its value", got.stderr)
    tap.check(Machine(FILES).tool("--help").returncode == 0, "--help")
    machine = Machine(FILES)
    for words in ([], ["--json"], ["--help"]):
        with open("/dev/full", "w") as full:
            got = subprocess.run([TOOL, f"--root={machine.root.name}", *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                 timeout=60, check=False)
        tap.check(got.returncode == 1 and "standard output" in got.stderr, f"{words}: what cannot be written is told", got)


def again(tap):
    machine = Machine(FILES)
    with subprocess.Popen([TOOL, f"--root={machine.root.name}", "--json", "--watch=0.1"], text=True,
                          stdout=subprocess.PIPE) as watch:
        first = json.loads(watch.stdout.readline())
        machine.write(f"{DRIVER}/resident_blocks", "701")
        seen = [json.loads(watch.stdout.readline())["resident_blocks"] for _ in range(20)]
        watch.terminate()
    tap.check(first["resident_blocks"] == 700 and 701 in seen, "--watch looks again", first, seen)


if not os.path.exists(TOOL):
    print(f"Bail out! {TOOL} is missing: make guest-tool")
    sys.exit(1)
run(Tap(), (people, reasons, for_programs, complaints, again), 60)
