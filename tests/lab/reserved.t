#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The `reserved` backend in the lab: a VM's memory is mapped by entries of 2 MiB,
write-back, that go when the guest reports; contents are right over restarts; nobody
reads what another VM had written; and who writes outside of what he holds is stopped,
and harms no one."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import json
import re

from lab import CARVE_BASE, CARVE_MIB, MIB, Lab, main, until
from guest import Guest

FILL_MIB = 128
SLACK_BLOCKS = 6	# that the guest's kernel uses or lets go meanwhile
SECRET = "SECRETS"	# with its newline a word of 8 bytes
SECRET_MIB = 96
SMALL_MIB, SECOND_MIB = 384, 320
SCAN_LIMIT_S = 180	# every word of a window, by an emulated processor
ZEROS = ["borrow 0, 0 words not zero", "filled, 0 words differ", "report 0, 0 words not zero",
         "return and borrow 0, 0 words not zero"]
GOOD = "hog fill:32 check free-half check fill:16 check free sleep:200 loop:100000"


def memory_types(tap, lab):
    """Every entry in the carve-out is write-back, by the kernel's list of them."""
    inside = []
    for line in lab.read("/sys/kernel/debug/x86/pat_memtype_list").splitlines():
        found = re.match(r"PAT: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] (\S+)", line)
        if found and int(found.group(1), 16) < CARVE_BASE + CARVE_MIB * MIB and int(found.group(2), 16) > CARVE_BASE:
            inside.append(found.group(3))
    tap.check(inside and set(inside) == {"write-back"}, "all of it is mapped write-back", inside)


def pool_whole(lab):
    pool = lab.pool()
    return pool["lent-blocks"] == 0 and pool["free-blocks"] + pool["retired-blocks"] == pool["pool-blocks"]


def looked_at(tap, vm):
    """What reads a VM's memory from outside has none lent, nor shown."""
    before, shown = vm.resident(), vm.kvm("pages_2m")
    tap.check(before < vm.status()["committed-blocks"] - 2 * SLACK_BLOCKS, f"much of its memory is not there: {before}")
    window = int(re.search(r"memaddr: 0x([0-9a-f]+)", vm.monitor("info memory-devices")).group(1), 16)
    vm.monitor("dump-guest-memory /dev/null")
    vm.monitor(f"pmemsave 0x{128 * MIB:x} 0x{64 * MIB:x} /dev/null")
    said = [vm.monitor(f"xp /1xg 0x{window + slot * 2 * MIB:x}") for slot in range(0, 64, 7)]
    tap.check(all("0x" in line for line in said), "xp reads slots of the window", said)
    tap.check(vm.resident() <= before + SLACK_BLOCKS, "dump, pmemsave and xp take no block", before, vm.resident())
    tap.check(vm.kvm("pages_2m") <= shown + SLACK_BLOCKS, "nor does KVM map more", shown, vm.kvm("pages_2m"))


