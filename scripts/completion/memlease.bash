# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Bash completion for memlease: verbs, options, and names of VMs and plans, which
# are asked of the daemon. Source it, or put it into
# /usr/share/bash-completion/completions/memlease. tests/cli/completion.t holds
# it against what --help says.

_memlease_options()
{
	case $1 in
	run) echo --tenant --plan --name --boot --limit --guarantee --weight --kernel --initrd --append --cpus \
		--accel --print --detach --qemu --socket --help ;;
	list) echo --tenant --names --json --socket --help ;;
	status | report-now) echo --json --socket --help ;;
	top) echo --sort --interval --count --batch --json --socket --help ;;
	set) echo --limit --target --deadline --guarantee --wait --json --socket --help ;;
	stop) echo --force --timeout --socket --help ;;
	bill) echo --tenant --name --from --to --by --format --json --socket --help ;;
	events) echo --vm --count --timeout --json --socket --help ;;
	compact) echo --gib --json --socket --help ;;
	plans) echo --names --json --socket --help ;;
	version) echo --socket --help ;;
	esac
}

# Words an option's value may be; nothing where files or free text are meant.
_memlease_values()
{
	case $1/$2 in
	run/--accel) echo auto kvm tcg ;;
	run/--plan) _memlease_ask plans --names ;;
	bill/--by) echo vm tenant period ;;
	bill/--format) echo table csv json ;;
	bill/--from | bill/--to) echo now today yesterday tomorrow month last-month -1h -1d -7d ;;
	bill/--name | events/--vm) _memlease_ask list --names ;;
	top/--sort) echo resident committed limit touches waits name ;;
	set/--target) echo none 512M 1G 2G ;;
	*/--boot | */--limit | */--guarantee) echo 256M 512M 1G 2G 4G ;;
	*/--deadline | */--timeout | */--interval) echo 1s 10s 60s ;;
	esac
}

# Ask the daemon; quietly, and not for long.
_memlease_ask()
{
	timeout 1 "${COMP_WORDS[0]}" ${_memlease_socket:+--socket "$_memlease_socket"} "$@" 2>/dev/null
}

_memlease()
{
	local verbs="run list status top set report-now stop compact bill events plans help version"
	local cur=${COMP_WORDS[COMP_CWORD]} prev="" verb="" i first=1 _memlease_socket="" words=""
	COMPREPLY=()
	[ "$COMP_CWORD" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD - 1]}
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--) return ;;	# QEMU's own words
		--socket) [ $((i + 1)) -lt "$COMP_CWORD" ] && _memlease_socket=${COMP_WORDS[i + 1]} && ((i++)) ;;
		-*) ;;
		*) [ -n "$verb" ] || { verb=${COMP_WORDS[i]} && first=$i; } ;;
		esac
	done
	if [ "$prev" = --socket ] || [[ $verb = run && $prev =~ ^--(kernel|initrd|qemu)$ ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	if [ -z "$verb" ]; then
		words="$verbs --socket --help --version"
	elif [ "$prev" != "$verb" ] && [[ $prev = --* ]]; then
		words=$(_memlease_values "$verb" "$prev")
	fi
	if [ -z "$words" ]; then
		case $verb/$cur in
		*/-*) words=$(_memlease_options "$verb") ;;
		help/*) words=$verbs ;;
		status/* | set/* | report-now/* | stop/*)
			[ $((first + 1)) -eq "$COMP_CWORD" ] && words=$(_memlease_ask list --names)
			[ -n "$words" ] || words=$(_memlease_options "$verb") ;;
		run/*)
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return ;;
		*) words=$(_memlease_options "$verb") ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _memlease memlease
