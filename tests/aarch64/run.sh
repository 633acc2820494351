#!/bin/sh
# Builds for 64-bit ARM with gcc and runs there, under qemu-user, the unit tests and the corpus: run.sh [--quick] [BUILD]
#
#   --quick  a part of both
#   BUILD    the build of this machine, whose heapstorm starts the processes (default: build)
#
# Left out: test_mem_alloc_damage and test_mem_alloc_hardened, which compare what a process says before it aborts, where qemu adds a line of its own;
# test_supervisor, which starts copies of itself, as only a kernel with binfmt_misc could.
# Exit status: 0, 1 something failed, 3 the compiler, qemu-user or a library is missing.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
quick=
if [ "${1:-}" = --quick ]; then
	quick=1
	shift
fi
heapstorm=$(realpath "${1:-$root/build}/bin/heapstorm")
cd "$root" || exit 1
for program in aarch64-linux-gnu-gcc qemu-aarch64; do
	command -v $program >/dev/null || {
		echo "heapstorm: $program is not installed: make setup-aarch64" >&2
		exit 3
	}
done
[ -e /usr/lib/aarch64-linux-gnu/libcmocka.so ] || {
	echo "heapstorm: the libraries of arm64 are not installed: make setup-aarch64" >&2
	exit 3
}
build=$root/build-aarch64
[ -f "$build/build.ninja" ] || cmake --preset aarch64 --log-level=ERROR >/dev/null || exit 1
tests='test_pattern test_program test_report test_shadow'
targets="runner-plain stress-plain mem_alloc_preload mem_alloc_2_0_preload"
if [ -z "$quick" ]; then
	tests="$tests test_arena test_executor test_generator test_mem_alloc test_mutator test_shrink test_trace"
	targets=
fi
ninja -C "$build" --quiet $targets ${targets:+$tests} || exit 1

failed=0
result() { # what status
	if [ "$2" -eq 0 ]; then
		echo "passed  $1"
	else
		echo "FAILED  $1 (status $2)"
		failed=1
	fi
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $tests; do
	(cd tests && timeout 1200 qemu-aarch64 "$build/tests/$name") >"$work/out" 2>&1
	status=$?
	[ $status -eq 0 ] || tail -n 20 "$work/out"
	result "$name" $status
done

# A process of qemu that the supervisor of this machine starts; what they share has the same layout on both.
for process in runner-plain stress-plain; do
	printf '#!/bin/sh\nexec qemu-aarch64 "%s" "$@"\n' "$build/libexec/heapstorm/$process" >"$work/$process"
	chmod +x "$work/$process"
done
if [ -n "$quick" ]; then
	set -- corpus/sequence/a*.heap corpus/sequence/fault*.heap corpus/sequence/thread*.heap corpus/regress/[a-f]*.heap
else
	set -- corpus/sequence/*.heap corpus/regress/*.heap
fi
HEAPSTORM_RUNNER=$work/runner-plain "$heapstorm" replay --expect --timeout 120 --allocator mem_alloc,mem_alloc_2.0 --variant plain "$@" >"$work/out" 2>&1
status=$?
[ $status -eq 0 ] || grep -v '  clean$' "$work/out"
result "corpus, $# programs" $status

# Threads at full speed: the order in which stores of other processors are seen is weaker here, and qemu keeps what the instructions ask for.
for name in mem_alloc mem_alloc_2.0; do
	HEAPSTORM_RUNNER=$work/stress-plain timeout 600 "$work/stress-plain" --rounds 40 $name >"$work/out" 2>&1
	status=$?
	[ $status -eq 0 ] || tail -n 20 "$work/out"
	result "threads, $name" $status
done
exit $failed
