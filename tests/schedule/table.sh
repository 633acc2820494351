#!/bin/sh
# Prints schedules to first failure of each pattern and strategy: table.sh DIRECTORY [SEEDS [RUNS [STRATEGY...]]]
# DIRECTORY is where build.sh put the programs. Seconds of each campaign are limited by LIMIT (default 600).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=$1 seeds=${2:-20} runs=${3:-10000}
shift; [ $# -eq 0 ] || shift; [ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- random pct surw pos mix
printf '| pattern |'
for strategy in "$@"; do printf ' %s |' "$strategy"; done
printf '\n|---|'
for strategy in "$@"; do printf -- '---|'; done
echo
while read -r name source define verdict; do
	printf '| %s |' "$name"
	for strategy in "$@"; do
		line=$(timeout "${LIMIT:-600}" "$directory/$name" --strategy "$strategy" --seeds "$seeds" --runs "$runs" </dev/null 2>&1) && status=0 || status=$?
		case $status in
		124) cell='time' ;;
		0) cell="0/$seeds" ;;
		1)
			found=${line#found }
			found=${found%% of*}
			median=${line#*median }
			most=${median#*most }
			cell="${median%%,*} (${most%%,*})"
			[ "$found" = "$seeds" ] || cell="$cell $found/$seeds"
			case $line in *", $verdict: "*) ;; *) cell="$cell WRONG: $line" ;; esac
			;;
		*) cell="ERROR $status: $line" ;;
		esac
		printf ' %s |' "$cell"
	done
	echo
done <"$here/patterns.txt"
