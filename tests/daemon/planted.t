#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Links that another user has planted between two starts. With --user the run directory
belongs to that user; root, who makes and mounts there at each start, is not led elsewhere."""

import os
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from daemon import Daemon, run

NOBODY = 65534


class Place:
    """A daemon that runs as nobody, and beside its directories one that is root's."""

    def __init__(self, *arguments):
        self.daemon = Daemon("--user", "nobody", *arguments, start=False)
        os.chmod(self.daemon.dir, 0o711)
        self.victim = os.path.join(self.daemon.dir, "victim")
        os.mkdir(self.victim, 0o700)
        self.secret = os.path.join(self.victim, "secret")
        with open(self.secret, "w") as file:
            file.write("kept")
        # The ledger's directory is made for whom the daemon becomes.
        self.daemon.arguments[3] = os.path.join(self.daemon.dir, "bills", "ledger.db")

    def run(self, *names):
        return os.path.join(self.daemon.run_dir, *names)

    def started_once(self):
        self.daemon.start()
        self.daemon.stop()
        subprocess.run(["umount", self.daemon.pool_dir], check=True)
        return self

    def plant(self, target, path):
        """As that user would."""
        os.symlink(target, path)
        os.lchown(path, NOBODY, NOBODY)

    def refused(self, tap, what):
        self.daemon.start(wait=False)
        code = self.daemon.wait()
        if code is None:
            self.daemon.stop()
        tap.check(code == 1 and "planted" in self.daemon.log(), f"{what}: it does not start, and says why",
                  code, self.daemon.log())
        found = os.stat(self.victim)
        tap.check(not os.path.ismount(self.victim), f"{what}: nothing is mounted there")
        tap.equal((found.st_uid, stat.S_IMODE(found.st_mode), sorted(os.listdir(self.victim))), (0, 0o700, ["secret"]),
                  f"{what}: what it leads to is as it was")
        while os.path.ismount(self.victim):
            subprocess.run(["umount", "--lazy", self.victim], check=True)


def pool(tap):
    place = Place().started_once()
    os.rmdir(place.run("pool"))
    place.plant(place.victim, place.run("pool"))
    place.refused(tap, "RUN/pool")


def vm(tap):
    place = Place().started_once()
    os.rmdir(place.run("vm"))
    place.plant(place.victim, place.run("vm"))
    place.refused(tap, "RUN/vm")


def state(tap):
    """What lies deeper, behind a link."""
    place = Place()
    place.daemon.arguments += ["--state-dir", place.run("deep", "state")]
    place.started_once()
    os.rename(place.run("deep"), place.run("away"))
    place.plant(place.victim, place.run("deep"))
    place.refused(tap, "--state-dir RUN/deep/state")


def whole(tap):
    """The run directory itself, in a directory of that user."""
    place = Place()
    home = os.path.join(place.daemon.dir, "home")
    os.mkdir(home)
    os.chown(home, NOBODY, NOBODY)
    place.plant(place.victim, os.path.join(home, "run"))
    place.daemon.arguments[1] = place.daemon.run_dir = os.path.join(home, "run")
    place.refused(tap, "--run-dir")


def lock(tap):
    place = Place().started_once()
    os.unlink(place.run("memleased.lock"))
    os.link(place.secret, place.run("memleased.lock"))
    place.daemon.start(wait=False)
    code = place.daemon.wait()
    tap.check(code == 1 and "another name" in place.daemon.log(), "a lock that is another file: it does not start",
              code, place.daemon.log())
    tap.equal(os.stat(place.secret).st_uid, 0, "which stays root's")


def of_root(tap):
    """Where nobody else could have put it a link is followed, as it always was."""
    place = Place()
    real = os.path.join(place.daemon.dir, "real")
    os.mkdir(real, 0o755)
    os.chown(real, NOBODY, NOBODY)
    os.symlink("real", place.daemon.run_dir)
    place.daemon.start()
    tap.check(os.path.ismount(os.path.join(real, "pool")), "a link of root's is followed")
    place.daemon.stop()
    place.daemon.start()
    control = os.stat(os.path.join(real, "control.sock"))
    tap.equal((control.st_uid, stat.S_IMODE(control.st_mode)), (NOBODY, 0o660), "also at the second start")
    place.daemon.stop()


run(pool, vm, state, whole, lock, of_root)
