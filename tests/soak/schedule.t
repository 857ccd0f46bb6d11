#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The soak's decisions: the same for the same seed, of every kind, and never more than
the pool and the limits carry."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "lib"), HERE]

import random

import schedule
from schedule import File, Guest, Load, Schedule, View
from tap import Tap, run

POOL_MIB, LIMIT_MIB, STEPS = 1280, 1280, 6000


class World:
    """VMs in name only: a load takes what it asked for and ends after some steps."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.guests = [Guest(name, LIMIT_MIB, LIMIT_MIB, 256) for name in ("a", "b")]
        self.left = {}
        self.number = 0

    def load(self, guest, mib, slot=None, then=None, squeeze=False):
        self.number += 1
        load = Load(f"l{self.number}", mib, slot=slot, squeeze=squeeze)
        guest.loads.append(load)
        self.left[load.name] = (self.random.randrange(1, 30), then)

    def step(self):
        for guest in self.guests:
            for load in list(guest.loads):
                left, then = self.left[load.name]
                self.left[load.name] = (left - 1, then)
                load.settled = left < 5
                if left <= 0:
                    guest.loads.remove(load)
                    if then:
                        then()
            # Programs take part of what they may, and fragments stay behind.
            guest.resident_mib = self.random.uniform(0.5, 1.02) * guest.demand_mib()

    def do(self, action):
        guest = next((g for g in self.guests if g.name == action.guest), None)
        args = action.args
        if action.kind in ("hog", "storm", "scan"):
            self.load(guest, args["mib"], squeeze="squeeze" in args)
        elif action.kind == "write":
            self.load(guest, args["mib"], args["slot"],
                      lambda: guest.files.update({args["slot"]: File(args["mib"], args["seed"])}))
        elif action.kind == "check":
            self.load(guest, 0, args["slot"])
        elif action.kind == "remove":
            self.load(guest, 0, args["slot"], lambda: guest.files.pop(args["slot"]))
        elif action.kind == "limit":
            guest.limit_mib = args["mib"]


def play(seed, steps=STEPS, look=lambda world, action, before: None):
    """The actions of a seed."""
    chosen, world, actions = Schedule(seed), World(seed), []
    for number in range(steps):
        view = View(number * 0.4, steps * 0.4, POOL_MIB, world.guests)
        before = sum(g.demand_mib() for g in world.guests)
        action = chosen.next(view)
        world.do(action)
        look(world, action, before)
        actions.append(action)
        world.step()
        if not 0 < chosen.pause_s() < 3:
            raise AssertionError("a pause is too long")
    return actions


def repeats(tap):
    tap.check(play(5, 500) == play(5, 500), "a seed gives the same decisions again")
    tap.check(play(5, 500) != play(6, 500), "and another seed others")


def all_kinds(tap):
    for seed in (1, 2):
        kinds = {action.kind for action in play(seed)}
        tap.equal(sorted(set(schedule.WEIGHTS) - kinds), [], f"seed {seed}: every kind of action comes")


def possible(tap):
    """Limits and the pool are kept, but for what a squeeze may."""
    bad, squeezes = [], []

    def look(world, action, before):
        after = sum(g.demand_mib() for g in world.guests)
        if action.args.get("squeeze"):
            squeezes.append(action)
            others = [l for g in world.guests for l in g.loads if g.name != action.guest]
            over = action.args["mib"] - (POOL_MIB - sum(g.resident_mib for g in world.guests))
            if over > sum(l.mib for l in others if l.settled) / 2 or not all(l.settled for l in others):
                bad.append((action, "squeeze", others))
        elif after > before and after > POOL_MIB - schedule.HEADROOM_MIB:
            bad.append((action, "pool", after))
        for guest in world.guests:
            if guest.demand_mib() > guest.limit_mib - schedule.MARGIN_MIB:
                bad.append((action, "limit", guest.demand_mib(), guest.limit_mib))
            if len(guest.loads) > schedule.LOADS_MOST:
                bad.append((action, "loads"))
            slots = [load.slot for load in guest.loads if load.slot]
            if len(slots) != len(set(slots)):
                bad.append((action, "two programs on a file"))
            if action.kind == "target" and any(l.squeeze for l in guest.loads):
                bad.append((action, "target in a squeeze"))
    for seed in range(20):
        play(seed, 1500, look)
    tap.equal(bad[:5], [], "no decision asks for more than there is")
    tap.check(len(squeezes) > 20, f"but for squeezes, of which there are {len(squeezes)}")


def steps_hold(tap):
    """The steps of a hog never hold more than was counted."""
    chosen = Schedule(1)
    drawn = random.Random(3)
    worst = 0
    for mib in list(range(24, 200)) + [640]:
        for _ in range(20):
            held = peak = 0
            for step in chosen._steps(drawn, mib):
                verb, _, number = step.partition(":")
                if verb in ("fill", "zero"):
                    held += int(number)
                elif verb == "free":
                    held = 0
                elif verb == "free-half":
                    held -= held // 2
                peak = max(peak, held)
            worst = max(worst, peak - mib)
    tap.check(worst <= 4, "a program holds no more than it said, but for one piece", worst)


def quiet_end(tap):
    actions = play(9, 1000)
    last = [a.kind for a in actions[-int(schedule.QUIET_S / 0.4) + 2:]]
    tap.equal(set(last), {"rest"}, "at the end nothing new begins")
    late = [a.kind for a in actions[int(len(actions) * schedule.RESTARTS_UNTIL) + 1:]]
    tap.check(not any(kind.endswith("-daemon") for kind in late), "and the last daemon lives long")


run(Tap(), (repeats, all_kinds, possible, steps_hold, quiet_end), 60)
