#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket is QMP: sentence by sentence of QEMU's specification
(docs/interop/qmp-spec.rst in its source), beside a real QEMU that is told the same bytes,
and with the Python client that QEMU's developers wrote."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import patience
from daemon import Daemon, run, until

WAIT_S = 20 * patience.SLOWEST
MIB = 1 << 20
# QEMU's enumeration of error classes; some clients refuse any other.
CLASSES = {"GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"}
NEGOTIATE = b'{"execute": "qmp_capabilities"}\n'
VERSION = b'{"execute": "query-version"}'
LAST = b'{"execute": "query-version", "id": "the last"}\n'


class Wire:
    """A connection seen as bytes; .lines has all lines that came, as they came."""

    def __init__(self, path, negotiate=True):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.lines = []
        self.greeting = self.read()
        if negotiate:
            self.ask(NEGOTIATE)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.sock.close()

    def read(self):
        """The next message, or None at the end."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        self.lines.append(line)
        return json.loads(line) if line else None

    def say(self, data):
        self.sock.sendall(data)

    def ask(self, data):
        self.say(data)
        return self.read()

    def until_last(self, data):
        """What comes back for these bytes, up to the answer to LAST behind them. Between them
        is a control character, which ends whatever the bytes have left open."""
        self.say(data + b"\x01\n" + LAST)
        got = []
        while not got or got[-1] is not None and got[-1].get("id") != "the last":
            try:
                got.append(self.read())
            except TimeoutError:
                got.append(None)
        return got


def kinds(answers):
    """What sort of answers they are: a return or the error's class, and the id."""
    return [None if a is None else ("return" if "return" in a else a["error"]["class"], a.get("id", "no id"))
            for a in answers]


def command(**members):
    return json.dumps(members).encode() + b"\n"


def one_vm(daemon):
    with daemon.qmp() as qmp:
        qmp("vm-create", name="vm", tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)


# --- the specification's sentences ---

