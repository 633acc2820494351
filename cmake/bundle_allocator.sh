#!/bin/sh
# Compiles the C sources of one allocator to one relocatable object, a bundle (harness/bundle/bundle.h):
#
#   bundle_allocator.sh --name NAME --variant plain|asan|fuzz|tsan --cc COMPILER --out FILE.o
#                       [--keep 'my_*']... [--include DIRECTORY]... [--cflags '-DX=1'] [--depfile FILE.d] SOURCE...
#
#   --name     a C identifier; the bundle's descriptor is heapstorm_bundle_NAME
#   --keep     a pattern of names (with * ? and [ ]) that stay visible; may be given often, everything else becomes local
#   --include  a directory of headers; may be given often
#   --cflags   more options for the compiler, words separated by blanks
#   --depfile  writes the headers that were read, as a rule of make
#
# The calls of the allocator to the OS (mmap, munmap, ...) and those that would outlive a run (pthread_key_create, ...) go to functions of
# the same name with the prefix heapstorm_, which the engine defines. Exit status: 0, 1 what the compiler found, 2 wrong usage.
set -eu

# What is redirected; only where the allocator does not define it itself.
redirected='mmap mmap64 munmap mremap madvise mprotect sbrk brk pthread_key_create pthread_key_delete pthread_atfork'

usage() {
	echo "bundle_allocator.sh: $1" >&2
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
support=$here/../harness/bundle
[ -d "$support" ] || support=$here/bundle # as installed
name= variant= cc= out= cflags= depfile= keep= includes=
newline='
'
while [ $# -gt 0 ]; do
	case $1 in
	--name | --variant | --cc | --out | --cflags | --depfile | --keep | --include)
		[ $# -ge 2 ] || usage "$1 needs a value"
		case $1 in
		--name) name=$2 ;;
		--variant) variant=$2 ;;
		--cc) cc=$2 ;;
		--out) out=$2 ;;
		--cflags) cflags=$2 ;;
		--depfile) depfile=$2 ;;
		--keep) keep="$keep $2" ;;
		--include) includes="$includes-I$2$newline" ;;
		esac
		shift 2
		;;
	--)
		shift
		break
		;;
	-*) usage "unknown option $1" ;;
	*) break ;;
	esac
done
[ -n "$cc" ] || usage "--cc is missing"
[ -n "$out" ] || usage "--out is missing"
[ $# -gt 0 ] || usage "no sources"
case $name in
'' | [0-9]* | *[!A-Za-z0-9_]*) usage "--name '$name' is no C identifier" ;;
esac
case $variant in
plain) flags='-O2 -g' ;;
asan) flags='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' ;;
# Counters without traced comparisons: the mutator knows the sizes that matter, and the tracing costs more than the allocator.
fuzz) flags='-O2 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -fsanitize-coverage=inline-8bit-counters,pc-table' ;;
tsan) flags='-O1 -g -fsanitize=thread' ;;
*) usage "--variant '$variant' is none of plain, asan, fuzz, tsan" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

set -f # the words of $cflags and the patterns of $keep are no file names
support_flags='-std=gnu17 -O2 -g -fPIE -fno-data-sections -fno-common'
"$cc" $support_flags -DBUNDLE_NAME="$name" -c "$support/begin.c" -o "$work/begin.o"
"$cc" $support_flags -c "$support/end.c" -o "$work/end.o"

# -fno-common: a tentative definition left to the linker would end up outside of the brackets.
count=0
compile() { # source include-option...
	source=$1
	shift
	count=$((count + 1))
	"$cc" -std=gnu17 -fPIE -pthread $flags "$@" $cflags -fno-common -fno-lto \
		-MMD -MF "$work/$count.d" -MT OUT -c "$source" -o "$work/$count.o" || exit 1
}
for source in "$@"; do
	blanks=$IFS
	IFS=$newline # directories may have blanks in their names
	set -- $includes
	IFS=$blanks
	compile "$source" "$@"
done

set -- "$work/begin.o"
i=0
while [ $i -lt $count ]; do
	i=$((i + 1))
	set -- "$@" "$work/$i.o"
done
# Section groups are dissolved: what AddressSanitizer puts into a group of its own, a variable for each, moves between the brackets.
ld -r --force-group-allocation -T "$support/bundle.ld" -o "$work/all.o" "$@" "$work/end.o"

nm -P "$work/all.o" >"$work/symbols"
set -- -w "--keep-global-symbol=heapstorm_bundle_$name"
for pattern in $keep; do
	set -- "$@" "--keep-global-symbol=$pattern"
done
# AddressSanitizer registers the globals of the whole program at once: this flag, one of all objects, says that it was done.
set -- "$@" --keep-global-symbol=___asan_globals_registered
for symbol in $redirected; do
	if grep -q "^$symbol U" "$work/symbols"; then
		set -- "$@" --redefine-sym "$symbol=heapstorm_$symbol"
	fi
done
objcopy "$@" "$work/all.o" "$work/bundle.o"

# Writable data that the script did not gather is not put back by a snapshot.
readelf -SW "$work/bundle.o" | sed 's/^ *\[ *[0-9]*\] *//' | while read -r section type address offset size entry attributes rest; do
	case $attributes in
	*WA*)
		case $section in
		.data | .bss | .tdata | .tbss | .data.rel.ro | .init_array* | .fini_array* | .preinit_array* | .ctors* | .dtors* | \
			asan_globals | __sancov_* | __llvm_prf_*) ;; # counters that are to go on
		*)
			[ "$size" = 000000 ] ||
				echo "heapstorm: $name: what section $section holds is not reset between inputs" >&2
			;;
		esac
		;;
	esac
done

if [ -n "$depfile" ]; then
	set +f
	rule=$(cat "$work"/*.d | sed 's/^OUT://; s/\\$//' | tr '\n' ' ')
	echo "$out:$rule" >"$depfile"
fi
mv "$work/bundle.o" "$out"
