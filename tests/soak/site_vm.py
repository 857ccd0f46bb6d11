# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM of the soak: starts the programs that the schedule wants in it, learns how
they end, and checks what its driver says of itself. Used by tests/soak/soak.t, one
thread; every wait has a limit. Decides nothing."""

import os
import time

from schedule import File, Guest, Load

from lib.console import NO_ROOM, PINNED_MEANWHILE, trouble

LOAD_LIMIT_S = 180	# a program that takes longer is stuck
SHELL_LIMIT_S = 60	# a shell in a VM whose touches wait answers late
DISK_MIB = 768
BOOT_MIB = 256
EXPECTED = (*NO_ROOM, *PINNED_MEANWHILE)	# harmless, and counted
WHERE = {"disk": "/disk", "shm": "/shm"}
# Of the driver's sysfs: what only ever grows, and what must always be so.
COUNTERS = ("borrows", "borrowed_bytes", "reported_blocks", "report_requests", "refusals", "oom_rescues",
            "offline_failures", "online_failures", "events")
CONSTANT = {"state": "running", "reporting": "on", "online_failures": "0"}


class Wrong(Exception):
    """What must hold does not."""


class Site:
    def __init__(self, host, name, kernel, tenant, limit_mib, log, inside):
        """log: a function that takes a line. inside: page arrays go into the memory itself."""
        self.host, self.name, self.log = host, name, log
        self.disk = os.path.join(host.dir, f"{name}.disk")
        with open(self.disk, "wb") as file:
            file.truncate(DISK_MIB << 20)
        self.vm = host.vm_start(
            name, kernel=kernel, boot=f"{BOOT_MIB}M", limit=f"{limit_mib}M", guarantee=f"{BOOT_MIB}M",
            tenant=tenant, expected=EXPECTED, append=" memory_hotplug.memmap_on_memory=1" if inside else "",
            qemu=("-drive", f"file={self.disk},if=virtio,format=raw,cache=unsafe"))
        self.view = Guest(name, limit_mib, limit_mib, BOOT_MIB)
        self.ends = {}		# name of a load: (when it is stuck, what to do once it has ended well)
        self.number = 0
        self.before = {}	# the driver's counters
        self.facts = {}		# of the last look
        self.done = 0		# loads that ended well
        self.said = {}		# last_error of the driver, once each

    def up(self):
        self.vm.wait_up(120)
        self.sh("mke2fs /dev/vda >/dev/null")
        self.mount()

    def mount(self):
        self.sh("mkdir -p /disk /shm && mount -t ext2 /dev/vda /disk && mount -t tmpfs -o size=4G shm /shm")

    def sh(self, script, **how):
        return self.vm.sh(script, timeout_s=SHELL_LIMIT_S, **how)

    # --- programs ---

    def begin(self, command, mib, slot=None, then=None, squeeze=False):
        """Run a program; {name} in the command becomes its name. then: called once it ended well."""
        self.number += 1
        load = Load(f"{self.name}{self.number}", mib, slot=slot, squeeze=squeeze)
        command = command.replace("{name}", load.name)
        self.log(f"{self.name}: {load.name}: {command}")
        self.vm.spawn(load.name, command)
        self.view.loads.append(load)
        self.ends[load.name] = (time.monotonic() + LOAD_LIMIT_S, then)

    def hog(self, mib, steps, squeeze=False):
        words = ("mark:/tmp/{name}.full" if step == "full" else step for step in steps)
        self.begin("hog " + " ".join(words), mib, squeeze=squeeze)

    def storm(self, children, own, rounds, mib):
        self.begin(f"swarm {children} {own} {rounds}", mib)

    def scan(self, mib):
        self.begin(f"dd if=/dev/vda of=/dev/null bs=1M count={mib}", mib)

    def path(self, slot):
        return f"{WHERE[slot[:-1]]}/{slot}"

    def write(self, slot, mib, seed):
        def there():
            self.view.files[slot] = File(mib, seed)
        self.begin(f"files write:{self.path(slot)}:{mib}:{seed} check:{self.path(slot)}:{mib}:{seed}",
                   mib, slot, there)

    def check(self, slot, how, times):
        file = self.view.files[slot]
        self.begin(f"files {how}:{self.path(slot)}:{file.mib}:{file.seed} loop:{times}", 0, slot)

    def remove(self, slot):
        file = self.view.files[slot]
        self.begin(f"files check:{self.path(slot)}:{file.mib}:{file.seed} remove:{self.path(slot)}", 0, slot,
                   lambda: self.view.files.pop(slot))

    def reboot(self):
        self.log(f"{self.name}: reboot")
        self.sh("umount /disk; (sleep 0.2; reboot -f) >/dev/null 2>&1 &")
        self.vm.wait_reboot(120)
        self.mount()
        for slot in list(self.view.files):
            if slot.startswith("shm"):
                del self.view.files[slot]
        self.before = {}

    # --- what is so ---

    def look(self):
        """See what ended and what the driver says. Raises Wrong."""
        names = " ".join(load.name for load in self.view.loads)
        out = self.sh(f"for n in {names}; do echo load $n $([ -s /tmp/$n.rc ] && cat /tmp/$n.rc || echo -) "
                      "$([ -e /tmp/$n.full ] && echo full); done; grep -E '^(oom_kill|pswpout) ' /proc/vmstat; "
                      "cd /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease && grep . *")
        facts, blocks = {}, {}
        for line in out.splitlines():
            if line.startswith("load "):
                self._load(line.split())
            elif line.startswith("memory_blocks:"):
                state, count = line.split(":", 1)[1].split()
                blocks[state] = int(count)
            elif ":" in line:
                key, value = line.split(":", 1)
                facts.setdefault(key, value)
            else:
                key, value = line.split()
                facts[key] = value
        self.facts = facts
        self._driver(facts, blocks)
        status = self.vm.status()
        if not status or status["broken"]:
            raise Wrong(f"{self.name}: the device is broken: {status}")
        if status["resident-blocks"] > status["committed-blocks"]:
            raise Wrong(f"{self.name}: more resident than committed: {status}")
        self.view.resident_mib = status["resident-blocks"] * 2
        return status

    def _load(self, words):
        name, code = words[1], words[2]
        load = next(l for l in self.view.loads if l.name == name)
        load.settled = load.settled or "full" in words
        stuck_at, then = self.ends[name]
        if code == "-":
            if time.monotonic() > stuck_at:
                raise Wrong(f"{self.name}: {name} has not ended after {LOAD_LIMIT_S} s:\n"
                            + self.sh(f"tail -n 5 /tmp/{name}.log; ps; cat /proc/meminfo", check=False))
            return
        if code != "0":
            raise Wrong(f"{self.name}: {name} ended with status {code}:\n"
                        + self.sh(f"cat /tmp/{name}.log; dmesg | tail -n 40", check=False))
        self.sh(f"rm -f /tmp/{name}.*")
        self.view.loads.remove(load)
        del self.ends[name]
        self.done += 1
        if then:
            then()

    def _driver(self, facts, blocks):
        if facts.get("oom_kill") != "0":
            raise Wrong(f"{self.name}: {facts.get('oom_kill')} processes were killed for want of memory; "
                        f"the driver: {facts}\n" + self.sh("dmesg | tail -n 60", check=False))
        for key, value in CONSTANT.items():
            if facts.get(key) != value:
                raise Wrong(f"{self.name}: {key} is {facts.get(key)!r}, not {value!r}: {facts} {blocks}")
        for key in COUNTERS:
            if int(facts[key]) < self.before.get(key, 0):
                raise Wrong(f"{self.name}: {key} fell from {self.before[key]} to {facts[key]}")
            self.before[key] = int(facts[key])
        each, window = int(facts["memory_block_blocks"]), int(facts["window_blocks"])
        if sum(blocks.values()) * each != window or blocks["lost"]:
            raise Wrong(f"{self.name}: memory blocks do not add up to {window // each}: {blocks}")
        if int(facts["committed_blocks"]) > window:
            raise Wrong(f"{self.name}: more committed than there is: {facts}")
        if facts["last_error"] != self.said.get("last_error", "0"):
            self.said["last_error"] = facts["last_error"]
            self.log(f"{self.name}: last_error became {facts['last_error']}: " +
                     self.sh("dmesg | grep memlease | tail -n 5", check=False))

    def trouble(self):
        """Lines of the kernel's log that tell of trouble, and how many more are harmless."""
        bad = trouble(self.vm.console, EXPECTED)
        return bad, len(trouble(self.vm.console)) - len(bad)

    def audit(self, until):
        """Guest, daemon and file system agree, as soon as nothing moves for a moment."""
        def agree():
            status = self.vm.status()
            held = int(self.vm.sysfs("committed_blocks"))
            seen = self.vm.resident()
            self.facts["audit"] = (status["window-committed-blocks"], held, status["resident-blocks"], seen)
            return status["window-committed-blocks"] == held and abs(status["resident-blocks"] - seen) <= 1
        if not until(agree, 15, 0.1):
            raise Wrong(f"{self.name}: the daemon has committed and resident, the guest, the file system "
                        f"{self.facts['audit']}")
