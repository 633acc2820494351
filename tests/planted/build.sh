#!/bin/sh
# Builds the fuzz target of one planted bug and prints its path:
#
#   build.sh [--build DIRECTORY] [--mutator ours|none] [--runner|--scheduled|--stress VARIANT] PATCH|none:ALLOCATOR
#
#   --build    the build whose objects are linked (default: build beside the sources)
#   --mutator  `none`: without the mutator of programs, so that libFuzzer's own changes the bytes (default: ours)
#   --runner   what runs single programs (harness/runner_main.c) in place of the fuzz target: HEAPSTORM_RUNNER takes it
#   --scheduled  the same for schedules (stress/schedule_main.c)
#   --stress   what runs threads at full speed (stress/stress_main.c), the allocators compiled as plain, asan or tsan
#   PATCH      a file of this folder; none:ALLOCATOR is that allocator as it is, built by the same way
#
# The patch is applied to a copy of alloc/ and has to fit exactly. What was built from the same inputs before is not built again. Exit
# status: 0, 1 the patch does not fit or the allocator does not compile, 2 wrong usage.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build
mutator=ours
runner=
scheduled=
stress=
variant=fuzz

die() { # status message
	echo "planted/build.sh: $2" >&2
	exit "$1"
}

while [ $# -gt 1 ]; do
	case $1 in
	--build) build=$2 ;;
	--mutator) mutator=$2 ;;
	--stress)
		case $2 in
		plain | asan | tsan) variant=$2 ;;
		*) die 2 "--stress $2 is none of plain, asan, tsan" ;;
		esac
		stress=1
		;;
	--runner)
		runner=1
		shift
		continue
		;;
	--scheduled)
		scheduled=1 variant=sched
		shift
		continue
		;;
	*) die 2 "unknown option $1" ;;
	esac
	shift 2
done
[ $# -eq 1 ] || die 2 "which patch?"
case $mutator in
ours | none) ;;
*) die 2 "--mutator $mutator is none of ours, none" ;;
esac
build=$(cd "$build" && pwd) || exit 2
[ -f "$build/tests/planted/environment" ] || die 2 "$build has no fuzz targets"
. "$build/tests/planted/environment"

case $1 in
none:*)
	patch=
	label=unpatched-${1#none:}
	allocator=${1#none:}
	;;
*)
	case $1 in
	/*) patch=$1 ;;
	*) patch=$PWD/$1 ;;
	esac
	[ -f "$patch" ] || die 2 "$patch: no such file"
	label=$(basename "$patch" .patch)
	allocator=$(sed -n 's/^Allocator: *//p' "$patch")
	;;
esac
case $allocator in
mem_alloc) name=mem_alloc keep='my_*' ;;
mem_alloc_2.0) name=mem_alloc_2_0 keep='my_*_2_0' ;;
*) die 2 "$label: no allocator is called '$allocator'" ;;
esac
[ -z "$stress" ] || label=$label-stress-$variant
[ -z "$scheduled" ] || label=$label-scheduled
eval "sources=\$SOURCES_$name"

# The bundle, by what it is made of.
cache=$build/planted
mkdir -p "$cache"
key=$( (
	cd "$root"
	find alloc -type f -name '*.[ch]' | LC_ALL=C sort | xargs cat
	cat ${patch:+"$patch"} cmake/bundle_allocator.sh harness/bundle/*.[ch] harness/bundle/bundle.ld
	echo "$CC" "$sources"
) | sha256sum | cut -c 1-16)
bundle=$cache/$label.$key.o
if ! [ -f "$bundle" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	mkdir "$work/tree"
	cp -R "$root/alloc" "$work/tree/alloc"
	if [ -n "$patch" ]; then
		patch -d "$work/tree" -p1 -F0 -f --no-backup-if-mismatch <"$patch" >"$work/log" 2>&1 || {
			cat "$work/log" >&2
			die 1 "$label: the patch does not fit"
		}
	fi
	# Sources by paths from the tree on, so that reports name them as the patch does.
	(cd "$work/tree" && sh "$root/cmake/bundle_allocator.sh" --name "$name" --variant $variant --cc "$CC" --out "$work/bundle.o" \
		--keep "$keep" --include alloc --cflags -w -- $sources) >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		die 1 "$label: it does not compile"
	}
	mv "$work/bundle.o" "$bundle"
	for old in "$cache/$label".*.o; do
		[ "$old" = "$bundle" ] || rm -f "$old"
	done
fi

# The target: relinked when anything is newer.
target=$cache/$label-$mutator
sanitizers=fuzzer,address,undefined
if [ -n "$runner" ]; then
	target=$cache/$label-runner
	sanitizers=address,undefined
	OBJECTS=$RUNNER_OBJECTS
fi
if [ -n "$stress" ]; then
	target=$cache/$label
	case $variant in
	plain) sanitizers= ;;
	asan) sanitizers=address,undefined ;;
	tsan) sanitizers=thread ;;
	esac
	OBJECTS=$STRESS_OBJECTS
fi
if [ -n "$scheduled" ]; then
	target=$cache/$label
	sanitizers=
	OBJECTS=$SCHED_OBJECTS
	LIBRARIES=$SCHED_LIBRARIES
fi
newline='
'
IFS=$newline
set -f
set --
for object in $OBJECTS; do
	case $mutator/$object in
	none/*/mutator_libfuzzer.c.*) ;;
	*) set -- "$@" "$object" ;;
	esac
done
for other in mem_alloc mem_alloc_2_0; do
	if [ $other = $name ]; then
		set -- "$@" "$bundle"
	else
		eval "set -- \"\$@\" \"\${BUNDLE_$other%.fuzz.o}.$variant.o\""
	fi
done
set -- "$@" $LIBRARIES
stale=
for input in "$@"; do
	case $input in
	-*) ;;
	*) [ "$target" -nt "$input" ] || stale=1 ;;
	esac
done
if [ -n "$stale" ]; then
	"$CC" ${sanitizers:+-fsanitize=$sanitizers} -pthread -o "$target.$$" "$@" || {
		rm -f "$target.$$"
		die 1 "$label: it does not link"
	}
	mv "$target.$$" "$target"
fi
echo "$target"
