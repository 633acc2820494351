# What is found is kept in one folder a failure: complete, counted when it comes again, taken by the verbs; JSON and SARIF are as documented.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")
tests=$source_folder/tests
keys() { # SECTIONS FILE...
	python3 "$tests/cli/json_keys.py" "$source_folder/docs/json.md" "$@" || failures=$((failures + 1))
}
sarif() { # FILE RESULTS
	python3 "$tests/cli/sarif.py" "$1" "$2" || failures=$((failures + 1))
}
is() { # WHAT A B
	[ "$2" = "$3" ] || {
		echo "$1: '$2', not '$3'"
		failures=$((failures + 1))
	}
}

# Nothing found.
expect 0 "$heapstorm" replay "$source_folder/corpus/sequence/malloc-free.heap" --json clean.json --sarif clean.sarif
keys 'Every result+replay' clean.json
sarif clean.sarif 0
expect 0 "$heapstorm" stress --variant plain --rounds 1 --threads 2 --json clean.json --sarif clean.sarif
keys 'Every result+Kept+stress' clean.json
sarif clean.sarif 0
expect 0 "$heapstorm" explore "$source_folder/corpus/threads/large.heap" --runs 20 --json clean.json --sarif -
keys 'Every result+Kept+explore' clean.json
says out '"version":.*2.1.0'
expect 2 "$heapstorm" replay "$source_folder/corpus/sequence/malloc-free.heap" --sarif /no/such/folder/x
[ ! -e heapstorm-failures ] || failures=$((failures + 1))

# A folder without a program.
mkdir empty
for verb in replay show 'minimize -o small.heap' 'export --c'; do
	expect 2 "$heapstorm" $verb empty
	is "lines of $verb empty" "$(wc -l <"$work/err")" 1
	says err '^heapstorm: empty: is a folder without a program.heap'
done

[ -f "$build/tests/planted/environment" ] || finish
planted() { # PATCH: the fuzz target, the runner and the words for the compiler
	target=$(sh "$tests/planted/build.sh" --build "$build" "$tests/planted/$1.patch") || exit 1
	HEAPSTORM_RUNNER=$(sh "$tests/planted/build.sh" --build "$build" --runner "$tests/planted/$1.patch") || exit 1
	rm -rf "$work/tree"
	mkdir "$work/tree"
	cp -R "$source_folder/alloc" "$work/tree/alloc"
	patch -s -d "$work/tree" -p1 -F0 -f <"$tests/planted/$1.patch" >/dev/null || exit 1
	HEAPSTORM_WITH="-I$work/tree/alloc $work/tree/alloc/os.c $work/tree/alloc/mem_alloc_2.0/*.c"
	export HEAPSTORM_RUNNER HEAPSTORM_WITH
}
fuzz() { # ARGUMENT...
	expect 1 "$heapstorm" fuzz mem_alloc_2.0 --budget 60s --seed 1 --target "$target" --out kept "$@"
}
seen() { # FOLDER
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["seen"])' "$1/failure.json"
}

