# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Kernel modules are built in the cache, at the same place from every checkout: what has not
# changed since any of them built it is there, and ccache knows the rest, for which paths
# count. Scripts that build modules source this file, after kernel.sh and apt.sh.

ML_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# ml_module_kernel SERIES OUT: make OUT, with a link `kernel` to the test kernel, and print where
# that is.
ml_module_kernel()
{
	local kernel
	kernel=$(realpath "$("$ML_TOP/scripts/fetch-kernels" --print "$1")")
	mkdir -p "$2"
	# Tests of another run may be reading it.
	if [ "$(readlink "$2/kernel")" != "$kernel" ]; then
		ln -sfn "$kernel" "$2/kernel.new"
		mv -T "$2/kernel.new" "$2/kernel"
	fi
	echo "$kernel"
}

# ml_module_place NAME SERIES KERNEL FOLDER...: sets `place`, the directory in the cache for the
# objects of a module, emptied if they are of another kernel or its compiler had a word to say
# of them. It is ours until this shell ends, or makes another call. In $place/src are the sources
# of these folders of the repository and of proto: copies, and not links to a checkout, for make
# goes by time stamps, and those of another checkout's files mean nothing.
ml_module_place()
{
	local file src kernel=$3
	place=$MEMLEASE_CACHE/modules/$1-$2
	src=$place/src
	shift 3
	mkdir -p "$place"
	exec 9>"$place.lock"
	flock 9
	if [ -s "$place/words" ] || ! cmp -s "$kernel/stamp" "$place/stamp"; then
		rm -rf "$place"
	fi
	mkdir -p "$src"
	cp "$kernel/stamp" "$place/stamp"
	(cd "$ML_TOP" && find "$@" proto -type f \( -name '*.[ch]' -o -name Kbuild -o -name Makefile \) \
		! -name '*.mod.c' | sort) >"$place/files"
	(cd "$src" && find . -type f -printf '%P\n' | sort | comm -13 "$place/files" - | xargs -r rm -f)
	while read -r file; do
		cmp -s "$ML_TOP/$file" "$src/$file" || install -D -m 644 "$ML_TOP/$file" "$src/$file"
	done <"$place/files"
}

# ml_module_make KERNEL COMMAND...: run the command that builds the module at $place, unless what
# it made of these sources is there: kbuild takes long to find that nothing has changed. What the
# compiler and sparse said is then in $place/words: without status 0, why there is no module.
ml_module_make()
{
	local kernel=$1 key
	shift
	key=$({ echo "$*"; ml_kernel_run "$kernel" gcc -dumpfullversion; cd "$place/src" &&
		xargs sha256sum <"$place/files"; } | sha256sum)
	[ "$key" != "$(cat "$place/key" 2>/dev/null)" ] || return 0
	rm -f "$place/key"
	if ! ml_kernel_run "$kernel" nice "$@" >"$place/log" 2>&1; then
		cp "$place/log" "$place/words"
		tail -30 "$place/words" >&2
		return 1
	fi
	grep -E '(warning|error):' "$place/log" >"$place/words" || true
	echo "$key" >"$place/key"
}

# ml_module_put DIRECTORY OUT: copy the modules of a directory, those that differ.
ml_module_put()
{
	local ko
	for ko in "$1"/*.ko; do
		cmp -s "$ko" "$2/${ko##*/}" || cp "$ko" "$2/"
	done
}

# ml_module_build FOLDER SERIES KERNEL OUT: build the module of a folder of the repository, by the
# Makefile that users use, and check it with sparse. Puts into OUT the module, `words` (what gcc
# and sparse said), `checked` (C=1 if it was sparse, too) and `objects`.
ml_module_build()
{
	local folder=$1 series=$2 kernel=$3 out=$4 place check=
	# A sparse that is too old for a kernel is left out of Debian 13's tree.
	if ml_kernel_run "$kernel" sh -c 'command -v sparse' >/dev/null; then
		check=C=1
	fi
	ml_module_place "${folder//\//-}" "$series" "$kernel" "$folder"
	ml_module_make "$kernel" make -s -C "$place/src/$folder" KDIR="$(realpath "$kernel/headers")" \
		OBJDIR="$place" WERROR=1 -j2 ${check:+"$check"}
	ml_module_put "$place/$folder" "$out"
	cp "$place/words" "$out/words"
	echo "$check" >"$out/checked"
	# Of sources that are gone objects may be left.
	find "$place/$folder" -xtype l -delete
	rm -rf "$out/objects"
	mkdir -p "$out/objects"
	(cd "$place/$folder" && find . -name '*.c' ! -name '*.mod.c' | sed 's/c$/o/' |
		xargs cp -p --parents -t "$out/objects")
}
