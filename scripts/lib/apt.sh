# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Debian packages by name, through an apt configuration of our own: the user's
# sources, lists and installed packages stay as they are, and play no part in
# what is chosen. For the scripts that need kernels, guest programs or QEMU's
# source; they source this file (bash, `set -eu` is fine). Needs no root, and
# installs nothing.
#
# The mirror is the one of the user's own apt sources, or MEMLEASE_DEBIAN_URI
# (and MEMLEASE_DEBIAN_SECURITY_URI) where it cannot be told from them. Debian's
# archive keyring vouches for what comes from it.
#
# A set of suites is written as one word, joined by '+', such as
# bookworm+bookworm-security. Each set has its state in $MEMLEASE_CACHE/apt/SET.
# Functions return 0, or 1 after a line on stderr that says what failed.

MEMLEASE_CACHE=${MEMLEASE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/memlease}
ML_APT_KEYRING=${ML_APT_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
ML_APT_LISTS_MAX_AGE_MIN=360	# minutes until package lists are read anew

ml_apt_say() { printf 'apt: %s\n' "$*" >&2; }

# ml_apt_uri KIND: the archive's address; KIND is debian or debian-security.
ml_apt_uri()
{
	local kind=$1 uri="" release other

	case $kind in
	debian) uri=${MEMLEASE_DEBIAN_URI:-} ;;
	debian-security) uri=${MEMLEASE_DEBIAN_SECURITY_URI:-} ;;
	esac
	if [ -z "$uri" ]; then
		# shellcheck disable=SC2016 # apt expands these
		uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
			'Created-By: Packages' 2>/dev/null |
		while read -r uri release; do
			case "$kind $release $uri" in
			"debian "*-security*) ;;
			"debian "*/debian/ | "debian "*/debian) echo "$uri"; break ;;
			"debian-security "*-security*) echo "$uri"; break ;;
			esac
		done)
	fi
	if [ -z "$uri" ] && [ "$kind" = debian-security ]; then
		other=$(ml_apt_uri debian) || return 1
		uri=${other%/}-security
	fi
	if [ -z "$uri" ]; then
		ml_apt_say "no Debian mirror found in this machine's apt sources:" \
			"set MEMLEASE_DEBIAN_URI to one (http://HOST/debian)"
		return 1
	fi
	echo "${uri%/}"
}

# ml_apt_root SET: where the state of a set lies.
ml_apt_root() { echo "$MEMLEASE_CACHE/apt/$1"; }

# Write sources and configuration of the set $1. Rewritten each time, because
# the user's mirror may change.
ml_apt_configure()
{
	local set=$1 root suite uri kind
	root=$(ml_apt_root "$set")

	if [ ! -e "$ML_APT_KEYRING" ]; then
		ml_apt_say "$ML_APT_KEYRING is missing: install the package debian-archive-keyring"
		return 1
	fi
	mkdir -p "$root"/{lists/partial,cache/archives/partial,preferences.d,empty.d,log} || return 1
	: >"$root/status"
	: >"$root/preferences"
	for suite in ${set//+/ }; do
		kind=debian
		case $suite in *-security) kind=debian-security ;; esac
		uri=$(ml_apt_uri "$kind") || return 1
		echo "deb [signed-by=$ML_APT_KEYRING] $uri $suite main"
		echo "deb-src [signed-by=$ML_APT_KEYRING] $uri $suite main"
	done >"$root/sources.list.$$" || return 1
	if cmp -s "$root/sources.list.$$" "$root/sources.list"; then
		rm -f "$root/sources.list.$$"
	else
		mv "$root/sources.list.$$" "$root/sources.list"
		rm -f "$root/updated"
	fi
	# Read after the host's own settings (apt -c), so that its proxy holds.
	cat >"$root/apt.conf.$$" <<-CONF
	Dir::Etc::sourcelist "$root/sources.list";
	Dir::Etc::sourceparts "$root/empty.d";
	Dir::Etc::preferences "$root/preferences";
	Dir::Etc::preferencesparts "$root/preferences.d";
	Dir::State "$root";
	Dir::State::lists "$root/lists";
	Dir::State::status "$root/status";
	Dir::State::extended_states "$root/extended_states";
	Dir::Cache "$root/cache";
	Dir::Cache::archives "$root/cache/archives";
	Dir::Cache::pkgcache "pkgcache.bin";
	Dir::Cache::srcpkgcache "srcpkgcache.bin";
	Dir::Log "$root/log";
	APT::Sandbox::User "root";
	APT::Get::AllowUnauthenticated "false";
	Acquire::AllowInsecureRepositories "false";
	Acquire::Languages "none";
	Acquire::Retries "3";
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	#clear DPkg::Post-Invoke;
	CONF
	mv "$root/apt.conf.$$" "$root/apt.conf"
}

# ml_apt_run SET COMMAND ARGS: an apt command on the set's own state.
ml_apt_run()
{
	local root
	root=$(ml_apt_root "$1")
	"$2" -q -c "$root/apt.conf" "${@:3}"
}

