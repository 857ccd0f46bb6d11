#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the CLI makes of answers that a real daemon seldom or never gives: errors,
nonsense, silence, a connection that breaks."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake import CLI, Fake, Refuse, run, vm


def no_such(arguments):
    raise Refuse("DeviceNotFound", f"there is no VM '{arguments['name']}'")


def refuse(klass, text):
    def answer(_):
        raise Refuse(klass, text)
    return answer


def unknown_vm(tap):
    with Fake({"query-vm": no_such, "query-vms": [vm("web1"), vm("db")], "vm-report-now": no_such,
               "vm-set": no_such}) as fake:
        for words in (("status", "wbe1"), ("stop", "wbe1"), ("report-now", "wbe1"), ("set", "wbe1", "--limit", "1G")):
            tap.says(fake.run(*words), 1, ["'wbe1'", "did you mean 'web1'"], f"{words[0]}: a VM of a similar name")
        tap.says(fake.run("status", "frontend"), 1, ["'frontend'", "memlease list"], "no VM of a similar name")
        fake.answers["query-vms"] = []
        tap.says(fake.run("status", "frontend"), 1, ["memlease run"], "no VM at all")
        tap.says(fake.run("status", b"\xff\xfe".decode(errors="surrogateescape")), 1, "there is no VM",
                 "a name that is not UTF-8")


def daemon_errors(tap):
    with Fake({"query-vms": refuse("GenericError", "the moon is full; wait a day"),
               "vm-set": refuse("NoSpace", "guarantee of 9G: only 4G are left")}) as fake:
        tap.says(fake.run("list"), 1, "the moon is full; wait a day", "the daemon's words are passed on")
        tap.says(fake.run("set", "x", "--guarantee", "9G"), 1, "only 4G are left", "so are those of vm-set")
        tap.says(fake.run("plans"), 1, "query-plans", "a command the daemon does not know")


