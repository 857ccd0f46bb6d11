#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors whose last close takes long, or never ends, sent to each socket of the daemon
and of its keeper: nobody else waits, what can be closed is, and a restart does not wait."""

import contextlib
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import strange
from daemon import MIB, Daemon, links, run, until
from qmp import Qmp

SOON_S = 10	# far less than LINGER_S, far more than a slow machine takes
CLIENTS_MAX = 64
RECEIPT_S = 20	# after which a QEMU goes whose descriptors cannot be received


def client(daemon):
    return Qmp(daemon.control, timeout_s=2 * strange.LINGER_S)


def answer_s(daemon, qmp=None):
    """How long somebody else waits for an answer: a new client, or `qmp`."""
    began = time.monotonic()
    if qmp:
        qmp("query-pool")
    else:
        with client(daemon) as new:
            new("query-pool")
    return time.monotonic() - began


def nobody_waits(tap, daemon, what, qmp=None):
    """Looks twice: what was sent may be read after the first answer."""
    longest = max(answer_s(daemon, qmp), answer_s(daemon, qmp))
    tap.check(longest < SOON_S, f"{what}: nobody else waits ({longest:.1f} s)")


def create(daemon, name="vm"):
    with daemon.qmp() as qmp:
        return qmp("vm-create", name=name, tenant="t", plan="standard", boot=2 * MIB, limit=130 * MIB)["vhost-socket"]


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(SOON_S)
    sock.connect(path)
    return sock


@contextlib.contextmanager
def stopped(daemon):
    """It looks at what comes meanwhile all at once, and when only it has what was sent."""
    pid = daemon.child() if "--keep" in daemon.arguments else daemon.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def give(daemon, sock, data, *fds):
    with stopped(daemon):
        strange.send(sock, data, *fds)


def hung_up(sock):
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except socket.timeout:
        return False
    return True


def to_a_vm(tap):
    daemon = Daemon()
    path = create(daemon)
    sock = connect(path)
    give(daemon, sock, strange.memory_table(), strange.lingering())
    nobody_waits(tap, daemon, "as memory")
    tap.check(hung_up(sock), "and that connection is closed")
    sock = connect(path)
    give(daemon, sock, strange.message(strange.UNKNOWN), strange.lingering())
    nobody_waits(tap, daemon, "with a message that nobody knows")
    tap.check(hung_up(sock), "which is refused")
    with stopped(daemon):
        sock = connect(path)
        strange.send(sock, strange.message(strange.UNKNOWN))
        strange.send(sock, strange.memory_table(), strange.lingering())
    nobody_waits(tap, daemon, "behind a message that ends the connection")
    tap.check(hung_up(sock), "which it does")
    sock = connect(path)
    give(daemon, sock, strange.memory_table(9), *(strange.lingering() for _ in range(9)))
    nobody_waits(tap, daemon, "more than a message may have")
    tap.check(hung_up(sock), "which is refused, too")
    with stopped(daemon):
        holds, sock = connect(path), connect(path)
        strange.send(sock, strange.memory_table(), strange.lingering())
    nobody_waits(tap, daemon, "over a second connection")
    tap.check(hung_up(sock), "which is refused")
    holds.close()
    with daemon.qmp() as qmp:
        tap.check(until(lambda: qmp("query-vm", name="vm")["state"] == "detached", SOON_S), "and the first one ends")
    inner, outer = socket.socketpair()
    strange.send(outer, b"x", strange.lingering())
    sock = connect(path)
    give(daemon, sock, strange.message(21), inner.detach())
    outer.close()
    nobody_waits(tap, daemon, "in the queue of a socket that is sent")
    sock.close()
    began = time.monotonic()
    code = daemon.stop()
    tap.check(code == 0 and time.monotonic() - began < SOON_S, "the daemon ends in time", code)
    strange.no_more_lingering()


def out_of_band(tap):
    """A byte out of band, which reads pass over, with a descriptor."""
    daemon = Daemon()
    sock = connect(create(daemon))
    data, fd = strange.memory_table(), strange.lingering()
    with stopped(daemon):
        sock.sendmsg([data[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))],
                     socket.MSG_OOB)
        os.close(fd)
        sock.sendall(data)
    nobody_waits(tap, daemon, "with a byte out of band")
    sock.close()
    nobody_waits(tap, daemon, "when that connection ends")
    strange.no_more_lingering()


def inherited(daemon):
    """Start daemon with a listening socket of ours, as a service manager may pass one: what the
    kernel refuses for the daemon's own socket (since Linux 6.16) gets through there."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.makedirs(daemon.run_dir, exist_ok=True)
    listening.bind(daemon.control)
    listening.listen(64)
    code = "import os,sys; os.dup2(int(sys.argv[1]),3); os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='1'); " \
        "os.execv(sys.argv[2],sys.argv[2:])"
    os.set_inheritable(listening.fileno(), True)
    daemon.pass_fds = (listening.fileno(),)
    daemon.start(prefix=(sys.executable, "-c", code, str(listening.fileno())))
    listening.close()
    return daemon


