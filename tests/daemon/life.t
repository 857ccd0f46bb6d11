#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon's life: options, start, restart, two of them, its end, and what it may still
do once it runs."""

import os
import signal
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import BINARY, BLOCK, MIB, Daemon, outcome, run


def options(tap):
    code, said = outcome("--help")
    tap.check(code == 0 and "--pool SIZE" in said and "--overbook" in said, "--help", said)
    for option in ("--help", "--version"):
        with open("/dev/full", "w") as full:
            got = subprocess.run([BINARY, option], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        tap.check(got.returncode and "standard output" in got.stderr, f"{option} that cannot be written is told", got)
    code, said = outcome("--version")
    tap.check(code == 0 and said.startswith("memleased "), "--version", said)
    run_dir = ["--run-dir", "/nonexistent/run", "--ledger", "/nonexistent/ledger.db"]
    for words, arguments in (
            ("--pool is missing", []), ("'512Q' is no size", ["--pool", "512Q"]), ("2 MiB blocks", ["--pool", "3M"]),
            ("2 MiB blocks", ["--pool", "0"]), ("'-4G' is no size", ["--pool", "-4G"]),
            ("more than any host", ["--pool", "1000000G"]),
            ("'7' does not divide", ["--pool", "64M", "--period", "7"]),
            ("'0' is no number from 1", ["--pool", "64M", "--period", "0"]),
            ("'x' is no number", ["--pool", "64M", "--overbook", "x"]),
            ("'0' is no number", ["--pool", "64M", "--overbook", "0"]),
            ("'soon' is no number", ["--pool", "64M", "--start-timeout", "soon"]),
            ("'0' is no number", ["--pool", "64M", "--start-timeout", "0"]),
            ("no such group", ["--pool", "64M", "--socket-group", "no-such-group"]),
            ("no such user", ["--pool", "64M", "--user", "no-such-user"]),
            ("must be one of: error warn info debug", ["--pool", "64M", "--log-level", "loud"]),
            ("must be one of: on log off", ["--pool", "64M", "--sandbox", "maybe"]),
            ("'more' is no option", ["--pool", "64M", "more"]), ("--help", ["--pool", "64M", "--frobnicate"]),
            ("is empty", ["--pool", "64M", "--pool-dir", ""]),
            ("too long", ["--pool", "64M", "--run-dir", "/tmp/" + "x" * 100])):
        code, said = outcome(*run_dir, *arguments)
        tap.check(code == 2 and words in said, f"{' '.join(arguments)}: {words}", code, said)


def priorities(tap):
    """vCPUs wait for the event loop's thread; it goes before others, unless told otherwise."""

    def nice(pid, thread):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[16])

    mine = os.getpriority(os.PRIO_PROCESS, 0)
    for told, expected in ((0, mine or -10), (5, min(mine + 5, 19))):
        words = ["nice", "-n", str(told)] if told else []
        daemon = Daemon(start=False)
        daemon.start(prefix=words)
        pid = daemon.process.pid
        tap.equal(nice(pid, pid), expected, f"started at {told} the event loop runs at {expected}")
        with daemon.qmp() as qmp:
            qmp("query-bill")
        daemon.stop()


def linux_memory():
    """Words, what, arguments: a reserved pool of memory that Linux uses."""
    with open("/proc/iomem") as file:
        ram = [[int(end, 16) for end in line.split(" : ")[0].split("-")] for line in file if line.endswith(": System RAM\n")]
    first, last = max(ram, key=lambda ends: ends[1] - ends[0])
    # To who is not root it shows no addresses.
    words = "Linux uses" if last else "start as root"
    return words, "a reserved pool of memory that Linux has", "--pool", f"reserved:0x{-(-first // BLOCK) * BLOCK:x},2M"


