# SPDX-License-Identifier: GPL-2.0-or-later
"""Open files whose end takes long, and messages that carry them: what a stranger may send to
a socket. lingering() is a file whose last close waits; Hanging a file system (FUSE) in which
every close of a file waits until the test lets go."""

import array
import ctypes
import os
import socket
import stat
import struct
import tempfile
import threading

LINGER_S = 30
SET_MEM_TABLE, VERSION_1, UNKNOWN = 5, 1, 199

libc = ctypes.CDLL(None, use_errno=True)
_others = []	# ends of connections that do not read


def lingering():
    """A descriptor: whoever drops the last reference waits for LINGER_S, because the other end
    does not read what was sent."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    client = socket.socket()
    client.connect(server.getsockname())
    _others.append(server.accept()[0])
    server.close()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_S))
    client.setblocking(False)
    try:
        while True:
            client.send(b"x" * 65536)
    except BlockingIOError:
        pass
    return client.detach()


def no_more_lingering():
    """What lingers comes to its end."""
    while _others:
        _others.pop().close()


def send(sock, data, *fds):
    """Send data with descriptors, of which no copy is kept here."""
    sent = False
    try:
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        sent = True
    finally:
        for fd in fds:
            if not sent and stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as mine:	# it would be here that it lingers
                    mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(fd)


def message(request, payload=b""):
    return struct.pack("III", request, VERSION_1, len(payload)) + payload


def memory_table(count=1):
    """A SET_MEM_TABLE of regions that are none of the VM's."""
    return message(SET_MEM_TABLE, struct.pack("II", count, 0) +
                   b"".join(struct.pack("QQQQ", i << 30, 1 << 21, i << 30, 0) for i in range(count)))


INIT, LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, OPENDIR, RELEASEDIR = 26, 1, 2, 3, 14, 18, 25, 27, 29
HEADER = struct.Struct("IIQQIIII")
FILE_ATTR = struct.Struct("QQQQQQIIIIIIIIII")


class Hanging:
    """A file system with one file, whose every close() waits. No library needed."""

    def __init__(self):
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        self.directory = tempfile.mkdtemp(prefix="mlhang-")
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"mlhang", self.directory.encode(), b"fuse", 6, options):
            raise OSError(ctypes.get_errno(), "mount")
        self.closing = set()	# pids of those whose close() waits
        self.senders = []
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, sock, data):
        """Send data with the file. The process that does has a copy, and so hangs as well."""
        pid = os.fork()
        if pid == 0:
            try:
                fd = os.open(os.path.join(self.directory, "file"), os.O_RDONLY)
                sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            finally:
                os._exit(0)
        self.senders.append(pid)

    def strangers(self):
        """How many others hang."""
        return len(self.closing - set(self.senders))

    def end(self):
        """All that waits comes to its end."""
        libc.umount2(self.directory.encode(), 1 | 2)	# by force, and when it is no longer used
        os.close(self.fuse)
        for pid in self.senders:
            os.waitpid(pid, 0)
        os.rmdir(self.directory)

    def _attributes(self, node):
        kind = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o644
        return FILE_ATTR.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, kind, 2, 0, 0, 0, 4096, 0)

    def _serve(self):
        while True:
            try:
                request = os.read(self.fuse, 1 << 17)
            except OSError:
                return
            _, opcode, unique, node, _, _, pid, _ = HEADER.unpack_from(request)
            error, answer = 0, b""
            if opcode == INIT:
                answer = struct.pack("IIIIHHIIHHI", 7, 31, 65536, 0, 12, 9, 65536, 1, 32, 0, 0).ljust(64, b"\0")
            elif opcode == LOOKUP:
                answer = struct.pack("QQQQII", 2, 0, 0, 0, 0, 0) + self._attributes(2)
            elif opcode == GETATTR:
                answer = struct.pack("QII", 0, 0, 0) + self._attributes(node)
            elif opcode in (OPEN, OPENDIR):
                answer = struct.pack("QII", 1, 0, 0)
            elif opcode == FLUSH:
                self.closing.add(pid)
                continue
            elif opcode == FORGET:
                continue
            elif opcode not in (RELEASE, RELEASEDIR):
                error = -38
            try:
                os.write(self.fuse, struct.pack("IiQ", 16 + len(answer), error, unique) + answer)
            except OSError:
                return
