# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for QEMU and its guest, without either: maps a VM's two files, registers them
with a userfaultfd, speaks vhost-user with the daemon and drives the request queue. The
messages are those of docs/vhost-user.md, the requests those of proto/memlease_abi.h."""

import array
import ctypes
import fcntl
import os
import select
import socket
import struct

BLOCK = 2 << 20
SYS_USERFAULTFD = 323	# x86-64
UFFD_API = 0xAA
UFFDIO_API = 0xC018AA3F
UFFDIO_REGISTER = 0xC020AA00
MODE_MISSING = 1
PROT_NONE, PROT_RW = 0, 3
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANON, MAP_NORESERVE = 1, 2, 0x10, 0x20, 0x4000
WINDOW_GPA = 64 << 30

# vhost-user
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
VRING_NUM, VRING_ADDR, VRING_BASE, VRING_KICK, VRING_CALL = 8, 9, 10, 12, 13
GET_PROTOCOL, SET_PROTOCOL, VRING_ENABLE, RESET_DEVICE = 15, 16, 18, 34
SET_UFFD, ABI_VERSION = 0x4D4C0001, 1
VERSION, NEED_REPLY = 1, 8
FEATURES = 1 << 32 | 1 << 30 | 1 << 1 | 1 << 2 | 1 << 3	# VERSION_1, protocol features, REPORTING, STATS, QUERY

# requests
BORROW, RETURN, REPORT = 1, 2, 3
BOOT, WINDOW = 0, 1

# The request queue in boot memory: the rings in its slot 1, buffers in slot 2.
NUM = 64
DESC, AVAIL, USED = BLOCK, BLOCK + 0x4000, BLOCK + 0x8000
OUT, IN = 2 * BLOCK, 2 * BLOCK + 0x10000
NEXT, WRITE = 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def check(result, what):
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), what)
    return result


class Region:
    """A file, mapped whole at a multiple of 2 MiB, as QEMU has it."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR)
        self.bytes = os.fstat(self.fd).st_size
        space = check(libc.mmap(None, self.bytes + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0),
                      "reserve")
        self.at = (space + BLOCK - 1) // BLOCK * BLOCK
        check(libc.mmap(self.at, self.bytes, PROT_RW, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, self.fd, 0), path)

    def touch(self, slot):
        """Read the first byte of a slot, which waits until there is a block."""
        return ctypes.c_ubyte.from_address(self.at + slot * BLOCK).value

    def write(self, offset, data):
        ctypes.memmove(self.at + offset, data, len(data))

    def read(self, offset, size):
        return ctypes.string_at(self.at + offset, size)


class Peer:
    """vm: the daemon's answer to vm-create."""

    def __init__(self, vm):
        self.path = vm["vhost-socket"]
        self.boot, self.window = Region(vm["boot-path"]), Region(vm["window-path"])
        self.sock = None
        self.uffd = -1
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.asked = self.answered = 0	# indices of the rings

    # --- messages ---

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)
        return self

    def disconnect(self):
        self.sock.close()
        self.sock = None

    def send(self, request, payload=b"", fds=(), flags=0):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([struct.pack("=III", request, VERSION | flags, len(payload)) + payload], rights)

    def reply(self):
        """What the daemon answers: bytes; None if it has closed the connection."""
        head = self.sock.recv(12, socket.MSG_WAITALL)
        if len(head) < 12:
            return None
        size = struct.unpack("=III", head)[2]
        return self.sock.recv(size, socket.MSG_WAITALL)

    def acked(self, request, payload=b"", fds=()):
        """0 if the daemon takes it, 1 if not, None if it has closed the connection."""
        self.send(request, payload, fds, NEED_REPLY)
        got = self.reply()
        return got and struct.unpack("=Q", got)[0]

    def _number(self, request):
        self.send(request)
        return struct.unpack("=Q", self.reply())[0]

    # --- QEMU ---

    def negotiate(self):
        self._number(GET_FEATURES)
        self.send(SET_PROTOCOL, struct.pack("=Q", self._number(GET_PROTOCOL)))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack("=Q", FEATURES))
        return self

    def layout(self):
        return struct.pack("=II", ABI_VERSION, 2) + b"".join(
            struct.pack("=IIQQQ", i, 0, WINDOW_GPA if i else 0, r.at, r.bytes)
            for i, r in enumerate((self.boot, self.window)))

    def hand_over(self):
        """Both regions registered with a userfaultfd, which the daemon gets. Before negotiate()
        only the message goes out: the daemon has no way to answer yet."""
        if self.uffd < 0:
            self.uffd = check(libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK), "userfaultfd")
            fcntl.ioctl(self.uffd, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0))
            for region in (self.boot, self.window):
                fcntl.ioctl(self.uffd, UFFDIO_REGISTER, struct.pack("QQQQ", region.at, region.bytes, MODE_MISSING, 0))
        self.send(SET_UFFD, self.layout(), [self.uffd])
        return self

    def table(self, fds=None):
        """SET_MEM_TABLE; fds: others in place of the VM's files."""
        regions = ((0, self.boot), (WINDOW_GPA, self.window))
        return self.acked(SET_MEM_TABLE, struct.pack("=II", 2, 0) + b"".join(
            struct.pack("=QQQQ", gpa, r.bytes, r.at, 0) for gpa, r in regions),
            fds or [self.boot.fd, self.window.fd])

    def start_queue(self):
        self.send(VRING_NUM, struct.pack("=II", 0, NUM))
        self.send(VRING_BASE, struct.pack("=II", 0, self.answered))
        self.send(VRING_ADDR, struct.pack("=IIQQQQ", 0, 0, self.boot.at + DESC, self.boot.at + USED,
                                          self.boot.at + AVAIL, 0))
        self.send(VRING_CALL, struct.pack("=Q", 0), [self.call])
        self.send(VRING_KICK, struct.pack("=Q", 0), [self.kick])
        return self.acked(VRING_ENABLE, struct.pack("=II", 0, 1))

    def start(self):
        """All of it, as QEMU when the guest's driver starts."""
        self.asked = self.answered
        self.connect().negotiate().hand_over()
        if self.table() != 0 or self.start_queue() != 0:
            raise AssertionError("the daemon refused the memory table or the queue")
        return self

    # --- the guest ---

    def request(self, kind, extents, timeout_s=60):
        """Extents: (region, first, count). Status, blocks done, and (done, reason) of each."""
        out = struct.pack("<HHIQ", kind, len(extents), 0, 7) + b"".join(
            struct.pack("<IIQ", region, count, first) for region, first, count in extents)
        answer = 16 + 8 * len(extents)
        self.boot.write(OUT, out)
        self.boot.write(DESC, struct.pack("<QIHHQIHH", OUT, len(out), NEXT, 1, IN, answer, WRITE, 0))
        self.boot.write(AVAIL + 4 + 2 * (self.asked % NUM), struct.pack("<H", 0))
        self.asked = (self.asked + 1) & 0xFFFF
        self.boot.write(AVAIL, struct.pack("<HH", 0, self.asked))
        os.eventfd_write(self.kick, 1)
        while struct.unpack("<H", self.boot.read(USED + 2, 2))[0] != self.asked:
            if not select.select([self.call], [], [], timeout_s)[0]:
                raise TimeoutError(f"no answer in {timeout_s} s")
            try:
                os.eventfd_read(self.call)
            except BlockingIOError:
                pass
        self.answered = self.asked
        got = self.boot.read(IN, answer)
        status, count, done, _ = struct.unpack("<HHIQ", got[:16])
        return status, done, [struct.unpack("<II", got[16 + 8 * i:24 + 8 * i]) for i in range(count)]