def specification(tap):
    daemon = Daemon()
    with Wire(daemon.control, negotiate=False) as wire:
        tap.equal(sorted(wire.greeting["QMP"]), ["capabilities", "version"], "right when connected, a greeting")
        got = wire.ask(command(execute="query-version", id=1))
        tap.equal(kinds([got]), [("CommandNotFound", 1)], "before negotiation all other commands are CommandNotFound")
        one_vm(daemon)
        tap.equal(wire.ask(command(execute="qmp_capabilities")), {"return": {}}, "nor are events delivered before it")
        version = wire.ask(VERSION)["return"]
        tap.equal(wire.greeting["QMP"]["version"], version, "the greeting's version is as query-version's")
        got = wire.ask(command(execute="qmp_capabilities", id=2))
        tap.equal(kinds([got]), [("CommandNotFound", 2)], "in command mode all but qmp_capabilities are allowed")
        for value in (0, -1, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 0.25, "", "ä€😀", "it's", None, True, [], {},
                      [1, [2, {"x": (1 << 64) - 1}]], {"id": {"id": 5}}):
            got = [wire.ask(command(execute=e, id=value)) for e in ("query-version", "no-such")]
            tap.equal([a.get("id", "no id") for a in got], [value, value], f"the id can be any value: {value!r}")
            tap.check(type(got[0]["id"]) is type(value), f"and of the same type: {value!r}")
        got = wire.ask(command(execute="query-bill", id=[(1 << 64) - 1, "ä"]))
        tap.check("return" in got and got["id"] == [(1 << 64) - 1, "ä"], "nor does it matter that the answer takes a while", got)
        tap.check("id" not in wire.ask(VERSION), "no id, none in the answer")
        tap.equal(wire.ask(command(id=5, arguments={}, execute="query-version"))["id"], 5, "members in any order")
        tap.equal(wire.ask(command(execute="vm-report-now", arguments={"name": "vm"})), {"return": {}},
                  "an empty object where a command returns nothing")
        got = wire.ask("{'execute': 'query-vm', 'arguments': {'name': 'vm'}, 'id': 'a\"b\\'c'}\n".encode())
        tap.equal((got["return"]["name"], got["id"]), ("vm", "a\"b'c"), "single-quoted strings, and \\' in them")
        tap.equal(wire.ask(b'{"execute": "query-version", "id": "it\\\'s"}')["id"], "it's", "\\' in double quotes too")
        got = wire.ask(b'{ "execute": }\n')
        tap.check(set(got["error"]) == {"class", "desc"} and got["error"]["class"] == "GenericError" and
                  got["error"]["desc"].startswith("JSON parse error"), "a parsing error", got)
        for bad in (b"\x01", b"\x00", b"\x7f\x1f", b"\xff", b"\xfe"):
            for open_ in (b"", b'{"execute":', b'{"execute": "a', b'{"execute": "a\\', b"[[{", b"-", b"nul"):
                got = wire.ask(open_ + bad)
                wire.say(b"\n" + LAST)
                while got and "error" in got:
                    got = wire.read()
                tap.equal(got and got.get("id"), "the last", f"{bad!r} after {open_!r} brings the parser to a known state")
        tap.equal(wire.ask(command(execute="query-vm", arguments={"name": 5}, id=3))["error"]["class"], "GenericError",
                  "an error if a value has not the expected type")
        got = wire.ask(command(execute="vm-set", arguments={"name": "vm", "limit": 192 * MIB, "what": 1}))
        tap.equal(got["error"]["class"], "GenericError", "an error for a key that is not known")
        tap.equal(wire.ask(command(execute="query-vm", arguments={"name": "vm"}))["return"]["limit-blocks"], 96,
                  "reported before the command has any effect")
        wire.until_last(command(execute="vm-set", arguments={"name": "vm", "target": 64 * MIB}) +
                        '{"execute": "query-vm", "arguments": {"name": "ümläut€😀"}}'.encode())
        events = [m for m in map(json.loads, wire.lines) if "event" in m]
        tap.check(events and all(isinstance(e["timestamp"]["seconds"], int) and isinstance(e["timestamp"]["microseconds"], int)
                                 and isinstance(e["data"], dict) for e in events), "events have data and timestamp", events)
        tap.equal([l for l in wire.lines if not l.endswith(b"\r\n") or l.count(b"\n") != 1], [], "all ends with CR LF")
        tap.equal([l for l in wire.lines if not l.isascii()], [], "the output is ASCII")
        classes = {m["error"]["class"] for m in map(json.loads, wire.lines) if "error" in m}
        tap.check(classes <= CLASSES and len(classes) >= 2, "error classes are QEMU's", classes)


# --- beside QEMU ---

