# SPDX-License-Identifier: GPL-2.0-or-later
"""The VMs that the benchmarks compare: with memlease, and with what QEMU itself
has. Each class is one system with the same verbs, so that a benchmark is written
once. All have the same QEMU, kernel, initial RAM disk, number of vCPUs and memory
at most; all memory is files on a tmpfs with huge=always, shared. Used by the
benchmarks through measure.Bench.start; nothing here takes a time.

Verbs: ask(mib): the host asks that the VM have so much, and does not wait;
size_mib(): what it has by the host's books; resident(): bytes behind it by the
file system's count; cpu(): CPU seconds spent so far; sh, spawn, wait, wait_mark,
wait_that: in the guest; alive(): does all that it is made of run? pin(); end()."""

import collections
import os
import shutil
import subprocess
import tempfile
import time

from lib import paths
from lib.host import Host
from lib.vm import Vm, BOOT_LIMIT_S

Cpu = collections.namedtuple("Cpu", "guest host")	# seconds

KERNEL = "6.12"
MIB = 1 << 20
SPARE_MIB = 512		# of the file system, beside the VM's memory
START_LIMIT_S = 15
PLUG_LIMIT_S = 180
ACCELERATORS = {"tcg": ["-accel", "tcg,thread=multi", "-cpu", "max"], "kvm": ["-accel", "kvm", "-cpu", "host"]}
CMDLINE = "swiotlb=noforce"	# memlease run adds it for its own: for all alike