# All of it, and smaller than it was found.
planted realloc-copies-new-size
fuzz --json found.json --sarif found.sarif --junit found.xml
says out '^  minimized: '
folder=$(ls -d kept/*)
is 'files in the folder' "$(ls -A "$folder" | tr '\n' ' ' | sed 's/program-full.heap //')" 'failure.json input program.heap report.html repro.c '
is 'what else is there' "$(ls -A kept)" "$(basename "$folder")"
keys 'Every result+Kept+fuzz' found.json
keys 'Every result+fuzz+failure.json' "$folder/failure.json"
sarif found.sarif 1
python3 - "$folder" <<'END' || failures=$((failures + 1))
import json, sys
found, kept, log = (json.load(open(name)) for name in ("found.json", sys.argv[1] + "/failure.json", "found.sarif"))
assert found["folder"] == sys.argv[1] and found["program"] == sys.argv[1] + "/program.heap" and found["seen"] == 1, found
assert kept["operations_after"] <= kept["operations_before"] and kept["complete"], kept
for field in ("verdict", "message", "text", "signature", "stacks"):
    assert found[field] == kept[field], (found[field], kept[field])
frame = kept["stacks"][0]["frames"][0]
assert frame["function"] == "my_realloc_2_0" and frame["file"].endswith("/mem_alloc_2.0/malloc.c") and frame["line"] > 0, frame
result = log["runs"][0]["results"][0]
where = result["locations"][0]["physicalLocation"]
assert result["ruleId"] == kept["verdict"] and where["region"]["startLine"] == frame["line"], result
assert where["artifactLocation"]["uri"].endswith("malloc.c"), where
assert result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"] == found["program"], result
assert result["properties"]["folder"] == found["folder"], result
END
grep -q "$folder" found.xml || failures=$((failures + 1))
expect 1 "$heapstorm" replay "$folder" --json again.json --sarif again.sarif
keys 'Every result+replay' again.json
sarif again.sarif 1
expect 0 "$heapstorm" replay --expect "$folder/"
expect 0 "$heapstorm" show "$folder"
says out "^expect $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["verdict"])' "$folder/failure.json")$"
expect 0 "$heapstorm" minimize "$folder" -o small.heap --json small.json
keys 'Every result+minimize' small.json
expect 0 "$heapstorm" export "$folder" -o again.c
expect 0 env -u HEAPSTORM_RUNNER "$heapstorm" explore "$folder" --runs 1

# The same again, also by several processes at a time, is one.
fuzz --json found.json
says out "^  known:     $folder, seen 2 times"
for i in 1 2 3 4; do
	"$heapstorm" fuzz mem_alloc_2.0 --budget 60s --seed $i --target "$target" --out many >/dev/null &
done
wait
is 'folders of one failure' "$(ls -A many | wc -l)" "$(python3 -c '
import json, glob
print(len({json.load(open(name))["signature"] for name in glob.glob("many/*/failure.json")}))')"
is 'counted in all' "$(for one in many/*; do seen "$one"; done | awk '{ sum += $1 } END { print sum }')" 4
# One whose record is gone is not counted in, and nothing in it is touched.
rm "$folder/failure.json"
fuzz
says out "^  kept in:   $folder-2"
[ ! -e "$folder/failure.json" ] || failures=$((failures + 1))

# Another failure is another folder; an oracle has no stack, and the place is in the program.
planted calloc-tail-dirty
fuzz --sarif found.sarif --json found.json
is 'folders of two failures and a copy' "$(ls -A kept | wc -l)" 3
sarif found.sarif 1
python3 - <<'END' || failures=$((failures + 1))
import json
where = json.load(open("found.sarif"))["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
lines = open(where["artifactLocation"]["uri"]).read().split("\n")
assert "# <-- not-zeroed" in lines[where["region"]["startLine"] - 1], (where, lines)
END

# Where the program does not fail by itself, the folder says so, and has neither repro.c nor report.html.
unset HEAPSTORM_RUNNER HEAPSTORM_WITH
rm -rf kept
fuzz
folder=$(ls -d kept/*)
is 'files in the folder' "$(ls -A "$folder" | tr '\n' ' ')" 'failure.json input program.heap '
keys 'Every result+fuzz+failure.json' "$folder/failure.json"
grep -q '"not_minimized":.*in a process of its own it is clean' "$folder/failure.json" || failures=$((failures + 1))

# Threads at full speed.
process=$(sh "$tests/planted/build.sh" --build "$build" --stress tsan "$tests/planted/stress/orphans-unlocked.patch") || exit 1
expect 1 "$heapstorm" stress --process "$process" --scenario churn --time 60s --out raced --json race.json --sarif race.sarif
keys 'Every result+Kept+stress' race.json
keys 'Every result+stress+failure.json' raced/*/failure.json
sarif race.sarif 1
finish
