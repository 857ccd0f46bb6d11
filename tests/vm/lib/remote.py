# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of the shell in a test VM (tests/vm/guest/remote.c)."""

import os
import socket
import time

from . import paths	# noqa: F401: it says where the shared part is

import patience


class RemoteError(Exception):
    """A command in the VM failed, or gave no answer in time."""


class Remote:
    def __init__(self, path):
        self.path = path
        self._sock = None
        self._buffer = b""

    def connect(self, alive, timeout_s):
        """Wait for the socket, then for the guest to be up. Ends early if alive() does."""
        deadline = patience.clock() + timeout_s
        self.attach(alive, timeout_s)
        self.wait_ready(alive, deadline - patience.clock())

    def attach(self, alive, timeout_s):
        """Wait for the socket. What the guest says while nobody is there is lost: who starts
        several VMs does this for all before he waits for one to be up."""
        deadline = patience.clock() + timeout_s
        while not self._sock:
            if not alive():
                raise RemoteError("QEMU ended before the guest was up")
            if patience.clock() > deadline:
                raise RemoteError(f"no socket {self.path} after {timeout_s} s")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.path)
                self._sock = sock
            except OSError:
                sock.close()
                time.sleep(0.02)

    def connect_now(self):
        """Connect to a socket that is there, unless connected."""
        if not self._sock:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._sock.connect(self.path)

    def drain(self):
        """Forget what has come so far."""
        self._buffer = b""
        self._sock.settimeout(0.05)
        try:
            while self._sock.recv(65536):
                pass
        except socket.timeout:
            pass

    def wait_ready(self, alive, timeout_s):
        """The guest says so each time that it has booted."""
        deadline = patience.clock() + timeout_s
        while b"ready\n" not in self._buffer:
            self._more(min(deadline, patience.clock() + 0.5), alive, deadline)
        self._buffer = self._buffer.split(b"ready\n", 1)[1]

    def close(self):
        if self._sock:
            self._sock.close()
            self._sock = None
            self._buffer = b""

    def _more(self, until, alive=None, deadline=None):
        left = until - patience.clock()
        self._sock.settimeout(max(left, 0.001))
        try:
            data = self._sock.recv(65536)
        except socket.timeout:
            if alive and not alive():
                raise RemoteError("QEMU ended") from None
            if patience.clock() >= (deadline or until):
                raise RemoteError("the guest gives no answer") from None
            return
        if not data:
            raise RemoteError("QEMU closed the guest's port")
        self._buffer += data

    def run(self, script, timeout_s=20):
        """Run a shell script; its exit status and output."""
        deadline = patience.clock() + timeout_s
        data = script.encode()
        try:
            self._sock.sendall(b"%d\n%s" % (len(data), data))
            while b"\n" not in self._buffer:
                self._more(deadline)
            head, self._buffer = self._buffer.split(b"\n", 1)
            status, length = map(int, head.split())
            while len(self._buffer) < length:
                self._more(deadline)
        except RemoteError as error:
            raise RemoteError(f"{error}: {script[:200]}") from None
        out, self._buffer = self._buffer[:length], self._buffer[length:]
        return status, out.decode(errors="replace")


def tail(path, lines=30):
    """The end of a log, or a word on why there is none."""
    try:
        with open(path, errors="replace") as file:
            kept = file.read().splitlines()[-lines:]
    except OSError as error:
        return f"({error})"
    return "\n".join(f"  {line}" for line in kept) or "  (empty)"


def text_of(path):
    """All of a log; nothing, if it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def size_of(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