# What is said after negotiation.
SAME = [
    VERSION, VERSION + b"\n", VERSION + b"\r\n", VERSION * 3, b" \t\r\n" + VERSION,
    b"{'execute': 'query-version'}", b"{'execute': \"query-version\", 'id': 'say \"x\"'}",
    b'{"execute": "query-version", "id": "it\\\'s"}', b"{'execute': 'query-version', 'id': 'it\\'s'}",
    b'{"execute":\x01' + VERSION, b'{"execute":\xff' + VERSION, b"{\xff\n" + VERSION, b"\xfe\xff", b"\x01\x02\x03",
    b'{"execute": "query\nversion"}' + VERSION, b'{"execute": "que', b'{"execute": "a\\', b"{", b"[", b"[[[{",
    b"}", b"]", b"}}}", b"[}", b'{"a": ]}', b",", b":", b'"', b"'", b'"text"\n', b"5\n", b"-\n", b"01\n", b"1.\n", b"1.5e+\n", b"-0 ",
    b"true\n", b"nul \n", b"hello world\n", b"HELLO {}\n", b"#\n", b"[]\n", b"[1, 2]\n", b"{}\n", b"{} []\n",
    b'{"execute": }', b'{"execute"}', b'{"execute": 1}', b'{"execute": null}', b'{"execute": ["query-version"]}',
    b'{"execute": "query-version", }', b'{"execute": "query-version"', b'{, "execute": "query-version"}',
    b'{"execute": "query-version" "id": 1}', b'{"execute": "query-version", "id": }', b'{"execute": "query-version", "id": 1 2}',
    b'{"execute": "query-version", "id": 1, "id": 2}', b'{"execute": "query-version", "execute": "query-version"}',
    b'{"execute": "query-version", 5: 6}', b'{"execute": "query-version", "id": tru}', b'{"execute": "query-version", "x": 1, "id": 7}',
    b'{"execute": "query-version", "arguments": []}', b'{"execute": "query-version", "arguments": {}, "id": 1}',
    b'{"execute": "query-version", "arguments": {"x": 1}, "id": 1}', b'{"execute": "query-version", "arguments": 5, "id": 2}',
    b'{"execute": "no-such", "id": 3}', b'{"execute": "", "id": 3}', b'{"id": 4}', b'{"arguments": {}}',
    b'{"exec-oob": "query-version", "id": 5}', b'{"exec-oob": "query-version", "execute": "query-version", "id": 5}',
    b'{"execute": "qmp_capabilities", "id": 6}', b'{"execute": "qmp_capabilities", "arguments": {"enable": ["x"]}, "id": 6}',
    b'{"execute": "query-version", "id": "\\ud83d\\ude00"}', b'{"execute": "query-version", "id": "\\ud83d"}',
    b'{"execute": "query-version", "id": "\\x"}', b'{"execute": "query-version", "id": "\\u12"}',
    b'{"execute": "query-version", "id": "\xc3\xa4"}', b'{"execute": "query-version", "id": "\xc3"}', b'{"execute": "query-version", "id": "\x80"}',
    b'{"execute": "query-version", "id": "\xf4\x8f\xbf\xbd"}', b'{"execute": "query-version", "id": "\\"\\\\\\/\\b\\f\\n\\r\\t"}',
    b'{"\\u0065xecute": "query-version"}', b'{"execute": "query-version", "id": "' + b"x" * 70000 + b'"}',
    b'{"execute": "query-version",' + b" " * 70000 + b'"id": 1}', b'{"execute": "query-version", "id": ' + b"[" * 500 + b"]" * 500 + b"}",
    *(b'{"execute": "query-version", "id": %d}' % i for i in (0, -1, 1 << 63, -(1 << 63), (1 << 63) - 1, (1 << 64) - 1)),
    b'{"execute": "query-version", "id": 1.5}', b'{"execute": "query-version", "id": 1e3}',
    b'{"execute": "query-version", "id": {"id": 18446744073709551615, "execute": "x"}}',
    b'{"id": 18446744073709551615, "execute": "no-such"}', b'{"id": [1, "b"], "arguments": {}, "execute": "query-version"}',
]
# ... and before it.
BEFORE = [
    VERSION, b'{"execute": "no-such", "id": 1}', b'{"execute": }', b"[]", b"\xff", b'{"exec-oob": "query-version", "id": 2}',
    b'{"execute": "qmp_capabilities", "arguments": {"enable": ["x"]}, "id": 3}',
    b'{"execute": "qmp_capabilities", "arguments": {"enabel": []}, "id": 3}',
    b'{"execute": "qmp_capabilities", "arguments": {"enable": []}, "id": 3}' + VERSION,
]


def qemu_path():
    """The patched QEMU, or None."""
    if "MEMLEASE_QEMU" in os.environ:
        return os.environ["MEMLEASE_QEMU"]
    got = subprocess.run([os.path.join(TOP, "scripts", "build-qemu"), "--print-path"], capture_output=True, text=True,
                         timeout=60 * patience.SLOWEST, check=False)
    return None if got.returncode else got.stdout.strip()


