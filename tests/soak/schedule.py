# SPDX-License-Identifier: GPL-2.0-or-later
"""What the soak does next: decisions of a seed and of a view of the world, and
nothing else. Called by tests/soak/soak.t, and by tests/soak/schedule.t without any
VM; so nothing here starts, reads or waits for anything.

The rules that keep the soak's demands possible, so that whatever goes wrong is
memlease's doing:
- All that is used at once fits the pool; only a squeeze goes past it, by little, and
  only while all that runs elsewhere has what it needs and is about to free it: with
  every processor of every VM waiting for memory nobody could free any.
- A VM's use fits its limit with MARGIN_MIB left, also when a limit is set.
- Each load ends by itself.
- Targets may be anything, for they are wishes; but none is set during a squeeze:
  the host refuses to lend above a target while somebody waits for memory.
"""

import random
from collections import namedtuple
from dataclasses import dataclass, field

BASE_MIB = 200		# what a guest uses of itself, at most
MARGIN_MIB = 192	# left below a limit: page arrays, reserves, the emergency
HEADROOM_MIB = 256	# left of the pool: what was freed and is not reported yet, caches, page tables
LOAD_LEAST_MIB = 24
OVER_MIB = (16, 96)	# what a squeeze takes more than is free
HOG_MOST_MIB = 640
FILL_MOST_MIB = 1500	# of a program that fills again and again
FILES_MOST_MIB = 240	# of one VM, disk and tmpfs together
LOADS_MOST = 5		# at once in one VM
HOLD_MOST_MS = 4000
SQUEEZE_S = 30		# what a squeeze may take
SLOTS = ("disk0", "disk1", "disk2", "shm0", "shm1")
DRAWS = 6		# until something is possible
QUIET_S = 10		# at the end nothing new begins
RESTARTS_UNTIL = 0.6	# of the time; then the daemon's memory is watched

# How often, against the others.
WEIGHTS = {
    "hog": 60, "write": 8, "check": 8, "remove": 4, "storm": 8, "scan": 6, "drop-cache": 2, "compact": 2,
    "target": 10, "no-target": 5, "limit": 4, "report-now": 6, "kill-daemon": 3, "restart-daemon": 2,
    "pause-daemon": 2, "squeeze": 2, "audit": 3, "reboot": 1, "rest": 2,
}
WHOLE_HOST = ("kill-daemon", "restart-daemon", "pause-daemon", "audit", "rest")

Squeeze = namedtuple("Squeeze", "guest holds")
Action = namedtuple("Action", "kind guest args")


@dataclass
class Load:
    """A program that runs in a guest."""
    name: str
    mib: int		# the most it uses
    settled: bool = False	# has had all it takes
    slot: str = None	# the file it works on
    squeeze: bool = False	# more than the pool has left


@dataclass
class File:
    mib: int
    seed: int


@dataclass
class Guest:
    name: str
    limit_mib: int		# now
    most_mib: int		# the highest limit it may be given
    boot_mib: int
    resident_mib: float = 0
    loads: list = field(default_factory=list)
    files: dict = field(default_factory=dict)	# slot: File

    def busy(self, slot):
        return any(load.slot == slot for load in self.loads)

    def demand_mib(self):
        """The most that it may come to use with what runs in it."""
        return (BASE_MIB + sum(load.mib for load in self.loads)
                + sum(file.mib for file in self.files.values()))


@dataclass
class View:
    at_s: float
    seconds: float
    pool_mib: int
    guests: list

    def room_mib(self, guest):
        """How much more a load in this guest may use. Nothing during a squeeze."""
        if any(load.squeeze for g in self.guests for load in g.loads):
            return 0
        used = sum(max(g.demand_mib(), g.resident_mib) for g in self.guests)
        return int(min(self.pool_mib - HEADROOM_MIB - used,
                       guest.limit_mib - MARGIN_MIB - guest.demand_mib()))


