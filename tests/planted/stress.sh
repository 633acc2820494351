#!/bin/sh
# Each scenario of stress finds the bugs that the table names for it, with a right verdict, and the allocators as they are stay clean:
#
#   stress.sh [--build DIRECTORY] [--time TIME] [--seed S]
#
# A failure that was found must come with its program. Exit status: 0, 1 a bug was missed or got a wrong name.
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
printf '%-18s %-36s %-6s %-14s %8s\n' scenario bug variant found seconds
while read -r scenario patch variant; do
	case $scenario in
	'#'* | '') continue ;;
	esac
	process=$(sh "$here/build.sh" --build "$build" --stress "$variant" "$here/$patch") || exit 1
	allocator=$(sed -n 's/^Allocator: *//p' "$here/$patch")
	expect=$(sed -n 's/^Expect: *//p' "$here/$patch")
	rm -rf "$work/failures"
	"$heapstorm" stress "$allocator" --process "$process" --variant "$variant" --scenario "$scenario" --seed "$seed" --time "$time" \
		--timeout 10s --out "$work/failures" --json "$work/json" >"$work/out" 2>&1 </dev/null
	python3 - "$work/json" "$expect" "$scenario" "$(basename "$patch" .patch)" "$variant" <<'END' || wrong=$((wrong + 1))
import json, sys
result = json.load(open(sys.argv[1]))[0]
fault = ""
if result["verdict"] not in sys.argv[2].split(", "):
    fault = "  missed" if result["verdict"] == "clean" else "  expected " + sys.argv[2]
elif "program" not in result or "expect " + result["verdict"] not in open(result["program"]).read():
    fault = "  no program"
print(f"{sys.argv[3]:18} {sys.argv[4]:36} {sys.argv[5]:6} {result['verdict']:14} {result['seconds']:8.1f}{fault}", flush=True)
sys.exit(fault != "")
END
done <"$here/stress/table"
exit $((wrong > 0))
