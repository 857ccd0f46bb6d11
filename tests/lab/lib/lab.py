# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a KVM host under emulation. A Debian kernel is booted in QEMU with nested
SVM; in it run memleased, memlease, QEMU with KVM, and VMs with the driver. Part of its
memory can be carved out, so that Linux has no page array for it. A test makes a Lab,
uses it as an operator would use a host, and what is left ends with the test, which
fails on whatever the lab's kernel warned of. The VMs inside are in guest.py."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "vm"))	# for its package lib

from lib import paths  # noqa: E402
from lib import tap as vm_tap  # noqa: E402
from lib.console import cmdline, kernel_image, trouble  # noqa: E402
from lib.paths import Qmp, QmpError  # noqa: E402
from lib.remote import Remote, RemoteError, tail  # noqa: E402
from lib.shell import Shell  # noqa: E402
from lib.tap import until  # noqa: E402

MIB = 1 << 20
SERIES = os.environ.get("MEMLEASE_LAB_KERNEL", "6.12")
CARVE_BASE = 0x140000000	# above the 2 GiB that a q35 has below 4 GiB
CARVE_MIB = 512
MEMORY_MIB = 4096
BOOT_LIMIT_S = 60
BOOTS = 3		# at most, if the emulated machine does not come up as it should
TIMER_LIMIT_S = 10	# for a sleep of some ms on each processor
START_LIMIT_S = 20
PORTS = ("ttyS2", "ttyS3")	# for the shells of VMs inside
# A processor that is emulated beside others' work may not run for half a minute. Who waits for
# ever is found all the same.
PATIENCE = "rcupdate.rcu_cpu_stall_timeout=90"
CONTROL = "/run/memlease/control.sock"
END_LIMIT_S = 5		# for the emulator to write its core down and be gone
CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL")	# an assertion of its own is SIGABRT
# MCi_STATUS: valid, enabled, with an address, deferred, poison; a DRAM error by the
# northbridge's extended code 8.
MCE_DEFERRED = 1 << 63 | 1 << 60 | 1 << 58 | 1 << 44 | 1 << 43 | 8 << 16
DAEMON_TROUBLE = ("AddressSanitizer", "runtime error", "assert", "Assert")


def built(name):
    """A file of build/lab/SERIES."""
    path = os.path.join(paths.BUILD, "lab", SERIES, name)
    if not os.path.exists(path):
        raise paths.Missing(f"{path} is missing: run scripts/build-lab-image")
    return path


