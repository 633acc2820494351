#!/bin/sh
# Builds the patterns: build.sh CLANG BUILD_DIRECTORY OUTPUT_DIRECTORY sched|free [NAME...]
# For each NAME of patterns.txt OUTPUT/NAME and OUTPUT/NAME_correct.
set -eu
cc=$1 build=$2 out=$3 kind=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$out"
flags="-std=gnu17 -D_GNU_SOURCE= -g -O1 -fPIE -pthread -Wall -Wextra -Werror -I$here"
case $kind in
sched) "$cc" $flags -I"$root/harness" -I"$root/alloc" -I"$root/stress/schedule" -c "$here/pattern_main.c" -o "$out/main.o" ;;
free) "$cc" $flags -fsanitize=thread -c "$here/pattern_free.c" -o "$out/main.o" ;;
esac
while read -r name source define verdict; do
	[ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
	[ "$define" != - ] || define=
	for variant in "" _correct; do
		correct=
		[ -z "$variant" ] || correct=-DCORRECT
		if [ "$kind" = sched ]; then
			sh "$root/cmake/bundle_allocator.sh" --name pattern --variant sched --cc "$cc" --out "$out/$name$variant.o" \
				--keep pattern_run --include "$here" --cflags "-Wall -Wextra -Werror $define $correct" \
				-- "$here/patterns/$source.c"
			"$cc" -pie -pthread "$out/main.o" "$out/$name$variant.o" \
				"$build/lib/libheapstorm_schedule.a" "$build/lib/libheapstorm.a" -lzstd -lcjson -o "$out/$name$variant"
		else
			"$cc" $flags -fsanitize=thread $define $correct "$out/main.o" "$here/patterns/$source.c" -o "$out/$name$variant"
		fi
	done
done <"$here/patterns.txt"
