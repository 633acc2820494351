# replay --gdb stops before the failing operation and where the failure is seen; heap, block and ops say what is there.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")
cat >program.heap <<'END'
heapstorm 1
allocator mem_alloc_2.0
thread main
  a = malloc 24
  b = malloc 40
  free a
  spawn t1
thread t1
  free b
  c = calloc 1 3
  d = malloc 5
END
expect 2 "$heapstorm" replay program.heap program.heap --gdb
expect 2 "$heapstorm" replay program.heap --allocator mem_alloc,mem_alloc_2.0 --gdb
# Without gdb: one line.
mkdir "$work/path"
ln -s "$(command -v sh)" "$work/path/sh"
expect 3 env PATH="$work/path" "$heapstorm" replay program.heap --gdb
says err '^heapstorm: --gdb needs gdb'
[ "$(wc -l <"$work/err")" -eq 1 ] || failures=$((failures + 1))

if ! command -v gdb >/dev/null; then
	echo "skipped: the rest needs gdb, which is not installed"
	finish
	exit 77
fi
# What does not fail does not start it.
expect 0 "$heapstorm" replay program.heap --gdb
last_line 'verdict: clean'
[ -f "$build/tests/planted/environment" ] || finish

debug() { # STATUS PROGRAM: commands from standard input
	wanted=$1
	shift
	timeout 100 "$heapstorm" replay "$1" --gdb >"$work/out" 2>"$work/err"
	status=$?
	[ $status -eq "$wanted" ] || { echo "status $status"; cat "$work/out" "$work/err"; failures=$((failures + 1)); }
	cat "$work/err" >>"$work/out"
	if grep -q 'ptrace: Operation not permitted' "$work/out"; then
		echo "skipped: this machine does not allow debuggers"
		exit 77
	fi
}
HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" --runner "$source_folder/tests/planted/calloc-tail-dirty.patch") || exit 1
export HEAPSTORM_RUNNER
debug 1 program.heap <<'END'
heap
block b
block 0x21000000c000
ops 2
heap nonsense
continue
bt
END
says out 'heapstorm: next is t1, operation 2: c = calloc 1 3'
says out '^-> +6  t1    c = calloc 1 3'
says out '^(\(gdb\))? +5  t1    free b'
says out '^ +t1    d = malloc 5'
says out 'heapstorm: here the failure is seen'
says out 'No symbol "nonsense"'
says out 'No live block is called b'
says out '24 bytes until main, operation 3: free a'
says out ' in caller_run|#[0-9]+ .*run_thread_ops'

printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 17\n  b = malloc 33\n' >crash.heap
HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" --runner "$source_folder/tests/planted/two-granule-remainder-lost.patch") || exit 1
debug 1 crash.heap <<'END'
heap
block b
continue
bt
END
says out 'heapstorm: next is the end of the program'
says out '0x[0-9a-f]+ +17  a      main, operation 1: a = malloc 17'
says out '0x[0-9a-f]+ +[0-9]+  free$'
says out 'live, byte 0 of:'
# The allocator is on the stack.
says out 'mem_alloc_2.0/heap.c:[0-9]'
finish
