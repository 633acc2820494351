#!/bin/sh
# Executions per second of fuzz_sequence on programs of 64 operations beside a target that does nothing: fuzz_speed.sh [BUILD [SECONDS]].
# Both mutate the same inputs (kept as seeds) with the same mutator, which keeps programs at no more than 64 operations: without that bound
# the corpus of the real target, which grows by coverage, is soon of programs twice as long. The corpus lies in memory where that is possible:
# to make files on a disk can cost more than the target. Rounds are interleaved, medians of three.
set -eu
build=${1:-build} seconds=${2:-10}
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/inputs"
"$build/libexec/heapstorm/fuzz_inputs" "$work/inputs" 500 64
export HEAPSTORM_OPS_MAX=64

run() { # TARGET ALLOCATORS NAME
	rm -rf "$work/corpus"
	cp -r "$work/inputs" "$work/corpus"
	HEAPSTORM_ALLOCATORS=$2 "$1" -keep_seed=1 -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$work/" "$work/corpus" 2>&1 |
		sed -n 's/^stat::average_exec_per_sec: *//p' >>"$work/$3"
}

for round in 1 2 3; do
	run "$build/libexec/heapstorm/fuzz_empty" '' empty
	run "$build/bin/fuzz_sequence" mem_alloc_2.0 2.0
	run "$build/bin/fuzz_sequence" mem_alloc basic
	run "$build/bin/fuzz_sequence" mem_alloc_2.0,mem_alloc,system all
done
median() { sort -n "$work/$1" | sed -n 2p; }
empty=$(median empty)
printf '%-34s %14s %12s\n' 'target' 'executions/s' 'of empty'
printf '%-34s %14s %12s\n' 'empty' "$empty" 1
for name in 2.0:mem_alloc_2.0 basic:mem_alloc all:'mem_alloc_2.0, mem_alloc, libc'; do
	speed=$(median "${name%%:*}")
	printf '%-34s %14s %12s\n' "${name#*:}" "$speed" "$(awk "BEGIN { printf \"%.3f\", $speed / $empty }")"
done
