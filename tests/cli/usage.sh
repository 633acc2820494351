# Help fits a terminal of 80 columns; wrong usage and unreadable input get one line, status 2 and leave nothing behind.
. "$(dirname "$0")/common.sh"

for verb in '' fuzz stress replay show record bench list; do
	expect 0 "$heapstorm" $verb --help
	if [ "$(awk 'length > 80' "$work/out" | wc -l)" -ne 0 ]; then
		echo "heapstorm $verb --help is wider than 80 columns"
		failures=$((failures + 1))
	fi
done
expect 0 "$heapstorm" --version
says out '^heapstorm [0-9]'
expect 2 "$heapstorm"
expect 2 "$heapstorm" nothing
one_line
expect 2 "$heapstorm" replay
one_line
expect 2 "$heapstorm" replay nothing.heap
one_line
says err 'nothing.heap: No such file'
expect 2 "$heapstorm" replay --allocator nobody "$source_folder/corpus/sequence/thread-exit-live.heap"
one_line
expect 2 "$heapstorm" replay --json /no/such/folder/x.json "$source_folder/corpus/sequence/thread-exit-live.heap"
one_line
expect 2 "$heapstorm" replay --timeout soon "$source_folder/corpus/sequence/thread-exit-live.heap"
one_line
expect 2 "$heapstorm" fuzz nobody
one_line
expect 2 "$heapstorm" fuzz --budget 0
one_line
expect 2 "$heapstorm" stress --threads 65
one_line
expect 2 "$heapstorm" show
one_line
expect 2 "$heapstorm" list everything
one_line

printf 'heapstorm 1\nthread main\n  a = mallok 5\n' >"$work/bad.heap"
expect 2 "$heapstorm" replay "$work/bad.heap"
one_line
says err 'bad.heap:3:7: expected an operation'
printf 'heapstorm 1\nthread main\n  a = malloc 18446744073709551616\n' >"$work/bad.heap"
expect 2 "$heapstorm" show "$work/bad.heap"
one_line
says err 'bad.heap:3:14: '
printf '20 5 5 1\na 0 12\nq 1\n' >"$work/bad.rep"
expect 2 "$heapstorm" replay "$work/bad.rep"
one_line
says err 'bad.rep:3:1: '
head -c 14 "$source_folder/corpus/traces/jq.trace" >"$work/bad.trace"
expect 2 "$heapstorm" replay "$work/bad.trace"
one_line
# A bad file among good ones: none is run.
expect 2 "$heapstorm" replay "$source_folder/corpus/sequence/thread-exit-live.heap" "$work/bad.heap"
one_line
finish
