# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of the QMP wire format, for QEMU's monitor and for memleased's
control socket alike. Used by the tests; keeps what events arrive until asked
for. Every wait has a limit; nothing here starts or ends a process."""

import json
import socket

import patience


class QmpError(Exception):
    """The server answered with an error; .klass and .desc as it gave them, .kind is
    memleased's own word for some of them, or ""."""

    def __init__(self, command, error):
        self.klass = error.get("class", "")
        self.desc = error.get("desc", "")
        self.kind = error.get("__memlease_kind", "")
        super().__init__(f"{command}: {self.klass}: {self.desc}")


class Qmp:
    def __init__(self, path, timeout_s=20):
        self.path = path
        self.timeout_s = timeout_s
        self.events = []
        self._buffer = b""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        try:
            self._sock.connect(path)
            self.greeting = self._read(patience.clock() + timeout_s)
            self("qmp_capabilities")
        except BaseException:
            self._sock.close()
            raise

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __call__(self, command, **arguments):
        """Carry out a command; '_' in argument names becomes '-'. Returns what it
        returned, or raises QmpError."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self._sock.sendall(json.dumps(message).encode() + b"\n")
        deadline = patience.clock() + self.timeout_s
        while True:
            answer = self._read(deadline)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(command, answer["error"])
            else:
                return answer["return"]

    def wait_event(self, name, timeout_s, match=None):
        """The first event of this name (and for which match(data) holds) that came
        or comes within the time, taken out of .events; None if none does."""
        deadline = patience.clock() + timeout_s
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name and (match is None or match(event.get("data", {}))):
                    return self.events.pop(i)
            try:
                message = self._read(deadline)
            except TimeoutError:
                return None
            if "event" in message:
                self.events.append(message)

    def _read(self, deadline):
        while b"\n" not in self._buffer:
            left = deadline - patience.clock()
            if left <= 0:
                raise TimeoutError(f"{self.path}: no answer in time")
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(65536)
            except socket.timeout:
                continue
            if not data:
                raise ConnectionError(f"{self.path}: closed by the other side")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)
