#!/bin/sh
# Measures an allocator beside libc's and draws the graph: perf.sh BUILD ALLOCATOR. Leaves BUILD/perf*.csv, .png and .svg.
set -eu
build=$1 allocator=$2
here=$(cd "$(dirname "$0")" && pwd)
case $allocator in
mem_alloc) base=$build/perf ;;
mem_alloc_*) base=$build/perf_${allocator#mem_alloc_} ;;
*)
	echo "perf.sh: no allocator $allocator" >&2
	exit 2
	;;
esac
"$build/bin/perf" "$allocator" "$base.csv"
echo
if command -v gnuplot >/dev/null; then
	gnuplot -e "csv='$base.csv'; base='$base'; subject='$allocator'" "$here/perf.gp"
	echo "$base.csv, $base.png, $base.svg"
else
	echo "$base.csv (no gnuplot, no graph)"
fi
