# SPDX-License-Identifier: GPL-2.0-or-later
"""The rate of the processor's time stamp counter. An emulated guest reads the host's own, and
while others use the processors its kernel may find a rate that is wrong by a factor: its
timers then run fast, and it says that a processor is locked up. So it is told."""

import ctypes
import functools
import mmap
import platform
import statistics
import time

RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")	# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
SAMPLES = 3
SAMPLE_S = 0.05


@functools.cache
def khz():
    """Thousands of counts a second; None where there is no such counter, or no way to read it."""
    if platform.machine() != "x86_64":
        return None
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    code.write(RDTSC)
    count = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    rates = []
    for _ in range(SAMPLES):
        began, at = time.monotonic_ns(), count()
        time.sleep(SAMPLE_S)
        ended, now = time.monotonic_ns(), count()
        rates.append((now - at) * 1_000_000 // (ended - began))
    return int(statistics.median(rates))
