# export writes a C file that fails by itself, and nothing where it does not; a .rep trace comes back as the same program.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")

expect 2 "$heapstorm" export
one_line
expect 2 "$heapstorm" export --c --rep x.heap
one_line
# What does not fail is not handed over.
expect 1 "$heapstorm" export "$source_folder/corpus/sequence/malloc-free.heap"
one_line

cat >program.heap <<END
heapstorm 1
thread main
  a = malloc 24
  b = malloc 8
  a = realloc a 40
  free b
  free null
END
expect 0 "$heapstorm" export --rep program.heap -o program.rep
expect 0 "$heapstorm" show program.rep
cat >wanted <<END
heapstorm 1
thread main
  a = malloc 24
  b = malloc 8
  a = realloc a 40
  free b
  free null
END
cmp -s wanted "$work/out" || { diff wanted "$work/out"; failures=$((failures + 1)); }

[ -f "$build/tests/planted/environment" ] || finish

# try VERDICT: program.heap, exported, fails so with the mistake and with two compilers, and ends well without it.
try() {
	rm -f repro.c
	expect 1 "$heapstorm" replay program.heap
	last_line "verdict: $1"
	expect 0 "$heapstorm" export program.heap --c --with "$with"
	flags=$(sed -n 's|^//     cc \(.*\) -o repro.*|\1|p' repro.c)
	for compiler in gcc clang-19; do
		command -v $compiler >/dev/null || continue
		expect 0 sh -c "$compiler $flags -Wall -Wextra -Werror -Wno-unused-parameter -o repro repro.c $with -pthread"
		expect 1 ./repro
		[ "$1" = touched-live ] || says out "^$1: "
		expect 0 sh -c "$compiler $flags -o repro repro.c $fixed -pthread"
		expect 0 ./repro
		[ ! -s "$work/out" ] || { cat "$work/out"; failures=$((failures + 1)); }
	done
}

planted --runner calloc-tail-dirty
printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 15\n  free a\n  b = calloc 1 15\n' >program.heap
try not-zeroed
grep -q 'What should have happened' repro.c || failures=$((failures + 1))
# Two threads, whose order is forced.
planted --runner remote-batch-cut
printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 0\n  b = malloc 0\n  spawn t1\nthread t1\n  free a\n  free b\n' >program.heap
try lost-memory
# White box, a fault, and what only AddressSanitizer sees.
planted --runner merge-left-misses-tiny
printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 0\n  b = malloc 17\n' >program.heap
try invariant
planted --runner failed-realloc-frees
printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 9\n  a = realloc a 60127477767\n' >program.heap
try realloc-lost
finish
