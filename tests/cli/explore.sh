# explore runs files and random programs under many schedules; replay runs the schedule of a file, the same each time.
. "$(dirname "$0")/common.sh"
cat >threads.heap <<'END'
heapstorm 1
thread main
  a = malloc 24
  b = calloc 3 40
  spawn t1
  a = realloc a 4000
  join t1
thread t1
  free b
  c = aligned_alloc 64 1000
schedule
  t1 @2 -> main
  main @9 -> t1
END
expect 0 "$heapstorm" explore threads.heap --runs 200
last_line 'verdict: clean'
says out '200 schedules'
for allocator in mem_alloc mem_alloc_2.0; do
	expect 0 "$heapstorm" explore $allocator --runs 128 --threads 2 --scenario destructors --json result.json
	last_line 'verdict: clean'
done
python3 - <<'END' || failures=$((failures + 1))
import json
result = json.load(open("result.json"))[0]
assert result["verdict"] == "clean" and result["schedules"] == 128, result
assert result["checks"]["race"] > 0, result
END
expect 0 "$heapstorm" replay threads.heap
says out 'scheduling points, hash'
grep 'hash' "$work/out" >first
expect 0 "$heapstorm" replay threads.heap --repeat 50
grep 'hash' "$work/out" >again
cmp first again || failures=$((failures + 1))

# All schedules of a small program, or how far it got.
cat >small.heap <<'END'
heapstorm 1
thread main
  spawn t1
  a = malloc 24
thread t1
  b = malloc 24
END
expect 0 "$heapstorm" explore small.heap --strategy bounded --bound 0
says out 'all [0-9]* schedules with at most 0 preemptions were run: clean'
expect 0 "$heapstorm" explore small.heap --strategy bounded --bound 2 --json result.json
says out 'all [0-9]* schedules with at most 2 preemptions were run: clean'
last_line 'verdict: clean'
grep -o 'all [0-9]* schedules' "$work/out" >first
expect 0 "$heapstorm" explore small.heap --strategy bounded
grep -o 'all [0-9]* schedules' "$work/out" >again
cmp first again || failures=$((failures + 1))
python3 - <<'END' || failures=$((failures + 1))
import json
result = json.load(open("result.json"))[0]
assert result["exhausted"] and result["schedules"] > 100, result
END
expect 0 "$heapstorm" explore small.heap --strategy bounded --runs 30
says out 'not exhausted: all schedules with at most 0 preemptions were run, of those with 1 at least [0-9]* were not'
expect 2 "$heapstorm" explore --strategy bounded
says err 'needs a file'
expect 2 "$heapstorm" explore small.heap --bound 2
says err 'is for --strategy bounded'
expect 2 "$heapstorm" explore --strategy nonsense
says err 'expected mix, none'
expect 2 "$heapstorm" explore nonsense
expect 2 "$heapstorm" explore --scenario nonsense
expect 2 "$heapstorm" fuzz --threads mem_alloc,mem_alloc_2.0
finish
