# show --run: where a program fails, in at least 80 columns, a lane for each thread as far as they fit. Without a terminal show is text.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")
cat >two.heap <<'END'
heapstorm 1
allocator mem_alloc_2.0
expect not-zeroed
thread main
  a = malloc 24
  b = malloc 40
  free a
  spawn t1
  d = malloc 3
thread t1
  free b
  c = calloc 1 3
END
expect 0 "$heapstorm" show --run two.heap
says out '^clean on mem_alloc_2.0: nothing was found'
says out '^         main +\| t1$'
says out '^      5  d = malloc 3 +\|$'
says out '^      6 +\| free b$'
# Text goes through a pipe as it is.
expect 0 "$heapstorm" show two.heap
says out '^expect not-zeroed'
"$heapstorm" show two.heap | cmp - two.heap || failures=$((failures + 1))

{
	printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n'
	for i in 1 2 3 4 5 6; do echo "  spawn t$i"; done
	for i in 1 2 3 4 5 6; do printf 'thread t%d\n  a%d = malloc 9\n' $i $i | tr 123456 123456 | sed 's/a[0-9] =/a =/'; done
} >many.heap
expect 0 "$heapstorm" show --run many.heap
says out '^     12  t6    a = malloc 9$'
expect 0 env COLUMNS=200 "$heapstorm" show --run many.heap
says out '\| t5 +\| t6$'
awk 'length > 200 { exit 1 }' "$work/out" || failures=$((failures + 1))
python3 -c '
print("heapstorm 1\nthread main")
for i in range(1000): print("  a = malloc 9\n  free a")' >long.heap
expect 0 "$heapstorm" show --run long.heap
says out '^ +... 1976 operations before$'
says out '^   2000  free a$'

[ -f "$build/tests/planted/environment" ] || finish
HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" --runner "$source_folder/tests/planted/calloc-tail-dirty.patch") || exit 1
export HEAPSTORM_RUNNER
expect 0 "$heapstorm" show --run two.heap
says out '^not-zeroed on mem_alloc_2.0: '
says out '^>     7 +\| c = calloc 1 3  <-- not-zeroed$'
# The map: bookkeeping, the guilty block with a mark under it, free memory.
says out '^    #+.*#\|\*\|\.+\|#'
says out '^ +\^$'
awk 'length > 110 { print; exit 1 }' "$work/out" || failures=$((failures + 1))
# On a terminal it is the default of what is expected to fail.
if command -v script >/dev/null; then
	expect 0 script -qec "'$heapstorm' show two.heap" /dev/null
	says out 'c = calloc 1 3  <-- not-zeroed'
	expect 0 script -qec "'$heapstorm' show --to text two.heap" /dev/null
	says out '^expect not-zeroed'
fi
finish
