#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The pool under kill -9: 10 000 times between two writes, the same ones each time; as
# often with seeds that nobody has tried before, a fifth of it; and with several threads
# at any instruction.
sim=build/sim/pool-sim
new=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')

echo 1..3
run()
{
	n=$1
	shift
	if out=$($sim "$@" 2>&1); then
		echo "ok $n - $out"
	else
		echo "not ok $n - pool-sim $*"
		echo "$out" | sed 's/^/# /'
	fi
}
run 1 --seed 1 --crashes 10000
run 2 --seed "$new" --crashes 2000
run 3 --seed 1 --threads 500
