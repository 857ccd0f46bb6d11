#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The systemd unit: systemd reads it without complaint, and finds little exposed.
set -u
cd "$(dirname "$0")/../.." || exit 1

unit=docs/systemd/memleased.service
exposure_limit=40	# tenths; the system-call filter is the daemon's own and does not count

if ! command -v systemd-analyze >/dev/null; then
	echo "1..0 # SKIP no systemd-analyze"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
sed "s|@bindir@|$PWD/build|" "$unit" >"$dir/memleased.service"

n=0
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		printf '%s\n' "$3" | sed 's/^/# /'
	fi
}

# Other units of the machine are not ours to judge.
said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$dir/memleased.service" 2>&1 | grep -F memleased)
[ -z "$said" ]
result $? "systemd finds no fault in the unit" "$said"

said=$(systemd-analyze security --offline=true --no-pager "$dir/memleased.service" 2>&1)
level=$(printf '%s\n' "$said" | sed -n 's/.*Overall exposure level for .*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
[ -n "$level" ] && [ "$((10#$level))" -le "$exposure_limit" ]
result $? "it exposes little (${level:-unknown} of 100)" "$said"
echo "1..$n"
