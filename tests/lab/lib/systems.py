# SPDX-License-Identifier: GPL-2.0-or-later
"""What bench-lab compares: a VM inside the lab that memlease lends memory to, and VMs
with what QEMU itself has. All have the lab's KVM, the same QEMU, kernel, initial RAM
disk and size. Each has a lab of its own, and the same verbs: ready(), give_back() and
take(), which tell when they were asked, files(), said(). Nothing here takes a time."""

import time

from guest import Guest
from lab import CONTROL, MIB, Lab

LAB_MIB = 5120
CARVE_MIB = 1024
BOOT_MIB = 256		# what a VM cannot lose
MORE_MIB = 512		# what comes and goes
TMPFS = "/run/memory"
SPARE_MIB = 128
READY_S = 30
CPU = "host,vmx=off,svm=off"	# as memlease run has it for its own: for all alike
PEER_CMDLINE = "swiotlb=noforce"	# memlease run adds it for its own: for all alike


class System:
    key = module = cmdline = ""
    keeps_right = False	# can the guest give back, and touch again unasked?
    takes = False		# can the host take memory at once?

    def __init__(self, bench):
        self.bench = bench
        self.lab = Lab(bench, carve_mib=CARVE_MIB, memory_mib=LAB_MIB)
        self.vm = None

    def start(self):
        self.boot()
        self.vm.wait_up()
        if self.module:
            self.vm.sh(f"insmod /lib/modules/{self.module}.ko")
        self.ready()
        return self

    def ready(self):
        """Until the guest has all its memory."""

    def until(self, holds, what):
        deadline = time.monotonic() + READY_S
        while not holds():
            if not self.vm.alive():
                raise AssertionError(f"{self.key}: its QEMU has ended:\n{self.lab.sh(f'cat /tmp/{self.vm.label}.log')}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.key}: {what}")
            time.sleep(0.1)

    def end(self):
        self.bench.hosts.remove(self.lab)
        try:
            self.lab.end(self.bench)
        finally:
            self.lab.clean()

    def clean(self):
        if self.lab in self.bench.hosts:
            self.bench.say(self.lab.tails())
            self.bench.hosts.remove(self.lab)
            self.lab.clean()


class Memlease(System):
    key = "memlease"
    keeps_right = takes = True

    def boot(self):
        self.lab.pool_daemon()
        self.vm = Guest(self.lab, self.key, boot=f"{BOOT_MIB}M", limit=f"{BOOT_MIB + MORE_MIB}M").start()

    def ready(self):
        """Borrow all: by a low mark near the limit, as if programs needed that much. And
        report when the host asks, so that it is known when it began."""
        node = "$(echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease)"
        self.vm.sh(f"echo 0 >{node}/report_interval_ms")
        want_kib = (BOOT_MIB + MORE_MIB) * 7 // 8 * 1024

        def borrowed():
            total = int(self.vm.sh("grep MemTotal: /proc/meminfo").split()[1])
            self.vm.sh(f"echo {min(want_kib, total)}K >{node}/low_mark")
            return self.vm.status()["committed-blocks"] * 2 >= BOOT_MIB + MORE_MIB
        self.until(borrowed, "the guest did not borrow all")
        self.vm.sh(f"echo auto >{node}/low_mark")

    def files(self):
        """No file system counts it; what KVM has mapped is what the VM has."""
        return []

    def give_back(self):
        return self.lab.ask_timed(CONTROL, "vm-report-now", name=self.key)[0]

    def take(self):
        return self.lab.ask_timed(CONTROL, "vm-set", name=self.key, target=BOOT_MIB * MIB, deadline_ms=60000)[0]

    def taken(self):
        return self.vm.status()["committed-blocks"] * 2 <= BOOT_MIB


