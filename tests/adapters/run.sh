# An example with its adapter: run.sh HEAPSTORM SOURCE NAME. Correct it is found clean by everything; with each of its planted mistakes
# (NAME-*.patch) the right verdict is found, made small and replayed.
. "$2/tests/cli/common.sh"
name=$3
build=$(dirname "$heapstorm")/../share/heapstorm/build_allocator.sh

build_in() { # folder examples option...
	folder=$1 examples=$2
	shift 2
	expect 0 sh "$build" --out "$folder" --adapter "$examples/${name}_adapter.c" --include "$examples" --cflags '-Wall -Wextra -Werror' \
		"$@" "$examples/$name.c"
}

# found FOLDER: what was kept there.
found() {
	set -- "$1"/*/program.heap
	echo "$1"
}

lines=$(wc -l <"$source_folder/examples/${name}_adapter.c")
[ "$lines" -le 20 ] || {
	echo "the adapter has $lines lines"
	failures=$((failures + 1))
}

build_in "right/$name" "$source_folder/examples"
expect 0 "$heapstorm" fuzz "right/$name" --runs 4000 --seed 1
last_line 'verdict: clean'
says out 'uncoalesced +[1-9]'
expect 0 "$heapstorm" replay --allocator "right/$name" "$source_folder"/corpus/regress/*.heap
last_line 'verdict: clean'
if [ "$name" = buddy ]; then
	expect 0 "$heapstorm" stress "right/$name" --rounds 20
	last_line 'verdict: clean'
	expect 0 "$heapstorm" explore "right/$name" --runs 600
	last_line 'verdict: clean'
	expect 0 "$heapstorm" fuzz --threads "right/$name" --runs 3000 --seed 1
	last_line 'verdict: clean'
else
	expect 2 "$heapstorm" stress "right/$name" --rounds 40
	says out 'is for one thread'
	expect 2 "$heapstorm" explore "right/$name" --runs 600
	says err 'is for one thread'
fi

# planted MISTAKE VERDICTS [SEED]: by fuzz, or by stress and explore what only threads show.
planted() {
	rm -rf wrong kept
	mkdir wrong
	cp -R "$source_folder/examples" wrong/examples
	expect 0 patch -s -F0 -p1 -d wrong -i "$source_folder/tests/adapters/$name-$1.patch"
	if [ "$2" = race ]; then
		build_in "wrong/$name" wrong/examples --variant plain --variant tsan --variant sched
		expect 1 "$heapstorm" stress "wrong/$name" --time 30s --out kept
		last_line "verdict: race"
		expect 1 "$heapstorm" explore "wrong/$name" --budget 30s --out kept-explored
		last_line "verdict: race"
		expect 1 "$heapstorm" replay "$(found kept-explored)"
		last_line "verdict: race"
		return
	fi
	build_in "wrong/$name" wrong/examples --variant plain --variant asan --variant fuzz
	expect 1 "$heapstorm" fuzz "wrong/$name" --budget 30s --seed "${3:-1}" --out kept
	says out "^verdict: ($2)$"
	verdict=$(sed -n 's/^verdict: //p' "$work/out")
	says out '^  minimized: '
	expect 1 "$heapstorm" replay "$(found kept)"
	last_line "verdict: $verdict"
	expect 0 "$heapstorm" replay --allocator "right/$name" "$(found kept)"
	last_line 'verdict: clean'
	echo "$1: $verdict"
}

case $name in
first_fit)
	planted left-stays 'uncoalesced'
	# With most seeds the first that is seen is that memory is lost, with this one what has destroyed the list.
	planted remainder-without-header 'overlap|corruption|touched-live|crash' 6
	planted overflow 'contract|overlap|corruption|crash|misaligned|touched-live'
	;;
tlsf)
	planted realloc-copies-new-size 'touched-live|crash|corruption'
	planted flag-of-right-stays 'crash|overlap|touched-live|uncoalesced|corruption'
	planted rest-not-merged 'uncoalesced|crash|overlap|corruption|touched-live'
	planted find-not-rounded-up 'overlap|corruption|touched-live|crash'
	;;
buddy)
	planted merges-used 'overlap|corruption|touched-live|crash'
	planted no-errno 'contract'
	planted malloc-unlocked race
	;;
esac
finish
