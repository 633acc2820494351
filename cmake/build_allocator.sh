#!/bin/sh
# Compiles an allocator and links it with the engine: the processes of heapstorm for it, in a folder whose path is then the ALLOCATOR of
# heapstorm fuzz, stress, explore and replay.
#
#   build_allocator.sh --out FOLDER [--adapter FILE.c | --prefix my_] [--variant VARIANT]... [--cc COMPILER] [--include DIRECTORY]...
#                      [--cflags '-DX=1'] [--depfile FILE.d] SOURCE...
#
#   --adapter  a C file that defines `const struct allocator heapstorm_allocator` (heapstorm/allocator.h)
#   --prefix   in its place: the functions are those of libc with this prefix (default my_)
#   --variant  plain, asan, fuzz, tsan, sched or schedfuzz; may be given often (default: all)
#   --include, --cflags, --depfile: as of bundle_allocator.sh; the depfile is that of the last variant and names all processes of it
#
# Exit status: 0, 1 what the compiler found, 2 wrong usage, 3 no compiler.
set -eu

usage() {
	echo "build_allocator.sh: $1" >&2
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
libraries=$root/lib
newline='
'
out= adapter= prefix=my_ variants= cc= includes= cflags= depfile=
while [ $# -gt 0 ]; do
	case $1 in
	--out | --adapter | --prefix | --variant | --cc | --include | --cflags | --depfile)
		[ $# -ge 2 ] || usage "$1 needs a value"
		case $1 in
		--out) out=$2 ;;
		--adapter) adapter=$2 ;;
		--prefix) prefix=$2 ;;
		--variant) variants="$variants $2" ;;
		--cc) cc=$2 ;;
		--include) includes="$includes--include$newline$2$newline" ;;
		--cflags) cflags=$2 ;;
		--depfile) depfile=$2 ;;
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
[ -n "$out" ] || usage "--out is missing"
[ $# -gt 0 ] || [ -n "$adapter" ] || usage "no sources"
case $prefix in
*[!A-Za-z0-9_]* | [0-9]*) usage "--prefix '$prefix' begins no C identifier" ;;
esac
for variant in $variants; do
	case $variant in
	plain | asan | fuzz | tsan | sched | schedfuzz) ;;
	*) usage "--variant '$variant' is none of plain, asan, fuzz, tsan, sched, schedfuzz" ;;
	esac
done
[ -n "$variants" ] || variants='plain asan fuzz tsan sched schedfuzz'
if [ -z "$cc" ]; then
	cc=$(sh "$here/find_clang.sh" | sed -n 1p)
	[ -n "$cc" ] || {
		echo "heapstorm: no clang from 16 on with its compiler-rt is installed" >&2
		exit 3
	}
fi
for source in ${adapter:+"$adapter"} "$@"; do
	[ -r "$source" ] || usage "$source cannot be read"
done

mkdir -p "$out"
out=$(cd "$out" && pwd)
name=$(basename "$out" | tr -c 'A-Za-z0-9_.+\n-' _)
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

if [ -z "$adapter" ]; then
	adapter=$here/bundle/prefix.c
	cflags="$cflags -DPREFIX=$prefix -DNAME=\"$name\""
fi
set -f # directories may have blanks in their names
blanks=$IFS
IFS=$newline
set -- $includes -- "$adapter" "$@"
IFS=$blanks
set +f

# Links a process: its name and archives, options of the compiler after them.
link() { # process archive option...
	process=$1 main=$2
	shift 2
	set -- -pthread "$@" -o "$work/$process" "$work/bundle.o" -Wl,--whole-archive "$libraries/heapstorm/lib$main.a" -Wl,--no-whole-archive
	[ "$main" != heapstorm-runner-sched ] && [ "$main" != heapstorm-fuzz_threads ] || set -- "$@" "$libraries/libheapstorm_schedule.a"
	"$cc" "$@" "$libraries/libheapstorm.a" -lzstd -lcjson -ldl -lm || exit 1
	mv "$work/$process" "$out/$process"
	made="$made $(echo "$out/$process" | sed 's/ /\\ /g')"
}

for variant in $variants; do
	made=
	sh "$here/bundle_allocator.sh" --name subject --variant "$variant" --cc "$cc" --out "$work/bundle.o" --keep heapstorm_allocator \
		--depfile "$work/depend" --include "$root/include" --cflags "$cflags" "$@"
	case $(nm -P "$work/bundle.o" 2>/dev/null | sed -n 's/^\([^ ]*\) U.*/ \1 /p' | tr -d '\n') in
	*" ${prefix}malloc "*)
		[ "$adapter" != "$here/bundle/prefix.c" ] || usage "no source defines ${prefix}malloc: --prefix gives another prefix"
		;;
	esac
	case $variant in
	plain)
		link runner-plain heapstorm-runner
		link search-plain heapstorm-search
		link stress-plain heapstorm-stress
		;;
	asan)
		link runner-asan heapstorm-runner -fsanitize=address,undefined
		link search-asan heapstorm-search -fsanitize=address,undefined
		link stress-asan heapstorm-stress -fsanitize=address,undefined
		;;
	fuzz) link fuzz_sequence heapstorm-fuzz_sequence -fsanitize=fuzzer,address,undefined ;;
	tsan) link stress-tsan heapstorm-stress -fsanitize=thread ;;
	sched) link runner-sched heapstorm-runner-sched ;;
	schedfuzz) link fuzz_threads heapstorm-fuzz_threads -fsanitize=fuzzer,address,undefined ;;
	esac
	[ -z "$depfile" ] || {
		printf '%s:' "$made"
		sed 's|^.*/bundle\.o:||' "$work/depend"
	} >"$depfile"
done
