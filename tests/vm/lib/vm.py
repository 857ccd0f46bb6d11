# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM of a test, started by `memlease run` as a user would, with a remote shell
in the guest."""

import os
import shlex
import signal
import subprocess
import time

from . import paths
from .console import cmdline, kernel_image, trouble, why_killed
from .remote import Remote, RemoteError, size_of, text_of
from .shell import Shell
from .tap import until

from .paths import Qmp

BOOT_LIMIT_S = 60
BOOTS = 3		# at most, if the emulated machine is not as it should be
# QEMU's emulation, with several processors, can end by these while a machine's memory map
# changes, as it does when firmware and kernel set up devices (QEMU's bug 1921).
EMULATOR_FAULTS = ("iotlb_to_section: Assertion", "msix_table_mmio_write: Assertion")
NO_TIMER = ("timer wakeup didn't happen", "Possible timer handling issue")	# a kernel that waits for one says so
NO_TIMER_FAULT = "a processor of the guest has no timer"
TIMER_LIMIT_S = 10	# for a sleep of some ms on each processor


class Vm(Shell):
    """kernel: one of paths.KERNELS. boot, limit, guarantee: sizes as memlease takes
    them. driver=False leaves the guest's driver unloaded. append: more for the
    kernel's command line. options: more for memlease run. qemu: more for QEMU.
    image: the kernel's file, vmlinuz or vmlinux. disk: an image to boot from, instead of
    a kernel; nothing in it is the tests' own, so it has no remote shell. initrd: another
    initial RAM disk than the tests'."""

    def __init__(self, host, name, kernel=paths.NEWEST, boot="256M", limit="2G", guarantee=None, tenant="acme",
                 plan="standard", driver=True, append="", options=(), qemu=(), smp=2, expected=(), disk=None,
                 image=None, initrd=None):
        self.host = host
        if kernel not in paths.KERNELS:
            raise ValueError(f"kernel {kernel} is none of MEMLEASE_TEST_KERNELS: use paths.NEWEST, OLDEST or tap.each")
        self.name = name
        self.kernel = kernel
        self.size = dict(boot=boot, limit=limit, guarantee=guarantee)
        self.tenant, self.plan = tenant, plan
        self.append = f"{cmdline()} {'' if driver else 'memlease_test.driver=no '}{append}"
        self.disk = disk
        self.image = image or kernel_image()
        self.initrd = initrd
        self.options, self.qemu, self.smp = list(options), list(qemu), smp
        self.expected = list(expected)	# trouble in the kernel log that is none
        label = f"{len(host.vms)}-{name}"	# a name may come twice
        self.out = os.path.join(host.dir, f"{label}.out.log")
        self.console = os.path.join(host.dir, f"{label}.console.log")
        self.port = os.path.join(host.dir, f"{label}.port")
        self.remote = Remote(self.port)
        self.process = None
        self.files = ()	# of the pool: of each time that it was started
        self.checked = False

    def words(self):
        words = ["run", "--name", self.name, "--tenant", self.tenant, "--plan", self.plan]
        for option, value in self.size.items():
            if value:
                words += [f"--{option}", value]
        if self.disk:
            words += [self.disk]
        else:
            words += ["--kernel", paths.guest(self.kernel, f"kernel/{self.image}"),
                      "--initrd", self.initrd or paths.guest(self.kernel, "initrd"), "--append", self.append]
        words += ["--cpus", str(self.smp), *self.options, "--",
                  "-serial", f"file:{self.console}",
                  "-chardev", f"socket,id=remote,path={self.port},server=on,wait=off",
                  "-device", "isa-serial,chardev=remote,index=1", *self.qemu]
        return words

    def start(self):
        with open(self.out, "a") as out:
            self.process = subprocess.Popen([paths.CLI, *self.host.cli_words(self.words())],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True, env=self.host.environment())

    def alive(self):
        return self.process.poll() is None or "--detach" in self.options

    def attach(self, timeout_s=BOOT_LIMIT_S):
        self.remote.attach(self.alive, timeout_s)

    def wait_up(self, timeout_s=BOOT_LIMIT_S):
        """Until the guest is up. Under load the emulator sometimes ends while it boots, or makes a
        machine one of whose processors never gets a timer's interrupt: then once more, and aloud."""
        for boot in range(1, BOOTS + 1):
            fault = self.boot(timeout_s, boot)
            if not fault:
                return
            self.host.tap.say(f"{self.name}: {fault} ({boot} of {BOOTS} times)")
            if boot < BOOTS:
                self.kill()
                wait_ended(self)
                self.start()
        raise RemoteError(f"{self.name}: the emulator has made no machine that works")

    def boot(self, timeout_s, times):
        """What the emulator has got wrong, or None when the guest is up."""
        try:
            self.remote.connect(self.alive, timeout_s)
        except RemoteError:
            if any(word in text_of(self.console) for word in NO_TIMER):
                return NO_TIMER_FAULT
            if sum(map(text_of(self.out).count, EMULATOR_FAULTS)) < times:
                raise
            return "the emulator ended by an assertion of its own"
        status = self.status()
        self.files = tuple(dict.fromkeys((*self.files, status["boot-path"], status["window-path"])))
        return None if self.has_timers() else NO_TIMER_FAULT

    def has_timers(self):
        """Does a sleep of some ms end on each processor?"""
        try:
            self.sh("for cpu in $(seq 0 $(($(nproc) - 1))); do taskset -c $cpu usleep 20000; done", TIMER_LIMIT_S)
            return True
        except RemoteError as error:
            self.host.tap.say(error)
            return False

    def wait_reboot(self, timeout_s=BOOT_LIMIT_S):
        self.remote.wait_ready(self.alive, timeout_s)

    # --- outside ---

    def status(self):
        """query-vm, or None if the daemon does not know it any more."""
        return self.host.vm_status(self.name)

    def resident(self):
        """Blocks behind the VM now, counted by the file system."""
        total = 0
        for path in self.files:
            try:
                total += os.stat(path).st_blocks * 512
            except OSError:
                pass
        return total / (2 << 20)

    def resident_mib(self):
        return self.resident() * 2

    def qemu_pid(self):
        return self.status()["pid"]

    def monitor(self, line):
        """A line to QEMU's human monitor; its answer."""
        with Qmp(self.status()["qmp-socket"]) as qmp:
            return qmp("human-monitor-command", command_line=line)

    def set(self, *words):
        return self.host.command("set", self.name, *words)

    def shell_quote(self, text):
        return shlex.quote(text)

    # --- the end ---

    def stop(self, timeout_s=15):
        """memlease stop, which must end in order."""
        self.host.command("stop", self.name)
        status = until(lambda: self.process.poll() is not None, timeout_s) and self.process.returncode
        if status is False:
            raise AssertionError(f"{self.name}: memlease run has not ended {timeout_s} s after its power button")
        if status:
            raise AssertionError(f"{self.name}: memlease run ended with status {status}, not by its power button")

    def kill(self):
        """QEMU and the command that started it, at once."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        elif "--detach" in self.options and self.host.daemon_lives():
            status = self.status()
            if status and status["pid"]:
                os.kill(status["pid"], signal.SIGKILL)
        self.remote.close()

    def check_log(self, tap):
        """Report on the kernel's log, once."""
        if not self.checked:
            self.checked = True
            bad = trouble(self.console, self.expected) if size_of(self.console) else ["the log is empty"]
            tap.check(not bad, f"{self.name}: no trouble in the guest's kernel log", *bad[:20], *why_killed(self.console))

    def end(self, tap):
        self.kill()
        self.check_log(tap)


def wait_ended(vm, timeout_s=15):
    """Until the daemon has forgotten the VM; seconds it took, or None."""
    began = time.monotonic()
    if until(lambda: vm.status() is None, timeout_s):
        return time.monotonic() - began
    return None
