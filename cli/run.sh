#!/bin/sh
# The main job: run.sh BUILD [SECONDS]. Replays the recorded real programs on both allocators, then fuzzes both. Under AddressSanitizer
# and UndefinedBehaviorSanitizer, with every oracle. The last line is the verdict; exit status 0 only if both parts are clean.
set -u
build=$1
seconds=${2:-60}
root=$(cd "$(dirname "$0")/.." && pwd)
heapstorm=$build/bin/heapstorm

echo "Recorded real programs"
"$heapstorm" replay --allocator mem_alloc,mem_alloc_2.0 "$root"/corpus/traces/*.trace
status=$?
[ $status -eq 0 ] || exit $status

echo
echo "Fuzzing both allocators beside libc for $seconds seconds"
exec "$heapstorm" fuzz mem_alloc_2.0,mem_alloc,system --budget "${seconds}s" --seeds "$root/corpus/sequence"
