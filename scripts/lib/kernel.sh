# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What scripts and tests ask of a kernel that scripts/fetch-kernels made: where
# modules for it can be built. They source this file.

ML_IN_TRIXIE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/in-trixie

# ml_kernel_run KERNEL COMMAND...: run a command that builds modules for the kernel
# in this directory: here, or in Debian 13's tree where the tools of its headers
# ask for a newer C library than this machine has. Directories outside of the
# repository and the cache that the command needs stand in ML_KERNEL_BIND.
ml_kernel_run()
{
	local kernel=$1 dir bind=()
	shift
	if [ "$(cat "$kernel/place" 2>/dev/null)" != trixie ]; then
		"$@"
		return
	fi
	for dir in ${ML_KERNEL_BIND:-}; do
		bind+=(--bind "$dir")
	done
	"$ML_IN_TRIXIE" "${bind[@]}" "$@"
}
