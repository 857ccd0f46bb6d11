#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What can be told from the text alone: the order of folders, shell scripts,
# Python, licences, the size of files.
set -u
cd "$(dirname "$0")/.." || exit 1

n=0
# check NAME COMMAND...: one test; what the command prints is shown when it fails.
check()
{
	local name=$1 output
	shift
	n=$((n + 1))
	if output=$("$@" 2>&1); then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		printf '%s\n' "$output" | sed 's/^/# /'
	fi
}

files() { git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ ! -e "$f" ] || echo "$f"; done; }
with_first_line() { files | xargs grep -lIE -m1 "^#!.*\\b$1\\b" -- 2>/dev/null; }

shell_clean() { { with_first_line '(ba)?sh'; files 'scripts/lib/*.sh'; } | sort -u | xargs shellcheck -x; }
python_compiles()
{
	{ with_first_line python3; files '*.py'; } | sort -u |
		xargs /usr/bin/python3 -c 'import sys
for f in sys.argv[1:]: compile(open(f).read(), f, "exec")'
}
licensed()
{
	local bad
	bad=$(files '*.c' '*.h' '*.py' '*.sh' '*.t' '*.sql' 'scripts/*' 'Makefile' 'guest/Makefile' 'guest/Kbuild' |
		grep -v '^scripts/packages$' | xargs grep -L 'SPDX-License-Identifier')
	[ -z "$bad" ] || { echo "no SPDX line in:"; echo "$bad"; return 1; }
	bad=$(files 'proto/*.h' | xargs grep -L 'SPDX-License-Identifier: BSD-3-Clause')
	[ -z "$bad" ] || { echo "proto/ is BSD-3-Clause, but not:"; echo "$bad"; return 1; }
}
short_files()
{
	files '*.c' '*.h' '*.py' '*.sh' '*.t' 'scripts/*' | xargs wc -l |
		awk '$2 != "total" && $1 > 650 { print $2 " has " $1 " lines: split it"; bad = 1 } END { exit bad }'
}
# The packages that scripts/setup installs are for it; another one, found first in PATH, may
# lack modules, or be a wrapper that starts ten times as slowly.
debians_python()
{
	! files | grep -v '^tests/lint.t$' | xargs grep -nIE '(/usr/bin/env |(^|[[:space:]])exec |^[[:space:]]+|\| *)python3( |$)' --
}
nothing_open() { ! files | grep -v '^tests/lint.t$' | xargs grep -nIE '\b(TODO|FIXME|XXX)\b' --; }
no_trailing_space() { ! files '*.c' '*.h' '*.py' '*.sh' '*.t' 'scripts/*' Makefile '*.md' | xargs grep -nE '[[:space:]]+$' --; }

echo "1..12"
check "everything uses only what stands below it" scripts/check-layers
check "the check of the order can fail" scripts/check-layers --self-test
check "shell scripts pass shellcheck" shell_clean
check "Python compiles" python_compiles
check "Python is Debian's" debians_python
check "every source names its licence" licensed
check "files are short" short_files
check "nothing is left open in the code" nothing_open
check "no trailing white space" no_trailing_space
check "JSON files parse" sh -c 'git ls-files -co --exclude-standard "*.json" | xargs -n1 /usr/bin/python3 -m json.tool >/dev/null'
check "messages that the documentation names are there" scripts/check-messages
check "the check of messages can fail" scripts/check-messages --self-test
