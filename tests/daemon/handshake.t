#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP's wire format, as existing clients speak it: greeting, negotiation, ids, every way
to end a message, what is no message, events."""

import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import Daemon, run


class Raw:
    """A connection on which anything can be said."""

    def __init__(self, daemon):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(daemon.control)
        self.file = self.sock.makefile("rb")

    def read(self):
        try:
            line = self.file.readline()
        except ConnectionResetError:	# the end, with something of ours unread
            return None
        return json.loads(line) if line else None

    def say(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else json.dumps(data).encode())
        return self

    def ask(self, data):
        return self.say(data).read()


def negotiated(daemon):
    raw = Raw(daemon)
    raw.read()
    raw.ask({"execute": "qmp_capabilities"})
    return raw


def negotiation(tap):
    daemon = Daemon()
    raw = Raw(daemon)
    greeting = raw.read()["QMP"]
    tap.equal(sorted(greeting), ["capabilities", "version"], "the greeting has version and capabilities")
    tap.equal(sorted(greeting["version"]["qemu"]), ["major", "micro", "minor"], "and numbers as QMP clients read them")
    tap.has(greeting["version"]["package"], "memlease", "it says who is there")
    got = raw.ask({"execute": "query-version", "id": 1})
    tap.equal((got["error"]["class"], got["id"]), ("CommandNotFound", 1), "negotiation comes first")
    got = raw.ask({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})
    tap.has(got["error"]["desc"], "'oob'", "capabilities that are not offered are refused")
    tap.equal(raw.ask({"execute": "qmp_capabilities", "arguments": {"enable": []}, "id": "x"}),
              {"return": {}, "id": "x"}, "negotiation")
    tap.equal(raw.ask({"execute": "qmp_capabilities"})["error"]["class"], "CommandNotFound", "only once")


def ids(tap):
    raw = negotiated(Daemon())
    for value in (7, -1, 0.5, "text", "ümläut", None, True, [1, {"a": []}], {"b": None}):
        got = raw.ask({"execute": "query-version", "id": value})
        tap.check(got.get("id", "none") == value and "return" in got, f"id {value!r} comes back", got)
        got = raw.ask({"execute": "no-such-command", "id": value})
        tap.check(got.get("id", "none") == value and "error" in got, f"id {value!r} comes back with errors", got)
    tap.check("id" not in raw.ask({"execute": "query-version"}), "no id where none was")


def framing(tap):
    raw = negotiated(Daemon())
    one = b'{"execute": "query-version"}'
    raw.say(one + b"\n" + one + b"\r\n" + one + one + b"  \n\n" + b'{"execute":\n"query-version"}')
    tap.check(all("return" in raw.read() for _ in range(5)), "messages end by newline, CR LF, or nothing")
    for i in range(len(one)):
        raw.say(one[i:i + 1])
    tap.check("return" in raw.read(), "a message may come byte by byte")
    raw.say(one * 100)
    tap.check(all("return" in raw.read() for _ in range(100)), "a hundred commands at once, in order")
    raw.say(b'{"execute": "query-version", "id": "last"}')
    raw.sock.shutdown(socket.SHUT_WR)
    tap.equal(raw.read()["id"], "last", "a client that closes its side still gets its answer")
    tap.equal(raw.read(), None, "and then the end")


def malformed(tap):
    raw = negotiated(Daemon())
    for what, data in (
            ("garbage", b"hello\n"), ("an array", b"[]\n"), ("a number", b"5\n"), ("zero bytes", b"\0\0\0\n"),
            ("no JSON in braces", b"{hello}\n"), ("a missing value", b'{"execute": }\n'),
            ("not UTF-8", b'{"execute": "\xff\xfe"}\n'), ("a cut surrogate", b'{"execute": "\\ud800"}\n'),
            ("a NUL in a string", b'{"execute": "a\\u0000b"}\n'), ("duplicate members", b'{"execute": "a", "execute": "b"}\n'),
            ("an open string", b'{"execute": "a\n'), ("wrong brackets", b'{"execute": [}]\n'),
            ("no execute", b'{}\n'), ("execute is a number", b'{"execute": 1}\n'),
            ("arguments are an array", b'{"execute": "query-pool", "arguments": []}\n'),
            ("an unknown member", b'{"execute": "query-pool", "argument": {}}\n'),
            ("out of band", b'{"exec-oob": "query-pool"}\n')):
        # Of some garbage come several errors; all of them before the next answer.
        got = [raw.ask(data + b'\x01\n{"execute": "query-version", "id": "next"}\n')]
        while got[-1] and got[-1].get("id") != "next":
            got.append(raw.read())
        tap.check(len(got) > 2 and all(a and a.get("error", {}).get("class") == "GenericError" for a in got[:-1]) and
                  "return" in (got[-1] or {}), f"{what} gets an error, and the connection goes on", got)


def events(tap):
    daemon = Daemon()
    with daemon.qmp() as watcher, daemon.qmp() as actor:
        silent = Raw(daemon)
        silent.read()
        actor("vm-create", name="ev", tenant="t", plan="standard", boot=64 << 20, limit=256 << 20)
        event = watcher.wait_event("VM_CREATED", 5)
        tap.equal(event and event["data"], {"name": "ev"}, "VM_CREATED")
        tap.check(event and sorted(event["timestamp"]) == ["microseconds", "seconds"] and
                  event["timestamp"]["seconds"] > 1700000000, "with a timestamp as QMP's", event)
        actor("vm-set", name="ev", target=192 << 20, deadline_ms=5000)
        event = watcher.wait_event("TARGET", 5)
        tap.equal(event and event["data"], {"name": "ev", "target-blocks": 96, "deadline-ms": 5000}, "TARGET")
        actor("vm-set", name="ev", target=None)
        event = watcher.wait_event("TARGET", 5)
        tap.equal(event and event["data"]["target-blocks"], None, "TARGET, cleared")
        tap.check(actor.wait_event("TARGET", 5), "who acts sees the events too")
        got = silent.ask({"execute": "qmp_capabilities"})
        tap.equal(got, {"return": {}}, "none before negotiation")


run(negotiation, ids, framing, malformed, events)