def cannot_start(tap):
    daemon = Daemon(start=False)

    def ends(words, what, *arguments):
        code, said = outcome("--run-dir", daemon.run_dir, "--ledger", daemon.ledger, "--pool", "64M", *arguments)
        tap.check(code == 1 and words in said, what, code, said)

    ends("the host has", "a pool larger than the host's memory", "--pool", "200T")
    ends("mount one", "a pool on a disk", "--pool-dir", daemon.dir)
    ends("No such file", "a pool directory that is not there", "--pool-dir", daemon.dir + "/none")
    ends("plans", "plans that are not there", "--plans", daemon.dir + "/plans.json")
    with open(daemon.dir + "/plans.json", "w") as file:
        file.write('{"currency": "EUR", "plans": {"a": {"resident": 1}}}')
    ends("plans.json", "plans that are wrong", "--plans", daemon.dir + "/plans.json")
    ends("no physical address", "a reserved pool at no block's address", "--pool", "reserved:0x1,64M")
    ends("has no size behind it", "a reserved range without a size", "--pool", "reserved:0x40000000")
    ends(*linux_memory())
    with open(daemon.dir + "/file", "w"):
        pass
    ends("cannot make the directory", "a run directory that is a file", "--run-dir", daemon.dir + "/file")
    subprocess.run(["umount", daemon.pool_dir], check=False, capture_output=True)


def own_pool(tap):
    daemon = Daemon(pool="128M")
    with open("/proc/mounts") as mounts:
        line = next(m for m in mounts if m.split()[1] == daemon.pool_dir)
    options_ = line.split()[3].split(",")
    for option in ("nosuid", "nodev", "noexec", "size=131072k", "mode=700", "huge=always"):
        tap.check(option in options_, f"the pool is mounted {option}", line)
    fs = os.statvfs(daemon.pool_dir)
    tap.equal(fs.f_blocks * fs.f_frsize, 128 * MIB, "it holds exactly the pool")
    files = [os.open(daemon.pool_dir + f"/probe{i}", os.O_CREAT | os.O_RDWR) for i in range(2)]
    for i in range(64):
        os.posix_fallocate(files[i % 2], i * BLOCK, BLOCK)
    tap.check(True, "every block of it can be allocated")
    try:
        os.posix_fallocate(files[0], 100 * BLOCK, BLOCK)
        tap.check(False, "and not one more")
    except OSError as error:
        tap.check(error.errno == 28, "and not one more", error)
    for i, fd in enumerate(files):
        os.close(fd)
        os.unlink(daemon.pool_dir + f"/probe{i}")
    tap.equal(daemon.stop(), 0, "SIGTERM ends it in order")
    tap.check(os.path.ismount(daemon.pool_dir), "the pool stays mounted, for VMs that go on")


def places(tap):
    daemon = Daemon()
    mode = lambda path: stat.S_IMODE(os.stat(path).st_mode)
    tap.equal(oct(mode(daemon.control)), oct(0o660), "the control socket is for user and group")
    for name in ("state", "pool"):
        tap.equal(oct(mode(daemon.run_dir + "/" + name)), oct(0o700), f"{name}/ is nobody else's")
    tap.equal(oct(mode(daemon.run_dir + "/vm")), oct(0o711), "vm/ can be passed through, and listed by nobody else")
    tap.check(os.path.exists(daemon.ledger), "the ledger is there")
    tap.equal(oct(mode(daemon.ledger)), oct(0o600), "and for nobody else")


def two(tap):
    daemon = Daemon()
    code, said = outcome(*daemon.arguments)
    tap.check(code == 1 and "another memleased" in said, "a second daemon in the same run directory is refused", said)
    other = Daemon("--state-dir", daemon.run_dir + "/state", start=False)
    code, said = outcome(*other.arguments)
    tap.check(code == 1 and daemon.run_dir + "/state" in said, "and one on the same state directory", said)
    with daemon.qmp() as qmp:
        tap.check(qmp("query-version"), "the first one is served as before")
    os.unlink(daemon.control)
    with open(daemon.control, "w"):
        pass
    daemon.stop(signal.SIGKILL)
    code, said = outcome(*daemon.arguments)
    tap.check(code == 1 and "no socket" in said, "what is no socket is not removed", said)


