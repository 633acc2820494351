#!/bin/sh
# Builds a preset, quietly: build.sh DIRECTORY, where `build` is the preset release and `build-NAME` the preset NAME.
set -eu
cd "$(dirname "$0")/.."
directory=${1:-build}
case $directory in
build) preset=release ;;
build-*) preset=${directory#build-} ;;
*)
	echo "heapstorm: no preset builds in $directory" >&2
	exit 2
	;;
esac

fresh=
if [ -f "$directory/CMakeCache.txt" ]; then
	# A tree that was moved or copied with its build is configured anew.
	was=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$directory/CMakeCache.txt")
	[ "$was" = "$(pwd)" ] || [ "$was" = "$(pwd -P)" ] || fresh=--fresh
fi
if [ -n "$fresh" ] || ! [ -f "$directory/build.ninja" ]; then
	cmake --preset "$preset" --log-level=NOTICE $fresh >"$directory.log" 2>&1 || {
		cat "$directory.log" >&2
		rm -f "$directory.log"
		exit 1
	}
	grep '^heapstorm: ' "$directory.log" || :
	rm -f "$directory.log"
fi
# On a terminal ninja shows one line of progress; elsewhere only what goes wrong.
if [ -t 1 ]; then
	exec cmake --build "$directory"
fi
exec cmake --build "$directory" -- --quiet