def to_the_control_socket(tap, whose):
    daemon = inherited(Daemon(start=False)) if whose == "inherited" else Daemon()

    def poison(what, sock, data):
        try:
            give(daemon, sock, data, strange.lingering())
        except OSError as error:
            tap.check(whose == "own", f"{what}: the kernel refuses it", error)
            return False
        nobody_waits(tap, daemon, what)
        return True

    sock = connect(daemon.control)
    if poison("beside bytes", sock, b'{"execute": "qmp_capabilities"}'):
        tap.check(hung_up(sock), "such a client is cut off")
    sock.close()
    nobody_waits(tap, daemon, "when it has gone")
    sock = connect(daemon.control)
    sock.sendall(b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-schema"}' * 400)
    poison("behind a flood", sock, b"{")
    sock.close()
    nobody_waits(tap, daemon, "when the flood's sender has gone")
    # One of the crowd asks: a new client might come before the daemon has seen the others leave.
    crowd, asks = [connect(daemon.control) for _ in range(CLIENTS_MAX - 1)], client(daemon)
    answers = [c.recv(100) for c in crowd]
    with stopped(daemon):
        sock = connect(daemon.control)
        try:
            strange.send(sock, b"{", strange.lingering())
            poisoned = True
        except OSError:
            poisoned = False
    if poisoned:
        nobody_waits(tap, daemon, "of one that is turned away", asks)
    for c in [asks, sock, *crowd]:
        c.close()
    tap.check(all(answers), "the others had been greeted")
    began = time.monotonic()
    code = daemon.stop()
    tap.check(code == 0 and time.monotonic() - began < SOON_S, "the daemon ends in time", code)
    strange.no_more_lingering()


def hang_up_seen(read_end, timeout_s=SOON_S):
    """Is the last copy of the other end of a pipe closed?"""
    os.set_blocking(read_end, False)

    def ended():
        try:
            return os.read(read_end, 1) == b""
        except BlockingIOError:
            return False
    return until(ended, timeout_s)


def never_ends(tap):
    """Closes that never end take up their sender's places and nobody else's."""
    try:
        hanging = strange.Hanging()
    except OSError as error:
        tap.skip("closes that never end", f"no FUSE here: {error}")
        return
    daemon = Daemon("--keep")
    bad, good = create(daemon, "bad"), create(daemon, "good")
    for i in range(5):
        sock = connect(bad)
        sock.settimeout(RECEIPT_S + SOON_S)
        hanging.send(sock, strange.memory_table())
        tap.check(hung_up(sock), f"connection {i} with a file that never closes comes to its end")
    tap.check(until(hanging.strangers), f"closes wait, {hanging.strangers()} of them here")
    nobody_waits(tap, daemon, "meanwhile")
    tap.has(daemon.log(), "takes for ever", "when too many wait no more are taken from that VM")
    for i in range(6):
        read_end, write_end = os.pipe()
        sock = connect(good)
        strange.send(sock, strange.memory_table(), write_end)
        tap.check(hang_up_seen(read_end), f"another VM's descriptor {i} is closed all the same")
        os.close(read_end)
        sock.close()
    first = daemon.child()
    daemon.process.send_signal(signal.SIGHUP)
    began = time.monotonic()
    tap.check(until(lambda: daemon.child() not in (None, first) and daemon.answers(), SOON_S),
              f"a restart does not wait for them ({time.monotonic() - began:.1f} s)")
    os.kill(daemon.child(), signal.SIGKILL)
    until(daemon.answers)
    nobody_waits(tap, daemon, "nor after a crash")
    tap.equal(daemon.stop(), 0, "nor does the end")
    hanging.end()


def keeper(tap):
    """Who may say what to the keeper: the daemon alone, over a socket that has no name."""
    daemon = Daemon("--keep")
    names = {}
    with open("/proc/net/unix") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if len(fields) == 8:
                names[f"socket:[{fields[6]}]"] = fields[7]

    found = [names[link] for link in links(daemon.process.pid) if names.get(link)]
    tap.equal(found, [], "no socket of the keeper's can be reached")
    for name in found:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.connect(name.replace("@", "\0", 1))
        sock.setblocking(False)
        strange.send(sock, b"x", strange.lingering())
        for _ in range(11):
            try:
                sock.send(b"x")
            except BlockingIOError:
                pass
        began, first = time.monotonic(), daemon.child()
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: daemon.child() not in (None, first), 2 * strange.LINGER_S)
        took = time.monotonic() - began
        tap.check(took < SOON_S, f"and the keeper does not wait ({took:.1f} s)")
    strange.no_more_lingering()


run(to_a_vm, out_of_band, (to_the_control_socket, "own"), (to_the_control_socket, "inherited"), never_ends, keeper)