class PeerVm(Vm):
    """A VM that QEMU alone runs. memory: its words for QEMU's memory."""

    def __init__(self, place, name, memory, **how):
        super().__init__(place, name, driver=False, **how)
        self.memory = memory
        self.qmp_path = os.path.join(place.dir, f"{name}.qmp")

    def words(self):
        return [paths.qemu(), "-name", f"{self.name},debug-threads=on", "-nodefaults", "-no-user-config",
                *ACCELERATORS[accelerator()], "-smp", str(self.smp), *self.memory,
                "-qmp", f"unix:{self.qmp_path},server=on,wait=off", "-device", "virtio-rng-pci",
                "-display", "none", "-kernel", paths.guest(self.kernel, "kernel/vmlinuz"),
                "-initrd", self.initrd or paths.guest(self.kernel, "initrd"), "-append", f"{self.append} {CMDLINE}",
                "-serial", f"file:{self.console}",
                "-chardev", f"socket,id=remote,path={self.port},server=on,wait=off",
                "-device", "isa-serial,chardev=remote,index=1", *self.qemu]

    def start(self):
        with open(self.out, "a") as out:
            self.process = subprocess.Popen(self.words(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True)

    def wait_up(self, timeout_s=BOOT_LIMIT_S):
        self.remote.connect(self.alive, timeout_s)

    def status(self):
        return {"pid": self.process.pid, "qmp-socket": self.qmp_path}


class Place:
    """A directory for a peer's VM, and in it a tmpfs as the daemon mounts its pool."""

    def __init__(self, mib):
        self.vms = []
        self.dir = tempfile.mkdtemp(prefix="memlease-bench-")
        os.chmod(self.dir, 0o711)	# QEMUs become users of their own, and come back
        self.memory = os.path.join(self.dir, "memory")
        os.mkdir(self.memory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"huge=always,mode=0700,size={mib}M", "memlease-bench",
                        self.memory], check=True)

    def clean(self):
        subprocess.run(["umount", "-l", self.memory], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class System:
    """mib: the most memory the VM can have; boot_mib: what it cannot lose. append:
    for the kernel's command line; qemu: more words for QEMU; initrd: instead of the tests'; options: more words for memlease run, no matter to the others."""

    key = label = ""
    module = ""		# what its driver is called in the image
    cmdline = ""
    refuses = False		# can the host refuse later use of what it took?
    keeps_right = False	# giving back leaves the guest the right to touch

    def __init__(self, tap, mib=4096, boot_mib=1024, smp=2, kernel=KERNEL, append="", qemu=(), initrd=None, options=()):
        self.tap, self.mib, self.boot_mib, self.smp, self.kernel = tap, mib, boot_mib, smp, kernel
        self.append = f"{self.cmdline} {append}".strip()
        self.qemu, self.initrd, self.options = list(qemu), initrd, list(options)
        self.vm = self.vcpus = self.qmp = None
        self.files = []

    # --- life ---

    def start(self):
        """Boot, and wait until the guest is up and its driver is loaded."""
        self.boot()
        self.vm.wait_up(START_LIMIT_S + BOOT_LIMIT_S)
        status = self.vm.status()
        self.pid = status["pid"]
        self.qmp = paths.Qmp(status["qmp-socket"])
        self.vcpus = [cpu["thread-id"] for cpu in self.qmp("query-cpus-fast")]
        self.descriptors = [os.open(path, os.O_RDONLY) for path in self.files]
        if self.module:
            self.sh(f"insmod /lib/modules/{self.module}.ko")
        return self

    def boot(self):
        raise NotImplementedError

    def alive(self):
        return self.vm.alive()

    def end(self):
        """End it. Raises if the guest's kernel complained of something."""
        if self.qmp:
            self.qmp.close()
        self.vm.kill()
        try:
            self.vm.check_log(self.tap)
        finally:
            self.clean()

    def clean(self):
        """End what is left of it, whatever happened."""
        for descriptor in getattr(self, "descriptors", []):
            os.close(descriptor)
        self.descriptors = []

    # --- the guest ---

    def sh(self, script, timeout_s=60):
        return self.vm.sh(script, timeout_s)

    def spawn(self, name, command):
        self.vm.spawn(name, command)

    def wait(self, name, timeout_s=60):
        return self.vm.wait(name, timeout_s)

    def wait_mark(self, name, path, timeout_s=60):
        self.vm.wait_mark(name, path, timeout_s)

    def wait_that(self, name, holds, timeout_s=60):
        self.vm.wait_that(name, holds, timeout_s)

    # --- what is measured ---

    def resident(self):
        """Bytes behind the VM now, as the file system counts."""
        return sum(os.fstat(d).st_blocks for d in self.descriptors) * 512

    def cpu(self):
        """CPU seconds so far: vCPU threads, which under emulation are the guest; and all
        else (QEMU's other threads, and the daemon)."""
        guest = sum(thread_s(self.pid, tid) for tid in self.vcpus)
        return Cpu(guest, sum(process_s(pid) for pid in self.processes()) - guest)

    def processes(self):
        return [self.pid]

    def pin(self, vcpu_core, other_core):
        """vCPUs on one core, all other threads of the system on another."""
        for pid in self.processes():
            for tid in map(int, os.listdir(f"/proc/{pid}/task")):
                os.sched_setaffinity(tid, {vcpu_core if tid in self.vcpus else other_core})

    # --- what the host does ---

    def ask(self, mib):
        raise NotImplementedError

    def size_mib(self):
        raise NotImplementedError


class Memlease(System):
    """Boot memory and a window, lent by a memleased of its own."""

    key, label = "memlease", "memlease"
    refuses = keeps_right = True
    host = None
    deadline_ms = 60000

    def boot(self):
        # The window is whole memory blocks.
        self.host = Host(self.tap, f"{self.mib + SPARE_MIB}M")
        self.host.sampler.stop()	# what runs here runs for all systems alike
        options = ["--accel", accelerator(), *self.options]
        self.vm = Vm(self.host, self.key, kernel=self.kernel, boot=f"{self.boot_mib}M", limit=f"{self.mib}M",
                          smp=self.smp, append=self.append, qemu=self.qemu, initrd=self.initrd, options=options)
        self.host.vms.append(self.vm)
        self.vm.start()

    def start(self):
        super().start()
        self.descriptors = [os.open(path, os.O_RDONLY) for path in self.vm.files]
        self.control = self.host.qmp()
        return self

    def processes(self):
        return [self.pid, self.host.pid()]

    def alive(self):
        return super().alive() and self.host.daemon_lives()

    def ask(self, mib):
        """Down by a target; up by lifting it: the guest takes what it needs, when it does."""
        if mib >= self.mib:
            self.control("vm-set", name=self.key, target=None)
        else:
            self.control("vm-set", name=self.key, target=mib * MIB, deadline_ms=self.deadline_ms)

    def report_now(self):
        self.control("vm-report-now", name=self.key)

    def status(self):
        return self.control("query-vm", name=self.key)

    def size_mib(self):
        return self.status()["committed-blocks"] * 2

    def sysfs(self, name, value):
        """Write a file of the guest's driver."""
        self.sh(f"echo {value} >$(echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/{name})")

    def take_all(self):
        """Have the guest borrow all it may from now on, as soon as it may: by a low mark near
        its limit, as if its programs needed that much. The driver takes no mark above its memory."""
        want_kib = self.mib * 7 // 8 * 1024
        for _ in range(100):
            total_kib = int(self.sh("grep MemTotal: /proc/meminfo").split()[1])
            self.sysfs("low_mark", f"{min(want_kib, total_kib)}K")
            if total_kib >= want_kib and self.size_mib() >= self.mib:
                return
            time.sleep(0.1)
        raise AssertionError(f"the guest borrowed {self.size_mib()} MiB only, not {self.mib} MiB")

    def end(self):
        self.control.close()
        super().end()

    def clean(self):
        super().clean()
        if self.host:
            self.tap.hosts.remove(self.host)
            self.host.sampler.stop()
            self.host.clean()
            self.host = None


class Peer(System):
    """QEMU's own: a backing file per region, on a tmpfs like the daemon's."""

    place = None

    def boot(self):
        self.place = Place(self.mib + SPARE_MIB)
        self.vm = PeerVm(self.place, self.key, self.memory(), kernel=self.kernel, smp=self.smp, append=self.append,
                         qemu=[*self.device(), *self.qemu], initrd=self.initrd)
        self.vm.start()

    def region(self, name, mib):
        path = os.path.join(self.place.memory, name)
        self.files.append(path)
        return ["-object", f"memory-backend-file,id={name},size={mib}M,mem-path={path},share=on,align=2M,"
                           "prealloc=off,reserve=off"]

    def memory(self):
        return ["-machine", "q35,memory-backend=ram", "-m", f"{self.mib}M", *self.region("ram", self.mib)]

    def device(self):
        return []

    def clean(self):
        super().clean()
        if self.vm:
            self.vm.kill()
        if self.place:
            self.place.clean()
            self.place = None

    def ask(self, mib):
        if mib != self.mib:
            raise ValueError(f"{self.label} cannot change its size")

    def size_mib(self):
        return self.mib


class Fixed(Peer):
    """All its memory from the start, and nothing that could take it."""

    key, label = "fixed", "fixed size"


class VirtioBalloon(Peer):
    key, label = "virtio_balloon", "virtio-balloon"
    module = "virtio_balloon"
    properties = ""

    def device(self):
        return ["-device", f"virtio-balloon-pci,id=balloon0{self.properties}"]

    def ask(self, mib):
        self.qmp("balloon", value=mib * MIB)

    def size_mib(self):
        return self.qmp("query-balloon")["actual"] // MIB


class VirtioBalloonReporting(VirtioBalloon):
    key, label = "virtio_balloon_reporting", "virtio-balloon, reporting"
    keeps_right = True
    properties = ",free-page-reporting=on"


class VirtioMem(Peer):
    """All above boot memory is one device with blocks of 2 MiB, plugged at the start."""

    key, label = "virtio_mem", "virtio-mem"
    module = "virtio_mem"
    refuses = True
    cmdline = "memhp_default_state=online_movable"

    def memory(self):
        return ["-machine", "q35,memory-backend=ram", "-m", f"{self.boot_mib}M,maxmem={self.mib + SPARE_MIB}M",
                *self.region("ram", self.boot_mib)]

    def device(self):
        more = self.mib - self.boot_mib
        return [*self.region("extra", more),
                "-device", f"virtio-mem-pci,id=vm0,memdev=extra,requested-size={more}M,block-size=2M"]

    def start(self):
        super().start()
        deadline = time.monotonic() + PLUG_LIMIT_S
        while self.size_mib() < self.mib:
            if time.monotonic() > deadline:
                raise AssertionError(f"the guest has {self.size_mib()} MiB after {PLUG_LIMIT_S} s, not {self.mib} MiB")
            time.sleep(0.05)
        return self

    def ask(self, mib):
        self.qmp("qom-set", path="/machine/peripheral/vm0", property="requested-size",
                 value=max(0, mib - self.boot_mib) * MIB)

    def size_mib(self):
        return self.boot_mib + self.qmp("qom-get", path="/machine/peripheral/vm0", property="size") // MIB


SYSTEMS = {system.key: system for system in (Memlease, VirtioMem, VirtioBalloon, VirtioBalloonReporting, Fixed)}


def accelerator():
    """The same for all systems, so it is chosen beforehand: emulation, or KVM where asked for."""
    return os.environ.get("MEMLEASE_BENCH_ACCEL", "tcg")


def process_s(pid):
    """CPU seconds of a process, threads that ended included."""
    return time.clock_gettime((~pid << 3) | 2)


def thread_s(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9