def nonsense(tap):
    for name, greeting in (("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ("JSON that is no greeting", b"{}\n"),
                           ("a list", b"[1]\n"), ("bytes", bytes(range(256)) + b"\n")):
        with Fake(greeting=greeting) as fake:
            tap.says(fake.run("list"), 1, ["no control socket", fake.path], f"{name} instead of a greeting")
    for name, answer in (("no object", b"3\r\n"), ("neither return nor error", b'{"id": 1}\r\n'),
                         ("half a line, then the end", None)):
        with Fake({"query-vms": answer}) as fake:
            if answer is None:
                fake.answers["query-vms"] = lambda _: fake.peers[-1].shutdown(2) or b'{"ret'
            result = fake.run("list")
            tap.check(result.status == 1 and fake.path in result.err, f"an answer: {name}", result)
    odd = {"query-vms": [{}, {"name": 7}, 5, None], "query-pool": [], "query-plans": {"plans": [{}, 3]},
           "query-bill": {"lines": [{}, 1], "total": 5}, "query-vm": {"name": "x"}}
    with Fake(odd) as fake:
        for words in (("list",), ("list", "--names"), ("list", "--tenant", "x", "--json"), ("status",),
                      ("status", "x"), ("plans",), ("plans", "--names"), ("bill",), ("bill", "--format", "csv"),
                      ("top", "--batch", "--count", "2", "--interval", "100ms"), ("version",)):
            result = fake.run(*words)
            tap.check(result.status in (0, 1), "odd answers do no harm: " + " ".join(words), result)


def fragments(tap):
    """Answers in pieces, events in between, and one of many megabytes."""
    whole = json.dumps({"return": [vm("web1")]}).encode() + b"\r\n"

    def slowly(_):
        peer = fake.peers[-1]
        fake.event("POOL_OK")
        for i in range(0, len(whole) - 1, 97):
            peer.sendall(whole[i:min(i + 97, len(whole) - 1)])
            time.sleep(0.001)
        return whole[-1:]

    with Fake({"query-vms": slowly}) as fake:
        tap.says(fake.run("list"), 0, "web1", "an answer in pieces, after an event", "out")
        fake.answers["query-vms"] = [vm(f"vm{i}") for i in range(10000)]
        result = fake.run("list", "--names")
        tap.equal(len(result.out.split()), 10000, "ten thousand VMs")
        fake.answers["query-vms"] = lambda _: b" " * (200 << 20)
        tap.says(fake.run("list"), 1, "more than", "an answer without end is refused")


def set_waits(tap):
    state = vm("web1", target_blocks=512, target_seq=3, target_state="working", guest={"total-bytes": 1})
    polls = []

    def poll(_):
        polls.append(1)
        if len(polls) == 3:
            state.update({"target-state": "met", "committed-blocks": 500})
        return state

    with Fake({"vm-set": lambda _: state, "query-vm": poll}) as fake:
        tap.says(fake.run("set", "web1", "--target", "1G", "--wait"), 0, "target 1.00 GiB", "--wait until it is met", "out")
        tap.equal(fake.called("vm-set"), [{"name": "web1", "target": 1 << 30}], "what was asked for")
        state.update({"target-state": "partly", "committed-blocks": 700})
        tap.says(fake.run("set", "web1", "--target", "1G", "--wait"), 3, "1.36 GiB of 1.00 GiB", "met in part: status 3")
        state.update({"target-state": "working"})
        begin = time.monotonic()
        polls.extend([1] * 10)
        tap.says(fake.run("set", "web1", "--target", "1G", "--deadline", "500ms", "--wait"), 3, "has not answered",
                 "a guest that does not answer")
        tap.check(3 < time.monotonic() - begin < 8, "the wait ends soon after the deadline")
        tap.equal(fake.called("vm-set")[-1]["deadline-ms"], 500, "the deadline was passed on")
        fake.answers["query-vm"] = lambda _: vm("web1", target_blocks=9, target_seq=4, target_state="met")
        tap.says(fake.run("set", "web1", "--target", "1G", "--wait"), 3, "somebody else", "another target meanwhile")
        tap.says(fake.run("set", "web1", "--target", "none", "--limit", "1.5G"), 0, "web1", "clearing a target", "out")
        tap.equal(fake.called("vm-set")[-1], {"name": "web1", "target": None, "limit": 3 << 29}, "null clears it")


def stopping(tap):
    with Fake({"query-vm": vm("web1", state="defined"), "vm-delete": {}}) as fake:
        tap.says(fake.run("stop", "web1"), 0, "forgotten", "a VM without QEMU is forgotten", "out")
    with Fake({"query-vm": vm("web1", qmp_socket="/nonexistent/q")}) as fake:
        tap.says(fake.run("stop", "web1"), 1, ["/nonexistent/q", "--force"], "a monitor that is not there")
    with Fake() as daemon, Fake({"system_powerdown": {}}) as qemu:
        daemon.answers["query-vm"] = lambda _: vm("web1", qmp_socket=qemu.path)
        begin = time.monotonic()
        tap.says(daemon.run("stop", "web1", "--timeout", "700ms"), 1, ["still runs", "--force"], "a guest that does not stop")
        tap.check(0.6 < time.monotonic() - begin < 5, "waited as long as it was told")
        tap.equal(len(qemu.called("system_powerdown")), 1, "the power button was pressed once")
        polls = []

        def ending(arguments):
            polls.append(1)
            return no_such(arguments) if len(polls) > 3 else vm("web1", qmp_socket=qemu.path)

        daemon.answers["query-vm"] = ending
        tap.says(daemon.run("stop", "web1"), 0, ["power button", "has ended"], "a guest that stops", "out")
        daemon.answers["query-vm"] = lambda a: vm("web1") if not daemon.called("vm-kill") else no_such(a)
        daemon.answers["vm-kill"] = {}
        tap.says(daemon.run("stop", "web1", "--force"), 0, ["4711", "has ended"], "by force", "out")
        daemon.answers["query-vm"] = lambda a: vm("web1", uuid=str(len(daemon.calls)), qmp_socket=qemu.path)
        tap.says(daemon.run("stop", "web1"), 0, "has ended", "another VM of its name has begun", "out")


def halted(tap):
    """A VM that cannot answer: what is said of it is what QEMU and the kernel say, and no guess."""
    sayings = {"paused": "its QEMU is paused", "suspended": "its guest sleeps", "prelaunch": "(-S)",
               "guest-panicked": "panicked", "shutdown": "has shut down", "io-error": "a disk has failed"}
    verbs = (("status", 0, "out"), ("report-now", 3, "err"), ("set", 3, "err"))
    with Fake() as daemon, Fake({"system_powerdown": {}}) as qemu:
        daemon.answers.update({"vm-report-now": {}})

        def words(verb):
            return (verb, "web1", *(("--target", "256M", "--deadline", "100ms", "--wait") if verb == "set" else ()))

        def is_(**fields):
            state = vm("web1", qmp_socket=qemu.path, target_blocks=128, target_seq=1, target_state="working", **fields)
            daemon.answers.update({"query-vm": state, "vm-set": state})

        is_()	# its driver has sent nothing since it was reset, which it is before it sleeps
        for status, says in sayings.items():
            qemu.answers["query-status"] = {"status": status, "running": False}
            for verb, code, stream in verbs if status == "suspended" else verbs[:1]:
                result = daemon.run(*words(verb))
                tap.says(result, code, says, f"{verb} of a VM that is {status}", stream)
                tap.check("has it the driver" not in result.out + result.err, f"{verb}: and no guess", result)
            tap.says(daemon.run("stop", "web1", "--timeout", "100ms"), 1, ["still runs", says], f"stop of a VM that is {status}")
        qemu.answers["query-status"] = {"status": "running", "running": True}
        for verb, code, stream in verbs:
            tap.says(daemon.run(*words(verb)), code, "has it the driver?", f"{verb} where QEMU runs it", stream)
        is_(waiting_touches=2)
        qemu.calls.clear()
        for verb, code, stream in verbs:
            result = daemon.run(*words(verb))
            tap.says(result, code, "stands still until there is memory", f"{verb} where a touch waits", stream)
            tap.check("driver" not in result.out + result.err and "pool is empty" not in result.out, "and no guess", result)
        tap.equal(qemu.calls, [], "its QEMU, which may not answer, was not asked")
        sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            sleeper.send_signal(signal.SIGSTOP)
            is_(pid=sleeper.pid)
            for verb, code, stream in verbs:
                tap.says(daemon.run(*words(verb)), code, ["stopped by a signal", f"kill -CONT {sleeper.pid}"],
                         f"{verb} where QEMU was stopped", stream)
            tap.equal(qemu.calls, [], "nor is that one asked")
        finally:
            sleeper.kill()
            sleeper.wait()


def deaf(tap):
    """Who does not answer is named; and nothing waits for ever, with however many in front of it."""
    with Fake() as daemon:
        monitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        monitor.bind(daemon.path + ".qmp")
        monitor.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(4)]
        daemon.answers["query-vm"] = vm("web1", qmp_socket=monitor.getsockname())
        for what in ("that does not answer", "that has no place for one more"):
            result = daemon.run("stop", "web1")
            tap.says(result, 1, ["QEMU's monitor does not answer", "no answer in time", "--force"], "stop: a monitor " + what)
            tap.check("daemon" not in result.err, "which is not the daemon", result)
            for sock in waiting:
                sock.connect_ex(monitor.getsockname())
        tap.says(daemon.run("status", "web1"), 0, "its QEMU hangs", "status", "out")
        for sock in (*waiting, monitor):
            sock.close()


