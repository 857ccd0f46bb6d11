# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests do through the remote shell of a machine that they booted: a VM, the
lab, a VM inside the lab."""

import signal

from .remote import RemoteError
from .tap import until

LOOK_US = 20000
GONE = 100	# status of a script: whom it waits for has ended
SIGNAL = 128	# and more: status of a command that a signal ended


def ending(status):
    """How a command has ended, in words."""
    if status <= SIGNAL:
        return f"with status {status}"
    word = f"by signal {status - SIGNAL}"
    return word + (", as when its machine is out of memory" if status - SIGNAL == signal.SIGKILL else "")


class Shell:
    """Whoever has one is also a Remote's owner: self.remote."""

    def sh(self, script, timeout_s=20, check=True):
        """Run a script in the guest; its output. Raises RemoteError if it fails."""
        status, out = self.remote.run(script, timeout_s)
        if check and status:
            raise RemoteError(f"status {status} of: {script}\n{out}")
        return out

    def sh_status(self, script, timeout_s=20):
        """Run a script in the guest; its exit status and output."""
        return self.remote.run(script, timeout_s)

    def spawn(self, name, command):
        """Run a command in the background of the guest, until wait()."""
        self.sh(f"rm -f /tmp/{name}.rc; ({command}; echo $? >/tmp/{name}.rc) >/tmp/{name}.log 2>&1 &")

    def ended(self, name):
        """Status of a spawned command, or None while it runs."""
        out = self.sh(f"cat /tmp/{name}.rc 2>/dev/null", check=False).strip()
        return int(out) if out else None

    def wait(self, name, timeout_s=60):
        """Until a spawned command has ended; its status and output."""
        until(lambda: self.ended(name) is not None, timeout_s, 0.1)
        status = self.ended(name)
        out = self.sh(f"cat /tmp/{name}.log")
        if status is None:
            raise RemoteError(f"{name} has not ended after {timeout_s} s:\n{out}")
        return status, out

    def wait_mark(self, name, path, timeout_s=60, **how):
        """Until a spawned command has made a file."""
        self.wait_that(name, f"[ -e {path} ]", timeout_s, **how)

    def wait_that(self, name, holds, timeout_s=60, first=":", every_us=LOOK_US):
        """Until a command of the guest succeeds because of what a spawned one does; first: a
        command that tells it to. Raises at once if the spawned one has ended, whatever ended it,
        and that does not hold."""
        status, out = self.sh_status(
            f"{first}; while ! {holds}; do if [ -s /tmp/{name}.rc ] && ! {holds}; then "
            f"cat /tmp/{name}.rc /tmp/{name}.log; exit {GONE}; fi; usleep {every_us}; done", timeout_s)
        if status == GONE:
            ended, _, said = out.partition("\n")
            raise RemoteError(f"{name} has ended before {holds}, {ending(int(ended))}:\n{said}")
        if status:
            raise RemoteError(f"status {status} of the wait for {holds}:\n{out}")

    def sysfs(self, name):
        """A file of the guest driver's, as a string."""
        return self.sh(f"cat /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/{name}").strip()

    def sysfs_set(self, name, value):
        self.sh(f"echo {value} >$(ls /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/{name})")

    def killed(self):
        """How many processes were killed for want of memory."""
        return int(self.sh("grep '^oom_kill ' /proc/vmstat").split()[1])

    def free_mib(self):
        """MemFree, MiB."""
        return int(self.sh("grep MemFree: /proc/meminfo").split()[1]) // 1024
