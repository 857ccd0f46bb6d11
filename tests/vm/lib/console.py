# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's kernel log: what is to be in it, and what may not be. Every VM test fails on that."""

import re

from . import tsc

# What an emulated processor is slow at, and is not what is tested, is left out: the kernel's own
# tests of its ciphers, which take a third of a boot, and those of two modules that nothing turns
# off (another quarter), guards against speculation, and string
# instructions, which it runs byte by byte: they make clearing and copying of pages take half as
# long again. Benchmarks, which compare times, have a kernel as it comes.
QUICK = ("cryptomgr.notests initcall_blacklist=crypto_kdf108_init,jent_mod_init mitigations=off "
         "clearcpuid=erms,fsrm,rep_good")
benchmark = False	# tests/bench/lib/measure.py sets it


def kernel_image():
    """The file of a kernel that guests boot: it is unpacked already, but for benchmarks."""
    return "vmlinuz" if benchmark else "vmlinux"


def cmdline():
    """The kernel's command line of all guests and labs."""
    words = ["console=ttyS0", "loglevel=5", "panic=-1"]
    if not benchmark:
        words += [QUICK] + ([f"tsc_early_khz={tsc.khz()}"] if tsc.khz() else [])
    return " ".join(words)


TROUBLE = re.compile(
    r"WARNING:|BUG:|\bOops\b|Call Trace|Kernel panic|general protection fault|"
    r"blocked for more than|soft lockup|hard LOCKUP|rcu: INFO|rcu.*detected stalls|possible circular locking|"
    r"possible recursive locking|suspicious RCU|sleeping function called|scheduling while atomic|"
    r"page allocation failure|Out of memory|oom-kill|Bad page|page dumped|unable to handle|"
    r"cannot be loaded|stack-protector|KASAN|UBSAN|refcount_t|list_(add|del) corruption")
# For Vm's expected: what older kernels say, though they are told not to, when a
# program took the memory that pages of a memory block were to move to. The driver tries
# again; nothing is lost.
NO_ROOM = (r"memlease_(shrink|split|defrag): page allocation failure: order:0,",)
# Of a memory block that held kernel memory, when the kernel took a page of it again
# between the driver's look and its attempt.
PINNED_MEANWHILE = ("page dumped because: unmovable page",)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


TRACE_LINES = 20	# a trace that belongs to a line comes this soon after it


def trouble(path, expected=()):
    """Lines of the log that tell of trouble, less those that an expression of
    expected finds, and the trace that follows such a line."""
    try:
        with open(path, errors="replace") as file:
            text = ESCAPES.sub("", file.read())
    except OSError as error:
        return [f"no kernel log: {error}"]
    return trouble_in(text, expected)


WHY_KILLED = re.compile(r"virtio_memlease|invoked oom-killer|Node \d+ .* free:|lowmem_reserve|active_anon|oom-kill:")
WHY_LINES = 40


def why_killed(path):
    """What the kernel and the driver said where a process was killed for want of memory: lines, if one was."""
    try:
        with open(path, errors="replace") as file:
            lines = ESCAPES.sub("", file.read()).splitlines()
    except OSError:
        return []
    said = [line for line in lines if WHY_KILLED.search(line)]
    return said[-WHY_LINES:] if any("oom-kill:" in line for line in said) else []


def trouble_in(text, expected=()):
    """The same of a log that was read."""
    bad, excused = [], -1
    for number, line in enumerate(text.splitlines()):
        if not TROUBLE.search(line):
            continue
        if any(re.search(e, line) for e in expected):
            excused = number + TRACE_LINES
        elif "Call Trace" in line and number <= excused:
            excused = -1
        else:
            bad.append(line)
    return bad