class PeerGuest(Guest):
    """A VM that QEMU alone runs. memory: its words for QEMU's memory."""

    def __init__(self, lab, name, memory, **how):
        super().__init__(lab, name, driver=False, **how)
        self.memory = memory
        self.socket = f"/tmp/{self.label}.qmp"

    def words(self):
        return ["qemu-system-x86_64", "-name", f"{self.name},debug-threads=on", "-nodefaults", "-no-user-config",
                "-accel", "kvm", "-cpu", CPU, "-smp", str(self.smp), *self.memory,
                "-qmp", f"unix:{self.socket},server=on,wait=off", "-device", "virtio-rng-pci", "-display", "none",
                "-kernel", "/guest/vmlinux", "-initrd", "/guest/initrd", "-append", f"{self.append} {PEER_CMDLINE}",
                "-serial", f"file:/tmp/{self.label}.console",
                "-chardev", f"serial,id=remote,path=/dev/{self.port}",
                "-device", "isa-serial,chardev=remote,index=1", *self.qemu]

    def status(self):
        return {"pid": int(self.lab.sh("pidof qemu-system-x86_64").split()[0]), "qmp-socket": self.socket}


class Peer(System):
    """Files on a tmpfs with huge pages, as the `file` backend has them."""

    def boot(self):
        size = BOOT_MIB + MORE_MIB + SPARE_MIB
        self.lab.sh(f"mkdir -p {TMPFS} && mount -t tmpfs -o huge=always,size={size}M memory {TMPFS}")
        self.vm = PeerGuest(self.lab, self.key.replace("_", "-"), self.memory(), append=self.cmdline,
                            qemu=self.device()).start()

    def region(self, name, mib):
        return ["-object", f"memory-backend-file,id={name},size={mib}M,mem-path={TMPFS}/{name},share=on,align=2M,"
                           "prealloc=off,reserve=off"]

    def memory(self):
        return ["-machine", "q35,memory-backend=ram", "-m", f"{BOOT_MIB + MORE_MIB}M",
                *self.region("ram", BOOT_MIB + MORE_MIB)]

    def device(self):
        return []

    def files(self):
        return [f"{TMPFS}/ram"]

    def qmp(self, command, **arguments):
        return self.lab.ask(self.vm.socket, command, **arguments)


class VirtioBalloon(Peer):
    key, module = "virtio_balloon", "virtio_balloon"
    takes = True

    def device(self):
        return ["-device", "virtio-balloon-pci,id=balloon0"]

    def take(self):
        return self.lab.ask_timed(self.vm.socket, "balloon", value=BOOT_MIB * MIB)[0]

    def taken(self):
        return self.qmp("query-balloon")["actual"] <= BOOT_MIB * MIB


class VirtioBalloonReporting(Peer):
    key, module = "virtio_balloon_reporting", "virtio_balloon"
    keeps_right = True

    def device(self):
        return ["-device", "virtio-balloon-pci,id=balloon0,free-page-reporting=on"]

    def give_back(self):
        """It cannot be asked for: it comes of itself."""
        return int(self.lab.sh("behind now"))


class VirtioMem(Peer):
    """All above boot memory is one device with blocks of 2 MiB, plugged at the start."""

    key, module = "virtio_mem", "virtio_mem"
    takes = True
    cmdline = "memhp_default_state=online_movable"

    def memory(self):
        return ["-machine", "q35,memory-backend=ram", "-m", f"{BOOT_MIB}M,maxmem={BOOT_MIB + MORE_MIB + SPARE_MIB}M",
                *self.region("ram", BOOT_MIB)]

    def device(self):
        return [*self.region("extra", MORE_MIB),
                "-device", f"virtio-mem-pci,id=vm0,memdev=extra,requested-size={MORE_MIB}M,block-size=2M"]

    def files(self):
        return [f"{TMPFS}/ram", f"{TMPFS}/extra"]

    def size(self):
        return self.qmp("qom-get", path="/machine/peripheral/vm0", property="size")

    def ready(self):
        self.until(lambda: self.size() >= MORE_MIB * MIB, "its memory was not plugged")

    def take(self):
        return self.lab.ask_timed(self.vm.socket, "qom-set", path="/machine/peripheral/vm0",
                                  property="requested-size", value=0)[0]

    def taken(self):
        return self.size() == 0


SYSTEMS = {s.key: s for s in (Memlease, VirtioMem, VirtioBalloon, VirtioBalloonReporting)}
