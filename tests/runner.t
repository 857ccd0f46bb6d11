#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/run-tests on small programs that speak TAP: what it counts, what it takes for a
# failure, what runs beside what, and in which order.
# shellcheck disable=SC2016 # the texts of programs
set -u
cd "$(dirname "$0")/.." || exit 1

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MEMLEASE_NO_SKIP
export MEMLEASE_TEST_TIMES=$dir/times DIR=$dir
n=0

# file NAME [TEXT]: a test program, of standard input.
file()
{
	{ echo "#!/bin/sh"; cat; } >"$dir/$1"
	chmod +x "$dir/$1"
}

# runs STATUS LAST-LINE NAME ARGUMENT...: run-tests ends so.
runs()
{
	local wanted=$1 last=$2 name=$3 status
	shift 3
	n=$((n + 1))
	(cd "$dir" && "$OLDPWD/scripts/run-tests" "$@") >"$dir/output" 2>&1
	status=$?
	if [ "$status" = "$wanted" ] && [ "$(tail -n 1 "$dir/output")" = "$last" ]; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		{ echo "status $status, not $wanted; last line wanted: $last"; cat "$dir/output"; } | sed 's/^/# /'
	fi
}

# says EXPRESSION NAME: the run before printed a line like that.
says()
{
	n=$((n + 1))
	if grep -qE "$1" "$dir/output"; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$dir/output"
	fi
}

file good.t <<<'echo 1..2; echo ok 1 - one; echo ok 2 - two'
file bad.t <<<'echo 1..2; echo ok 1 - one; echo not ok 2 - two; echo "# the reason"; echo "to stderr" >&2'
file long.t <<<'echo 1..2; echo not ok 1 - one; echo "# its reason"; echo ok 2 - two; seq -f "# said later: %g" 99'
file dies.t <<<'echo 1..1; echo ok 1 - one; exit 3'
file killed.t <<<'echo 1..1; echo ok 1 - one; kill -9 $$'
file few.t <<<'echo 1..3; echo ok 1 - one'
file silent.t <<<'exit 0'
file skips.t <<<'echo 1..2; echo ok 1 - one; echo "ok 2 - two # SKIP no such thing"'
file skipped.t <<<'echo "1..0 # SKIP nothing of it"'

runs 0 "2 passed, 0 failed" "what passes" good.t
runs 1 "3 passed, 1 failed" "a test that fails" good.t bad.t
says '^bad.t +FAILED +1 passed, 1 failed' "and its line"
says '\| # the reason$' "its output is shown"
says '! to stderr$' "and what it said to standard error"
runs 1 "1 passed, 1 failed" "one that fails long before the end" long.t
says '^ +# its reason$' "its reason is shown"
runs 1 "1 passed, 1 failed" "an exit status without a failed test" dies.t
says 'exit status 3$' "is named"
runs 1 "1 passed, 1 failed" "a program that is killed" killed.t
says 'ended by signal 9$' "is told apart"
runs 1 "1 passed, 1 failed" "fewer tests than planned" few.t
runs 1 "0 passed, 1 failed" "a program that says nothing" silent.t
runs 1 "0 passed, 1 failed" "one that is not there" absent.t
runs 1 "0 passed, 1 failed" "no test at all"
runs 0 "1 passed, 0 failed, 1 skipped" "a test that is skipped" skips.t
says '^skipped: skips.t: .*no such thing$' "with its reason at the end"
runs 1 "0 passed, 1 failed, 1 skipped" "only a file that skips itself" skipped.t
runs 0 "2 passed, 0 failed, 1 skipped" "a file that skips itself beside others" good.t skipped.t
says '^skipped: skipped.t: nothing of it$' "with its reason at the end"

export MEMLEASE_NO_SKIP=1
runs 1 "1 passed, 1 failed" "MEMLEASE_NO_SKIP: a test that is skipped fails" skips.t
says '^ +skipped, with MEMLEASE_NO_SKIP set: .*no such thing$' "with its reason"
runs 1 "2 passed, 1 failed" "MEMLEASE_NO_SKIP: a file that skips itself fails" good.t skipped.t
runs 0 "2 passed, 0 failed" "MEMLEASE_NO_SKIP: what passes passes" good.t
unset MEMLEASE_NO_SKIP

# Two that wait for each other end only side by side. Nobody waits for ever.
meet='echo 1..1; touch $DIR/$me; i=0
while ! [ -e "$DIR/$other" ] && [ $i -lt $tries ]; do i=$((i + 1)); sleep 0.1; done
[ -e "$DIR/$other" ] && echo ok 1 || echo not ok 1'
file one.t <<<"me=one other=two tries=600; $meet"
file two.t <<<"me=two other=one tries=600; $meet"
runs 0 "2 passed, 0 failed" "-j2: two files run side by side" -j2 one.t two.t
rm -f "$dir/one" "$dir/two"
file one.t <<<"me=one other=two tries=3; $meet"
runs 1 "1 passed, 1 failed" "without -j they do not" one.t two.t

# Each says when it begins and ends; who is alone has nobody in between.
turn='echo 1..1; echo "begin $me" >>$DIR/turns; sleep 0.3; echo "end $me" >>$DIR/turns; echo ok 1'
file alone.t <<<"# run-tests: alone, for the sake of the test
me=alone; $turn"
file solo.t <<<"# run-tests: alone, likewise
me=solo; $turn"
for me in a b c; do file $me.t <<<"me=$me; $turn"; done
runs 0 "5 passed, 0 failed" "-j3: with two that run alone" -j 3 alone.t a.t solo.t b.t c.t
n=$((n + 1))
if [ "$(tail -n 4 "$dir/turns" | paste -sd' ')" = "begin alone end alone begin solo end solo" ]; then
	echo "ok $n - they come after the others, one by one"
