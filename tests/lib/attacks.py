# SPDX-License-Identifier: GPL-2.0-or-later
"""The catalogue of attacks: what a VM, a QEMU that was taken over or a local process can do to
the others of a host. Each is a function of an Attack, which makes one go of it, and is called
again and again, in processes of their own, until these are killed. Their lines of
documentation are the table of docs/benchmarks.md."""

import array
import contextlib
import ctypes
import os
import random
import re
import signal
import socket
import struct
import time

from daemon import Daemon, links
from peer import AVAIL, BORROW, REPORT, RESET_DEVICE, RETURN, SET_MEM_TABLE, WINDOW, Peer, libc
from qmp import Qmp, QmpError

MIB = 1 << 20
LINGER_S = 20
PR_SET_PDEATHSIG = 1
NOBODY = 65534	# user and group of who attacks the control socket
CATALOGUE = {}


def attack(processes=1, pause_s=0.0, reaps=False):
    """By so many processes; a pause after each go; reaps: it waits for children of its own."""
    def note(function):
        function.processes, function.pause_s, function.reaps = processes, pause_s, reaps
        CATALOGUE[function.__name__] = function
        return function
    return note


def victim(pool):
    """A daemon whose control socket is open to others than its operator, who keeps places of his own."""
    return Daemon("--keep", "--socket-group", "nogroup", pool=pool)


@contextlib.contextmanager
def stranger():
    """Who connects meanwhile is not the operator, but one of those who may use the control socket."""
    os.setgroups([NOBODY])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


