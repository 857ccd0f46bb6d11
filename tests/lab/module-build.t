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

# build SERIES OBJDIR [C=1]: what is printed goes to $dir/words.
build()
{
	local home kdir
	home=$(scripts/fetch-kernels --print "$1")
	kdir=$(readlink -f "$home"/modules/*/build)
	[ "$(cat "$2/kernel" 2>/dev/null)" = "$kdir" ] || rm -rf "$2"
	mkdir -p "$2" && echo "$kdir" >"$2/kernel"
	ml_kernel_run "$home" make -s -C host/module KDIR="$kdir" OBJDIR="$2" ${3:+"$3"} >"$dir/words" 2>&1
}

# Objects are kept for the next time, and what exists was built without a word: after a word they go.
objects=$PWD/build/module/checked/$series
in_silence()
{
	build "$series" "$objects" "$@" && ! grep -qE '(warning|error):' "$dir/words" && return
	rm -rf "$objects"
	return 1
}

# A sparse that is too old for a kernel is left out of Debian 13's tree.
if ml_kernel_run "$(scripts/fetch-kernels --print "$series")" sh -c 'command -v sparse' >/dev/null; then
	in_silence C=1
	result "$series: no warning of gcc or sparse" $?
else
	in_silence
	result "$series: no warning of gcc" $?
	n=$((n + 1))
	echo "ok $n # SKIP $series: no sparse that is new enough could be had"
fi
scripts/check-layers --objects "$objects/host/module" --of host/module >"$dir/words" 2>&1
result "$series: files use only what stands below them" $?
if [ "$series" = 6.12 ]; then
	! build 6.1 "$dir/6.1" && grep -q 'memlease_pool needs Linux 6.12 or later' "$dir/words"
	result "6.1: the compiler says what is needed" $?
fi
echo "1..$n"
