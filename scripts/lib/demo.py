# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo: a daemon of its own, a VM with 256 MiB of boot memory and a limit of
3 GiB, and in it redis, filled and emptied twice. Shows resident and committed
memory while it runs; at the end the bill, a curve, and a summary.

Started by scripts/demo. What is billed comes from the ledger; what is observed
from a sampler that asks only the file system.
"""

import json
import os
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, "tests", "vm"), os.path.join(TOP, "scripts", "lib")]

import chart  # noqa: E402
from lib import paths  # noqa: E402
from lib.host import Host  # noqa: E402
from lib.vm import wait_ended  # noqa: E402

KERNEL = "6.12"
NAME = "demo"
BOOT_MIB, LIMIT_MIB = 256, 3072
POOL = "3G"
OUT = os.path.join(TOP, "build", "demo")
KEYS, VALUE_BYTES = 1750, 1000000	# large values, as of a cache of documents
SETTLE_S = 20				# longest wait for a quiet start
SHRINK_NEAR_MIB = 128			# "back where it began" means within this
FILL_LIMIT_S = 180


class Watch:
    """Samples status four times a second, and prints a line a second."""

    def __init__(self, host, vm):
        self.host, self.vm = host, vm
        self.began_ns = time.monotonic_ns()
        self.committed, self.resident, self.marks = [], [], []
        self.phase = "boot"
        self.shown = 0.0
        self.quit = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def seconds(self, at_ns=None):
        return ((at_ns or time.monotonic_ns()) - self.began_ns) / 1e9

    def mark(self, phase):
        self.phase = phase
        self.marks.append((self.seconds(), phase))

    def run(self):
        with self.host.qmp() as qmp:
            while not self.quit.is_set():
                vms = [v for v in qmp("query-vms") if v["name"] == NAME]
                if vms:
                    self.point(vms[0])
                time.sleep(0.25)

    def point(self, status):
        now = self.seconds()
        committed = status["committed-blocks"] * 2
        resident = self.host.sampler.now() * 2
        self.committed.append((now, committed))
        self.resident.append((now, resident))
        if now - self.shown >= 1:
            self.shown = now
            print(f"{now:6.1f} s  resident {resident:5.0f} MiB  committed {committed:5.0f} MiB  "
                  f"{chart.bar(resident, committed, LIMIT_MIB)}  {self.phase}", flush=True)

    def stop(self):
        self.quit.set()
        self.thread.join()


class Report:
    """What Host wants of a test: somewhere to say things."""

    hosts = []

    @staticmethod
    def say(text):
        print(text, flush=True)

    @staticmethod
    def check(good, what, *details):
        if not good:
            raise SystemExit(f"demo: {what}: {' '.join(map(str, details))}")
        return good


def settle(host):
    """Until resident memory has been level for two seconds; MiB."""
    deadline = time.monotonic() + SETTLE_S
    last, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        now = host.sampler.now() * 2
        if abs(now - last) > 8:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 2:
            break
        time.sleep(0.1)
    return host.sampler.now() * 2


def fill(vm):
    vm.sh(f"redis-cli debug populate {KEYS} key {VALUE_BYTES}", timeout_s=FILL_LIMIT_S)
    keys = vm.sh("redis-cli dbsize").split()[-1]
    if int(keys) != KEYS:
        raise SystemExit(f"demo: redis holds {keys} keys, not {KEYS}")


def empty(host, vm, watch, near_mib):
    """Empty the database; seconds from its memory being free to its being back on the host."""
    watch.mark("emptying")
    vm.sh("redis-cli flushall sync; redis-cli memory purge", timeout_s=60)
    freed_ns = time.monotonic_ns()
    watch.mark("empty")
    time.sleep(4)
    took = host.sampler.since(freed_ns, near_mib / 2)
    return took, host.sampler.now() * 2


def run(host):
    vm = host.vm_start(NAME, kernel=KERNEL, initrd=paths.guest(KERNEL, "initrd-redis"), boot=f"{BOOT_MIB}M",
                       limit=f"{LIMIT_MIB}M", tenant="acme", plan="standard")
    watch = Watch(host, vm)
    vm.wait_up()
    accelerator = "kvm" if "enabled" in vm.monitor("info kvm").split(":")[-1].split() else "tcg"
    # Linux switches huge pages off in guests with less than 512 MiB; a database wants them.
    vm.sh("echo always >/sys/kernel/mm/transparent_hugepage/enabled; "
          "redis-server --port 6379 --save '' --disable-thp no --daemonize yes --enable-debug-command yes >/dev/null; "
          "for i in $(seq 50); do redis-cli ping && break; sleep 0.2; done")
    watch.mark("idle")
    begin_mib = settle(host)
    shrinks, emptied_mib = [], []
    for turn in ("first", "second"):
        watch.mark(f"{turn} fill")
        fill(vm)
        time.sleep(1)
        took, now = empty(host, vm, watch, begin_mib + SHRINK_NEAR_MIB)
        shrinks.append(took)
        emptied_mib.append(round(now))
        if took is None:
            print(f"demo: 4 s after it was emptied the VM still has {now:.0f} MiB, it began with "
                  f"{begin_mib:.0f} MiB", file=sys.stderr)
    watch.mark("target 512M")
    print(f"$ memlease set {NAME} --target 512M --wait")
    print(host.command("set", NAME, "--target", "512M", "--wait", timeout_s=60).strip())
    time.sleep(1)
    print(f"$ memlease status {NAME}")
    print(host.command("status", NAME))
    final = host.sampler.now()
    watch.mark("stop")
    host.command("stop", NAME, "--force")
    if wait_ended(vm) is None:
        raise SystemExit("demo: the VM does not end")
    time.sleep(1.5)	# the ledger's last row
    watch.stop()
    return {
        "backend": host.pool()["backend"], "guest_kernel": KERNEL, "accelerator": accelerator,
        "boot_blocks": BOOT_MIB // 2, "begin_resident_mib": round(begin_mib),
        "emptied_resident_mib": emptied_mib,
        "peak_resident_blocks": round(host.sampler.peak()),
        "final_resident_blocks": round(final),
        "committed_peak_blocks": round(max(c for _, c in watch.committed) / 2),
        "billed_block_seconds": round(host.billed(NAME), 3),
        "observed_block_seconds": round(host.sampler.block_seconds(), 3),
        "seconds_to_shrink": None if None in shrinks else round(max(shrinks), 3),
    }, watch


def show(host, summary, watch):
    print("$ memlease bill")
    print(host.command("bill"))
    os.makedirs(OUT, exist_ok=True)
    began_ns = watch.began_ns
    resident = [((at - began_ns) / 1e9, blocks * 2) for at, blocks in host.sampler.curve()]
    how = "on KVM" if summary["accelerator"] == "kvm" else "emulated, without KVM"
    title = (f"A VM with {BOOT_MIB} MiB of boot memory and a limit of {LIMIT_MIB} MiB, "
             f"and a database in it ({how})")
    series = [("committed", "what the guest may touch", "#d08020", False, watch.committed),
              ("resident", "host memory behind the VM, metered and billed", "#2060c0", True, resident)]
    with open(os.path.join(OUT, "memory.svg"), "w") as file:
        file.write(chart.svg(title, series, watch.marks))
    with open(os.path.join(OUT, "summary.json"), "w") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")
    billed, seen = summary["billed_block_seconds"], summary["observed_block_seconds"]
    print(f"The bill has {billed:.1f} block-seconds (a block of 2 MiB for a second) of resident memory;")
    print(f"a count of the pool's files 100 times a second says {seen:.1f}: "
          f"{abs(billed - seen) / seen * 100:.3f} % apart.")
    took = summary["seconds_to_shrink"]
    print(f"The VM began at {summary['begin_resident_mib']} MiB, had {summary['peak_resident_blocks'] * 2} MiB "
          "at most, and " + ("did not come back after it was emptied." if took is None else
          f"was back within {SHRINK_NEAR_MIB} MiB of where it began {took:.1f} s after its memory was free."))
    print("The curve is in build/demo/memory.svg, the figures are in build/demo/summary.json.")


def main():
    print(f"A VM with {BOOT_MIB} MiB of boot memory and a limit of {LIMIT_MIB} MiB; in it a database (redis) is "
          f"filled\nwith {KEYS * VALUE_BYTES >> 20} MiB and emptied, twice. The bars go up to the limit:\n"
          "  █ resident: host memory behind the VM, metered and billed\n"
          "  ▒ committed: what the guest may touch besides\n", flush=True)
    host = Host(Report, POOL, keep=True)
    try:
        summary, watch = run(host)
        show(host, summary, watch)
    except Exception:
        print(host.tails(), file=sys.stderr)
        raise
    finally:
        host.clean()
    return 1 if summary["seconds_to_shrink"] is None else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.TimeoutExpired as error:
        sys.exit(f"demo: {error}")