def events(tap):
    with Fake() as fake:
        process = subprocess.Popen([CLI, "events", "--socket", fake.path, "--count", "4"], stdout=subprocess.PIPE, text=True,
                                   env={**os.environ, "TZ": "UTC"})
        while not fake.peers:
            time.sleep(0.01)
        time.sleep(0.2)
        fake.event("VM_STARTED", name="web1")
        fake.event("TARGET", name="web1", target_blocks=512, deadline_ms=10000)
        fake.event("TARGET", name="web1", target_blocks=None, deadline_ms=0)
        fake.event("VM_ENDED", name="web1", reason="QEMU ended")
        out = process.communicate(timeout=10)[0].splitlines()
        tap.equal(out, ["2026-11-21 00:40:42.007  VM_STARTED    web1",
                        "2026-11-21 00:40:42.007  TARGET        web1  target: 1.00 GiB  deadline: 10.0 s",
                        "2026-11-21 00:40:42.007  TARGET        web1  target: none  deadline: 0 s",
                        "2026-11-21 00:40:42.007  VM_ENDED      web1  reason: QEMU ended"], "a line per event")
        begin = time.monotonic()
        tap.equal(fake.run("events", "--timeout", "300ms").status, 0, "--timeout ends it")
        tap.check(time.monotonic() - begin < 5, "in time")
    with Fake() as fake:
        threading.Timer(0.5, lambda: [p.shutdown(2) for p in fake.peers]).start()
        tap.says(fake.run("events"), 1, ["closed", "restarted"], "the daemon went away")


