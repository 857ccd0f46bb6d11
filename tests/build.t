#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is installed was built with what Debian hardens its packages with: looked at in the
# binaries themselves, of gcc and, where they were built, of clang. That the look can fail
# is seen on one that was built without.
set -u
cd "$(dirname "$0")/.." || exit 1

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
result()
{
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
	fi
}

# Each a property of a binary; what readelf says stands in $dir/elf.
independent() { grep -q 'Type: *DYN (Position-Independent Executable file)' "$dir/elf"; }
relocations_read_only() { grep -q 'GNU_RELRO' "$dir/elf"; }
bound_at_start() { grep -qE '\((FLAGS|FLAGS_1)\).*NOW' "$dir/elf"; }
stack_not_executable() { grep -qE 'GNU_STACK.* RW +0x' "$dir/elf"; }
stack_protected() { grep -q '__stack_chk_fail' "$dir/elf"; }
fortified() { grep -qE ' __[a-z]+_chk@' "$dir/elf"; }
# The mark of a whole binary says what Debian's C library has; this, what our code has.
branches_protected() { [ "$(uname -m)" != x86_64 ] || grep -q 'endbr64' "$dir/main"; }
text_not_relocated() { ! grep -q 'TEXTREL' "$dir/elf"; }
no_search_path() { ! grep -qE '\((RPATH|RUNPATH)\)' "$dir/elf"; }
properties=(independent relocations_read_only bound_at_start stack_not_executable stack_protected fortified
	branches_protected text_not_relocated no_search_path)

read_elf()
{
	readelf -hldW --dyn-syms "$1" >"$dir/elf" 2>/dev/null
	objdump -d --disassemble=main "$1" >"$dir/main" 2>/dev/null
}

for build in build build/clang; do
	for name in memleased memlease memlease-guest; do
		binary=$build/$name
		[ "$build" = build ] || [ -e "$binary" ] || continue
		read_elf "$binary"
		for property in "${properties[@]}"; do
			"$property"
			result "$binary: $property" $?
		done
	done
done

# A program with a buffer, and none of it.
cat >"$dir/bare.c" <<'C'
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) { char b[40]; strcpy(b, argv[argc - 1]); return puts(b) < 0; }
C
gcc -O2 -no-pie -fno-stack-protector -fcf-protection=none -U_FORTIFY_SOURCE -Wl,-z,norelro -Wl,-z,lazy \
	-Wl,-z,execstack -Wl,-rpath,/tmp -o "$dir/bare" "$dir/bare.c" 2>/dev/null
result "a program without it can be built" $?
read_elf "$dir/bare"
for property in "${properties[@]}"; do
	[ "$property" = text_not_relocated ] && continue	# a linker makes such only under protest
	! "$property"
	result "and the look for $property finds that" $?
done
echo "1..$n"
