#!/bin/sh
# libFuzzer registers the coverage counters of all bundles, each once: counters.sh PROGRAM. The program passes its own tests, too.
set -eu
program=$1
output=$("$program" -runs=1 2>&1) || {
	echo "$output"
	exit 1
}
# The counters of the program are one section; its size in bytes is their number.
in_section=$(readelf -SW "$program" | sed -n 's/.* __sancov_cntrs  *PROGBITS  *[0-9a-f]* [0-9a-f]* \([0-9a-f]*\) .*/\1/p')
in_section=$((0x$in_section))
registered=$(echo "$output" | sed -n 's/.*Loaded [0-9]* modules *(\([0-9]*\) inline 8-bit counters).*/\1/p')
echo "$registered counters registered, $in_section in the program"
[ "$in_section" -gt 0 ] && [ "$registered" = "$in_section" ]
