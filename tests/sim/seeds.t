#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Many seeds: the same ones each time, and some that nobody has tried before; on the fake
# backend, and on the reserved one with a stand-in for the module. Each kills the daemon
# some hundred times; it prints how often. At night, more of both.
sim=build/sim/memlease-sim
new=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')

times=${MEMLEASE_TEST_LONG:+10}

echo 1..7
run()
{
	n=$1
	shift
	if out=$($sim "$@" --steps 1000 2>&1); then
		echo "ok $n - $out"
	else
		echo "not ok $n - simulation"
		echo "$out" | sed 's/^/# /'
	fi
}
run 1 --seed 5000 --seeds $((50 * ${times:-1}))
run 2 --seed "$new" --seeds $((25 * ${times:-1}))
run 3 --served --seed 5000 --seeds $((75 * ${times:-1}))
run 4 --served --seed "$new" --seeds $((25 * ${times:-1}))
# Memory that QEMU had put into its files, and a daemon that dies while it comes up.
run 5 --seed 77038
# What QEMU emptied and what it filled even out, and the guest gives back the first.
run 6 --seed 1088898055
# A window that somebody had closed and opened again, and a daemon that dies while it is given up.
run 7 --served --seed 3852579856
