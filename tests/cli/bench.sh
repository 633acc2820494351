# heapstorm bench: the table and the JSON, what is skipped and why, replays make every recorded call. No figure of time is looked at.
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || exit 1

json() { # FILE PYTHON: an assertion about `j`
	if ! python3 -c "import json, sys
j = json.load(open(sys.argv[1]))
assert $2, j" "$1" 2>"$work/python"; then
		echo "$1: not so: $2"
		tail -n 1 "$work/python" | cut -c1-2000
		failures=$((failures + 1))
	fi
}

# Wrong usage
expect 2 "$heapstorm" bench --rounds 0
one_line
expect 2 "$heapstorm" bench --share x
one_line
expect 2 "$heapstorm" bench --workload nothing
one_line
says err 'no such workload'
expect 2 "$heapstorm" bench nobody
one_line
says err "nobody: no such allocator"
expect 2 "$heapstorm" bench ./missing.so
one_line
says err 'missing.so: No such file'
expect 2 "$heapstorm" bench --json /no/such/folder/x.json
one_line
expect 2 "$heapstorm" bench --no-such-option

expect 0 "$heapstorm" bench --list
says out '^  \* mem_alloc_2.0 '
says out '^  larson '
says out '^  replay-cc1 '

# Both allocators beside libc
expect 0 "$heapstorm" bench --rounds 1 --share 0.01 --workload pairs --json pairs.json mem_alloc mem_alloc_2.0
says out '^pairs-64 '
says out '^geometric mean '
says out '^mem_alloc_2.0 '
if [ "$(awk 'length > 100' "$work/out" | wc -l)" -ne 0 ]; then
	echo "the table is wider than 100 columns"
	awk 'length > 100' "$work/out"
	failures=$((failures + 1))
fi
json pairs.json "j['reference'] == 'libc' and j['rounds'] == 1 and j['share'] == 0.01"
json pairs.json "[a['name'] for a in j['allocators']] == ['libc', 'mem_alloc', 'mem_alloc_2.0']"
json pairs.json "j['allocators'][0]['geomean'] == dict.fromkeys(['wall', 'cpu', 'peak', 'after', 'trimmed', 'faults'], 1)"
json pairs.json "len(j['results']) == 3 * 8"
for part in bench:pairs.json 'bench results:pairs.json:results'; do
	python3 "$source_folder/tests/cli/json_keys.py" "$source_folder/docs/json.md" "${part%%:*}" "${part#*:}" || failures=$((failures + 1))
done
json pairs.json "all(r['operations'] > 0 and r['wall_s'] > 0 and r['cpu_s'] > 0 and r['peak_kib'] >= 100 for r in j['results'])"
json pairs.json "all(r['after_kib'] > 0 and r['trimmed_kib'] > 0 and len(r['rounds']) == 1 for r in j['results'])"
json pairs.json "not any('failure' in r for r in j['results'])"
if command -v valgrind >/dev/null; then
	json pairs.json "all(10 < a['instructions'] < 100000 for a in j['allocators'])"
else
	says out 'valgrind is not installed'
fi

# A thread's own blocks need no locked instruction in mem_alloc_2.0; libc, which locks when another thread's block is freed, shows that they are seen.
if grep -q '^Locked instructions' "$work/out"; then
	json pairs.json "j['allocators'][2]['locked']['own_pair'] == 0"
	json pairs.json "j['allocators'][0]['locked']['remote_free'] > 0.5"
	json pairs.json "all(a['instructions_with_loop']['own_pair'] > 10 for a in j['allocators'])"
else
	says out '^skipped: locked instructions of libc: '
fi

# The medians are those of the rounds.
expect 0 "$heapstorm" bench --no-instructions --rounds 3 --share 0.001 --workload larson --json larson.json libc
json larson.json "j['results'][0]['wall_s'] == sorted(r['wall_s'] for r in j['results'][0]['rounds'])[1]"

# Every workload runs to its end on mem_alloc_2.0; of the real programs, whose work has one size, two.
"$heapstorm" bench --list | sed -n '/^Workloads/,$s/^  \([^ ]*\) .*/\1/p' >"$work/workloads"
set --
while read -r name; do
	case $name in
	cc1 | python3 | perl | git) ;;
	*) set -- "$@" --workload "$name" ;;
	esac
done <"$work/workloads"
expect 0 "$heapstorm" bench --no-instructions --rounds 1 --share 0.002 --json all.json "$@" mem_alloc_2.0
json all.json "not any('failure' in r for r in j['results'])"
json all.json "len({r['workload'] for r in j['results']} & {'larson', 'peak', 'replay-cc1', 'sqlite3', 'redis'}) == 5"
json all.json "len(j['results']) >= 2 * 39"

# A replay makes the calls of the recording, all of them and no others.
for name in jq redis; do
	expect 0 "$heapstorm" bench --no-instructions --rounds 1 --share 0.0001 --workload replay-$name --json replay.json \
		--corpus "$source_folder/corpus" libc
	"$heapstorm" show "$source_folder/corpus/traces/$name.trace" >"$work/shown"
	calls=$(grep -Ec '^  ([a-z]+ = )?(malloc|calloc|realloc|reallocarray|free|aligned_alloc|posix_memalign|memalign|usable_size|trim)( |$)' "$work/shown")
	[ "$calls" -gt 1000 ] || failures=$((failures + 1))
	json replay.json "j['results'][0]['operations'] == $calls"
done

# What is missing is skipped by name; here heapstorm's own libraries.
mkdir -p "$work/copy/bin" "$work/copy/libexec/heapstorm"
cp "$heapstorm" "$work/copy/bin/heapstorm"
cp "$(dirname "$heapstorm")"/../libexec/heapstorm/bench-* "$work/copy/libexec/heapstorm"
expect 0 "$work/copy/bin/heapstorm" bench --no-instructions --rounds 1 --share 0.001 --workload larson mem_alloc_2.0
says out '^skipped: mem_alloc_2.0: .*libmem_alloc_2.0.so is not there'
says out '^larson '

# A library under a path with a blank.
cp "$(dirname "$heapstorm")"/../lib/libmem_alloc_2.0.so "$work/copy lib.so"
expect 0 "$heapstorm" bench --no-instructions --rounds 1 --share 0.001 --workload larson --json blank.json "$work/copy lib.so"
json blank.json "j['allocators'][1]['name'] == 'copy lib' and not any('failure' in r for r in j['results'])"

# What cannot be preloaded or does not end well is a failure of that allocator, not a figure.
echo 'no library' >broken.so
expect 0 "$heapstorm" bench --no-instructions --rounds 1 --share 0.001 --workload larson --json broken.json ./broken.so
says out '^failed: larson on broken: cannot be preloaded'
json broken.json "'cannot be preloaded' in j['results'][1]['failure'] and j['results'][1]['wall_s'] is None"
expect 0 "$heapstorm" bench --no-instructions --rounds 1 --workload pairs-16 --share 100 --timeout 1s --json slow.json libc
says out '^failed: pairs-16 on libc: stopped after the time limit'

# Graphs
expect 0 "$heapstorm" bench --no-instructions --rounds 1 --share 0.001 --workload pairs --plot graph mem_alloc_2.0
for graph in overview workloads sizes; do
	if ! [ -s "graph-$graph.png" ] || ! grep -q '</svg>' "graph-$graph.svg"; then
		echo "no graph-$graph"
		failures=$((failures + 1))
	fi
done
finish
