#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The driver builds for each test kernel, without a word from the compiler or from
# sparse, and through DKMS, from what `dkms-install` puts on a machine. Nothing
# is installed: DKMS gets directories of its own.
set -u
cd "$(dirname "$0")/../.." || exit 1

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tree"
n=0

# check NAME COMMAND...: one test; what the command prints is shown when it fails.
check()
{
	local name=$1
	shift
	n=$((n + 1))
	if "$@" >"$dir/output" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$dir/output" | tail -n 40
	fi
}

build()
{
	make -s -C guest KDIR="$1" OBJDIR="$2" C=1 >"$dir/words" 2>&1 || { cat "$dir/words"; return 1; }
	! grep -E '(warning|error):' "$dir/words"
}

with_dkms()
{
	make -s -C guest dkms-install DESTDIR="$dir/root" &&
		dkms build --dkmstree "$dir/tree" --sourcetree "$dir/root/usr/src" \
			-m memlease -v 1 -k "$2" --kernelsourcedir "$1" &&
		[ -n "$(find "$dir/tree/memlease/1/$2" -name 'virtio_memlease.ko*')" ]
}

echo "1..4"
for series in 6.1 6.12; do
	home=$(scripts/fetch-kernels --print "$series")
	kdir=$(readlink -f "$home"/modules/*/build)
	release=$(basename "$home"/modules/*)
	check "$series: no warning of gcc or sparse" build "$kdir" "$dir/$series"
	check "$series: DKMS builds it" with_dkms "$kdir" "$release"
done
