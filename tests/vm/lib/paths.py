# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the VM tests find what the build made."""

import functools
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.join(TOP, "build")
LOGS = os.path.join(BUILD, "log", "vm")
DAEMON = os.environ.get("MEMLEASED", os.path.join(BUILD, "memleased"))
CLI = os.environ.get("MEMLEASE", os.path.join(BUILD, "memlease"))
KERNELS = tuple(os.environ.get("MEMLEASE_TEST_KERNELS", "6.1 6.12").split())	# old to new
OLDEST, NEWEST = KERNELS[0], KERNELS[-1]
# Long loads run on the newest; on all of them with MEMLEASE_TEST_LONG, which `make check-long` sets.
LONG = bool(os.environ.get("MEMLEASE_TEST_LONG"))
LOAD_KERNELS = KERNELS if LONG else (NEWEST,)

# What all tests share lies in another folder of the name lib.
sys.path.append(os.path.join(TOP, "tests", "lib"))
from qmp import Qmp, QmpError  # noqa: E402,F401


class Missing(Exception):
    """Something was not built; says what to run."""


def guest(series, name):
    """A file of build/guest/SERIES: initrd, kernel/vmlinuz, ..."""
    path = os.path.join(BUILD, "guest", series, name)
    if not os.path.exists(path):
        raise Missing(f"{path} is missing: run scripts/build-guest and scripts/build-guest-image")
    return path


@functools.lru_cache
def qemu():
    """The QEMU with the device, as the cache has it."""
    if "MEMLEASE_QEMU" in os.environ:
        return os.environ["MEMLEASE_QEMU"]
    got = subprocess.run([os.path.join(TOP, "scripts", "build-qemu"), "--print-path"],
                         capture_output=True, text=True, timeout=60, check=False)
    if got.returncode:
        raise Missing(got.stderr.strip() or "QEMU is missing: run scripts/build-qemu")
    return got.stdout.strip()


def check():
    """Raise Missing unless all is there."""
    qemu()
    for binary in (DAEMON, CLI):
        if not os.path.exists(binary):
            raise Missing(f"{binary} is missing: run make host")
    for series in KERNELS:
        guest(series, "initrd")