# ml_apt_init SUITE...: make the set of these suites usable; reads their package
# lists if they are older than some hours. Prints the set's name. Without a
# network, old lists serve. May run twice at once.
ml_apt_init()
{
	local set root
	set=$(IFS=+; echo "$*")
	root=$(ml_apt_root "$set")
	mkdir -p "$root" || return 1
	(
		flock 9
		ml_apt_configure "$set" || exit 1
		if [ -n "$(find "$root/updated" -mmin -$ML_APT_LISTS_MAX_AGE_MIN 2>/dev/null)" ]; then
			exit 0
		fi
		ml_apt_say "reading the package lists of ${*}"
		if ml_apt_run "$set" apt-get -o APT::Update::Error-Mode=any update \
				>"$root/update.log" 2>&1; then
			touch "$root/updated"
		elif [ -e "$root/updated" ]; then
			ml_apt_say "could not read them (see $root/update.log); using those of" \
				"$(date -r "$root/updated" '+%Y-%m-%d %H:%M')"
		else
			ml_apt_say "could not read them: $(grep -m1 '^E:' "$root/update.log" || true)" \
				"(all of it in $root/update.log)"
			exit 1
		fi
	) 9>"$root/lock" >&2 || return 1
	echo "$set"
}

# ml_apt_get SET ARGS: apt-get on the set's own state; ml_apt_init comes first.
ml_apt_get() { ml_apt_run "$1" apt-get "${@:2}"; }

# ml_apt_cache SET ARGS: the same for apt-cache.
ml_apt_cache() { ml_apt_run "$1" apt-cache "${@:2}"; }

# ml_apt_download_deb SUITES PKG DIR: the newest .deb of PKG from the first of
# the suites (one word or several) that can deliver it. A file that the mirror
# lacks makes it go on to the next version, then to the next suite. Prints the
# path of the file. A file that is there already is not loaded again.
ml_apt_download_deb()
{
	local suites=$1 pkg=$2 dir=$3 suite set version file err
	mkdir -p "$dir" || return 1
	for suite in $suites; do
		set=$(ml_apt_init "$suite") || continue
		for version in $(ml_apt_cache "$set" madison "$pkg" 2>/dev/null |
				awk -F'|' '/ Packages/ { gsub(/ /, "", $2); print $2 }' | uniq); do
			file=$(ml_apt_get "$set" download --print-uris "$pkg=$version" 2>/dev/null |
				awk 'NR == 1 { print $2 }')
			[ -n "$file" ] || continue
			ml_apt_say "$pkg $version from $suite"
			if err=$(cd "$dir" && ml_apt_get "$set" download "$pkg=$version" 2>&1) &&
			   [ -s "$dir/$file" ]; then
				echo "$dir/$file"
				return 0
			fi
			ml_apt_say "$pkg $version: $(grep -m1 '^E:' <<<"$err" || echo 'not delivered')"
		done
	done
	ml_apt_say "no file of the package $pkg could be had from: $suites"
	return 1
}

# ml_apt_download_tree SET DIR PKG...: the .debs of the packages and of all they
# depend on (no recommendations), as for an empty machine. Prints their paths.
# ml_apt_init comes first.
ml_apt_download_tree()
{
	local set=$1 dir=$2 uri file err
	shift 2
	mkdir -p "$dir/partial" || return 1
	dir=$(cd "$dir" && pwd)
	ml_apt_say "$* and what they depend on, from $set"
	if ! err=$(ml_apt_get "$set" -y --no-install-recommends --download-only \
			-o Debug::NoLocking=1 -o Dir::Cache::archives="$dir" install "$@" 2>&1); then
		ml_apt_say "$(grep -m1 '^E:' <<<"$err" || tail -1 <<<"$err")"
		return 1
	fi
	# What is in the directory already is left out of --print-uris, so ask anew.
	ml_apt_get "$set" -y --no-install-recommends --print-uris \
		-o Debug::NoLocking=1 install "$@" 2>/dev/null |
	while read -r uri file _; do
		case $uri in \'*) [ -e "$dir/$file" ] && echo "$dir/$file" ;; esac
	done
}

# ml_apt_source SUITES PKG DIR: the files of the newest source package from the
# first of the suites that can deliver it; apt has verified them against the
# archive's signature. Prints the path of the .dsc. Does not unpack.
ml_apt_source()
{
	local suites=$1 pkg=$2 dir=$3 suite set dsc err
	mkdir -p "$dir" || return 1
	for suite in $suites; do
		set=$(ml_apt_init "$suite") || continue
		dsc=$(ml_apt_get "$set" source --print-uris --download-only --only-source \
			"$pkg/$suite" 2>/dev/null | awk '$2 ~ /\.dsc$/ { print $2; exit }')
		if [ -n "$dsc" ] && [ -e "$dir/$dsc.verified" ]; then
			echo "$dir/$dsc"
			return 0
		fi
		ml_apt_say "source of $pkg ${dsc:+($dsc) }from $suite"
		if [ -n "$dsc" ] && err=$(cd "$dir" && ml_apt_get "$set" source \
				--download-only --only-source "$pkg/$suite" 2>&1) &&
		   [ -s "$dir/$dsc" ]; then
			touch "$dir/$dsc.verified"
			echo "$dir/$dsc"
			return 0
		fi
		ml_apt_say "$pkg: $(grep -m1 '^E:' <<<"${err:-}" || echo "not in $suite")"
	done
	ml_apt_say "the source of $pkg could not be had from: $suites"
	return 1
}
