#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A soak: two VMs of two tenants and two kernels in a pool that is overbooked, with
random load that checks what it reads, random targets and limits, and a daemon that
is killed and restarted. Nothing is lost, nothing is killed, no kernel complains, the
ledger is right, the daemon's memory does not grow, and the pool is whole at the end.

SOAK_SECONDS (default 100) says how long, SOAK_SEED which decisions (tests/soak/schedule.py).
A failure prints both, and where the logs are. The seed gives the same decisions as far as
the VMs are as fast as they were."""

import os
import random
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "vm"), HERE]

import time

from schedule import Schedule, View
from site_vm import Site, Wrong

from lib import paths
from lib.host import host
from lib.tap import main, until
from lib.vm import wait_ended

POOL_MIB = 1280
LIMIT_MIB = 1280	# of each VM: 200 % of the pool in all, the most that is lent by default
SECONDS = int(os.environ.get("SOAK_SECONDS", "100"))
SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
LOG = os.path.join(paths.BUILD, "log", "soak.log")	# what was done when; the last run's
LOOK_EVERY_S = 1.0
PROGRESS_EVERY_S = 60
DRAIN_S = 200		# for what still runs at the end
SETTLE_S = 10
IDLE_MIB = 384		# of a guest in which nothing runs any more
RSS_WARM_S = 10		# of a daemon's life, before its memory is compared
RSS_GROWTH_MIB = 4	# of its own; what it maps of guests comes in pieces of 2 MiB, and is theirs


class Soak:
    def __init__(self, tap):
        self.tap = tap
        self.host = host(tap, pool=f"{POOL_MIB}M", keep=True, arguments=("--period", "60"))
        os.makedirs(os.path.dirname(LOG), exist_ok=True)
        self.file = open(LOG, "w", buffering=1)
        self.schedule = Schedule(SEED)
        self.began = time.monotonic()
        self.counts = {}
        self.squeezes = 0
        self.rss = {}		# pid of a daemon: [(seconds, KiB)]
        inside = [random.Random(f"{SEED} {name}").random() < 0.5 for name in ("old", "new")]
        self.sites = [Site(self.host, name, kernel, tenant, LIMIT_MIB, self.log, inside[i])
                      for i, (name, kernel, tenant) in enumerate((("old", paths.OLDEST, "acme"), ("new", paths.NEWEST, "bolt")))]
        self.log(f"seed {SEED}, {SECONDS} s; page arrays in added memory: {inside}")

    def at(self):
        return time.monotonic() - self.began

    def log(self, line):
        self.file.write(f"{self.at():8.2f} {line}\n")

    def site(self, name):
        return next(site for site in self.sites if site.name == name)

    def view(self):
        return View(self.at(), SECONDS, POOL_MIB, [site.view for site in self.sites])

    # --- the run ---

    def run(self):
        for site in self.sites:
            site.vm.attach()
        for site in self.sites:
            site.up()
        self.tap.say(f"seed {SEED}: {SECONDS} s")
        self.began = time.monotonic()
        looked = said = 0
        while self.at() < SECONDS:
            if self.at() - looked >= LOOK_EVERY_S:
                self.look()
                looked = self.at()
            if self.at() - said >= PROGRESS_EVERY_S:
                self.progress()
                said = self.at()
            action = self.schedule.next(self.view())
            self.counts[action.kind] = self.counts.get(action.kind, 0) + 1
            if action.kind != "rest":
                self.log(f"{action.guest or 'host'}: {action.kind} {action.args}")
            self.carry_out(action)
            time.sleep(self.schedule.pause_s())
        self.drain()
        self.progress()

    def look(self):
        for site in self.sites:
            site.look()
        pid = self.host.pid()
        if pid:
            self.rss.setdefault(pid, []).append((self.at(), rss_kib(pid, "RssAnon:")))

    def drain(self):
        """What still runs comes to its end."""
        until_s = time.monotonic() + DRAIN_S
        while any(site.view.loads for site in self.sites) and time.monotonic() < until_s:
            self.look()
            time.sleep(0.5)
        left = [load.name for site in self.sites for load in site.view.loads]
        if left:
            raise Wrong(f"these have not ended: {left}")

    def progress(self):
        """A line, and a look at what the guests' kernels say."""
        pool = self.host.pool()
        parts = []
        for site in self.sites:
            status = site.vm.status()
            parts.append(f"{site.name}: {site.done} programs, {status['resident-blocks'] * 2} MiB of "
                         f"{status['committed-blocks'] * 2}, {status['touches']} touches, "
                         f"{status['waited-touches']} waited, longest {status['longest-wait-ns'] / 1e9:.1f} s")
            bad, _ = site.trouble()
            if bad:
                raise Wrong(f"{site.name}: the guest's kernel says:\n" + "\n".join(bad[:20]))
        pid = self.host.pid()
        self.tap.say(f"{self.at():.0f} s; pool {pool['free-blocks'] * 2} MiB free; "
                     f"daemon {rss_kib(pid) // 1024} MiB; " + "; ".join(parts))

    # --- actions ---

    def carry_out(self, action):
        if action.guest:
            site = self.site(action.guest)
            getattr(self, "do_" + action.kind.replace("-", "_"))(site, **action.args)
        else:
            getattr(self, "do_" + action.kind.replace("-", "_"))(**action.args)

    def do_rest(self):
        pass

    def do_hog(self, site, **how):
        if how.get("squeeze"):
            self.squeezes += 1
            for each in self.sites:
                self.do_no_target(each)
        site.hog(**how)

    def do_squeeze(self, site):
        pass	# the schedule prepares it

    def do_storm(self, site, **how):
        site.storm(**how)

    def do_scan(self, site, **how):
        site.scan(**how)

    def do_write(self, site, **how):
        site.write(**how)

    def do_check(self, site, **how):
        site.check(**how)

    def do_remove(self, site, slot):
        site.remove(slot)

    def do_reboot(self, site):
        site.reboot()

    def do_drop_cache(self, site):
        site.sh("sync; echo 1 >/proc/sys/vm/drop_caches")

    def do_compact(self, site):
        site.sh("echo 1 >/proc/sys/vm/compact_memory")

    def do_target(self, site, mib, deadline_s):
        site.vm.set("--target", f"{mib}M", "--deadline", f"{deadline_s}s")

    def do_no_target(self, site):
        site.vm.set("--target", "none")

    def do_limit(self, site, mib):
        site.vm.set("--limit", f"{mib}M")
        site.view.limit_mib = mib

    def do_report_now(self, site):
        got = self.host.command("report-now", site.name, check=False)
        # With the pool used up it may stand still for a while, and gives no answer then.
        if got.returncode and "until there is memory" not in got.stderr:
            raise Wrong(f"report-now {site.name}: status {got.returncode}: {got.stderr.strip()}")

    def do_kill_daemon(self, times):
        for _ in range(times):
            self.next_daemon(self.host.kill_daemon())

    def do_restart_daemon(self):
        pid = self.host.pid()
        os.kill(self.host.process.pid, signal.SIGHUP)
        self.next_daemon(pid)

    def next_daemon(self, pid):
        if not until(lambda: self.host.pid() not in (None, pid), 20):
            raise Wrong("no daemon came after the one that ended")
        self.host.wait_up(20)

    def do_pause_daemon(self, seconds):
        pid = self.host.pid()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def do_audit(self):
        pool = self.host.pool()
        if pool["lent-blocks"] + pool["free-blocks"] != pool["pool-blocks"]:
            raise Wrong(f"blocks that are neither lent nor free: {pool}")
        for site in self.sites:
            site.audit(until)

    # --- the end ---

    def settle(self):
        """Back to what idle guests need."""
        for site in self.sites:
            site.vm.set("--target", "none", "--limit", f"{LIMIT_MIB}M")
            site.sh("rm -f /disk/* /shm/*; sync; echo 3 >/proc/sys/vm/drop_caches")
            got = self.host.command("report-now", site.name, check=False)
        # With the pool used up it may stand still for a while, and gives no answer then.
        if got.returncode and "until there is memory" not in got.stderr:
            raise Wrong(f"report-now {site.name}: status {got.returncode}: {got.stderr.strip()}")
        time.sleep(2)
        self.do_audit()
        for site in self.sites:
            until(lambda s=site: s.vm.resident_mib() < IDLE_MIB, SETTLE_S)
            resident = site.vm.resident_mib()
            self.tap.check(resident < IDLE_MIB, f"{site.name}: what was used came back ({resident:.0f} MiB resident "
                           f"of {site.vm.status()['committed-blocks'] * 2})")
            self.tap.say(f"{site.name}: the driver says {site.facts}")

    def grown_mib(self):
        """How much the memory of the last daemon grew after its first seconds."""
        samples = list(self.rss.values())[-1]
        warm = [kib for at, kib in samples if at - samples[0][0] >= RSS_WARM_S]
        if not warm:
            return 0
        return (max(warm) - warm[0]) / 1024

    def end(self):
        tap = self.tap
        for site in self.sites:
            site.vm.stop(60)
            tap.check(wait_ended(site.vm) is not None, f"{site.name} ends in order")
        tap.check(until(self.host.pool_whole, 5), "the pool is whole at the end", self.host.pool())
        for site in self.sites:
            self.host.check_bill(tap, site.vm, least=500)
            tap.say(f"{site.name}: {site.trouble()[1]} lines of attempts that the kernel could not carry out")
        lives = [f"{(v[-1][1] - v[0][1]) / 1024:+.1f}" for v in self.rss.values()]
        tap.say(f"{len(lives)} daemons; RssAnon from first to last look, MiB: {' '.join(lives)}")
        tap.check(self.grown_mib() <= RSS_GROWTH_MIB,
                  f"the daemon's own memory did not grow by more than {RSS_GROWTH_MIB} MiB ({self.grown_mib():.1f})")
        tap.say(f"done: {self.squeezes} times more than the pool, " + ", ".join(f"{n} {kind}" for kind, n in sorted(self.counts.items())))


def rss_kib(pid, which="VmRSS:"):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(which)), 0)
    except OSError:
        return 0


def soak(tap):
    failures = tap.failures
    run = None
    try:
        run = Soak(tap)
        run.run()
        tap.check(True, f"{sum(s.done for s in run.sites)} programs found what they wrote, and none was killed")
        run.settle()
        run.end()
    except Wrong as wrong:
        tap.check(False, "nothing is lost, and nothing killed", wrong)
        run.log(wrong)
    finally:
        if tap.failures > failures or sys.exc_info()[0]:
            if run:
                run.log("failed")
            tap.say(f"failed after {run.at() if run else 0:.0f} s; to repeat it: "
                    f"SOAK_SEED={SEED} SOAK_SECONDS={SECONDS} tests/soak/soak.t")


main(soak, limit_s=SECONDS + 600)
