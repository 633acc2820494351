# minimize keeps the verdict, writes nothing that does not fail, and keeps the smallest so far when interrupted.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")

expect 2 "$heapstorm" minimize
one_line
expect 2 "$heapstorm" minimize program.heap
one_line
expect 2 "$heapstorm" minimize -o small.heap nowhere.heap
one_line
# What does not fail is no input for it, and nothing is written.
expect 1 "$heapstorm" minimize -o small.heap "$source_folder/corpus/sequence/malloc-free.heap"
says err 'does not fail on mem_alloc_2.0'
one_line

planted() { # PATCH: its runner
	HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" --runner "$source_folder/tests/planted/$1.patch") || exit 1
	export HEAPSTORM_RUNNER
}
[ -f "$build/tests/planted/environment" ] || finish

planted calloc-tail-dirty
python3 -c '
import random
random.seed(1)
print("heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  spawn t1")
for i in range(400):
	name = "".join(chr(97 + int(c)) for c in str(i))
	print("  %s = %s" % (name, random.choice(["malloc %d", "calloc 3 %d", "aligned_alloc 64 %d"]) % random.randrange(1, 3000)))
	if random.random() < .7: print("  free " + name)
print("thread t1\n  x = malloc 40\n  y = calloc 2 3")
' >big.heap
expect 1 "$heapstorm" replay big.heap
last_line 'verdict: not-zeroed'
expect 0 "$heapstorm" minimize big.heap -o small.heap --json small.json
says out '^1 operations of '
# Two bytes: the first of what the allocator leaves there, the lowest of an address, is zero.
grep -q '^expect not-zeroed' small.heap && grep -q 'calloc 1 2 ' small.heap || { cat small.heap; failures=$((failures + 1)); }
expect 0 "$heapstorm" replay --expect small.heap
python3 -c '
import json
result = json.load(open("small.json"))
assert result["verdict"] == "not-zeroed" and result["operations_after"] == 1 and result["operations_before"] > 400 and result["complete"], result
' || failures=$((failures + 1))

# An interrupt in the middle: what there is by then fails too. Each candidate that hangs takes half a second, so there is a middle.
planted lock-kept
cat >hang.heap <<END
heapstorm 1
allocator mem_alloc_2.0
thread main
  d = malloc 100
  e = malloc 100
  f = malloc 100
  free e
  a = malloc 0
  b = malloc 0
  a = realloc a 17
END
rm -f small.heap
"$heapstorm" minimize hang.heap -o small.heap --timeout 2s >"$work/out" 2>"$work/err" &
pid=$!
sleep 8
kill -INT $pid 2>/dev/null
wait $pid || { echo "interrupted: status $?"; cat "$work/out" "$work/err"; failures=$((failures + 1)); }
expect 0 "$heapstorm" replay --expect --timeout 2s small.heap
last_line 'verdict: stuck'
finish
