#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The pool under kill -9: 5000 times between two writes, the same ones each time; with seeds
# that nobody has tried before, a fifth of it; and with several threads at any instruction. At
# night, ten times as often.
sim=build/sim/pool-sim
times=${MEMLEASE_TEST_LONG:+10}
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
run 1 --seed 1 --crashes $((5000 * ${times:-1}))
run 2 --seed "$new" --crashes $((1000 * ${times:-1}))
run 3 --seed 1 --threads $((250 * ${times:-1}))
