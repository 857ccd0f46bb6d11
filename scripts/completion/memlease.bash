# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Bash completion for memlease: verbs, options, and names of VMs and plans, which
# are asked of the daemon. Source it, or put it into
# /usr/share/bash-completion/completions/memlease. tests/cli/completion.t holds
# it against what --help says. What it knows of the verbs is made from their table by
# scripts/cli-texts.

# made by scripts/cli-texts; not to be edited
_memlease_verbs="run list status top set report-now stop compact bill events plans help version"

# The options of a verb.
_memlease_options()
{
	case $1 in
	run)
		echo --tenant --plan --name --boot --limit --guarantee --weight --kernel --initrd --append --cpus --accel --uid-base --print --detach --qemu --socket --help ;;
	list)
		echo --tenant --names --json --socket --help ;;
	status | report-now)
		echo --json --socket --help ;;
	top)
		echo --sort --interval --count --batch --json --socket --help ;;
	set)
		echo --limit --target --deadline --guarantee --wait --json --socket --help ;;
	stop)
		echo --force --timeout --socket --help ;;
	compact)
		echo --gib --json --socket --help ;;
	bill)
		echo --tenant --name --from --to --by --format --json --socket --help ;;
	events)
		echo --vm --count --timeout --json --socket --help ;;
	plans)
		echo --names --json --socket --help ;;
	help)
		echo --json --help ;;
	version)
		echo --socket --help ;;
	esac
}

# What the value of VERB --OPTION may be; nothing where it is free.
_memlease_values()
{
	case $1/$2 in
	run/--plan)
		_memlease_ask plans --names ;;
	run/--boot | run/--limit | run/--guarantee | set/--limit | set/--guarantee)
		echo 256M 512M 1G 2G 4G ;;
	run/--accel)
		echo auto kvm tcg ;;
	top/--sort)
		echo resident committed limit touches waits name ;;
	top/--interval | set/--deadline | stop/--timeout | events/--timeout)
		echo 1s 10s 60s ;;
	set/--target)
		echo none 256M 512M 1G 2G 4G ;;
	bill/--name | events/--vm)
		_memlease_ask list --names ;;
	bill/--from | bill/--to)
		echo now today yesterday tomorrow month last-month -1h -1d -7d ;;
	bill/--by)
		echo vm tenant period ;;
	bill/--format)
		echo table csv json ;;
	esac
}

# What the words of a verb may be that are no options.
_memlease_words()
{
	case $1 in
	status | set | report-now | stop)
		_memlease_ask list --names ;;
	esac
}

# Is VERB --OPTION's value, or VERB's word, the name of a file?
_memlease_is_file()
{
	case $1/$2 in
	run/--kernel | run/--initrd | run/--qemu | run/)
		return 0 ;;
	*)
		return 1 ;;
	esac
}
# end of what scripts/cli-texts makes

# Ask the daemon; quietly, and not for long.
_memlease_ask()
{
	timeout 1 "${COMP_WORDS[0]}" ${_memlease_socket:+--socket "$_memlease_socket"} "$@" 2>/dev/null
}

# Offer the files that begin with a word.
_memlease_offer_files()
{
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_memlease()
{
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
	if [ "$prev" = --socket ] || _memlease_is_file "$verb" "$prev"; then
		_memlease_offer_files "$cur"
		return
	fi
	if [ -z "$verb" ]; then
		words="$_memlease_verbs --socket --help --version"
	elif [ "$prev" != "$verb" ] && [[ $prev = --* ]]; then
		words=$(_memlease_values "$verb" "$prev")
	fi
	if [ -z "$words" ]; then
		case $verb/$cur in
		*/-*) words=$(_memlease_options "$verb") ;;
		help/*) words=$_memlease_verbs ;;
		*)
			if _memlease_is_file "$verb" ""; then
				_memlease_offer_files "$cur"
				return
			fi
			[ $((first + 1)) -eq "$COMP_CWORD" ] && words=$(_memlease_words "$verb")
			[ -n "$words" ] || words=$(_memlease_options "$verb") ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _memlease memlease