class Lab(Shell):
    """carve_mib: memory without a page array, 0 for none; append: more for the kernel's
    command line; qemu: more words for the QEMU that is the machine; expected: what the
    kernel's log may hold (see lib.console)."""

    def __init__(self, tap, carve_mib=CARVE_MIB, memory_mib=MEMORY_MIB, smp=2, append="", qemu=(), expected=()):
        self.tap = tap
        self.carve_mib, self.memory_mib, self.smp = carve_mib, memory_mib, smp
        self.append, self.qemu, self.expected = append, list(qemu), list(expected)
        self.dir = tempfile.mkdtemp(prefix="memlease-lab-")
        self.out = os.path.join(self.dir, "qemu.log")
        self.console = os.path.join(self.dir, "lab.console.log")
        self.machine_socket = os.path.join(self.dir, "qmp")
        self.remote = Remote(os.path.join(self.dir, "port"))
        self.ports = {name: Remote(os.path.join(self.dir, name)) for name in PORTS}
        self.guests = []
        self.daemons = 0	# started so far
        self.loaded = False	# is the module?
        self.keep_logs = False
        self.process = None
        tap.hosts.append(self)
        self.start()

    # --- the machine ---

    def words(self):
        append = f"{cmdline()} memlease_test.driver=no {PATIENCE} kvm_amd.nested=0"
        if self.carve_mib:
            append += f" memmap={self.carve_mib}M$0x{CARVE_BASE:x}"
        words = [paths.qemu(), "-name", "lab,debug-threads=on", "-nodefaults", "-no-user-config", "-no-reboot",
                 "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,+svm,+npt", "-smp", str(self.smp),
                 "-m", f"{self.memory_mib}M", "-qmp", f"unix:{self.machine_socket},server=on,wait=off", "-display", "none", "-device", "virtio-rng-pci",
                 "-kernel", built(f"kernel/{kernel_image()}"), "-initrd", built("initrd"),
                 "-append", f"{append} {self.append}", "-serial", f"file:{self.console}"]
        for index, remote in enumerate((self.remote, *self.ports.values()), 1):
            words += ["-chardev", f"socket,id=port{index},path={remote.path},server=on,wait=off",
                      "-device", f"isa-serial,chardev=port{index},index={index}"]
        return [*words, *self.qemu]

    def start(self):
        """Boot. Under load the emulator sometimes makes a machine that does not come up in
        time, or one of whose processors never gets a timer's interrupt: then once more, and
        aloud. Nothing of memlease has been loaded so far."""
        for boot in range(1, BOOTS + 1):
            with open(self.out, "a") as out:
                self.process = subprocess.Popen(self.words(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                                start_new_session=True)
            try:
                self.remote.connect(self.alive, BOOT_LIMIT_S)
                self.sh("for cpu in $(seq 0 $(($(nproc) - 1))); do taskset -c $cpu usleep 20000; done", TIMER_LIMIT_S)
                break
            except RemoteError as error:
                self.tap.say(f"the lab's machine did not boot ({boot} of {BOOTS} times): {error}", tail(self.console, 5))
                if boot == BOOTS:
                    raise
                self.power_off()
        self.sh("mkdir -p /run /var/lib/memlease")

    def power_off(self):
        self.remote.close()
        for port in self.ports.values():
            port.close()
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def alive(self):
        return self.process.poll() is None

    def emulator(self):
        """How the QEMU that is the machine ended, or that it runs."""
        try:
            status = self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return "the emulator runs"
        return f"the emulator ended: {signal.Signals(-status).name if status < 0 else f'status {status}'}"

    def broke(self):
        """Did the emulator fail, on which all of the lab stands? How, or ""."""
        how = self.emulator()
        return how if any(word in how for word in CRASHES) else ""

    def machine(self, line):
        """A line to the human monitor of the QEMU that is the machine; its answer."""
        with Qmp(self.machine_socket) as qmp:
            return qmp("human-monitor-command", command_line=line)

    def memory_error(self, address):
        """The memory at a physical address goes bad: a deferred error of the memory controller
        (bank 4 of an AMD), which the kernel finds when it looks next."""
        self.sh("echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval")
        answer = self.machine(f"mce 0 4 0x{MCE_DEFERRED:x} 0 0x{address:x} 0")
        if answer.strip():
            raise AssertionError(f"the machine check was not taken: {answer}")

    def read(self, path):
        """The text of a file in the lab."""
        return self.sh(f"cat {shlex.quote(path)}")

    def meminfo_kib(self, name):
        return int(re.search(rf"^{name}: +(\d+) kB$", self.read("/proc/meminfo"), re.M).group(1))

    def insmod(self, name="memlease_pool", parameters=""):
        self.sh(f"insmod /lib/modules/{name}.ko {parameters}")

    # --- the daemon, and memlease ---

    def daemon(self, *arguments, wait=True):
        """Start memleased; with it as pid() it answers already, unless told not to wait."""
        self.daemons += 1
        self.spawn(f"memleased-{self.daemons}", "memleased " + shlex.join(arguments))
        if wait:
            self.wait_daemon()

    def pool_words(self):
        """Words for memleased: the carve-out is the pool."""
        return ["--pool", f"reserved:0x{CARVE_BASE:x},{self.carve_mib}M"]

    def pool_daemon(self, *arguments, keep=True):
        """Start a daemon whose pool is the carve-out."""
        if not self.loaded:
            self.insmod()
            self.loaded = True
        self.daemon(*self.pool_words(), *(["--keep"] if keep else []), *arguments)

    def wait_daemon(self):
        """Until the daemon answers on its control socket."""
        def answers():
            if self.ended(f"memleased-{self.daemons}") is not None:
                raise AssertionError("memleased ended:\n" + self.daemon_log())
            return "return" in self.sh(f"ask {CONTROL} query-version 2>/dev/null", check=False)
        if not until(answers, START_LIMIT_S):
            raise AssertionError("memleased does not answer on its control socket:\n" + self.daemon_log())

    def kill_daemon(self):
        """kill -9; with a keeper another one comes up by itself."""
        pid = self.pid()
        self.sh(f"kill -9 {pid}; while [ -e /proc/{pid} ]; do usleep 10000; done")
        return pid

    def daemon_log(self):
        return self.sh("cat /tmp/memleased-*.log 2>/dev/null", check=False)

    def pids(self):
        """Of the daemon and its keeper, not of its porter, which busybox takes for one of them."""
        return list(map(int, self.sh("for p in $(pidof memleased); do "
                                     "grep -qx memleased /proc/$p/comm 2>/dev/null && echo $p; done", check=False).split()))

    def pid(self):
        """Of the daemon; with --keep that of the child."""
        return max(self.pids(), default=None)

    def ask(self, socket, command, **arguments):
        """A command to a socket in the lab that speaks QMP; what it returns, or QmpError."""
        return self.ask_timed(socket, command, **arguments)[1]

    def ask_timed(self, socket, command, **arguments):
        """The same, after the time at which it was sent: ns of the lab's monotonic clock."""
        words = [socket, command, json.dumps({k.replace("_", "-"): v for k, v in arguments.items()})]
        sent, answer = self.sh(f"ask -t {shlex.join(words)}", 30).splitlines()
        answer = json.loads(answer)
        if "error" in answer:
            raise QmpError(command, answer["error"])
        return int(sent), answer["return"]

    def qmp(self, command, **arguments):
        """A command to the daemon."""
        return self.ask(CONTROL, command, **arguments)

    def command(self, *words, check=True):
        """memlease WORDS: its output, or status and output unless check."""
        script = shlex.join(("memlease", *words))
        return self.sh(script) if check else self.sh_status(script)

    def pool(self):
        return self.qmp("query-pool")

    def vm_status(self, name):
        """query-vm, or None if the daemon does not know it."""
        return next((vm for vm in self.qmp("query-vms") if vm["name"] == name), None)

    def kvm(self, counter):
        """One of KVM's counters over all VMs: pages_2m, pages_4k, ..."""
        return int(self.read(f"/sys/kernel/debug/kvm/{counter}"))

    # --- the end ---

    def end(self, tap):
        """End what is left, and check what every test must hold."""
        if not tap.check(self.alive(), "the lab lives"):
            return
        for guest in self.guests:
            guest.end(tap)
        self.end_daemon(tap)
        self.check_log(tap)

    def end_daemon(self, tap):
        pids = self.daemons and self.pids()
        if pids:
            name = f"memleased-{self.daemons}"
            self.sh(f"kill {min(pids)}")
            status = self.wait(name, START_LIMIT_S)[0]
            tap.check(status in (0, 128 + signal.SIGTERM), "the daemon ended in order", f"status {status}")
        if self.daemons:
            log = self.daemon_log()
            with open(os.path.join(self.dir, "memleased.log"), "w") as file:
                file.write(log)
            bad = [line for line in log.splitlines() if any(word in line for word in DAEMON_TROUBLE)]
            tap.check(not bad, "no assertion failed in the daemon", *bad[:5])

    def check_log(self, tap):
        bad = trouble(self.console, self.expected)
        tap.check(not bad, "no trouble in the lab's kernel log", *bad[:20])

    def tails(self):
        """Ends of the logs, for a test that failed."""
        try:
            with open(os.path.join(self.dir, "memleased.log"), "w") as file:
                file.write(self.daemon_log())
            for guest in self.guests:
                guest.fetch_logs()
        except (RemoteError, OSError) as error:
            self.tap.say(f"the lab does not answer: {error}; {self.emulator()}")
        parts = []
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                parts += [f"--- {name}", tail(os.path.join(self.dir, name), 40)]
        return "\n".join(parts)

    def clean(self):
        self.power_off()
        if self.keep_logs:
            kept = os.path.join(paths.BUILD, "log", "lab", os.path.basename(self.dir))
            os.makedirs(kept, exist_ok=True)
            for name in os.listdir(self.dir):
                if name.endswith(".log"):
                    shutil.copy(os.path.join(self.dir, name), kept)
            self.tap.say(f"logs: {os.path.relpath(kept, paths.TOP)}")
        shutil.rmtree(self.dir, ignore_errors=True)


def check_built():
    paths.qemu()
    built("initrd")


def main(*tests, limit_s=vm_tap.FILE_LIMIT_S):
    """Run tests, functions that take a Tap (or pairs of such and arguments)."""
    vm_tap.main(*tests, limit_s=limit_s, check=check_built)


def seconds(function, *arguments, **named):
    """What it returns, and how long it took."""
    began = time.monotonic()
    got = function(*arguments, **named)
    return got, time.monotonic() - began
