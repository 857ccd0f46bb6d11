#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How `memlease run` starts a QEMU: with what it keeps it from, as whom, and into which
files. The QEMU is a script that writes down its words."""

import os
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake import Fake, cli, run, vm

FULL = ("run", "--tenant", "a", "--plan", "p", "--name", "web1", "--boot", "256M", "--limit", "3G")
KERNEL = ("--kernel", "/etc/passwd")
NUMBER, BASE = 7, 1879048192


class Stage(Fake):
    """A daemon, and a QEMU that ends at once."""

    def __init__(self, mode=0o711):
        super().__init__()
        os.chmod(self.dir, mode)
        self.vms = os.path.join(self.dir, "vm")
        os.mkdir(self.vms)
        self.said, self.qemu = os.path.join(self.dir, "words"), os.path.join(self.dir, "qemu")
        with open(self.qemu, "w") as file:
            file.write(f"#!/bin/sh\nfor word; do echo \"$word\"; done >{self.said}\n"
                       f"grep -E '^(NoNewPrivs)' /proc/self/status >>{self.said}\necho boom >&2\nexit 3\n")
        os.chmod(self.qemu, 0o755)
        made = vm("web1", state="defined", number=NUMBER, vhost_socket=f"{self.vms}/web1.vhost.sock",
                  qmp_socket=f"{self.vms}/web1.qmp.sock")
        self.answers.update({"vm-create": made, "query-vm": made, "vm-delete": {}})

    def start(self, *words, extra=()):
        """Its result, and QEMU's words."""
        if os.path.exists(self.said):
            os.unlink(self.said)
        result = self.run(*FULL, *KERNEL, "--qemu", self.qemu, "--accel", "tcg", *words, "--", *extra)
        if not os.path.exists(self.said):
            return result, []
        with open(self.said) as file:
            return result, file.read().splitlines()


def after(words, option):
    return words[words.index(option) + 1] if option in words else None


def pinned(tap):
    """What would hold on to memory that the guest gave back."""
    with Stage() as stage:
        for extra in (("-device", "vfio-pci,host=01:00.0"), ("--device", "vfio-pci,host=01:00.0"),
                      ("-device", "id=x,driver=vfio-pci-nohotplug"), ("-device", '{"driver": "vfio-pci"}'),
                      ("-device", "vhost-vdpa-device-pci,vhostdev=/dev/vhost-vdpa-0"),
                      ("-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0"), ("-object", "iommufd,id=i"),
                      ("-drive", "file=nvme://0000:01:00.0/1"), ("-blockdev", "driver=nvme,node-name=x"),
                      ("-nographic", "-device", "vfio-ap")):
            result, words = stage.start(extra=extra)
            tap.says(result, 2, ["pins the guest's memory", extra[-1][:20]], "refused: " + " ".join(extra))
            tap.equal((words, stage.called("vm-create")), ([], []), "before anything is made")
        for extra in (("-device", "virtio-net-pci,netdev=vfio-net"), ("-netdev", "user,id=vfio"),
                      ("-name", "vfio-pci")):
            tap.check(stage.start(extra=extra)[1], "not refused: " + " ".join(extra))


def jailed(tap):
    with Stage() as stage:
        _, words = stage.start()
        box = after(words, "-sandbox") or ""
        tap.check(box.startswith("on,") and "spawn=deny" in box and "resourcecontrol=deny" in box,
                  "QEMU's sandbox is on", words)
        tap.check("NoNewPrivs:\t1" in words, "and what it runs gains no rights", words)
        if os.geteuid() == 0:
            tap.equal(after(words, "-run-with"), f"user={BASE + NUMBER}:{BASE + NUMBER}",
                      "started by root it becomes a user that no other VM has")
            tap.check("elevateprivileges" not in box, "which it must be let, once", box)
            _, words = stage.start("--uid-base", "5000")
            tap.equal(after(words, "-run-with"), f"user={5000 + NUMBER}:{5000 + NUMBER}", "--uid-base says from where on")
            _, words = stage.start("--uid-base", "0")
            tap.check("-run-with" not in words and "elevateprivileges=deny" in after(words, "-sandbox"),
                      "--uid-base 0: it stays root", words)
            _, words = stage.start(extra=("-run-with", "user=daemon"))
            tap.equal(words.count("-run-with"), 1, "who says -run-with is left to it")
        else:
            tap.check("-run-with" not in words and "elevateprivileges=deny" in box, "and it stays who it is", words)
        _, words = stage.start(extra=("-sandbox", "off"))
        tap.equal([words[i + 1] for i, word in enumerate(words) if word == "-sandbox"], ["off"],
                  "who says -sandbox is left to it")
        tap.check("NoNewPrivs:\t0" in words, "and its helpers may have the rights they have", words)


def closed_way(tap):
    if os.geteuid():
        return tap.skip("a directory that lets no other user pass", "needs root")
    with Stage(0o700) as stage:
        result, words = stage.start()
        tap.says(result, 1, ["lets no other user pass", stage.dir, "--uid-base 0"],
                 "a QEMU that could not come back is not started")
        tap.equal((words, len(stage.called("vm-delete"))), ([], 1), "and the VM is forgotten again")


def logs(tap):
    """Links at the paths of logs are not followed."""
    for name in ("qemu.log", "console.log"):
        with Stage() as stage:
            precious = os.path.join(stage.dir, "precious")
            with open(precious, "w") as file:
                file.write("kept")
            path = os.path.join(stage.vms, f"web1.{name}")
            for plant in (os.symlink, os.link):
                plant(precious, path)
                result, words = stage.start("--detach")
                tap.says(result, 1, [path, "take it away"], f"{name} is {plant.__name__}ed to another file: refused")
                with open(precious) as file:
                    tap.equal(file.read(), "kept", "which is as it was")
                tap.equal(words, [], "QEMU is not started")
                os.unlink(path)
    with Stage() as stage:
        result, words = stage.start("--detach")
        tap.says(result, 1, ["boom", "status 3"], "messages go to the log")
        tap.equal([stat.S_IMODE(os.stat(f"{stage.vms}/web1.{name}").st_mode) for name in ("qemu.log", "console.log")],
                  [0o600, 0o600], "both logs are private")
        tap.check("logfile=/dev/fdset/" in " ".join(words) and after(words, "-add-fd"),
                  "QEMU gets the console's log as a descriptor", words)


run(pinned, jailed, closed_way, logs)
