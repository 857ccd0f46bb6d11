#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that is assigned (VFIO) and memlease do not go together: the device would go on
writing to blocks that the guest gave back. Whichever comes second is refused, on the command
line and at run time, with the reason. The device and its kernel are pretended to QEMU
(host/fake-vfio.c)."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib import paths
from lib.host import host
from lib.paths import Qmp
from lib.tap import main, until

BOOT_MIB, WINDOW_MIB = 256, 512
MIB = 1 << 20


def pretend(directory):
    """The library, and the path of the device in what looks like sysfs."""
    library = os.path.join(directory, "fake-vfio.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "host", "fake-vfio.c"), "-ldl"], check=True)
    device = os.path.join(directory, "device")
    os.mkdir(device)
    os.symlink("../groups/7", os.path.join(device, "iommu_group"))
    return library, f"vfio-pci,id=assigned,sysfsdev={device}"


class Qemu:
    """One that does not run its guest, with these devices in order."""

    def __init__(self, h, number, library, *devices):
        with h.qmp() as qmp:
            vm = qmp("vm-create", name=f"vm{number}", tenant="acme", plan="standard", boot=BOOT_MIB * MIB,
                     limit=(BOOT_MIB + WINDOW_MIB) * MIB)
        self.monitor = os.path.join(h.dir, f"monitor{number}")
        words = [paths.qemu(), "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp",
                 f"unix:{self.monitor},server=on,wait=off", "-machine", "q35,memory-backend=boot",
                 "-m", f"{BOOT_MIB}M,maxmem=4G", "-device", "pcie-root-port,id=rp0",
                 "-object", f"memory-backend-file,id=boot,size={BOOT_MIB}M,mem-path={vm['boot-path']},share=on,align=2M",
                 "-object", f"memory-backend-file,id=window,size={WINDOW_MIB}M,mem-path={vm['window-path']},share=on,"
                 "align=2M", "-chardev", f"socket,id=lender,path={vm['vhost-socket']}"]
        for device in devices:
            words += ["-device", device]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, "LD_PRELOAD": library})

    def ends(self):
        """Its status and what it said; it ends by itself."""
        try:
            said = self.process.communicate(timeout=120)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = self.process.communicate()[1]
        return self.process.returncode, said

    def runs(self):
        def answers():
            try:
                return self.process.poll() is not None or self.monitor_line("info status")
            except OSError:
                return False
        return until(answers, 120) and self.process.poll() is None

    def monitor_line(self, line):
        with Qmp(self.monitor) as qmp:
            return qmp("human-monitor-command", command_line=line)

    def kill(self):
        self.process.kill()
        return self.process.communicate()[1]


MEMLEASE = "vhost-user-memlease-pci,id=mem0,chardev=lender,memdev=window,bootmem=boot"


def refused(tap):
    h = host(tap, pool="2G")
    with tempfile.TemporaryDirectory() as directory:
        library, assigned = pretend(directory)
        alone = Qemu(h, 0, library, assigned)
        tap.need(alone.runs(), "QEMU takes the device where there is no memlease", *alone.ends() if
                 alone.process.poll() is not None else ())
        tap.has(alone.monitor_line("info qtree"), "vfio-pci", "which is assigned")
        tap.check("given back" in alone.monitor_line(f"device_add {MEMLEASE},bus=rp0"),
                  "memlease is then refused at run time, with its reason")
        alone.kill()

        status, said = Qemu(h, 1, library, assigned, MEMLEASE).ends()
        tap.check(status == 1 and "memlease: another device pins guest memory" in said,
                  "memlease behind the device on the command line", status, said)
        status, said = Qemu(h, 2, library, MEMLEASE, assigned).ends()
        tap.check(status == 1 and "memlease: a device that pins guest memory" in said,
                  "the device behind memlease on the command line", status, said)

        running = Qemu(h, 3, library, MEMLEASE, "virtio-balloon-pci,id=balloon0")
        tap.need(running.runs(), "memlease runs, beside a balloon that does nothing")
        answer = running.monitor_line(f"device_add {assigned},bus=rp0")
        tap.check("memlease: a device that pins guest memory" in answer, "the device is refused at run time", answer)
        tap.check("vfio-pci" not in running.monitor_line("info qtree"), "and is not there")
        tap.check(running.process.poll() is None, "QEMU lives")
        running.kill()


main(refused)