def bills(tap):
    line = {"tenant": "acme", "vm": "web1", "uuid": "u", "plan": "standard", "start": 1795219200000,
            "until": 1795222800000, "covered-ms": 3600000, "resident-block-ns": "18432000000000000000",
            "committed-block-ns": "3686400000000000", "guarantee-block-ns": "0", "peak-resident-blocks": 9,
            "touches": 8, "waits": 1, "wait-ns": 5, "amount": "60.010000"}
    bill = {"currency": "EUR", "by": "vm", "lines": [line], "unpriced-plans": [],
            "total": {"covered-ms": 3600000, "resident-block-ns": "18432000000000000000",
                      "committed-block-ns": "3686400000000000", "guarantee-block-ns": "0", "amount": "60.010000"}}
    with Fake({"query-bill": bill}) as fake:
        result = fake.run("bill", "--from", "2026-11-21", "--to", "2026-11-22", "--tenant", "acme", "--name", "web1")
        tap.says(result, 0, ["10000.0000", "2.0000", "60.010000", "1 h 00 min", "GiB-hours", "total"], "a table", "out")
        tap.equal(fake.called("query-bill")[-1], {"tenant": "acme", "name": "web1", "from": 1795219200000,
                                                  "to": 1795305600000, "by": "vm"}, "what was asked for")
        tap.equal(fake.run("bill", "--format", "csv").out.splitlines()[1],
                  "acme,web1,u,standard,2026-11-21T00:00:00.000Z,2026-11-21T01:00:00.000Z,3600000,"
                  "18432000000000000000,3686400000000000,0,9,8,1,5,60.010000,EUR", "CSV is exact")
        tap.equal(json.loads(fake.run("bill", "--json").out), bill, "JSON is the daemon's")
        fake.answers["query-pool"] = {"ledger-behind": True, "ledger-error": "disk full"}
        tap.says(fake.run("bill"), 0, ["disk full", "newest usage is missing"], "a ledger that is behind is told")
        fake.answers["query-pool"] = {"ledger-behind": False}
        tap.equal(fake.run("bill").err, "", "and one that is not, is not")
        bill.update({"by": "tenant", "lines": [{k: v for k, v in line.items() if k not in ("vm", "uuid", "plan")}]})
        result = fake.run("bill", "--by", "tenant")
        tap.check("PLAN" not in result.out and "acme" in result.out, "by tenant: no columns for VM and plan", result)
        line["amount"] = bill["total"]["amount"] = None
        bill.update({"by": "vm", "lines": [line], "unpriced-plans": ["gone"]})
        result = fake.run("bill")
        tap.says(result, 1, ["'gone'", "plans file"], "a plan without price: status 1, and why")
        tap.check(result.out.count("no price") == 2, "no amount is shown in its place", result)
        bill.update({"lines": [], "unpriced-plans": []})
        tap.says(fake.run("bill", "--tenant", "zz"), 0, "No usage of tenant zz", "an empty bill", "out")


run(unknown_vm, daemon_errors, nonsense, fragments, set_waits, stopping, halted, deaf, events, bills)
