#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# memlease_pool.ko builds for the lab's kernel (MEMLEASE_LAB_KERNEL) without a word from
# the compiler or from sparse, by the Makefile that an operator uses; and for a kernel
# that is too old for it the compiler says so.
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

# build SERIES [C=1]: what is printed goes to $dir/words.
build()
{
	local home kdir
	home=$(scripts/fetch-kernels --print "$1")
	kdir=$(readlink -f "$home"/modules/*/build)
	ml_kernel_run "$home" make -s -C host/module KDIR="$kdir" OBJDIR="$dir/$1" ${2:+"$2"} >"$dir/words" 2>&1
}

# A sparse that is too old for a kernel is left out of Debian 13's tree.
if ml_kernel_run "$(scripts/fetch-kernels --print "$series")" sh -c 'command -v sparse' >/dev/null; then
	build "$series" C=1 && ! grep -E '(warning|error):' "$dir/words"
	result "$series: no warning of gcc or sparse" $?
else
	build "$series" && ! grep -E '(warning|error):' "$dir/words"
	result "$series: no warning of gcc" $?
	n=$((n + 1))
	echo "ok $n # SKIP $series: no sparse that is new enough could be had"
fi
if [ "$series" = 6.12 ]; then
	! build 6.1 && grep -q 'memlease_pool needs Linux 6.12 or later' "$dir/words"
	result "6.1: the compiler says what is needed" $?
fi
echo "1..$n"
