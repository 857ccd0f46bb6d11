#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulation for a few seconds, and that it notices what it is there to notice.
sim=build/sim/memlease-sim

echo 1..3
if out=$($sim --seed 1 --seeds 20 --steps 500 2>&1); then
	echo "ok 1 - $out"
else
	echo "not ok 1 - simulation"
	echo "$out" | sed 's/^/# /'
fi
if $sim --seed 1 --seeds 3 --steps 500 --sabotage keep >/dev/null 2>&1; then
	echo "not ok 2 - memory that keeps a block goes unnoticed"
else
	echo "ok 2 - memory that keeps a block is noticed"
fi
if $sim --seed 1 --seeds 3 --steps 500 --sabotage share >/dev/null 2>&1; then
	echo "not ok 3 - a block with two owners goes unnoticed"
else
	echo "ok 3 - a block with two owners is noticed"
fi
