#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The simulation for a few seconds, and that it notices what it is there to notice.
sim=build/sim/memlease-sim

echo 1..8
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
if out=$(build/sim/pool-sim --seed 1 --crashes 500 --threads 50 2>&1); then
	echo "ok 4 - $out"
else
	echo "not ok 4 - the pool's simulation"
	echo "$out" | sed 's/^/# /'
fi
for how in early lazy; do
	n=$((${n:-4} + 1))
	if build/sim/pool-sim --seed 1 --crashes 500 --sabotage $how >/dev/null 2>&1; then
		echo "not ok $n - blocks that are put back or called clean too early ($how) go unnoticed"
	else
		echo "ok $n - blocks that are put back or called clean too early ($how) are noticed"
	fi
done
if out=$($sim --served --seed 1 --seeds 20 --steps 500 2>&1); then
	echo "ok 7 - $out"
else
	echo "not ok 7 - simulation of a reserved pool"
	echo "$out" | sed 's/^/# /'
fi
if $sim --served --seed 1 --seeds 3 --steps 500 --sabotage keep >/dev/null 2>&1; then
	echo "not ok 8 - a module that keeps a block goes unnoticed"
else
	echo "ok 8 - a module that keeps a block is noticed"
fi