def create(qmp, name):
    return qmp("vm-create", name=name, tenant="t", plan="standard", boot=64 * MIB, limit=256 * MIB)


def restart(tap):
    daemon = Daemon()
    with daemon.qmp() as qmp:
        before = create(qmp, "kept")
        qmp("vm-set", name="kept", target=128 * MIB)
        before = qmp("query-vm", name="kept")
        create(qmp, "deleted")
        qmp("vm-delete", name="deleted")
    for number, what in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL"), (signal.SIGINT, "SIGINT")):
        code = daemon.stop(number)
        tap.equal(code, -9 if number == signal.SIGKILL else 0, f"{what}: exit status")
        daemon.start()
        with daemon.qmp() as qmp:
            tap.equal([vm["name"] for vm in qmp("query-vms")], ["kept"], f"{what}: the VM is still defined")
            after = qmp("query-vm", name="kept")
        same = ("uuid", "tenant", "plan", "state", "boot-blocks", "limit-blocks", "window-blocks", "created",
                "target-blocks", "boot-path", "vhost-socket")
        tap.equal([after[k] for k in same], [before[k] for k in same], f"{what}: and the same")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(before["vhost-socket"])
    sock.close()
    tap.check(True, "its socket is served")


def connect(vm):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(vm["vhost-socket"])
    return sock


def unstarted(tap):
    """No QEMU comes in time: what was promised is free again, and asked for anew when one comes."""
    daemon = Daemon("--start-timeout", "1")
    with daemon.qmp() as qmp:
        vm = qmp("vm-create", name="late", tenant="t", plan="standard", boot=16 * MIB, limit=256 * MIB, guarantee=48 * MIB)
        tap.check(not vm["lapsed"] and vm["lapses"] >= vm["created"], "it is said until when it is held", vm)
        tap.check(qmp.wait_event("VM_LAPSED", 10), "VM_LAPSED")
        vm, pool = qmp("query-vm", name="late"), qmp("query-pool")
        tap.equal((vm["state"], vm["lapsed"], vm["lapses"], vm["committed-blocks"], vm["guarantee-blocks"]),
                  ("defined", True, None, 0, 24), "it is there, and holds nothing")
        tap.equal((pool["guarantee-blocks"], pool["committed-blocks"]), (0, 0), "nor has the pool it to hold")
        # One that has its QEMU, this process, keeps what it has.
        other = connect(create(qmp, "other"))
        tap.check(qmp.wait_event("VM_STARTED", 10), "another VM starts")
        qmp("vm-set", name="other", guarantee=32 * MIB)
    daemon.stop(signal.SIGKILL)
    daemon.start()
    with daemon.qmp() as qmp:
        after = qmp("query-vm", name="late")
        tap.equal((after["lapsed"], after["committed-block-ns"]), (True, vm["committed-block-ns"]),
                  "the next daemon knows, and nothing was billed since")
        with connect(vm) as sock:
            event = qmp.wait_event("START_REFUSED", 10)
            tap.check(event and "a guarantee of" in event["data"]["reason"], "START_REFUSED says what does not fit", event)
            tap.equal(sock.recv(1), b"", "the connection is closed")
        tap.check("a guarantee of" in qmp("query-vm", name="late")["refused"], "so does the VM")
        tap.check("came too late: a guarantee of" in daemon.log(), "and the log", daemon.log)
        tap.equal(qmp("query-vm", name="other")["guarantee-blocks"], 16, "which the other VM has")
        qmp("vm-set", name="other", guarantee=0)
        with connect(vm):
            tap.check(qmp.wait_event("VM_STARTED", 10), "when there is room it starts")
            vm = qmp("query-vm", name="late")
            tap.equal((vm["lapsed"], vm["refused"], vm["committed-blocks"]), (False, "", 8), "and has what it was promised")
            tap.equal(qmp("query-pool")["guarantee-blocks"], 24, "of the pool, too")
    other.close()


