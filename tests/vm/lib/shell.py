# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests do through the remote shell of a machine that they booted: a VM, the
lab, a VM inside the lab."""

from .remote import RemoteError
from .tap import until


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

    def sysfs(self, name):
        """A file of the guest driver's, as a string."""
        return self.sh(f"cat /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/{name}").strip()

    def sysfs_set(self, name, value):
        self.sh(f"echo {value} >$(ls /sys/bus/virtio/drivers/virtio_memlease/virtio*/memlease/{name})")

    def free_mib(self):
        """MemFree, MiB."""
        return int(self.sh("grep MemFree: /proc/meminfo").split()[1]) // 1024
