#!/bin/sh
# Fuzzes with AFL++, on two cores: a main instance whose inputs are made by the mutator of programs alone, and a second one that changes bytes as well.
#
#   afl.sh [--time 60s] [--out FOLDER] [--planted PATCH] [--until-crash] [TARGET]
#
#   --time     how long (s, m or h behind the number; default: 60s)
#   --out      for the build, the queue and what crashed, which go on where a run before ended (default: build/afl)
#   --planted  a patch of tests/planted/ is applied to the allocators first
#   --until-crash  ends when something was found
#   TARGET     fuzz_sequence (default), fuzz_threads or fuzz_formats
#
# The last line is `verdict: NAME`, as of heapstorm fuzz. Exit status: 0 nothing found, 1 a bug found, 2 wrong usage, 3 there is no AFL++.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
time=60s out=$root/build/afl planted= until_crash=

die() { # status message
	echo "afl.sh: $2" >&2
	exit "$1"
}

while [ $# -gt 0 ]; do
	case $1 in
	--time | --out | --planted)
		[ $# -ge 2 ] || die 2 "$1 needs a value"
		case $1 in
		--time) time=$2 ;;
		--out) out=$2 ;;
		--planted) planted=$(realpath "$2") || exit 2 ;;
		esac
		shift 2
		;;
	--until-crash)
		until_crash=1
		shift
		;;
	--help)
		sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	-*) die 2 "unknown option $1" ;;
	*) break ;;
	esac
done
target=${1:-fuzz_sequence}
case $target in
fuzz_sequence | fuzz_threads | fuzz_formats) ;;
*) die 2 "no target is called '$target'" ;;
esac
seconds=$(echo "$time" | sed -n 's/^\([0-9]*\)s*$/\1/p; s/^\([0-9]*\)m$/\1*60/p; s/^\([0-9]*\)h$/\1*3600/p')
[ -n "$seconds" ] || die 2 "--time $time: expected a time such as 60s, 10m or 1h"
seconds=$((seconds))
driver=$(ls /usr/lib/afl/libAFLDriver.a /usr/local/lib/afl/libAFLDriver.a 2>/dev/null | head -n 1)
if ! command -v afl-fuzz >/dev/null || ! command -v afl-clang-fast >/dev/null || [ -z "$driver" ]; then
	die 3 "AFL++ is not installed: make setup-afl"
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
source=$root
if [ -n "$planted" ]; then
	source=$out/source
	rm -rf "$source"
	mkdir "$source"
	for folder in alloc harness fuzz stress cmake corpus; do
		cp -R "$root/$folder" "$source/"
	done
	sed '1,/^$/d' "$planted" | patch -s -F0 -p1 -d "$source" || die 1 "$planted does not fit"
fi

# Built as OSS-Fuzz does; what is there already is built again when a source is newer.
built=$out/built
if ! [ -x "$built/$target" ] || [ -n "$(find "$source/alloc" "$source/harness" "$source/fuzz" "$source/stress" -newer "$built/$target" -type f | head -n 1)" ]; then
	flags='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
	mkdir -p "$built" "$out/work"
	CC=afl-clang-fast CXX=afl-clang-fast++ CFLAGS=$flags CXXFLAGS=$flags OUT=$built WORK=$out/work SRC=$source SANITIZER=address \
		FUZZING_ENGINE=afl LIB_FUZZING_ENGINE=$driver AFL_QUIET=1 HEAPSTORM_TARGETS=$target \
		bash "$source/fuzz/build.sh" >"$out/build.log" 2>&1 || {
		tail -n 20 "$out/build.log" >&2
		die 3 "$target does not build with $(command -v afl-clang-fast)"
	}
fi
mutator=
define=
[ "$target" != fuzz_threads ] || define=-DMUTATE_THREADS
if [ "$target" != fuzz_formats ]; then
	mutator=$built/$target-mutator.so
	cc -shared -fPIC -O2 -std=gnu17 -D_GNU_SOURCE= $define -I"$source/harness" -I"$source/fuzz" -I"$source/alloc" -o "$mutator" "$source/fuzz/mutator_afl.c" \
		"$source/fuzz/mutator_libfuzzer.c" "$source/fuzz/mutator.c" "$source/harness/program.c" "$source/harness/bytes.c" \
		"$source/harness/verdict.c"
fi

seeds=$out/seeds-$target queue=$out/queue-$target
rm -rf "$seeds"
mkdir -p "$seeds"
if [ -n "$planted" ]; then
	printf '\200' >"$seeds/malloc" # the corpus would find what it was made to find
else
	unzip -q -o "$built/${target}_seed_corpus.zip" -d "$seeds"
fi
[ -d "$queue/main" ] && from=- || from=$seeds

# In a container there is no say over the processor's frequency and over where core files go.
export AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_QUIET=1 AFL_FORKSRV_INIT_TMOUT=60000 AFL_IGNORE_PROBLEMS=1
[ -z "$mutator" ] || export AFL_CUSTOM_MUTATOR_LIBRARY="$mutator"
dictionary=
[ ! -f "$built/$target.dict" ] || dictionary="-x $built/$target.dict"
fuzz() { # only name option...
	only=$1 name=$2
	shift 2
	[ -z "$mutator" ] || [ "$only" = no ] || export AFL_CUSTOM_MUTATOR_ONLY=1
	exec afl-fuzz -i "$from" -o "$queue" -m none -t 10000 -V "$seconds" $dictionary "$@" "$name" -- "$built/$target" >"$out/$target-$name.log" 2>&1
}
(fuzz yes main -M) &
main=$!
(fuzz no second -S) &
second=$!
trap 'kill $main $second 2>/dev/null || :' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

crashes() {
	find "$queue" -path '*/crashes/id*' -type f 2>/dev/null | sort
}
while kill -0 $main 2>/dev/null || kill -0 $second 2>/dev/null; do
	sleep 1
	[ -z "$until_crash" ] || [ -z "$(crashes)" ] || break
done
kill $main $second 2>/dev/null || :
wait $main $second 2>/dev/null || :
for name in main second; do
	[ -f "$queue/$name/fuzzer_stats" ] || {
		tail -n 20 "$out/$target-$name.log" >&2
		die 3 "afl-fuzz did not start"
	}
	sed -n "s/^\(execs_done\|execs_per_sec\|corpus_count\|edges_found\|saved_crashes\|stability\) *: /$name \1 /p" "$queue/$name/fuzzer_stats"
done

# Each input alone, as whoever gets it would run it.
found=$(crashes | head -n 20)
verdict=clean
IFS='
'
for input in $found; do
	"$built/$target" "$input" >"$out/report" 2>&1 || :
	said=$(sed -n 's/^verdict: //p' "$out/report" | head -n 1)
	echo "${said:-not again} by $input"
	[ -z "$said" ] || verdict=$said
done
[ -z "$found" ] || [ "$verdict" != clean ] || verdict=crash
echo "verdict: $verdict"
[ "$verdict" = clean ]
