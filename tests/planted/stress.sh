#!/bin/sh
# Each scenario of stress finds the bugs that the table names for it, with a right verdict, and the allocators as they are stay clean:
#
#   stress.sh [--build DIRECTORY] [--time TIME] [--seed S]
#
# A failure that was found must come with its program: with a schedule, so that it replays, where the table says so. Exit status: 0, 1 a bug
# was missed, got a wrong name or does not replay.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build
time=60s
seed=1
while [ $# -gt 1 ]; do
	case $1 in
	--build) build=$2 ;;
	--time) time=$2 ;;
	--seed) seed=$2 ;;
	*) break ;;
	esac
	shift 2
done
[ $# -eq 0 ] || {
	echo "stress.sh: unknown option $1" >&2
	exit 2
}
build=$(cd "$build" && pwd) || exit 2
heapstorm=$build/bin/heapstorm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0
printf '%-18s %-36s %-6s %-14s %8s  %s\n' scenario bug variant found seconds scheduled
while read -r scenario patch variant replays; do
	case $scenario in
	'#'* | '') continue ;;
	esac
	process=$(sh "$here/build.sh" --build "$build" --stress "$variant" "$here/$patch") || exit 1
	runner=$(sh "$here/build.sh" --build "$build" --scheduled "$here/$patch") || exit 1
	allocator=$(sed -n 's/^Allocator: *//p' "$here/$patch")
	expect=$(sed -n 's/^Expect: *//p' "$here/$patch")
	rm -rf "$work/failures"
	"$heapstorm" stress "$allocator" --process "$process" --runner "$runner" --variant "$variant" --scenario "$scenario" --seed "$seed" --time "$time" \
		--timeout 10s --out "$work/failures" --json "$work/json" >"$work/out" 2>&1 </dev/null
	scheduled=-
	if grep -q '^  replayed: ' "$work/out"; then
		scheduled=replays
		HEAPSTORM_RUNNER=$runner "$heapstorm" replay --variant sched --expect --repeat 10 "$work"/failures/*/ >"$work/replay" 2>&1 ||
			scheduled=broken
	fi
	python3 - "$work/json" "$expect" "$scenario" "$(basename "$patch" .patch)" "$variant" "$replays" $scheduled <<'END' || wrong=$((wrong + 1))
import json, re, sys
path, expect, scenario, bug, variant, wanted, scheduled = sys.argv[1:]
result = json.load(open(path))[0]
fault = ""
kept = re.search("^expect (.*)$", open(result["program"]).read(), re.M) if "program" in result else None
if result["verdict"] not in expect.split(", "):
    fault = "  missed" if result["verdict"] == "clean" else "  expected " + expect
elif kept is None:
    fault = "  no program"
elif kept.group(1) not in expect.split(", "):
    fault = "  the program: " + kept.group(1)
elif scheduled == "broken":
    fault = "  does not replay"
elif wanted == "replays" and scheduled != "replays":
    fault = "  no schedule"
print(f"{scenario:18} {bug:36} {variant:6} {result['verdict']:14} {result['seconds']:8.1f}  {scheduled}{fault}", flush=True)
sys.exit(fault != "")
END
done <"$here/stress/table"
exit $((wrong > 0))