class Schedule:
    def __init__(self, seed):
        self.seed = seed
        self.turn = 0
        self.squeeze = None	# a Squeeze that is prepared

    def pause_s(self):
        """Until the next action: mostly short, sometimes long enough to settle."""
        chance = random.Random(f"{self.seed} pause {self.turn}")
        return chance.uniform(0, 0.2) if chance.random() < 0.9 else chance.uniform(0.5, 2.5)

    def next(self, view):
        """An Action; of the kind "rest" if nothing that was drawn is possible now."""
        self.turn += 1
        chance = random.Random(f"{self.seed} {self.turn}")	# no turn depends on how often another drew
        if view.at_s > view.seconds - QUIET_S:
            self.squeeze = None
            return Action("rest", None, {})
        if self.squeeze:
            return self._squeeze_on(chance, view)
        for _ in range(DRAWS):
            kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            guest = chance.choice(view.guests)
            if kind.endswith("-daemon") and view.at_s > view.seconds * RESTARTS_UNTIL:
                continue
            args = getattr(self, "_" + kind.replace("-", "_"))(chance, view, guest)
            if args is not None:
                return Action(kind, None if kind in WHOLE_HOST else guest.name, args)
        return Action("rest", None, {})

    # --- loads ---

    def _size(self, drawn, view, guest, most):
        room = min(view.room_mib(guest), most)
        if room < LOAD_LEAST_MIB or len(guest.loads) >= LOADS_MOST:
            return None
        # Rather large ones, so that memory is short.
        return max(drawn.randint(LOAD_LEAST_MIB, room) for _ in range(2))

    def _hog(self, drawn, view, guest):
        mib = self._size(drawn, view, guest, HOG_MOST_MIB)
        if mib is None:
            return None
        return {"mib": mib, "steps": self._steps(drawn, mib)}

    def _steps(self, drawn, mib):
        """Steps of tests/vm/guest/hog.c that never hold more than mib; "full" marks the peak."""
        hold = f"sleep:{drawn.randrange(HOLD_MOST_MS)}"
        times = max(2, drawn.randrange(FILL_MOST_MIB) // mib)
        return drawn.choice((
            [f"fill:{mib}", "full", "check", hold, "check", "free"],
            [f"fill:{mib // 2}", "check", f"fill:{mib - mib // 2}", "full", "check", "free-half", "free-half",
              hold, "check", "free"],
            [f"fill:{mib}", "full", "check", "free-half", hold, "check", f"fill:{mib // 3}", "check", "free"],
            [f"zero:{mib}", "full", hold, "check", "free", f"zero:{mib}", "check", "free"],
            [f"fill:{mib}", "full", "check", "free", f"loop:{times}"]))

    # --- a squeeze, in three steps: nothing runs; another VM holds much; more than is left ---

    def _squeeze(self, drawn, view, guest):
        """The first step: from now on nothing else begins. Not at the end, it takes its time."""
        if view.at_s > view.seconds - SQUEEZE_S:
            return None
        self.squeeze = Squeeze(guest.name, None)
        return {}

    def _squeeze_on(self, drawn, view):
        """The Action of a turn while a squeeze is prepared."""
        guest = next(g for g in view.guests if g.name == self.squeeze.guest)
        other = next(g for g in view.guests if g is not guest)
        rest = Action("rest", None, {})
        if not self.squeeze.holds:
            mib = min(view.room_mib(other), HOG_MOST_MIB)
            if guest.loads or other.loads:
                return rest
            if mib < 3 * max(OVER_MIB):
                self.squeeze = None
                return rest
            self.squeeze = Squeeze(guest.name, True)
            hold = f"sleep:{drawn.randint(HOLD_MOST_MS // 2, HOLD_MOST_MS)}"
            return Action("hog", other.name,
                          {"mib": mib, "steps": [f"fill:{mib}", "full", hold, "check", "free"]})
        if other.loads and not other.loads[0].settled:
            return rest
        self.squeeze = None
        over = drawn.randint(*OVER_MIB)
        mib = int(view.pool_mib - sum(g.resident_mib for g in view.guests)) + over
        own = guest.limit_mib - MARGIN_MIB - guest.demand_mib()
        if not other.loads or not LOAD_LEAST_MIB <= mib <= own:
            return rest
        return Action("hog", guest.name, {"mib": mib, "steps": [f"fill:{mib}", "full", "check", "free"],
                                          "squeeze": True})

    def _storm(self, drawn, view, guest):
        children = drawn.choice((20, 50, 100, 200))
        # A copy of 128 KiB, page tables, a stack and a descriptor table each.
        room = min(view.room_mib(guest) - children // 2, 64)
        if room < 4 or len(guest.loads) >= LOADS_MOST:
            return None
        own = drawn.randrange(2, room)
        return {"children": children, "own": own, "rounds": drawn.randrange(1, 4), "mib": own + children // 2}

    def _scan(self, drawn, view, guest):
        """What is read once and never again. It stays in the page cache, and so in what is resident."""
        mib = self._size(drawn, view, guest, HOG_MOST_MIB)
        return None if mib is None else {"mib": mib}

    # --- files ---

    def _write(self, drawn, view, guest):
        free = [s for s in SLOTS if s not in guest.files and not guest.busy(s)]
        mib = self._size(drawn, view, guest, FILES_MOST_MIB - sum(f.mib for f in guest.files.values()))
        if not free or mib is None:
            return None
        return {"slot": drawn.choice(free), "mib": mib, "seed": drawn.randrange(1, 1 << 30)}

    def _file(self, drawn, guest):
        kept = [s for s in sorted(guest.files) if not guest.busy(s)]
        return drawn.choice(kept) if kept and len(guest.loads) < LOADS_MOST else None

    def _check(self, drawn, view, guest):
        slot = self._file(drawn, guest)
        return slot and {"slot": slot, "how": drawn.choice(("check", "map")), "times": drawn.randrange(1, 4)}

    def _remove(self, drawn, view, guest):
        slot = self._file(drawn, guest)
        return slot and {"slot": slot}

    def _drop_cache(self, drawn, view, guest):
        return {}

    def _compact(self, drawn, view, guest):
        return {}

    # --- what a host does ---

    def _target(self, drawn, view, guest):
        if any(load.squeeze for g in view.guests for load in g.loads):
            return None
        low = guest.boot_mib
        return {"mib": drawn.randrange(low, guest.limit_mib + 1, 2), "deadline_s": drawn.randrange(1, 8)}

    def _no_target(self, drawn, view, guest):
        return {}

    def _limit(self, drawn, view, guest):
        least = guest.demand_mib() + MARGIN_MIB
        if least + least % 2 > guest.most_mib:
            return None
        if drawn.random() < 0.5:
            return {"mib": guest.most_mib}
        return {"mib": drawn.randrange(least + least % 2, guest.most_mib + 1, 2)}

    def _report_now(self, drawn, view, guest):
        return {}

    def _kill_daemon(self, drawn, view, guest):
        return {"times": drawn.choice((1, 1, 1, 2, 3))}

    def _restart_daemon(self, drawn, view, guest):
        return {}

    def _pause_daemon(self, drawn, view, guest):
        return {"seconds": round(drawn.uniform(0.2, 3), 2)}

    def _audit(self, drawn, view, guest):
        return {}

    def _rest(self, drawn, view, guest):
        return {}

    def _reboot(self, drawn, view, guest):
        """Only where nothing runs."""
        return None if guest.loads else {}
