#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bench-metadata: what the host keeps about memory that is lent, in the lab, everything
counted, beside the page array that Linux would have for as much; and the page tables
that stay when a VM has shrunk. Run by scripts/bench; what the figures mean is in
docs/benchmarks.md."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, "vm"), os.path.join(HERE, "lib"), os.path.join(TESTS, "lab", "lib")]

import re
import time

from measure import Bench
from tables import show

from guest import Guest
from lab import CARVE_BASE, MIB, Lab, until

LAB = True	# for scripts/bench
LAB_MIB, CARVE_MIB = 12288, 8192
BOOT_MIB, WINDOW_MIB = 256, 2048
TOUCH_MIB = 1920	# what is free of the window, the guest's page array taken off
GIB = 1 << 30
PAGE = 4096
STRUCT_PAGE = 64	# bytes, on x86-64
BLOCK = 2 * MIB
ALIKE = "nokaslr"
SETTLE_S = 30


class Host:
    """What is counted, each in bytes."""

    def __init__(self, lab):
        self.lab = lab
        self.vm = None

    def kvm(self):
        """KVM's page tables, of all VMs; nothing else here has secondary ones."""
        return self.lab.meminfo_kib("SecPageTables") * 1024

    def process(self, pid):
        """Page tables of a process."""
        return int(re.search(r"VmPTE:\s+(\d+) kB", self.lab.read(f"/proc/{pid}/status")).group(1)) * 1024

    def qemu(self):
        return self.process(self.vm.qemu_pid())

    def daemon(self):
        return self.process(self.lab.pid())

    def files(self):
        """The block table, and the records of VMs with the states of their slots."""
        return int(self.lab.sh("du -k /run/memlease/state | tail -1").split()[0]) * 1024

    def module(self):
        return self.lab.pool()["source-metadata-bytes"]

    def mapping(self):
        """Page tables of the kernel's own mapping of the pool, as the processor walks them:
        the machine's QEMU lists all entries. Before a VM runs, or it may be the VM's tables."""
        at = {}		# virtual address to physical, of entries of any size
        small = set()
        for line in self.lab.machine("info tlb").splitlines():
            entry = re.match(r"(ff[0-9a-f]{14}): ([0-9a-f]{16}) ([A-Z-]+)$", line.strip())
            if entry and CARVE_BASE <= int(entry.group(2), 16) < CARVE_BASE + CARVE_MIB * MIB:
                at[int(entry.group(1), 16)] = int(entry.group(2), 16)
                if "P" not in entry.group(3):
                    small.add(int(entry.group(1), 16))
        spans = {virtual // GIB for virtual in at}
        huge = {span for span in spans if at.get(span * GIB, 1) % GIB == 0 and span * GIB not in small and
                not any(virtual // GIB == span and virtual % GIB for virtual in at)}
        blocks = [virtual for virtual in at if virtual // GIB not in huge and virtual not in small]
        mapped = len(huge) * GIB + len(blocks) * BLOCK + len(small) * PAGE
        if mapped < CARVE_MIB * MIB:
            raise AssertionError(f"the kernel maps {mapped} bytes of the pool only")
        return PAGE * (len({virtual // BLOCK for virtual in small}) + len(spans - huge) + len({span // 512 for span in spans}))


def settle(vm, at_most):
    """Until no more than so many blocks are behind a VM."""
    if not until(lambda: vm.resident() <= at_most, SETTLE_S, 0.2):
        raise AssertionError(f"{vm.resident()} blocks are still behind the VM, {at_most} were to be")


def borrow(vm):
    """Have the guest borrow its whole window: by a low mark, as if programs needed as much."""
    node = "$(echo /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease)"
    want_kib = (BOOT_MIB + WINDOW_MIB) * 7 // 8 * 1024

    def done():
        total = int(vm.sh("grep MemTotal: /proc/meminfo").split()[1])
        vm.sh(f"echo {min(want_kib, total)}K >{node}/low_mark")
        return vm.status()["window-committed-blocks"] == WINDOW_MIB // 2
    if not until(done, SETTLE_S, 0.2):
        raise AssertionError(f"the guest did not borrow all: {vm.status()}")
    vm.sh(f"echo auto >{node}/low_mark")


def lent(bench, out):
    """All of a VM's memory lent, and given back again."""
    lab = Lab(bench, carve_mib=CARVE_MIB, memory_mib=LAB_MIB, append=ALIKE)
    total_kib = lab.meminfo_kib("MemTotal")
    host = Host(lab)
    lab.pool_daemon()
    before, mapping = host.kvm(), host.mapping()
    bench.say("a VM that has not begun")
    vm = host.vm = Guest(lab, "one", boot=f"{BOOT_MIB}M", limit=f"{BOOT_MIB + WINDOW_MIB}M", qemu=["-S"]).start()
    until(lambda: (vm.status() or {}).get("state") == "running", SETTLE_S)
    vm.monitor("info status")	# it answers when QEMU has come up
    empty = host.qemu()
    vm.monitor("cont")
    vm.wait_up()
    time.sleep(2)
    idle = {"qemu": host.qemu(), "kvm": host.kvm(), "blocks": vm.resident()}
    bench.say(f"idle: {idle}")
    borrow(vm)
    vm.sh(f"elastic touch {TOUCH_MIB}", 300)
    full = {"qemu": host.qemu(), "kvm": host.kvm(), "blocks": vm.resident()}
    bench.say(f"all lent: {full}")
    parts = {
        "table_and_records": host.files(), "module": host.module(), "kernel_mapping": mapping,
        "qemu_page_tables": full["qemu"] - empty, "kvm_page_tables": full["kvm"] - before,
        "daemon_page_tables": host.daemon(),
    }
    gib = full["blocks"] * BLOCK / GIB
    # What is kept for the whole pool is shared by all that can be lent of it.
    pool_gib = CARVE_MIB * MIB / GIB
    shared = ("table_and_records", "module", "kernel_mapping", "daemon_page_tables")
    for name, value in parts.items():
        out[f"{name}_bytes_per_gib"] = value / (pool_gib if name in shared else gib)
    out["bytes_per_gib_lent"] = sum(out[f"{name}_bytes_per_gib"] for name in parts)
    out["lent_gib"] = gib

    bench.say("the VM shrinks")
    vm.sh("elastic free", 60)
    lab.command("set", "one", "--target", f"{BOOT_MIB}M", "--deadline", "60s")
    settle(vm, idle["blocks"] + 16)
    after = {"qemu": host.qemu(), "kvm": host.kvm(), "blocks": vm.resident()}
    bench.say(f"shrunk: {after}")
    returned = (full["blocks"] - after["blocks"]) * BLOCK / GIB
    for name in ("qemu", "kvm"):
        out[f"{name}_page_table_pages_per_gib_after_shrink"] = max(0, after[name] - idle[name]) / PAGE / returned
    out["page_table_pages_per_gib_after_shrink"] = sum(
        out[f"{name}_page_table_pages_per_gib_after_shrink"] for name in ("qemu", "kvm"))
    bench.hosts.remove(lab)
    lab.end(bench)
    lab.clean()
    return total_kib


def turn(bench, key):
    out = {}
    bench.say("boot, with the carve-out")
    try:
        carved_kib = lent(bench, out)
        bench.say("boot, without it")
        whole = Lab(bench, carve_mib=0, memory_mib=LAB_MIB, append=ALIKE)
        # What MemTotal lacks is the page array, and tables that the kernel makes larger the
        # more memory it has; only the former is compared with.
        lacks = CARVE_MIB * MIB - (whole.meminfo_kib("MemTotal") - carved_kib) * 1024
        out["linux_takes_bytes_per_gib"] = lacks / (CARVE_MIB * MIB / GIB)
        out["struct_page_bytes_per_gib"] = STRUCT_PAGE * GIB // PAGE
        bench.check(out["linux_takes_bytes_per_gib"] >= out["struct_page_bytes_per_gib"] * 0.99,
                    "Linux has a page array for memory that is its own", lacks)
        whole.check_log(bench)
    finally:
        while bench.hosts:
            host = bench.hosts.pop()
            if "struct_page_bytes_per_gib" not in out:
                bench.say(host.tails())
            host.clean()
    return out


FIELDS = ["bytes_per_gib_lent", "struct_page_bytes_per_gib", "page_table_pages_per_gib_after_shrink",
          "table_and_records_bytes_per_gib", "module_bytes_per_gib", "kernel_mapping_bytes_per_gib",
          "qemu_page_tables_bytes_per_gib", "kvm_page_tables_bytes_per_gib", "daemon_page_tables_bytes_per_gib"]


def main():
    bench = Bench("metadata", ["memlease"], timed=False)
    bench.go(turn)
    result = {field: bench.median("memlease", field) for field in FIELDS}
    bench.write(result)
    show({"memlease": result})


if __name__ == "__main__":
    main()
