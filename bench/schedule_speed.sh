#!/bin/sh
# Schedules per second of processor time, in one process: schedule_speed.sh [BUILD [RUNS [PROGRAM]]]. The program (schedule_speed.heap: 3
# threads of 12 operations) on mem_alloc_2.0, by strategy, with threads that are switched in the process and by the kernel. Three
# interleaved rounds; the median.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-build} runs=${2:-10000} program=${3:-$here/schedule_speed.heap}
runner=$build/libexec/heapstorm/runner-sched
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# User and system time of all children, in seconds, of two outputs of `times`: 0m1.50s 0m0.25s in the second line.
between() {
	sed -sn 2p "$1" "$2" | tr 'ms' '  ' | awk '{ now = $1 * 60 + $2 + $3 * 60 + $4; print now - before; before = now }' | tail -n 1
}

for round in 1 2 3; do
	for strategy in mix none random pct surw pos; do
		for switch in process kernel; do
			times >"$work/before"
			"$runner" --strategy $strategy --switch $switch --runs "$runs" mem_alloc_2.0 "$program"
			times >"$work/after"
			awk "BEGIN { printf \"%.0f\n\", $runs / $(between "$work/before" "$work/after") }" >>"$work/$strategy-$switch"
		done
	done
done
median() { sort -n "$work/$1" | sed -n 2p; }
printf '%-10s %14s %14s\n' strategy schedules/s 'by the kernel'
for strategy in mix none random pct surw pos; do
	printf '%-10s %14s %14s\n' $strategy "$(median $strategy-process)" "$(median $strategy-kernel)"
done
