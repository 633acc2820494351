# replay takes every format, on one allocator or several, and says the verdict last; JSON and JUnit can be read by others.
. "$(dirname "$0")/common.sh"
seed=$source_folder/corpus/sequence/thread-exit-live.heap

expect 0 "$heapstorm" replay "$seed"
last_line 'verdict: clean'
says out 'mem_alloc_2\.0'
cp "$seed" 'a program.heap'
expect 0 "$heapstorm" replay --allocator mem_alloc,mem_alloc_2.0,system 'a program.heap'
last_line 'verdict: clean'
says out '^3 runs'
expect 0 "$heapstorm" show --to bytes -o program.bytes 'a program.heap'
expect 0 "$heapstorm" replay --variant plain program.bytes
last_line 'verdict: clean'
# Text to bytes and back loses nothing.
expect 0 "$heapstorm" show 'a program.heap'
cp "$work/out" text
expect 0 "$heapstorm" show program.bytes
cmp text "$work/out" || failures=$((failures + 1))
printf '20000 2 4 1\na 0 512\na 1 128\nr 0 640\nf 1\n' >lab.rep
expect 0 "$heapstorm" replay --repeat 3 lab.rep
last_line 'verdict: clean'
expect 0 "$heapstorm" replay --quick --allocator mem_alloc_2.0 "$source_folder/corpus/traces/jq.trace"
last_line 'verdict: clean'

expect 0 "$heapstorm" replay --json result.json --junit result.xml lab.rep
python3 - <<'END' || failures=$((failures + 1))
import json, xml.etree.ElementTree as tree
result = json.load(open("result.json"))[0]
assert result["verdict"] == "clean" and result["allocator"] == "mem_alloc_2.0", result
assert result["checks"]["overlap"] > 0 and result["operations_by_kind"]["realloc"] > 0, result
suite = tree.parse("result.xml").getroot()
assert suite.get("tests") == "1" and suite.get("failures") == "0", suite.attrib
END

# --expect: what the file says is what has to come.
printf 'heapstorm 1\nexpect overlap\nthread main\n  a = malloc 8\n' >expects.heap
expect 1 "$heapstorm" replay --expect expects.heap
says out 'expected: *overlap'
expect 0 "$heapstorm" replay expects.heap
finish
