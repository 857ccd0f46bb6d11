#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Many seeds: the same ones each time, and some that nobody has tried before.
sim=build/sim/memlease-sim
new=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')

echo 1..2
run()
{
	if out=$($sim --seed "$2" --seeds "$3" --steps 1000 2>&1); then
		echo "ok $1 - $out"
	else
		echo "not ok $1 - simulation"
		echo "$out" | sed 's/^/# /'
	fi
}
run 1 5000 100
run 2 "$new" 50
