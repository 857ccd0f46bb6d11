#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# memlease_pool.ko builds for the lab's kernel (MEMLEASE_LAB_KERNEL) without a word from
# the compiler or from sparse, by the Makefile that an operator uses; its files call each
# other in the order of scripts/layers; and for a kernel that is too old for it the
# compiler says so.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=scripts/lib/kernel.sh
. scripts/lib/kernel.sh

series=${MEMLEASE_LAB_KERNEL:-6.12}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export ML_KERNEL_BIND=$dir
n=0

# result NAME STATUS: one test; what was printed is shown when it failed.
result()
{
	n=$((n + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		sed 's/^/# /' "$dir/words" | tail -n 40
	fi
}

out=build/module/$series
scripts/build-host-module "$series" >"$dir/words" 2>&1 && cp "$out/words" "$dir/words" && [ ! -s "$dir/words" ]
result "$series: no warning of gcc or sparse" $?
if [ -z "$(cat "$out/checked")" ]; then
	n=$((n + 1))
	echo "ok $n # SKIP $series: no sparse that is new enough could be had"
fi
scripts/check-layers --objects "$out/objects" --of host/module >"$dir/words" 2>&1
result "$series: files use only what stands below them" $?
if [ "$series" = 6.12 ]; then
	home=$(scripts/fetch-kernels --print 6.1)
	! ml_kernel_run "$home" make -s -C host/module KDIR="$(realpath "$home/headers")" OBJDIR="$dir/6.1" \
		>"$dir/words" 2>&1 && grep -q 'memlease_pool needs Linux 6.12 or later' "$dir/words"
	result "6.1: the compiler says what is needed" $?
fi
echo "1..$n"
