# fuzz ends by itself, or by an interrupt, with a verdict; what it finds is kept and replays, and a kill of the target loses nothing.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")
[ -x "$build/bin/fuzz_sequence" ] || exit 0

expect 0 "$heapstorm" fuzz mem_alloc_2.0 --runs 2000 --seed 1 --json result.json --seeds "$source_folder/corpus/sequence"
last_line 'verdict: clean'
python3 -c '
import json
result = json.load(open("result.json"))
assert result["verdict"] == "clean" and result["programs"] > 1000 and result["coverage"] > 100, result
never = [name for name in ("overlap", "corruption", "realloc-lost", "not-zeroed", "misaligned", "undersized", "contract",
	"touched-live", "invariant", "lost-memory", "uncoalesced", "unreclaimed") if result["checks"][name] == 0]
assert not never, never
never = [name for name, count in result["operations_by_kind"].items() if count == 0 and name not in ("signal", "wait", "exit")]
assert not never, never
' || failures=$((failures + 1))

# An interrupt is no failure.
"$heapstorm" fuzz mem_alloc --budget 60s >out 2>err &
pid=$!
sleep 2
kill -INT $pid
wait $pid || failures=$((failures + 1))
[ "$(tail -n 1 out)" = 'verdict: clean' ] || { cat out err; failures=$((failures + 1)); }

# A planted bug: kept in a folder of its own, as text with a mark that parses again and as bytes.
if [ -f "$source_folder/tests/planted/build.sh" ]; then
	target=$(sh "$source_folder/tests/planted/build.sh" --build "$build" "$source_folder/tests/planted/calloc-tail-dirty.patch") || exit 1
	expect 1 "$heapstorm" fuzz mem_alloc_2.0 --budget 60s --seed 1 --target "$target" --out kept --json failure.json
	last_line 'verdict: not-zeroed'
	program=$(ls kept/*/program.heap)
	grep -q '^expect not-zeroed' "$program" && grep -q '<-- not-zeroed' "$program" || { cat "$program"; failures=$((failures + 1)); }
	expect 0 "$heapstorm" replay "$program"
	[ -s "$(dirname "$program")/input" ] || failures=$((failures + 1))
	python3 -m json.tool <"$(dirname "$program")/failure.json" >/dev/null || failures=$((failures + 1))
fi

# kill -9 of the target in the middle: the program at work is kept.
"$heapstorm" fuzz mem_alloc_2.0 --budget 60s --out killed >out 2>err &
pid=$!
sleep 2
pkill -KILL -P $pid fuzz_sequence
wait $pid
case $(tail -n 1 out) in
'verdict: crash') [ -n "$(ls killed/*/program.heap)" ] || failures=$((failures + 1)) ;;
*) # between two programs there is none at work
	grep -q 'without a verdict\|verdict: clean' out err || { cat out err; failures=$((failures + 1)); } ;;
esac
finish
