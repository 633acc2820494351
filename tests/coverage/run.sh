#!/bin/sh
# What the corpus alone covers of the allocators and of the engine: run.sh [BUILD] (default: build-coverage). Builds what is needed there, replays the
# corpus, writes pages (BUILD/coverage/index.html) and says what was not reached. Exit status 1 below the limits of report.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
build=${1:-build-coverage}
sh cmake/setup.sh --check
[ -f "$build/build.ninja" ] || cmake --preset coverage --log-level=ERROR >/dev/null
ninja -C "$build" --quiet heapstorm runner-plain runner-sched
build=$(cd "$build" && pwd)
clang=$(sh cmake/find_clang.sh | head -n 1)
profdata=$("$clang" -print-prog-name=llvm-profdata) cov=$("$clang" -print-prog-name=llvm-cov)

work=$build/coverage
rm -rf "$work"
mkdir -p "$work/profiles"
export LLVM_PROFILE_FILE="$work/profiles/%m.profraw"
heapstorm=$build/bin/heapstorm
step() { # what command...
	echo "$1"
	shift
	"$@" >"$work/output" 2>&1 || {
		tail -n 40 "$work/output"
		exit 1
	}
}
step 'programs' "$heapstorm" replay --expect --allocator mem_alloc,mem_alloc_2.0 --variant plain corpus/sequence/*.heap corpus/regress/*.heap
step 'recordings' "$heapstorm" replay --quick --timeout 60 --allocator mem_alloc,mem_alloc_2.0 --variant plain corpus/traces/*.trace
for allocator in mem_alloc mem_alloc_2.0; do
	step "threads, $allocator" "$heapstorm" explore --runs 100 --allocator $allocator --out "$work/kept" corpus/threads/*.heap
done

"$profdata" merge -sparse "$work"/profiles/*.profraw -o "$work/profile"
set -- -instr-profile "$work/profile" "$build/libexec/heapstorm/runner-plain" -object "$build/libexec/heapstorm/runner-sched"
"$cov" show "$@" -format=html -show-branches=count -output-dir="$work" alloc harness stress/schedule >/dev/null
"$cov" export "$@" -format=lcov alloc >"$work/lcov"
echo
echo "engine    lines and branches that the same programs cover:"
for folder in harness stress/schedule; do
	"$cov" report "$@" $folder | sed -n "s|^TOTAL .* \([0-9.]*%\) *[0-9]* *[0-9]* *\([0-9.]*%\)\$|  $folder: \1, \2|p"
done
echo "pages     $work/index.html"
echo
python3 "$here/report.py" "$work/lcov" "$root" "$here/unreached.txt"
