# AFL++ finds a planted mistake, with the mutator of programs, on two cores: run.sh HEAPSTORM SOURCE
. "$2/tests/cli/common.sh"
command -v afl-fuzz >/dev/null && command -v afl-clang-fast >/dev/null || exit 77

expect 1 sh "$source_folder/fuzz/afl.sh" --out "$work/afl" --time 120s --until-crash --planted "$source_folder/tests/planted/calloc-tail-dirty.patch"
last_line 'verdict: not-zeroed'
says out '^main execs_done [1-9]'
says out '^second corpus_count [1-9]'
# What crashed is a program, for whoever gets the file.
input=$(sed -n 's/^not-zeroed by //p' "$work/out" | head -n 1)
expect 0 "$heapstorm" show "$input"
says out calloc
expect 2 sh "$source_folder/fuzz/afl.sh" --time soon
expect 2 sh "$source_folder/fuzz/afl.sh" no_target
finish
