#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for QEMU where only touches matter: maps a VM's two files, registers them
with a userfaultfd, hands that to the daemon, and then touches the slots it is told on
standard input ("boot 3", "window 0"), saying "done" after each. It never connects again.

toucher.py VHOST-SOCKET BOOT-PATH WINDOW-PATH"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import sys

BLOCK = 2 << 20
SYS_USERFAULTFD = 323	# x86-64
UFFD_API = 0xAA
UFFDIO_API = 0xC018AA3F
UFFDIO_REGISTER = 0xC020AA00
MODE_MISSING = 1
PROT_NONE, PROT_RW = 0, 3
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANON, MAP_NORESERVE = 1, 2, 0x10, 0x20, 0x4000
SET_UFFD, VERSION_1 = 0x4D4C0001, 1
WINDOW_GPA = 1 << 32

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def check(result, what):
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), what)
    return result


def map_file(path):
    """The whole file at a multiple of 2 MiB: address and length."""
    fd = os.open(path, os.O_RDWR)
    length = os.fstat(fd).st_size
    space = check(libc.mmap(None, length + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0), "reserve")
    at = (space + BLOCK - 1) // BLOCK * BLOCK
    check(libc.mmap(at, length, PROT_RW, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0), path)
    os.close(fd)
    return at, length


def main():
    vhost, boot, window = sys.argv[1:]
    regions = [map_file(boot), map_file(window)]
    uffd = check(libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK), "userfaultfd")
    fcntl.ioctl(uffd, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0))
    for at, length in regions:
        fcntl.ioctl(uffd, UFFDIO_REGISTER, struct.pack("QQQQ", at, length, MODE_MISSING, 0))
    layout = struct.pack("II", 1, 2) + b"".join(
        struct.pack("IIQQQ", i, 0, WINDOW_GPA if i else 0, at, length) for i, (at, length) in enumerate(regions))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(vhost)
    sock.sendmsg([struct.pack("III", SET_UFFD, VERSION_1, len(layout)) + layout],
                 [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [uffd]))])
    print("ready", flush=True)
    for line in sys.stdin:
        region, slot = line.split()
        at, _ = regions[region == "window"]
        value = ctypes.c_ubyte.from_address(at + int(slot) * BLOCK)
        if value.value:
            raise AssertionError(f"{line.strip()}: holds {value.value}, not 0")
        print("done", flush=True)


main()