@contextlib.contextmanager
def real_qemu(binary):
    """The path of a monitor of a QEMU that has no machine."""
    with tempfile.TemporaryDirectory(prefix="mlq-") as directory:
        path = os.path.join(directory, "qmp")
        process = subprocess.Popen([binary, "-machine", "none", "-nodefaults", "-display", "none", "-accel", "qtest",
                                    "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL)
        try:
            if not until(lambda: os.path.exists(path) or process.poll() is not None) or process.poll() is not None:
                raise AssertionError(f"{binary} does not start")
            yield path
        finally:
            process.kill()
            process.wait()


def short(data):
    return repr(data if len(data) < 90 else data[:60] + b"..." + data[-20:])


def beside_qemu(tap):
    binary = qemu_path()
    if not binary:
        tap.skip("side by side with QEMU", "run scripts/build-qemu")
        return
    daemon = Daemon()
    silent = 0
    with real_qemu(binary) as path:
        for negotiate, cases in ((True, SAME), (False, BEFORE)):
            for data in cases:
                with Wire(path, negotiate) as theirs, Wire(daemon.control, negotiate) as ours:
                    # In turns: both read until an answer that does not come before negotiation.
                    tail = b"" if negotiate else NEGOTIATE
                    wanted, got = theirs.until_last(data + tail), ours.until_last(data + tail)
                    tap.equal(kinds(got), kinds(wanted), f"as QEMU{'' if negotiate else ', before negotiation'}: {short(data)}")
                    silent += got[-1] is None
                    if silent > 2:
                        return


def bounds(tap):
    """What QEMU bounds at 64 MiB is less here; the connection goes on behind it."""
    with Wire(Daemon().control) as wire:
        for what, data in (("long", b'{"execute": "query-version", "id": "' + b"x" * (1 << 20) + b'"}'),
                           ("of many tokens", b'{"execute": "query-version", "id": [' + b"1," * 100000 + b"1]}"),
                           ("nested deeply", b'{"execute": "query-version", "id": ' + b"[" * 50000 + b"]" * 50000 + b"}")):
            got = wire.ask(data)
            tap.check(got and re.search("at most [0-9]+", got["error"]["desc"]), f"a message too {what} gets an error", got)
            tap.equal(wire.ask(command(execute="query-version", id=1))["id"], 1, "one, and the next command its answer")
        wire.say(b'{"execute": "query-version", "id": "' + b"x" * (1 << 20))
        wire.read()
        got = wire.until_last(b"")
        tap.equal(kinds(got), [("GenericError", "no id"), ("return", "the last")], "one that never ends is ended by a control character")


# --- a client that nobody here wrote ---

async def talk(tap, path):
    from qemu.qmp import EventListener, ExecuteError, QMPClient

    client = QMPClient("test")
    await client.connect(path)
    tap.has(client.greeting.QMP.version["package"], "memlease", "QEMU's client reads the greeting")
    version = await client.execute("query-version")
    tap.equal(version, client.greeting.QMP.version, "it carries out commands")
    listener = EventListener(names="VM_CREATED")
    with client.listen(listener):
        how = {"name": "vm", "tenant": "t", "plan": "standard", "boot": 64 * MIB, "limit": 256 * MIB}
        got = await client.execute("vm-create", how)
        tap.equal(got["limit-blocks"], 96, "with arguments")
        event = await asyncio.wait_for(listener.get(), WAIT_S)
        tap.equal(event["data"], {"name": "vm"}, "it gets events")
    got = await asyncio.gather(*(client.execute("query-vm", {"name": "vm"}) for _ in range(100)))
    tap.equal(len(got), 100, "a hundred commands at a time")
    for name, arguments, klass in (("no-such", None, "CommandNotFound"), ("query-vm", {"name": "x"}, "DeviceNotFound"),
                                   ("query-vm", {"nmae": "x"}, "GenericError"), ("query-vm", {"name": "ä"}, "GenericError")):
        try:
            got = await client.execute(name, arguments)
        except ExecuteError as error:
            got = error.error_class
        tap.equal(got, klass, f"errors: {name} {arguments}")
    got = await client._raw(b'{"execute": "query-version", "id": "mine"}', assign_id=False)
    tap.equal(got.get("id"), "mine", "what it is given as bytes")
    await client.disconnect()


def foreign_client(tap):
    got = subprocess.run([os.path.join(TOP, "scripts", "build-qemu"), "--print-python"], capture_output=True, text=True,
                         timeout=120 * patience.SLOWEST, check=False)
    if got.returncode:
        tap.skip("QEMU's client for Python", got.stderr.strip())
        return
    sys.path.insert(0, got.stdout.strip())
    asyncio.run(asyncio.wait_for(talk(tap, Daemon().control), 3 * WAIT_S))


run(specification, beside_qemu, bounds, foreign_client)
