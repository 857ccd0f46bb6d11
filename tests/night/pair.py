# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests that differ in one thing: one has all its memory from the start, the other is
lent it. What a program says in the one it must say in the other. Both boot as the VM tests'
guests do and have the disk that scripts/build-selftest-image makes, in which programs run by
chroot. Used by tests/night/*.t; knows no test."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time

from lib import paths
from lib.console import ESCAPES, NO_ROOM, PINNED_MEANWHILE, trouble_in
from lib.host import host
from lib.remote import RemoteError
from lib.tap import until
from lib.vm import wait_ended

KERNEL = "6.12"
BOOT_MIB, LIMIT_MIB = 512, 2048
POOL = "6G"
BOOT_S = 60	# as a patient clock goes (tests/lib/patience.py)
SHRUNK_MIB = 1024	# what the lent guest is asked to come down to at the end, and can
SHRINK_S = 60
TRIES = 3		# of a step whose results differ
SAME_LOG = 160		# a line of a kernel log longer than this is compared up to here
TAIL = 60		# lines of what a program said, when it is shown
# Of a kernel log: what the driver's attempts are excused (lib/console.py), and of programs that
# were killed the lines with whoever noticed; who was killed counts.
KILLED = "Killed process"
EXCUSED = (*NO_ROOM, *PINNED_MEANWHILE, "invoked oom-killer", "oom-kill:constraint")

PREPARE = """
mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && cd /mnt &&
mount -t proc proc proc && mount -t sysfs sys sys && mount -t devtmpfs dev dev &&
mount -t debugfs debug sys/kernel/debug && mount -t cgroup2 cgroup sys/fs/cgroup &&
mkdir -p dev/pts dev/shm && mount -t devpts pts dev/pts && mount -t tmpfs -o mode=1777 shm dev/shm &&
mount -t tmpfs run run && echo /mnt/sbin/modprobe >/proc/sys/kernel/modprobe &&
echo 240 >/proc/sys/kernel/hung_task_timeout_secs
"""

SWAP = """
fallocate -l 512M /swap && chmod 600 /swap && mkswap -q /swap && swapon /swap
"""
CHROOT = "chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C TERM=dumb bash"


class Result:
    """Of one step in one guest. outcomes: {name: pass, fail, skip or a status}."""

    def __init__(self, outcomes, said, log, seconds):
        self.outcomes, self.said, self.log, self.seconds = outcomes, said, log, seconds

    def facts(self, names):
        """What is compared: what may be so one time and not the next, and what its kernel warns of."""
        kinds = _kinds(self.log)
        killed = {kind for kind in kinds if KILLED in kind}
        return {f"{name}: {self.outcomes.get(name, 'no result')}" for name in names} | killed, kinds - killed


def image():
    """The disk, made if need be; Missing says why there is none."""
    got = subprocess.run([os.path.join(paths.TOP, "scripts", "build-selftest-image")],
                         stdout=subprocess.PIPE, stderr=sys.stderr, text=True, check=False)
    if got.returncode:
        raise paths.Missing("scripts/build-selftest-image has made no disk")
    return got.stdout.strip()


def status(said):
    """The outcome of a program behind which the script says its exit status."""
    found = re.search(r"exit status (\d+)\s*$", said)
    return {"exit": f"status {found.group(1)}"} if found else {}


def with_disk(test, *words):
    """For main(): a test that is handed the disk behind its words. The disk is made when the first
    test needs it, and its name is no word to choose a test by."""
    def run(tap, *arguments):
        test(tap, *arguments, image())
    run.__name__ = test.__name__
    return (run, *words)


class Pair:
    """swap: with a swap file in both."""

    def __init__(self, tap, disk, swap=False):
        self.tap = tap
        self.host = host(tap, pool=POOL)
        self.fixed = self._start("fixed", disk, boot=f"{LIMIT_MIB}M", limit=f"{LIMIT_MIB + 128}M", driver=False)
        self.lent = self._start("lent", disk, boot=f"{BOOT_MIB}M", limit=f"{LIMIT_MIB}M",
                                append="memory_hotplug.memmap_on_memory=1")
        self.vms = (self.fixed, self.lent)
        for vm in self.vms:	# each says once that it is up
            vm.attach(BOOT_S)
        for vm in self.vms:
            self._up(vm)
        with open(os.path.join(paths.TOP, "guest", "tools", "memlease-limits")) as file:
            self.lent.sh(file.read())
        for vm in self.vms:
            vm.sh(PREPARE, 60)
            vm.sh("echo 1 >/proc/sys/vm/overcommit_memory")	# as memlease-limits has it
            if swap:
                vm.sh(f"{CHROOT} -c '{SWAP}' 2>&1", 60)
        tap.say(f"two guests: {', '.join(self.sizes())}")

    def _start(self, name, disk, **how):
        """Both logs are looked at step by step, so nothing is left to the end."""
        copy = os.path.join(self.host.dir, f"{name}.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", copy], check=True)
        return self.host.vm_start(name, kernel=KERNEL, expected=(".",), **how,
                                  qemu=("-drive", f"file={copy},if=virtio,format=qcow2,cache=unsafe"))

    def _up(self, vm):
        """Under load the emulator makes machines that stop while their kernel starts, long before it
        has a driver: once more then, and aloud."""
        try:
            vm.wait_up(BOOT_S)
        except RemoteError as error:
            with open(vm.console, errors="replace") as console:
                if "virtio_blk" in console.read():	# the first module
                    raise
            self.tap.say(f"{vm.name}: {error}, and its kernel has not come up: once more")
            vm.kill()
            wait_ended(vm)
            vm.start()
            vm.wait_up(BOOT_S)

    def sizes(self):
        return [f"{vm.name} {int(vm.sh('grep MemTotal: /proc/meminfo').split()[1]) // 1024} MiB" for vm in self.vms]

    # --- steps ---

    def step(self, name, script, read, timeout_s):
        """Run a script in the disk of both guests, at once, and compare what read() finds in
        what it said: {name: outcome}. A result may differ from run to run with fixed memory
        too, so both run the script again where the lent guest alone has one."""
        tap = self.tap
        runs, differ = [], 0
        while len(runs) < TRIES:
            runs.append(self._both(script, read, timeout_s))
            fixed, lent = runs[-1]
            own = self._own(runs)
            counts = ", ".join(f"{n} {o}" for o, n in sorted(_count(lent.outcomes.values()).items()))
            tap.say(f"{name}: {counts or 'nothing said'}; {fixed.seconds:.0f} s, lent {lent.seconds:.0f} s")
            failed = [n for n, outcome in lent.outcomes.items() if outcome == "fail"]
            if failed:
                tap.say(f"{name}: in the lent guest these fail: {'; '.join(failed)}")
            if lent.outcomes and not own:
                break
            differ += 1
            tap.say(f"{name}: the lent guest alone: {'; '.join(own)}")
            self._keep(name, len(runs), fixed, lent)
        tap.check(lent.outcomes and not own, f"{name}: the same with fixed and with lent memory"
                  + (f" ({differ} of {len(runs)} times it was not)" if differ else ""), *own,
                  *(f"{vm.name}: {line}" for vm, result in zip(self.vms, runs[-1]) for line in result.said.splitlines()[-TAIL:]))

    def _both(self, script, read, timeout_s):
        """At once. Threads that a file which is ended need not wait for."""
        results = {}

        def one(vm):
            try:
                results[vm] = self._one(vm, script, read, timeout_s)
            except RemoteError as error:
                results[vm] = error
        threads = [threading.Thread(target=one, args=(vm,), daemon=True) for vm in self.vms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results.values():
            if isinstance(result, RemoteError):
                raise result
        return [results[vm] for vm in self.vms]

    @staticmethod
    def _one(vm, script, read, timeout_s):
        at = os.path.getsize(vm.console)
        began = time.monotonic()
        said = vm.sh(f"cat >/mnt/tmp/step <<'STEP'\n{script}\nSTEP\n"
                     f"{CHROOT} /tmp/step 2>&1", timeout_s, check=False)
        seconds = time.monotonic() - began
        with open(vm.console, errors="replace") as console:
            console.seek(at)
            log = console.read()
        return Result(read(said), said, log, seconds)

    @staticmethod
    def _own(runs):
        """What the lent guest has and the fixed one in none of these runs: results and killed programs
        that it has in each of them, and what its kernel warns of in any."""
        names = {name for run in runs for result in run for name in result.outcomes}
        fixed = set().union(*(facts for result, _ in runs for facts in result.facts(names)))
        each, any_ = zip(*(result.facts(names) for _, result in runs))
        return sorted((set.intersection(*each) | set.union(*any_)) - fixed)

    def _keep(self, name, number, *results):
        """All that was said, for who wants to know."""
        os.makedirs(paths.LOGS, exist_ok=True)
        for vm, result in zip(self.vms, results):
            path = os.path.join(paths.LOGS, f"night-{name.replace(' ', '-')}-{number}-{vm.name}.log")
            with open(path, "w") as file:
                file.write(result.said + "\n--- kernel\n" + result.log)
            self.tap.say(os.path.relpath(path, paths.TOP))

    # --- the end ---

    def end(self):
        """The driver works as before; both guests end in order; the bills are right."""
        tap, lent = self.tap, self.lent
        tap.say(f"at the end: {', '.join(self.sizes())}; memory blocks: {lent.sysfs('memory_blocks').split()}")
        tap.equal(lent.sysfs("state"), "running", "lent: the driver runs")
        lent.sh("sync; echo 3 >/proc/sys/vm/drop_caches; echo 0 >/proc/sys/vm/nr_hugepages", 60)
        status, out = lent.sh_status("hog fill:1200 check", 120)
        grown = int(lent.sysfs("committed_blocks")) * 2
        tap.check(status == 0 and grown >= 1200 - BOOT_MIB, f"lent: and grows ({grown} MiB of its window)", status, out)
        lent.set("--target", f"{SHRUNK_MIB}M", "--deadline", f"{SHRINK_S}s")
        until(lambda: lent.status()["target-state"] in ("met", "partly"), SHRINK_S + 10, 0.2)
        status = lent.status()
        tap.equal(status["target-state"], "met", f"lent: and shrinks to {SHRUNK_MIB} MiB ({status['committed-blocks'] * 2})")
        for vm in self.vms:
            vm.stop(60)
        for vm in self.vms:
            self.host.check_bill(tap, vm)


def _count(words):
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _kinds(log):
    """The trouble in a kernel log, without what differs each time: times, addresses, numbers."""
    kinds = set()
    for line in trouble_in(ESCAPES.sub("", log), EXCUSED):
        line = re.sub(r"^\[ *\d+\.\d+\] ", "", line.strip())
        line = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "N", line)
        kinds.add("kernel: " + line[:SAME_LOG])
    return kinds


def check():
    """For main(): what must be there."""
    paths.check()
    if not shutil.which("qemu-img"):
        raise paths.Missing("qemu-img is missing: run scripts/setup")