def lent(tap):
    lab = Lab(tap)
    lab.pool_daemon()
    tap.equal(lab.pool()["pool-blocks"], CARVE_MIB // 2 - 1, "the pool is the carve-out, but for the module's own block")
    tap.check(until(lambda: lab.pool()["supply-blocks"] > 0, 10), "the supply is filled", lab.pool())
    vm = Guest(lab, "one", limit="384M").start().wait_up()
    tap.check(vm.status()["boot-path"].startswith("/dev/memlease/"), "its memory is a device", vm.status())
    looked_at(tap, vm)
    idle, small = vm.kvm("pages_2m"), vm.kvm("pages_4k")
    vm.spawn("hog", f"hog fill:{FILL_MIB} check mark:/tmp/full until:/tmp/go check free mark:/tmp/freed until:/tmp/end")
    vm.wait_mark("hog", "/tmp/full")
    most = vm.kvm("pages_2m")
    tap.check(most - idle >= FILL_MIB // 2 - SLACK_BLOCKS, f"it is mapped by entries of 2 MiB: {most}, {idle} before")
    tap.equal((vm.kvm("pages_4k"), vm.kvm("pages_1g")), (small, 0), "and by no others")
    resident = vm.resident()
    tap.check(most <= resident <= most + SLACK_BLOCKS, f"each for a block that is lent: {resident}")
    memory_types(tap, lab)

    before = lab.kill_daemon()
    lab.wait_daemon()
    tap.check(lab.pid() != before, "a daemon that is killed comes back")
    tap.check(until(lambda: vm.status()["state"] == "running", 10), "and has its VM", vm.status())
    tap.check(abs(vm.resident() - resident) <= SLACK_BLOCKS, "with all its blocks", vm.resident(), resident)
    vm.sh("touch /tmp/go")
    tap.check(until(lambda: vm.kvm("pages_2m") <= most - FILL_MIB // 2 + SLACK_BLOCKS, 20),
              "what the guest reports leaves KVM's tables", most, vm.kvm("pages_2m"))
    vm.sh("touch /tmp/end")
    tap.check(vm.wait("hog")[0] == 0, "contents were right", vm.sh("cat /tmp/hog.log"))
    vm.stop()
    tap.check(vm.wait_ended() is not None, "the VM ends")
    tap.check(until(lambda: pool_whole(lab), 5), "the pool is whole", lab.pool())
    tap.equal(lab.sh("ls /dev/memlease 2>/dev/null", check=False), "", "and the windows are gone")


def counts(lab, region):
    """Words of the secret, zeros and others in a region of a VM's memory."""
    return [int(word) for word in lab.sh(f"window scan {region} '{SECRET}\n'", SCAN_LIMIT_S).split()[1::2]]


def strangers(tap):
    """One VM writes a pattern all over; another one gets these blocks: the pool has not
    enough others."""
    lab = Lab(tap, carve_mib=SMALL_MIB)
    lab.pool_daemon()
    first = Guest(lab, "first", boot="192M", limit="320M").start().wait_up()
    first.sh(f"mount -o remount,size={2 * SECRET_MIB}m /tmp; yes {SECRET} | head -c 1m >/tmp/one; "
             f"for i in $(seq {SECRET_MIB}); do cat /tmp/one; done >/tmp/secret", 60)
    status = first.status()
    found = sum(counts(lab, status[region])[0] for region in ("boot-path", "window-path"))
    tap.check(found >= SECRET_MIB * MIB // 8, f"its memory holds the pattern: {found} words")
    others_mib = SMALL_MIB - 2 * first.resident()
    first.kill()
    tap.check(first.wait_ended() is not None, "it is killed, and ends")

    # Not started: what is not zero there is what QEMU wrote.
    second = Guest(lab, "second", boot=f"{SECOND_MIB}M", limit=f"{SECOND_MIB + 128}M", driver=False, qemu=["-S"]).start()
    tap.need(until(lambda: (second.status() or {}).get("state") == "running", 20), "another VM has its memory",
             second.status(), lab.daemon_log())
    found, zeros, others = counts(lab, second.status()["boot-path"])
    tap.check(second.resident() * 2 >= others_mib + 32, f"of {second.resident()} blocks some were the first one's")
    tap.equal(found, 0, "and nothing of the pattern")
    tap.check(zeros > (SECOND_MIB - 64) * MIB // 8, f"but zeros: {zeros} words, {others} of QEMU's")
    second.kill()
    tap.check(second.wait_ended() is not None, "it ends")
    tap.check(until(lambda: pool_whole(lab), 5), "the pool is whole", lab.pool())


def stopped(lab, name):
    """The event of the daemon that it stopped a VM, or None."""
    for line in lab.sh("cat /tmp/events.log").splitlines():
        event = json.loads(line)
        if event["event"] == "VM_STOPPED" and event["data"]["name"] == name:
            return event
    return None


def outside(tap):
    """A guest, and a QEMU, that write where nothing was lent to them."""
    lab = Lab(tap)
    lab.pool_daemon()
    lab.spawn("events", "memlease events --json")
    good = Guest(lab, "good", limit="384M").start().wait_up()
    good.spawn("hog", GOOD)

    bad = Guest(lab, "bad", boot="128M", limit="256M", driver=False).start().wait_up()
    bad.sh("insmod /lib/modules/hostile.ko attack=zeros; rmmod hostile")
    tap.equal([line.split("hostile: ")[1] for line in bad.sh("dmesg | grep words").splitlines()], ZEROS,
              "a slot reads as zeros when new, after REPORT, and after RETURN and BORROW")
    bad.sh("(insmod /lib/modules/hostile.ko attack=touch) >/dev/null 2>&1 &")
    tap.check(until(lambda: stopped(lab, "bad"), 20, 0.2), "a guest that writes to a vacant slot is stopped",
              lab.daemon_log()[-2000:])
    tap.say(stopped(lab, "bad"))
    tap.check(bad.wait_ended() is not None, "and its VM ends")
    bad.kill()

    taken = Guest(lab, "taken", boot="128M", limit="256M", driver=False).start().wait_up()
    window = taken.status()["window-path"]
    tap.equal(lab.sh(f"window beyond {window}").strip(), "Invalid argument", "what lies beyond a window cannot be mapped")
    found, zeros, others = map(int, lab.sh(f"window scan {window} '{SECRET}\n'", SCAN_LIMIT_S).split()[1::2])
    tap.equal((found, others), (0, 0), f"what is not lent reads as zeros: {zeros} words")
    tap.equal(taken.status()["window-committed-blocks"], 0, "and is not lent by that")
    tap.equal(lab.sh(f"window write {window} 6").strip(), "SIGBUS", "a write to it does not go through")
    tap.check(until(lambda: stopped(lab, "taken"), 20, 0.2), "and stops that VM", lab.daemon_log()[-2000:])
    tap.check(taken.wait_ended() is not None, "which ends")
    taken.kill()

    lines = good.sh("wc -l </tmp/hog.log").strip()
    tap.check(until(lambda: good.sh("wc -l </tmp/hog.log").strip() != lines, 20, 0.2), "another VM ran on all the time")
    good.sh("killall hog")
    tap.check("WRONG" not in good.wait("hog")[1], "with its contents as they were")
    good.stop()
    tap.check(good.wait_ended() is not None, "and ends in order")
    tap.check(until(lambda: pool_whole(lab), 5), "the pool is whole", lab.pool())


def nested(tap):
    """Before 6.13 KVM keeps pages of a guest's guest that were taken away."""
    lab = Lab(tap, append="kvm_amd.nested=1")
    tap.equal(lab.read("/sys/module/kvm_amd/parameters/nested").strip(), "1", "this host's guests may have guests")
    major, minor = map(int, lab.sh("uname -r").split(".")[:2])
    lab.insmod()
    lab.daemon(*lab.pool_words(), wait=False)
    if (major, minor) >= (6, 13):
        lab.wait_daemon()
        tap.check("nested" not in lab.daemon_log(), "which is safe from 6.13 on", lab.daemon_log())
        return
    status = lab.wait("memleased-1", 20)[0]
    tap.check(status == 1 and "options kvm_amd nested=0" in lab.daemon_log(), "before 6.13 the daemon refuses to start",
              status, lab.daemon_log())


main(lent, strangers, outside, nested)
