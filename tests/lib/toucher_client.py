# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM whose QEMU is toucher.py, as tests of the daemon use it: made, told what to touch,
ended."""

import os
import select
import subprocess
import sys

from daemon import MIB, until

LIB = os.path.dirname(os.path.abspath(__file__))


class Toucher:
    def __init__(self, qmp, name="vm", boot=64 * MIB, **more):
        vm = qmp("vm-create", name=name, tenant="t", plan="standard", boot=boot, limit=256 * MIB, **more)
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(LIB, "toucher.py"), vm["vhost-socket"], vm["boot-path"], vm["window-path"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout.readline() == "ready\n"
        until(lambda: qmp("query-vm", name=name)["state"] == "running")

    def begin(self, region, slot):
        self.process.stdin.write(f"{region} {slot}\n")

    def done(self, timeout_s=10):
        readable, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        return bool(readable) and self.process.stdout.readline() == "done\n"

    def touch(self, region, slot):
        self.begin(region, slot)
        return self.done()

    def end(self):
        self.process.kill()
        self.process.wait()
