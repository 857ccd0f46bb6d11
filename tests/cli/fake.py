# SPDX-License-Identifier: GPL-2.0-or-later
"""A control server that answers as a test says, and a way to run the CLI against
it. For what a real daemon does not do: errors at will, nonsense, silence."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import tap  # noqa: E402

CLI = os.environ.get("MEMLEASE", os.path.join(TOP, "build", "memlease"))
GREETING = {"QMP": {"version": {"memlease": {"major": 0, "minor": 1, "micro": 0}}, "capabilities": []}}
LIMIT_S = 60


class Refuse(Exception):
    """Raised by an answer: (class, text)."""


class Fake:
    """answers: command -> a value to return, or a function of the arguments. A
    function may raise Refuse, or return bytes, which go out as they are. What was
    called stands in .calls."""

    def __init__(self, answers=None, greeting=None):
        self.dir = tempfile.mkdtemp(prefix="mlc-")
        os.chmod(self.dir, 0o711)	# a QEMU of root's has a user of its own
        self.path = os.path.join(self.dir, "control.sock")
        self.answers = dict(answers or {})
        self.greeting = json.dumps(GREETING).encode() + b"\r\n" if greeting is None else greeting
        self.calls = []
        self.peers = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        # The thread must be gone before the number of its descriptor is another Fake's.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()
        for peer in self.peers:
            peer.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def event(self, name_, /, **data):
        """Send an event to all who are connected."""
        message = {"event": name_, "data": {k.replace("_", "-"): v for k, v in data.items()},
                   "timestamp": {"seconds": 1795221642, "microseconds": 7000}}
        for peer in self.peers:
            try:
                peer.sendall(json.dumps(message).encode() + b"\r\n")
            except OSError:
                pass

    def called(self, command):
        return [arguments for name, arguments in self.calls if name == command]

    def run(self, *words, **named):
        return cli(*words, socket_path=self.path, **named)

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            peer.sendall(self.greeting)
            for line in peer.makefile("rb"):
                message = json.loads(line)
                name, arguments = message["execute"], message.get("arguments", {})
                if name != "qmp_capabilities":
                    self.calls.append((name, arguments))
                peer.sendall(self._answer(name, arguments))
        except (OSError, ValueError):
            pass

    def _answer(self, name, arguments):
        if name == "qmp_capabilities":
            answer = {"return": {}}
        else:
            try:
                value = self.answers[name]
                value = value(arguments) if callable(value) else value
                if isinstance(value, bytes):
                    return value
                answer = {"return": value}
            except Refuse as error:
                answer = {"error": {"class": error.args[0], "desc": error.args[1]}}
            except KeyError:
                answer = {"error": {"class": "CommandNotFound", "desc": f"no command {name}"}}
        return json.dumps(answer).encode() + b"\r\n"


class Result:
    def __init__(self, process):
        self.status, self.out, self.err = process.returncode, process.stdout, process.stderr

    def __repr__(self):
        return f"status {self.status}\nout: {self.out}\nerr: {self.err}"


def cli(*words, socket_path=None, timeout_s=20, environment=None):
    """Run memlease; a Result."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MEMLEASE")}
    variables["TZ"] = "UTC"
    if socket_path:
        variables["MEMLEASE_SOCKET"] = socket_path
    variables.update(environment or {})
    return Result(subprocess.run([CLI, *words], capture_output=True, text=True, timeout=timeout_s,
                                 stdin=subprocess.DEVNULL, env=variables, check=False))


def vm(name, **fields):
    """An answer of query-vm, with fields changed ('_' for '-')."""
    answer = {
        "name": name, "uuid": "11111111-2222-4333-8444-" + f"{abs(hash(name)) % 10**12:012}", "tenant": "acme",
        "plan": "standard", "state": "running", "pid": 4711, "boot-blocks": 128, "window-blocks": 1408,
        "limit-blocks": 1536, "guarantee-blocks": 0, "weight": 100, "committed-blocks": 512,
        "window-committed-blocks": 384, "resident-blocks": 300, "boot-resident-blocks": 100,
        "peak-resident-blocks": 400, "target-blocks": None, "target-seq": 0, "target-deadline-ms": 0,
        "target-state": "none", "broken": "", "touches": 1000, "reported-blocks": 700, "waiting-touches": 0,
        "waited-touches": 0, "wait-ns": 0, "longest-wait-ns": 0, "resident-block-ns": "1", "committed-block-ns": "1",
        "created": 1795221642000, "guest": {}, "boot-path": f"/p/{name}.boot", "window-path": f"/p/{name}.window",
        "vhost-socket": f"/r/{name}.vhost.sock", "qmp-socket": f"/r/{name}.qmp.sock",
    }
    answer.update({k.replace("_", "-"): v for k, v in fields.items()})
    return answer


class CliTap(tap.Tap):
    def says(self, result, status, words, what, stream="err"):
        """The command ended with this status, and the stream holds all the words."""
        text = getattr(result, stream)
        missing = [w for w in ([words] if isinstance(words, str) else words) if w not in text]
        return self.check(result.status == status and not missing, what, f"missing: {missing}", result)


def run(*tests):
    if not os.path.exists(CLI):
        print(f"Bail out! {CLI} is missing: make host")
        sys.exit(1)
    tap.run(CliTap(), tests, LIMIT_S)
