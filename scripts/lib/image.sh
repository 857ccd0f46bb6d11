# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the scripts that make initial RAM disks share (build-guest-image,
# build-lab-image): programs out of Debian's packages, a kernel's modules, the
# tests' own programs, and packing. They source this file after lib/apt.sh, and
# define say() and die(). Needs no root, and installs nothing.

ML_IMAGES=$MEMLEASE_CACHE/images
ML_IMAGE_SUITE=bookworm

ml_image_key() { cat "$@" | sha256sum | cut -c1-16; }

# ml_image_pack DIR FILE: the tree as an archive, compressed if the name ends in
# .gz; the same bytes each time.
ml_image_pack()
{
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0) |
		case $2 in *.gz) gzip -n -1 ;; *) cat ;; esac >"$2.new"
	mv "$2.new" "$2"
}

# Packages as Debian has them, unpacked into $ML_IMAGES/debian, once.
ml_image_fetch_programs()
{
	local set deb
	[ -e "$ML_IMAGES/debian/complete" ] && return 0
	say "fetching busybox and redis with their libraries"
	set=$(ml_apt_init "$ML_IMAGE_SUITE")
	rm -rf "$ML_IMAGES/debian"
	mkdir -p "$ML_IMAGES/debian"
	for deb in $(ml_apt_download_tree "$set" "$ML_IMAGES/debs" busybox-static redis-server); do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$ML_IMAGES/debian" --wildcards './bin/*' './usr/bin/*' './lib/*' \
				'./usr/lib/x86_64-linux-gnu/*' './lib64/*' 2>/dev/null || true
	done
	rm -rf "$ML_IMAGES/debs"
	touch "$ML_IMAGES/debian/complete"
}

# ml_image_find NAME: where the unpacked packages have a program or library.
ml_image_find()
{
	local dir
	for dir in bin usr/bin lib/x86_64-linux-gnu usr/lib/x86_64-linux-gnu lib64; do
		[ -e "$ML_IMAGES/debian/$dir/$1" ] && { echo "$ML_IMAGES/debian/$dir/$1"; return 0; }
	done
	die "the packages hold no $1"
}

ml_image_needed_by() { objdump -p "$1" | awk '/NEEDED/ { print $2 }'; }

# ml_image_library TREE NAME: a library of the packages, and those it needs.
ml_image_library()
{
	local tree=$1 name=$2 file lib
	[ -e "$tree/lib/$name" ] && return 0
	file=$(ml_image_find "$name")
	install -D -m 755 "$(realpath "$file")" "$tree/lib/$name"
	for lib in $(ml_image_needed_by "$file"); do ml_image_library "$tree" "$lib"; done
}

# ml_image_compile TREE SOURCE...: the tests' own programs, static, into bin/.
ml_image_compile()
{
	local tree=$1 src
	shift
	for src; do
		gcc -std=gnu11 -O2 -static -pthread -Wall -Wextra -Werror \
			-o "$tree/bin/$(basename "$src" .c)" "$src" || die "$src does not compile"
	done
}

# ml_image_root TREE INIT: the directories, the user and the first program of an image.
ml_image_root()
{
	mkdir -p "$1"/{bin,sbin,lib,dev,etc}
	echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
	install -m 755 "$2" "$1/init"
}

# ml_image_paths KERNEL NAME...: files of the modules and of those they need, in the
# order in which to load them.
ml_image_paths()
{
	local kernel=$1 release name
	release=$(cat "$kernel/release")
	shift
	for name; do
		PATH=$PATH:/usr/sbin:/sbin modprobe -d "$kernel" -S "$release" \
			--ignore-install --show-depends "$name"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# ml_image_unpack_module FILE TO
ml_image_unpack_module()
{
	case $1 in
	*.xz) xz -dc "$1" >"$2" ;;
	*) cp "$1" "$2" ;;
	esac
}

# ml_image_modules KERNEL TREE NAME...: a kernel's modules, uncompressed, into
# lib/modules/, and their order into lib/modules/order: a line of file and name each.
ml_image_modules()
{
	local kernel=$1 tree=$2 path file name
	shift 2
	mkdir -p "$tree/lib/modules"
	ml_image_paths "$kernel" "$@" | while read -r path; do
		file=$(basename "${path%.xz}")
		name=${file%.ko}
		ml_image_unpack_module "$path" "$tree/lib/modules/$file"
		echo "$file ${name//-/_}" >>"$tree/lib/modules/order"
	done
	touch "$tree/lib/modules/order"
}

# ml_image_spare_modules KERNEL TREE NAME...: the same, for tests to load.
ml_image_spare_modules()
{
	local kernel=$1 tree=$2 name
	shift 2
	for name; do
		ml_image_unpack_module "$(ml_image_paths "$kernel" "$name" | tail -1)" \
			"$tree/lib/modules/$name.ko"
	done
}

# ml_image_strip_modules TREE FILE...: modules of ours, without debug information.
ml_image_strip_modules()
{
	local tree=$1 ko
	shift
	mkdir -p "$tree/lib/modules"
	for ko; do
		strip -g -o "$tree/lib/modules/$(basename "$ko")" "$ko"
	done
}
