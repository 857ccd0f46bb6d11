# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM inside the lab, under the lab's KVM, started by `memlease run` there. Its shell
reaches the test through a serial port of the lab that its QEMU has for itself."""

import os
import re
import shlex
import time

from lib.console import cmdline, trouble
from lib.remote import RemoteError
from lib.shell import Shell
from lib.tap import until

BOOT_LIMIT_S = 90
ENVIRONMENT = "MEMLEASE_QEMU=/bin/qemu-system-x86_64"


class Guest(Shell):
    """boot, limit, guarantee: sizes as memlease takes them. driver=False leaves the
    guest's driver unloaded; append: more for the kernel's command line; qemu: more
    words for its QEMU; accel: how it runs."""

    def __init__(self, lab, name, boot="256M", limit="512M", guarantee=None, driver=True, append="", options=(),
                 qemu=(), smp=1, accel="kvm", expected=()):
        self.lab, self.name = lab, name
        self.size = dict(boot=boot, limit=limit, guarantee=guarantee)
        self.append = f"{cmdline()} {'' if driver else 'memlease_test.driver=no '}{append}"
        self.options, self.qemu, self.smp, self.accel = list(options), list(qemu), smp, accel
        self.expected = list(expected)
        self.label = f"{len(lab.guests)}-{name}"	# a name may come twice
        used = [guest.port for guest in lab.guests if not guest.gone]
        free = [port for port in lab.ports if port not in used]
        if not free:
            raise RemoteError(f"the lab has ports for {len(lab.ports)} VMs at a time")
        self.port = free[0]
        self.remote = lab.ports[self.port]
        self.gone = self.checked = False
        lab.guests.append(self)

    def words(self):
        words = ["memlease", "run", "--name", self.name, "--tenant", "acme", "--plan", "standard"]
        for option, value in self.size.items():
            if value:
                words += [f"--{option}", value]
        return [*words, "--kernel", "/guest/vmlinux", "--initrd", "/guest/initrd", "--append", self.append,
                "--cpus", str(self.smp), "--accel", self.accel, *self.options, "--",
                "-serial", f"file:/tmp/{self.label}.console",
                "-chardev", f"serial,id=remote,path=/dev/{self.port}",
                "-device", "isa-serial,chardev=remote,index=1", *self.qemu]

    def start(self):
        # What an earlier VM said there last.
        self.remote.connect_now()
        self.remote.drain()
        self.lab.spawn(self.label, f"{ENVIRONMENT} {shlex.join(self.words())}")
        return self

    def alive(self):
        return self.lab.alive() and self.lab.ended(self.label) is None

    def wait_up(self, timeout_s=BOOT_LIMIT_S):
        self.remote.wait_ready(self.alive, timeout_s)
        return self

    # --- outside ---

    def status(self):
        """query-vm, or None if the daemon does not know it any more."""
        return self.lab.vm_status(self.name)

    def resident(self):
        """Blocks behind it, as the daemon counts."""
        return self.status()["resident-blocks"]

    def qemu_pid(self):
        return self.status()["pid"]

    def monitor(self, line):
        """A line to QEMU's human monitor; its answer."""
        return self.lab.ask(self.status()["qmp-socket"], "human-monitor-command", command_line=line)

    def kvm(self, counter, pid=None):
        """One of KVM's counters for this VM."""
        return int(self.lab.sh(f"cat /sys/kernel/debug/kvm/{pid or self.qemu_pid()}-*/{counter}"))

    def vm_pte_kib(self):
        """Page tables of its QEMU."""
        return int(re.search(r"VmPTE:\s+(\d+) kB", self.lab.read(f"/proc/{self.qemu_pid()}/status")).group(1))

    def wait_ended(self, timeout_s=20):
        """Until the daemon has forgotten it; seconds it took, or None."""
        began = time.monotonic()
        return time.monotonic() - began if until(lambda: self.status() is None, timeout_s) else None

    # --- the end ---

    def stop(self):
        """memlease stop, which must end in order."""
        self.lab.command("stop", self.name)
        status, out = self.lab.wait(self.label, 30)
        self.gone = True
        if status:
            raise AssertionError(f"{self.name}: memlease run ended with status {status}: {out}")

    def kill(self):
        """Its QEMU, at once."""
        if not self.gone and self.lab.ended(self.label) is None:
            self.lab.sh("for p in $(pidof qemu-system-x86_64); do "
                        f"tr '\\0' ' ' </proc/$p/cmdline | grep -q -- '-name {self.name},' && kill -9 $p; done",
                        check=False)
            self.lab.wait(self.label, 20)
        self.gone = True

    def fetch_logs(self):
        """The console's and QEMU's output, into the directory of the lab's logs."""
        for name, path in (("out", f"/tmp/{self.label}.log"), ("console", f"/tmp/{self.label}.console")):
            text = self.lab.sh(f"cat {path} 2>/dev/null", check=False)
            with open(os.path.join(self.lab.dir, f"{self.label}.{name}.log"), "w") as file:
                file.write(text)
        return file.name

    def check_log(self, tap):
        """Report on the guest kernel's log, once."""
        if not self.checked:
            self.checked = True
            bad = trouble(self.fetch_logs(), self.expected)
            tap.check(not bad, f"{self.name}: no trouble in the guest's kernel log", *bad[:20])

    def end(self, tap):
        self.kill()
        self.check_log(tap)
