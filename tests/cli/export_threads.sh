# export of failures with a schedule: the order of the threads is forced, inside of calls too, and silent without the mistake.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")
[ -f "$build/tests/planted/environment" ] || exit 77

# try VERDICT FORM: repro.c says so with the mistake, each time, and nothing without it.
try() {
	compiler=clang-19
	command -v $compiler >/dev/null || compiler=cc
	rm -f repro.c
	expect 0 "$heapstorm" export program.heap --c --with "$with"
	says out "^$1: "
	for sources in "$fixed" "$with"; do
		case $2 in
		points)
			grep -q 'failed 5 times' repro.c || failures=$((failures + 1))
			expect 0 sh -c "$compiler -g -O1 -fsanitize=thread -fno-sanitize-link-runtime -r -nostdlib -o allocator.o $sources -pthread"
			expect 0 sh -c "$compiler -g -O1 -Wall -Wextra -Werror -o repro repro.c allocator.o -pthread"
			;;
		*)
			flags=$(sed -n 's|^//     cc \(.*\) -o repro.*|\1|p' repro.c)
			expect 0 sh -c "$compiler $flags -Wall -Wextra -Werror -Wno-unused-parameter -o repro repro.c $sources -pthread"
			;;
		esac
		[ "$sources" = "$with" ] && break
		expect 0 ./repro 5
		[ ! -s "$work/out" ] || failures=$((failures + 1))
	done
	for i in 1 2 3; do
		expect 1 ./repro
		says out "^$1: "
	done
}

# A race, and a failure that no order of operations shows.
planted --scheduled threads/list-unlocked
printf 'heapstorm 1\nallocator mem_alloc_2.0\nexpect race\nthread main\n  spawn t1\n  a = malloc 524289\nthread t1\n  b = malloc 524289\n' >program.heap
allowed=program.heap
# What does not fail by itself is not written: here the mistake is not compiled in.
expect 1 "$heapstorm" export program.heap --c --with "$fixed"
one_line
try race points
# Where a schedule is needed it is looked for: the points of the allocator are not always the same.
find() { # PROGRAM
	rm -rf kept
	HEAPSTORM_WITH=$with "$heapstorm" explore --runner "$HEAPSTORM_RUNNER" --allocator mem_alloc_2.0 --runs 20000 --budget 60s --seed 1 --out kept \
		"$source_folder/corpus/threads/$1.heap" >"$work/out" 2>&1
	cp kept/*/program.heap . || { cat "$work/out"; failures=$((failures + 1)); }
}
planted --scheduled threads/flag-cleared-after-drain
find hand-over
try uncoalesced points
# Where another order of memory is missing only ThreadSanitizer knows, and threads run freely: what does not show it in time is not written.
planted --scheduled threads/push-relaxed
find hand-over
rm -f repro.c
if "$heapstorm" export program.heap --c --with "$with" >"$work/out" 2>"$work/err"; then
	says out '^race: '
	grep -Eq 'run 5 times, and failed [1-5] times' repro.c || failures=$((failures + 1))
	flags=$(sed -n 's|^//     cc \(.*\) -o repro.*|\1|p' repro.c)
	if command -v clang-19 >/dev/null; then
		expect 0 sh -c "clang-19 $flags -Wall -Wextra -Werror -o repro repro.c $fixed -pthread"
		expect 0 ./repro
		[ ! -s "$work/out" ] || failures=$((failures + 1))
	fi
else
	says err 'does not fail by itself'
	[ ! -f repro.c ] || failures=$((failures + 1))
fi

# The order of operations is enough. Words for the compiler may have relative paths.
planted --scheduled remote-batch-cut
printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 0\n  b = malloc 0\n  spawn t1\n  c = malloc 24\nthread t1\n  free a\n  free b\nschedule\n  main @1 -> t1\n' >program.heap
cp -R "$work/tree/alloc" alloc
with='-Ialloc alloc/os.c alloc/mem_alloc_2.0/*.c'
try lost-memory turns
finish
