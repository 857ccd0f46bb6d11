#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The driver builds for each test kernel (MEMLEASE_TEST_KERNELS) without a word from the
# compiler or from sparse, each of its files calls only what stands below it, and it builds
# through DKMS, from what `dkms-install` puts on a machine. Nothing is installed: DKMS gets
# directories of its own, in the cache, at the same place each time, so that ccache knows them.
# Where modules are built in Debian 13's tree, DKMS is not: what it would run is.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=scripts/lib/kernel.sh
. scripts/lib/kernel.sh
# shellcheck source=scripts/lib/apt.sh
. scripts/lib/apt.sh

dir=$MEMLEASE_CACHE/modules/dkms
mkdir -p "$dir"
exec 9>"$dir.lock"
flock 9
trap 'rm -rf "$dir"' EXIT
rm -rf "$dir"
mkdir -p "$dir/tree"
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

# builds SERIES: it does, or was built of these sources already, and nobody had a word to say.
builds() { scripts/build-guest "$1" && cat "build/guest/$1/words" && [ ! -s "build/guest/$1/words" ]; }

# A compiler that we do not know has something to say of what is installed: what a user
# builds it with must not leave him without the driver.
warns()
{
	echo 'static void ml_nobody_calls_it(void) { int unused; }' >>"$1/guest/think/pure.c"
}

with_dkms()
{
	make -s -C guest dkms-install DESTDIR="$dir/root" && warns "$dir/root/usr/src/memlease-1" &&
		dkms build --dkmstree "$dir/tree" --sourcetree "$dir/root/usr/src" \
			-m memlease -v 1 -k "$2" --kernelsourcedir "$1" &&
		[ -n "$(find "$dir/tree/memlease/1/$2" -name 'virtio_memlease.ko*')" ]
}

# The command that dkms.conf has for it, where dkms-install put the sources.
as_dkms_would()
{
	local MAKE kernel_source_dir=$1 root=$dir/root-$2/usr/src/memlease-1
	make -s -C guest dkms-install DESTDIR="$dir/root-$2" && warns "$root" || return 1
	# shellcheck source=guest/dkms.conf
	. "$root/dkms.conf"
	(cd "$root" && ml_kernel_run "$home" bash -c "${MAKE[0]}") && [ -e "$root/guest/virtio_memlease.ko" ]
}

read -ra kernels <<<"${MEMLEASE_TEST_KERNELS:-6.1 6.12}"
for series in "${kernels[@]}"; do
	home=$(scripts/fetch-kernels --print "$series")
	kdir=$(readlink -f "$home"/modules/*/build)
	release=$(basename "$home"/modules/*)
	out=build/guest/$series
	check "$series: no warning of gcc or sparse" builds "$series"
	if [ -z "$(cat "$out/checked")" ]; then
		n=$((n + 1))
		echo "ok $n # SKIP $series: no sparse that is new enough could be had"
	fi
	check "$series: calls go one way, downwards" scripts/check-layers --objects "$out/objects" --of guest
	if [ "$(cat "$home/place" 2>/dev/null)" = trixie ]; then
		check "$series: what DKMS would run builds it" as_dkms_would "$kdir" "$release"
	else
		check "$series: DKMS builds it, whatever the compiler says" with_dkms "$kdir" "$release"
	fi
done
echo "1..$n"
