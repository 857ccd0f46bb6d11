#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of the control socket that mean harm: garbage, floods, crowds, and those that
never read. Others are served meanwhile, and the daemon lives."""

import os
import random
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import BINARY, MIB, Daemon, run, until
from qmp import Qmp

CLIENTS_MAX = 64
ANSWER_MS = 2000	# generous: emulators and sanitizers share the machine


def connect(daemon, negotiate=True):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(daemon.control)	# waits where the backlog is full
    sock.settimeout(10)
    if negotiate:
        sock.sendall(b'{"execute": "qmp_capabilities"}')
    return sock


def answer_ms(daemon):
    """How long somebody else waits for an answer."""
    began = time.monotonic()
    with Qmp(daemon.control) as qmp:
        qmp("query-pool")
    return (time.monotonic() - began) * 1000


def resident_kib(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def garbage(tap):
    daemon = Daemon()
    chance = random.Random(7)
    before = descriptors(daemon)
    alphabet = b'{}[]":,\\\n\r \t0123456789.eE+-truefalsnl\x00\xff\x80'
    for round_ in range(200):
        sock = connect(daemon, chance.random() < 0.5)
        data = bytes(chance.choice(alphabet) for _ in range(chance.randrange(1, 3000))) if round_ % 2 else \
            chance.randbytes(chance.randrange(1, 3000))
        try:
            sock.sendall(data)
            if chance.random() < 0.3:
                sock.recv(100)
        except OSError:
            pass
        sock.close()
    tap.check(answer_ms(daemon) < ANSWER_MS, "200 clients of garbage (seed 7), and the daemon answers")
    tap.check(until(lambda: descriptors(daemon) <= before), "none of them left a descriptor",
              before, descriptors(daemon))


def mutations(tap):
    """Valid commands with something changed in them."""
    daemon = Daemon()
    chance = random.Random(8)
    good = [b'{"execute": "vm-create", "arguments": {"name": "m", "tenant": "t", "plan": "standard", '
            b'"boot": 67108864, "limit": 268435456}}', b'{"execute": "vm-set", "arguments": {"name": "m", '
            b'"target": null, "limit": 268435456}, "id": [1]}', b'{"execute": "query-bill", "arguments": '
            b'{"by": "vm", "from": 0}}', b'{"execute": "query-vm", "arguments": {"name": "m"}}',
            b'{"execute": "vm-delete", "arguments": {"name": "m"}}', b'{"execute": "query-vms"}']
    sock = connect(daemon)

    def say(data):
        """Send it all, reading what comes meanwhile; False if the daemon has hung up."""
        while data:
            readable, writable, _ = select.select([sock], [sock], [], 10)
            try:
                if readable and not sock.recv(1 << 16):
                    return False
                if writable:
                    data = data[sock.send(data, socket.MSG_DONTWAIT):]
            except BlockingIOError:
                pass
            except OSError:
                return False
        return True

    for _ in range(3000):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(data))
            how = chance.randrange(3)
            if how == 0:
                data[at] = chance.randrange(256)
            elif how == 1:
                del data[at]
            else:
                data.insert(at, chance.choice(b'"{}[],:0-\\'))
        if not say(bytes(data) + b"\n"):	# a message that never ended, say
            sock.close()
            sock = connect(daemon)
    sock.close()
    tap.check(answer_ms(daemon) < ANSWER_MS, "3000 commands with bytes changed (seed 8), and the daemon answers")


def floods(tap):
    daemon = Daemon(pool="256M")
    with daemon.qmp() as qmp:
        for i in range(50):
            qmp("vm-create", name=f"f{i}", tenant="t", plan="standard", boot=2 * MIB, limit=130 * MIB)
    stop = threading.Event()

    def flood():
        sock = connect(daemon)
        sock.settimeout(0.5)
        while not stop.is_set():
            try:
                sock.sendall(b'{"execute": "query-vms"}' * 50)
                sock.recv(1 << 20)
            except socket.timeout:
                pass
            except OSError:
                return
        sock.close()

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    worst = max(answer_ms(daemon) for _ in range(10))
    stop.set()
    for thread in threads:
        thread.join()
    tap.check(worst < ANSWER_MS, f"8 clients flood with query-vms; another waits {worst:.0f} ms at most")


def never_reads(tap):
    daemon = Daemon(pool="256M")
    with daemon.qmp() as qmp:
        for i in range(50):
            qmp("vm-create", name=f"n{i}", tenant="t", plan="standard", boot=2 * MIB, limit=130 * MIB)
    before = resident_kib(daemon)
    socks = []
    for _ in range(20):
        sock = connect(daemon)
        sock.setblocking(False)
        try:
            for _ in range(2000):
                sock.send(b'{"execute": "query-vms"}' * 10)
        except BlockingIOError:
            pass
        socks.append(sock)
    tap.check(answer_ms(daemon) < ANSWER_MS, "20 clients that never read do not stop the daemon")
    grown = resident_kib(daemon) - before
    if b"__asan_init" in open(BINARY, "rb").read():
        tap.skip("nor fill its memory", "a sanitizer keeps freed memory for a while")
    else:
        tap.check(grown < 40000, f"nor fill its memory ({grown} KiB more)")
    # Events come whether or not they are read: the bound is where they are cut off.
    with daemon.qmp() as qmp:
        for i in range(400):
            qmp("vm-set", name="n1", target=(2 + i % 2 * 2) * MIB)
        tap.check(len(qmp.events) >= 399, "who reads gets all events", len(qmp.events))
    tap.check(answer_ms(daemon) < ANSWER_MS, "events do not wait for them either")
    for sock in socks:
        sock.close()


def crowd(tap):
    daemon = Daemon()
    before = descriptors(daemon)
    socks = [connect(daemon) for _ in range(CLIENTS_MAX)]
    extra = connect(daemon, False)
    text = extra.recv(1000)
    tap.check(b"Too many clients" in text, "one too many is told so", text)
    tap.equal(extra.recv(1000), b"", "and closed")
    socks.pop().close()

    def fits():
        try:
            with Qmp(daemon.control, timeout_s=5) as qmp:
                return bool(qmp("query-version"))
        except (OSError, KeyError, ValueError):
            return False
    tap.check(until(fits), "when one goes another may come")
    for sock in socks:
        sock.close()
    tap.check(until(lambda: descriptors(daemon) <= before), "all are gone", before, descriptors(daemon))


def others_place(tap):
    """Another user cannot take the places that root needs."""
    if not hasattr(os, "fork"):
        return
    daemon = Daemon("--socket-group", "nogroup")
    os.chmod(daemon.dir, 0o755)
    ready, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        socks, refused = [], 0
        for _ in range(CLIENTS_MAX + 10):
            sock = connect(daemon, False)
            refused += b"Too many" in sock.recv(1000)
            socks.append(sock)
        os.write(wait, b"%d" % refused)
        time.sleep(60)
        os._exit(0)
    refused = int(os.read(ready, 10))
    tap.equal(refused, CLIENTS_MAX + 10 - 28, "28 places for a group member")
    tap.check(answer_ms(daemon) < ANSWER_MS, "root still gets in")
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def half_way(tap):
    """Commands whose client is gone before the answer."""
    daemon = Daemon()
    for command in (b"query-bill", b"query-schema", b"query-vms"):
        for _ in range(30):
            sock = connect(daemon)
            sock.sendall(b'{"execute": "' + command + b'"}')
            sock.close()
    tap.check(answer_ms(daemon) < ANSWER_MS, "clients that leave before the answer do no harm")
    with daemon.qmp() as qmp:
        bills = [qmp("query-bill")["total"]["amount"] for _ in range(20)]
        tap.equal(len(set(bills)), 1, "bills go on")


run(garbage, mutations, floods, never_reads, crowd, others_place, half_way)