def other_size(tap):
    daemon = Daemon(pool="64M")
    with daemon.qmp() as qmp:
        create(qmp, "vm")
    daemon.stop()
    daemon.arguments[-1] = "128M"
    try:
        daemon.start()
        with daemon.qmp() as qmp:
            tap.equal(qmp("query-pool")["pool-blocks"], 64, "a restart may make the pool larger")
        fs = os.statvfs(daemon.pool_dir)
        tap.equal(fs.f_blocks * fs.f_frsize, 128 * MIB, "its file system, too")
    except AssertionError:
        tap.has(daemon.log(), "--pool", "a pool of another size is refused, with the option's name")


def given_pool(tap):
    daemon = Daemon(start=False)
    pool = daemon.dir + "/given"
    os.makedirs(pool)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32M,mode=0700,huge=always", "x", pool], check=True)
    try:
        daemon.arguments += ["--pool-dir", pool]
        code, said = outcome(*daemon.arguments)
        tap.check(code == 1 and "holds 16 blocks" in said, "a --pool-dir that is too small is refused", said)
        daemon.arguments += ["--pool", "32M"]
        daemon.start()
        with daemon.qmp() as qmp:
            tap.equal(qmp("query-pool")["pool-dir"], pool, "--pool-dir is used")
        tap.check(not os.path.ismount(daemon.pool_dir), "and nothing is mounted")
        daemon.stop()
    finally:
        subprocess.run(["umount", pool], check=True)


def mount_only(tap):
    daemon = Daemon("--mount-only", start=False)
    tap.equal(outcome(*daemon.arguments), (0, ""), "--mount-only ends at once")
    tap.check(os.path.ismount(daemon.pool_dir), "with the pool mounted")
    tap.equal(outcome(*daemon.arguments), (0, ""), "and may be repeated")
    tap.equal(outcome("--mount-only", "--pool", "64M", "--pool-dir", "/tmp"), (0, ""),
              "with --pool-dir there is nothing to mount")
    daemon.arguments.remove("--mount-only")
    daemon.start()
    tap.check(daemon.answers(), "the daemon finds it")


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def sandbox(tap):
    daemon = Daemon("--log-level", "debug")
    with daemon.qmp() as qmp:
        create(qmp, "vm")
        qmp("query-bill")
    threads = os.listdir(f"/proc/{daemon.process.pid}/task")
    tap.check(len(threads) >= 2, "the ledger has a thread of its own", threads)
    kill = 1 << 5
    for thread in threads:
        status = status_of(f"{daemon.process.pid}/task/{thread}")
        tap.equal((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"), "each thread is under the filter")
        for which in ("CapPrm", "CapEff", "CapBnd"):
            tap.equal(int(status[which], 16) & ~kill, 0, f"{which}: nothing but the right to kill")
    daemon.stop()
    daemon = Daemon("--sandbox", "off")
    tap.equal(status_of(daemon.process.pid)["Seccomp"], "0", "--sandbox off runs without the filter")


def other_user(tap):
    daemon = Daemon("--user", "nobody", start=False)
    os.chmod(daemon.dir, 0o777)
    daemon.start()
    status = status_of(daemon.process.pid)
    tap.equal(set(status["Uid"].split()), {"65534"}, "--user: the daemon is that user")
    tap.equal(int(status["CapEff"], 16), 1 << 5, "it may still kill a QEMU of another user")
    with daemon.qmp() as qmp:
        vm = create(qmp, "vm")
        qmp("query-bill")
    tap.equal(os.stat(vm["boot-path"]).st_uid, 65534, "files belong to it")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    with daemon.qmp() as qmp:
        tap.equal(len(qmp("query-vms")), 1, "and it finds them again")
        qmp("vm-delete", name="vm")


run(options, priorities, cannot_start, own_pool, places, two, restart, unstarted, other_size, given_pool, mount_only, sandbox, other_user)
