# Sourced by the tests of the command: sh TEST.sh HEAPSTORM SOURCE. Each runs in an empty folder whose name has a blank.
set -u
heapstorm=$1
source_folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/a folder"
cd "$work/a folder" || exit 1
failures=0

# expect STATUS COMMAND...: runs it; standard output in out, standard error in err.
expect() {
	wanted=$1
	shift
	"$@" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	if [ $status -ne "$wanted" ]; then
		echo "status $status where $wanted was expected: $*"
		cat "$work/out" "$work/err"
		failures=$((failures + 1))
	fi
}

# says FILE PATTERN: the output (out or err) matches an extended regular expression.
says() {
	if ! grep -Eq -- "$2" "$work/$1"; then
		echo "std$1 does not match '$2':"
		cat "$work/$1"
		failures=$((failures + 1))
	fi
}

# One line and no more on standard error, and nothing was written.
one_line() {
	if [ "$(wc -l <"$work/err")" -ne 1 ] || [ -s "$work/out" ]; then
		echo "one line on standard error was expected:"
		cat "$work/out" "$work/err"
		failures=$((failures + 1))
	fi
	if [ -n "$(ls)" ] && [ "$(ls)" != "$allowed" ]; then
		echo "files were left behind: $(ls)"
		failures=$((failures + 1))
	fi
}
allowed=

last_line() {
	if [ "$(tail -n 1 "$work/out")" != "$1" ]; then
		echo "the last line is not '$1':"
		tail -n 3 "$work/out"
		failures=$((failures + 1))
	fi
}

# planted KIND PATCH: the runner (--runner, --scheduled) of a planted bug, and its sources as words for the compiler; without the bug in `fixed`.
planted() {
	HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" "$1" "$source_folder/tests/planted/$2.patch") || exit 1
	export HEAPSTORM_RUNNER
	rm -rf "$work/tree"
	mkdir "$work/tree"
	cp -R "$source_folder/alloc" "$work/tree/alloc"
	patch -s -d "$work/tree" -p1 -F0 -f <"$source_folder/tests/planted/$2.patch" >/dev/null || exit 1
	with="-I$work/tree/alloc $work/tree/alloc/os.c $work/tree/alloc/mem_alloc_2.0/*.c"
}
fixed="'-I$source_folder/alloc' '$source_folder/alloc/os.c' '$source_folder/alloc/mem_alloc_2.0'/*.c"

finish() {
	[ $failures -eq 0 ] || exit 1
}
