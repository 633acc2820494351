#!/bin/sh
# heapstorm check on small allocators that were written for this, right ones and ones with a planted mistake: run.sh HEAPSTORM SOURCE PART
. "$2/tests/cli/common.sh"
here=$2/tests/check/allocators
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
budget=8s

# examine STATUS WORD...: exit status 0 for clean, 1 with a finding.
examine() {
	wanted=$1
	shift
	expect "$wanted" "$heapstorm" check "$@" --budget $budget --out "$work/found" --json "$work/check.json"
}

# finds VERDICTS WORD...: a mistake is found, and one of the findings is of a kind that an extended regular expression describes.
finds() {
	kinds=$1
	shift
	rm -rf "$work/found"
	examine 1 "$@"
	if ! sed -n 's/^	*"verdict":	*"\(.*\)",*$/\1/p' "$work/check.json" | grep -Eqx "$kinds"; then
		echo "no finding of kind $kinds: $*"
		cat "$work/out"
		failures=$((failures + 1))
	fi
}

# The result has the fields of docs/json.md, and no others.
keys() {
	for part in check 'check phases:phases' 'Every result+check findings:findings'; do
		case $part in
		*:*) key=:${part##*:} ;;
		*) key= ;;
		esac
		python3 "$2/tests/cli/json_keys.py" "$2/docs/json.md" "${part%:*}" "$1$key" || failures=$((failures + 1))
	done
}

case $3 in
right)
	examine 0 "$here/list.c"
	last_line "verdict: clean"
	keys "$work/check.json" "$2"
	says out "functions  malloc free calloc realloc malloc_usable_size"
	says out "^schedules +[0-9]+ schedules"
	examine 0 "$here/own_names.c"
	last_line "verdict: clean"
	examine 0 "$here/classes.cc" --prefix cc_
	last_line "verdict: clean"
	# One that has so much memory and no more, for one thread, and whose functions have other names.
	examine 0 "$here/pool.c" --function malloc=pool_get --function free=pool_put --single-thread
	last_line "verdict: clean"
	says out "so much memory and no more"
	says out "^threads +skipped: it is for one thread"
	;;
counts)
	# Each oracle that counts and each kind of operation was at work.
	expect 0 "$heapstorm" check mem_alloc_2.0 --budget 20s --out "$work/found" --json "$work/check.json"
	python3 - "$work/check.json" <<'END' || failures=$((failures + 1))
import json, sys
result = json.load(open(sys.argv[1]))
uncounted = ("race", "deadlock", "stuck", "crash", "abort")  # these watch all the time
never = [name for name, count in result["checks"].items() if count == 0 and name not in uncounted]
never += [name for name, count in result["operations_by_kind"].items() if count == 0]
if len(result["checks"]) < 18 or len(result["operations_by_kind"]) < 17 or never:
    sys.exit(f"never at work: {never or result}")
END
	;;
small)
	# All programs of up to five operations: as many each time, and all run.
	for allocator in mem_alloc mem_alloc_2.0; do
		expect 0 "$(dirname "$heapstorm")/../libexec/heapstorm/search-asan" --mode small --operations 5 $allocator
		says out "^1 operations: 6 programs"
		says out "^2 operations: 60 programs"
		says out "^5 operations: 161784 programs"
	done
	;;
compiled)
	cc=${CC:-cc}
	$cc -g -O1 -fPIC -c "$here/list.c" -o list.o && ar rc liblist.a list.o && $cc -shared list.o -o liblist.so || exit 77
	budget=3s
	for file in list.o liblist.a; do
		examine 0 $file
		last_line "verdict: clean"
		says out "^schedules +skipped: only what is compiled here"
	done
	examine 0 ./liblist.so --prefix list_
	last_line "verdict: clean"
	says out "its OS calls are seen"
	$cc -g -O1 -fPIC -DPLANT_NOT_ZEROED -shared "$here/list.c" -o liblist.so
	finds not-zeroed ./liblist.so --prefix list_
	# A build folder.
	mkdir build
	echo "[{\"directory\": \"$PWD\", \"file\": \"$here/list.c\", \"arguments\": [\"cc\", \"-DPLANT_REALLOC\", \"-c\", \"list.c\"]}]" \
		>build/compile_commands.json
	finds 'realloc-lost|corruption|crash|overlap' build
	;;
planted)
	finds 'overlap|corruption|touched-live' "$here/list.c" --cflags -DPLANT_OVERLAP
	finds not-zeroed "$here/list.c" --cflags -DPLANT_NOT_ZEROED
	keys "$work/check.json" "$2"
	# The folder of a failure says all that is needed to see it again.
	for folder in "$work"/found/not-zeroed-*; do
		expect 1 "$heapstorm" replay "$folder"
		last_line "verdict: not-zeroed"
	done
	finds misaligned "$here/list.c" --cflags -DPLANT_MISALIGNED
	finds 'contract|overlap|crash|undersized' "$here/list.c" --cflags -DPLANT_OVERFLOW
	finds 'overlap|corruption' "$here/classes.cc" --cflags -DPLANT_TWICE
	finds 'overlap|corruption|touched-live|crash' "$here/pool.c" --cflags -DPLANT_LIST_INTO_BLOCK --function malloc=pool_get \
		--function free=pool_put --single-thread
	;;
planted_threads)
	finds race "$here/list.c" --cflags -DPLANT_RACE
	finds fork "$here/list.c" --cflags -DPLANT_FORK
	finds unreclaimed "$here/list.c" --cflags -DPLANT_LEAK
	;;
usage)
	expect 2 "$heapstorm" check
	one_line
	expect 2 "$heapstorm" check nobody
	one_line
	says err "no allocator is called 'nobody'"
	expect 2 "$heapstorm" check nothing.c
	one_line
	expect 2 "$heapstorm" check "$here/list.c" --budget never
	one_line
	# What the compiler says is shown once.
	expect 3 "$heapstorm" check "$here/broken.c"
	says err "nothing_that_is_declared"
	if [ "$(grep -c 'error:' "$work/err")" -ne 1 ]; then
		echo "the compiler's error is not shown once:"
		cat "$work/err"
		failures=$((failures + 1))
	fi
	says err "broken does not compile"
	# What functions are meant has to be clear.
	expect 2 "$heapstorm" check "$here/list.c" --prefix other_
	says err "defines no other_malloc"
	expect 2 "$heapstorm" check "$here/pool.c"
	says err "pool_get"
	;;
esac
finish
