# stress runs a scenario for a time or a number of rounds, tells what it ran, and refuses what makes no sense.
. "$(dirname "$0")/common.sh"

for bad in '--threads 0' '--threads 65' '--threads two' '--seed -1' '--rounds 0' '--round 0' '--time 0' '--scenario none' '--shard 1' \
	'--shard 4/4' '--shard -1/4' '--shard 1/0' '--shard a/b' '--variant fuzz' '--round 1 --shard 0/2' '--out /dev/null/x' \
	'--json /no/such/folder/x' 'nobody' 'mem_alloc system'; do
	expect 2 "$heapstorm" stress $bad
	one_line
done

"$heapstorm" list >"$work/list"
for scenario in mixed producer-consumer all-to-all churn first-call destructors fork foreign-realloc boundaries faults; do
	grep -q "^  $scenario  *[a-z]" "$work/list" || {
		echo "list does not show $scenario"
		failures=$((failures + 1))
	}
	expect 0 "$heapstorm" stress --variant plain --scenario $scenario --rounds 2 --threads 3 mem_alloc_2.0
	last_line 'verdict: clean'
	says out '^2 rounds, [1-9]'
done
# fork and faults are what they say.
expect 0 "$heapstorm" stress --variant plain --scenario fork --rounds 1 mem_alloc
says out 'fork [1-9]'
expect 0 "$heapstorm" stress --variant plain --scenario faults --rounds 1 mem_alloc
says out '[1-9][0-9]* faults'
for variant in asan tsan; do
	expect 0 "$heapstorm" stress --variant $variant --rounds 2 --threads 2
	last_line 'verdict: clean'
done
expect 0 "$heapstorm" stress --variant plain --time 2 --threads 1 system
last_line 'verdict: clean'

# The rounds of a shard, and no others: all shards together do what one run does.
operations() {
	expect 0 "$heapstorm" stress --variant plain --seed 5 "$@" --json result.json
	python3 -c 'import json; r = json.load(open("result.json"))[0]; print(r["operations"], r["rounds"])'
}
whole=$(operations --rounds 6)
[ "$whole" = "$(operations --rounds 6)" ] || failures=$((failures + 1))
sum=$({
	operations --shard 0/3 --rounds 2
	operations --shard 1/3 --rounds 2
	operations --shard 2/3 --rounds 2
} | awk '{ a += $1; b += $2 } END { print a, b }')
if [ "$sum" != "$whole" ]; then
	echo "the shards did $sum operations and rounds, one run $whole"
	failures=$((failures + 1))
fi
[ "$(operations --round 4 --rounds 3)" != "$(operations --round 5 --rounds 3)" ] || failures=$((failures + 1))

expect 0 "$heapstorm" stress --variant plain --seed 18446744073709551615 --rounds 2 --json result.json --junit result.xml
python3 - <<'END' || failures=$((failures + 1))
import json, xml.etree.ElementTree as tree
result = json.load(open("result.json"))[0]
assert result["verdict"] == "clean" and result["scenario"] == "mixed" and result["rounds"] == 2, result
assert result["seed"] == "18446744073709551615" and result["threads"] == 4, result
assert result["checks"]["overlap"] > 0 and result["checks"]["lost-memory"] > 0, result
suite = tree.parse("result.xml").getroot()
assert suite.get("tests") == "1" and suite.get("failures") == "0", suite.attrib
END
expect 3 "$heapstorm" stress --process /no/such/process
finish
