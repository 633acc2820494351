#!/bin/sh
# Each buggy pattern is found with its verdict and replays in another process; its correct variant stays silent and each of its
# schedules is the same run when its list is run: test_patterns.sh DIRECTORY. Of small ones all schedules up to two preemptions are run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0 tested=0
fail() {
	echo "$1" >&2
	bad=1
}
while read -r name source define verdict; do
	buggy=$directory/pattern_${name}_buggy correct=$directory/pattern_${name}_correct
	[ -x "$buggy" ] || continue
	tested=$((tested + 1))
	line=$("$buggy" --seeds 2 --runs 10000 --save "$work/saved" 2>&1) && status=0 || status=$?
	case $status:$line in
	"1:found 2 of 2, "*", $verdict: "*) ;;
	*) fail "$name: status $status, $line" ;;
	esac
	line=$("$buggy" --replay "$work/saved" 2>&1) && status=0 || status=$?
	case $status:$line in
	"1:$work/saved: $verdict after "*) ;;
	*) fail "$name: the replay: status $status, $line" ;;
	esac
	line=$("$correct" --runs 150 --verify 2>&1) && status=0 || status=$?
	case $status:$line in
	"0:found 0 of 1") ;;
	*) fail "$name, correct: status $status, $line" ;;
	esac
	# What needs one preemption, or two, is found once those with fewer were all run and silent.
	case $name in
	queue_lost | two_stage_2 | token_ring | lost_signal | upgrade | dining_3 | spin_release) least=1 ;;
	stack_aba) least=2 ;;
	*) continue ;;
	esac
	for variant in buggy correct; do
		program=$buggy
		[ $variant = buggy ] || program=$correct
		line=$("$program" --strategy bounded --bound $((least - 1)) --runs 100000 2>&1) && status=0 || status=$?
		case $status:$line in
		"0:all "*" schedules
found 0 of 1") ;;
		*) fail "$name, $variant, below $least preemptions: status $status, $line" ;;
		esac
	done
	line=$("$buggy" --strategy bounded --bound $least --runs 100000 2>&1) && status=0 || status=$?
	case $status:$line in
	"1:found 1 of 1, "*", $verdict: "*) ;;
	*) fail "$name, $least preemptions: status $status, $line" ;;
	esac
	line=$("$correct" --strategy bounded --bound $least --runs 100000 2>&1) && status=0 || status=$?
	case $status:$line in
	"0:all "*" schedules
found 0 of 1") ;;
	*) fail "$name, correct, $least preemptions: status $status, $line" ;;
	esac
done <"$here/patterns.txt"
[ $tested -gt 0 ] || fail "no patterns in $directory"
exit $bad