else
	echo "not ok $n - they come after the others, one by one"
	sed 's/^/# /' "$dir/turns"
fi

# One that takes what is left does so beside one that runs alone: they wait for each other.
file alone.t <<<"# run-tests: alone, for the sake of the test
me=one other=two tries=600; $meet"
file spare.t <<<"# run-tests: spare, likewise
me=two other=one tries=600; $meet"
rm -f "$dir/one" "$dir/two"
runs 0 "2 passed, 0 failed" "-j2: one of spare time runs beside one that runs alone" -j2 alone.t spare.t

# Nor does it take anything from others that have not begun, and may take long.
rm -f "$dir"/{turns,times}
file rest.t <<<"# run-tests: spare, likewise
me=rest; sleep 0.1; $turn"
runs 0 "4 passed, 0 failed" "-j2 with one of spare time" -j2 rest.t a.t b.t c.t
n=$((n + 1))
if [ "$(grep begin "$dir/turns" | tail -n 1)" = "begin rest" ]; then
	echo "ok $n - which begins when the others have"
else
	echo "not ok $n - which begins when the others have"
	sed 's/^/# /' "$dir/turns"
fi

clock=
# stat IDLE: processors that are idle for so much of 100 parts of their time, from now on.
stat()
{
	[ -z "$clock" ] || { kill "$clock"; wait "$clock" 2>"$dir/nothing"; }
	for ((i = 0; ; i++)); do
		echo "cpu $((i * (100 - $1))) 0 0 $((i * $1)) 0 0 0 0" >"$dir/stat.new" || exit
		mv "$dir/stat.new" "$dir/stat" || exit
		sleep 0.1
	done &
	clock=$!
}

# One more than N while the processors have little to do: the third ends who waits.
export MEMLEASE_TEST_STAT=$dir/stat
file one.t <<<"me=one other=three tries=600; $meet"
file two.t <<<"me=two other=three tries=600; $meet"
file three.t <<<"me=three other=one tries=600; $meet"
rm -f "$dir"/{one,times}
stat 60
runs 0 "3 passed, 0 failed" "-j2: a third file runs while the processors are idle" -j2 one.t two.t three.t
rm -f "$dir"/{one,two,three,times}
file one.t <<<"me=one other=nobody tries=80; $meet"
file two.t <<<"me=two other=three tries=60; $meet"
stat 10
runs 1 "1 passed, 2 failed" "and does not while they are busy" -j2 one.t two.t three.t
# One of spare time begins when what is left is short.
rm -f "$dir"/{one,two,three,times}
file three.t <<<"# run-tests: spare, for the sake of the test
me=three other=one tries=600; $meet"
file two.t <<<"me=two other=three tries=600; $meet"
file one.t <<<"me=one other=three tries=600; $meet"
file four.t <<<'echo 1..1; echo ok 1'
printf '900.0\t9.0\tone.t\n800.0\t8.0\ttwo.t\n7.0\t7.0\tfour.t\n' >"$dir/times"
runs 0 "4 passed, 0 failed" "-j2: one of spare time begins when little else is left" -j2 one.t two.t three.t four.t
# It is one that waited, the last time, though another took longer.
rm -f "$dir"/{one,two,three,four,times}
file one.t <<<"me=one other=four tries=600; $meet"
file two.t <<<"me=two other=four tries=600; $meet"
file three.t <<<'echo 1..1; [ -e $DIR/four ] && echo ok 1 || echo not ok 1'
file four.t <<<"me=four other=one tries=600; $meet"
printf '9.0\t0.1\tone.t\n8.0\t0.1\ttwo.t\n7.0\t6.0\tthree.t\n6.0\t0.1\tfour.t\n' >"$dir/times"
stat 60
runs 0 "4 passed, 0 failed" "-j2: the third is one that waits, by what is known of it" -j2 three.t four.t one.t two.t
kill "$clock"
unset MEMLEASE_TEST_STAT

# The order of the recorded times.
# holds NAME COMMAND...: a test of its own.
holds()
{
	local name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		cat "$dir/begun" "$dir/times" "$dir/output" | sed 's/^/# /'
	fi
}
begun() { [ "$(paste -sd' ' <"$dir/begun")" = "$1" ]; }

for me in a b; do file $me.t <<<"echo $me >>\$DIR/begun; echo 1..1; echo ok 1"; done
file c.t <<<'echo c >>$DIR/begun; echo 1..1; sleep 1; echo ok 1'
runs 0 "3 passed, 0 failed" "files one by one" a.t b.t c.t
holds "begin in the order given" begun "a b c"
holds "their times are kept" [ "$(grep -cE '^[0-9.]+'$'\t''[0-9.]+'$'\t''[abc]\.t$' "$dir/times")" = 3 ]
holds "in seconds" grep -qE '^([1-9]|[0-9]{2,})\.[0-9]'$'\t''0\.[0-9]'$'\t''c\.t$' "$dir/times"
# c ends when a has begun, which is so only if c began before.
file c.t <<<'echo c >>$DIR/begun; echo 1..1; until grep -q a $DIR/begun; do sleep 0.1; done; echo ok 1'
printf '9.0\t0.1\tc.t\n5.0\t0.1\tb.t\n1.0\t0.1\ta.t\n' >"$dir/times"
: >"$dir/begun"
runs 0 "3 passed, 0 failed" "-j2: with times that are known" -j2 a.t b.t c.t
holds "the shortest begins last" [ "$(tail -n 1 "$dir/begun")" = a ]
echo "1..$n"