class Attack:
    """What an attacking process has: the daemon's places, and a VM of its own."""

    def __init__(self, control, supervisor, number):
        self.control, self.supervisor, self.number = control, supervisor, number
        self.chance = random.Random(number)
        self.kept = []		# open, for as long as the process lives
        self.peer = None
        self.state = {}
        self.goes, self.told = 0, 0.0

    def ready(self):
        """To say how far it came; ten times a second."""
        due = time.monotonic() >= self.told + 0.1
        if due:
            self.told = time.monotonic()
        return due

    def qmp(self):
        with stranger():
            return Qmp(self.control)

    def vm(self, boot=16 * MIB, window=256 * MIB):
        with self.qmp() as qmp:
            return qmp("vm-create", name=f"attacker-{self.number}-{os.getpid()}", tenant="evil", plan="standard",
                       boot=boot, limit=boot + window)

    def guest(self):
        """The VM's QEMU and guest, running."""
        if not self.peer:
            self.peer = Peer(self.vm())
        if not self.peer.sock:
            self.peer.start()
        return self.peer

    def newcomer(self):
        """The VM's QEMU, connected anew, before it has sent a memory table."""
        if not self.peer:
            self.peer = Peer(self.vm())
        self.drop()
        return self.peer.connect().negotiate().hand_over()

    def drop(self):
        """The VM's connection, if there is one."""
        if self.peer and self.peer.sock:
            self.peer.disconnect()

    def raw(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(5)
        with stranger():
            sock.connect(self.control)
        return sock


def lingering():
    """A descriptor whose last close() takes LINGER_S: a TCP connection with data that nobody takes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    sender.setblocking(True)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_S))
    listener.close()
    return sender, receiver


def give_away(a, send):
    """send(descriptor) such a one, and keep no reference. By a child, for whom the last close may
    be when the receiver was faster."""
    sock, other = lingering()
    a.kept.append(other)
    told, tell = os.pipe()
    if not os.fork():
        try:
            os.close(tell)
            os.read(told, 1)
            fd = sock.detach()
            send(fd)
            os.close(fd)
        finally:
            os._exit(0)	# whatever happens: it is not to make attacks of its own
    sock.close()
    os.close(told)
    os.close(tell)


def one_region(g):
    """The payload of a SET_MEM_TABLE of boot memory alone."""
    return struct.pack("=II", 1, 0) + struct.pack("=QQQQ", 0, g.boot.bytes, g.boot.at, 0)


def rights(fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


# --- a guest ---

@attack(processes=2)
def requests(a):
    """Requests of 128 extents, borrowed, reported and returned, as fast as they are answered."""
    g = a.guest()
    slots = [(WINDOW, slot, 1) for slot in range(128)]
    for kind in (BORROW, REPORT, RETURN):
        g.request(kind, slots)


@attack()
def breaks(a):
    """A request of an unknown type, which breaks the device; reset, and again."""
    g = a.guest()
    try:
        g.request(99, [(WINDOW, 0, 1)], timeout_s=0.01)
    except TimeoutError:
        pass
    g.acked(RESET_DEVICE)
    g.boot.write(AVAIL, bytes(0x8000))	# both rings
    g.asked = g.answered = 0
    g.start_queue()


@attack(processes=2)
def touches(a):
    """First touches of borrowed memory, block after block, by two VMs."""
    g = a.guest()
    g.request(BORROW, [(WINDOW, 0, 128)])
    for slot in range(128):
        g.window.touch(slot)
    g.request(RETURN, [(WINDOW, 0, 128)])


@attack(reaps=True)
def vacant(a):
    """Touches of memory that was never borrowed, by one VM after another; each is ended for it."""
    pid = os.fork()
    if not pid:
        try:
            Attack(a.control, a.supervisor, a.number).guest().window.touch(0)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


# --- a QEMU that was taken over ---

@attack(processes=2)
def reconnects(a):
    """Connections that are dropped once they are set up."""
    a.guest()
    a.drop()


@attack(pause_s=0.2)
def lingering_table(a):
    """Sockets whose close takes 20 s, sent as the memory of SET_MEM_TABLE."""
    g = a.newcomer()
    give_away(a, lambda fd: g.send(SET_MEM_TABLE, one_region(g), [fd]))


@attack(pause_s=0.2)
def lingering_unknown(a):
    """The same beside a message that the daemon does not know."""
    g = a.newcomer()
    give_away(a, lambda fd: g.send(4711, b"", [fd]))


@attack()
def large_file(a):
    """A file of 1 GiB in memory, sent as SET_MEM_TABLE's, whose last reference is the daemon's."""
    g = a.newcomer()
    fd = os.memfd_create("large")
    os.posix_fallocate(fd, 0, 1 << 30)
    g.send(SET_MEM_TABLE, one_region(g), [fd])
    os.close(fd)
    time.sleep(0.1)


@attack()
def own_file(a):
    """The VM's own file filled past the daemon, and emptied."""
    g = a.guest()
    os.posix_fallocate(g.window.fd, 0, 64 * MIB)
    libc.fallocate(g.window.fd, 3, ctypes.c_long(0), ctypes.c_long(64 * MIB))	# PUNCH_HOLE | KEEP_SIZE


@attack(processes=2)
def bystander(a):
    """No attack, for comparison: a program that fills and empties memory of its own."""
    fd = os.memfd_create("own")
    os.posix_fallocate(fd, 0, 64 * MIB)
    os.close(fd)


# --- a process that may use the control socket ---

@attack(processes=4)
def queries(a):
    """query-vms, fifty at a time, by four clients who hardly read."""
    sock = a.state.get("sock")
    if not sock:
        sock = a.state["sock"] = a.raw()
        sock.settimeout(0.5)
        sock.sendall(b'{"execute": "qmp_capabilities"}')
    try:
        sock.sendall(b'{"execute": "query-vms"}' * 50)
        sock.recv(1 << 20)
    except OSError:
        del a.state["sock"]


@attack()
def garbage(a):
    """Bytes that are no JSON, on connection after connection."""
    sock = a.raw()
    try:
        sock.sendall(a.chance.randbytes(3000))
        sock.recv(100)
    except OSError:
        pass
    sock.close()


@attack()
def crowd(a):
    """More connections than there are places, again and again."""
    for _ in range(200):
        try:
            a.kept.append(a.raw())
        except OSError:
            break
    a.kept.clear()


@attack(pause_s=0.2)
def lingering_control(a):
    """Sockets whose close takes 20 s, sent beside a command."""
    client = a.raw()
    command = b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-vms"}' * 100	# something to do before it
    give_away(a, lambda fd: (client.sendall(command), client.sendmsg([b" "], rights([fd])), client.close()))
    client.close()	# by both, or it would hold a place for as long as the child lingers


@attack()
def huge_vms(a):
    """VMs of 58 TiB, created and deleted."""
    with a.qmp() as qmp:
        try:
            name = f"huge-{os.getpid()}"
            qmp("vm-create", name=name, tenant="evil", plan="standard", boot=16 * MIB, limit=58 << 40)
            qmp("vm-delete", name=name)
        except QmpError:
            pass


@attack(processes=2)
def bills(a):
    """Bills of all time, asked for by clients who hang up."""
    client = a.raw()
    try:
        client.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-bill", "arguments": {"by": "vm", "from": 0}}')
        client.recv(100)
    except OSError:
        pass
    client.close()


# --- any local process ---

@attack(pause_s=0.5)
def supervisor(a):
    """Sockets whose close takes 20 s, and datagrams until its queue is full, sent to the supervisor."""
    def fill(fd):
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        try:
            sender.connect(a.supervisor)
            sender.sendmsg([b"FDSTORE=1\nFDNAME=x"], rights([fd]))
            for _ in range(11):
                sender.send(b"STATUS=x")
        except OSError:
            pass
    give_away(a, fill)


# --- who makes them ---

def supervisor_address(pid):
    """Of the supervisor's socket for notifications, as any local process can find it; or None."""
    inodes = set(re.findall(r"socket:\[(\d+)\]", " ".join(links(pid))))
    with open("/proc/net/unix") as file:
        for words in map(str.split, file):
            if len(words) == 8 and words[6] in inodes and words[4] == "0002":
                return "\0" + words[7][1:] if words[7].startswith("@") else words[7]
    return None


class Assault:
    """An attack by name (None: nobody attacks) on a Daemon with --keep, in all its processes."""

    def __init__(self, name, daemon):
        self.function, self.daemon = CATALOGUE.get(name), daemon
        self.address = supervisor_address(daemon.process.pid)
        self.pids = [self._begin(number) for number in range(self.function.processes if self.function else 0)]

    def _log(self, number):
        return os.path.join(self.daemon.dir, f"attack-{number}")

    def _begin(self, number):
        open(self._log(number), "w").close()
        pid = os.fork()
        if pid:
            os.setpgid(pid, pid)	# so that its children end with it
            return pid
        try:
            # One processor for all attackers: a fair scheduler makes whoever wakes wait for
            # the slices of those who are at work, and that is not what is looked at.
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            self._attack(number)
        finally:
            os._exit(1)

    def _attack(self, number):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if not self.function.reaps:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with open(self._log(number), "a", buffering=1) as log:
            attacker = Attack(self.daemon.control, self.address, number)
            while True:
                self._go(attacker, log)
                time.sleep(self.function.pause_s)

    def _go(self, attacker, log):
        try:
            self.function(attacker)
            attacker.goes += 1
        except Exception as error:	# it was ended, or refused: it tries again
            print(repr(error), file=log)
            attacker.drop()
            time.sleep(0.05)
        if attacker.ready():
            print("goes", attacker.goes, file=log)

    def goes(self):
        """How often it came through: one that never did proves nothing."""
        total = 0
        for number in range(len(self.pids)):
            with open(self._log(number)) as log:
                total += int(([0] + re.findall(r"^goes (\d+)$", log.read(), re.MULTILINE))[-1])
        return total

    def log(self):
        texts = []
        for number in range(len(self.pids)):
            with open(self._log(number)) as log:
                texts.append(log.read()[-500:])
        return "\n".join(texts)

    def end(self):
        for pid in self.pids:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.pids = []
