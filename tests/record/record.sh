#!/bin/sh
# Records a small program and compares the recording with what it is known to do: record.sh HEAPSTORM COMPILER CASE
set -u
heapstorm=$1 compiler=$2 case=$3
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

fail() {
	echo "record_$case: $*" >&2
	[ ! -s log ] || cat log >&2
	exit 1
}

equal() { # what, is, expected
	[ "$2" = "$3" ] || fail "$1: $2, expected $3"
}

build() { # extra arguments of the compiler
	"$compiler" -std=gnu17 -D_GNU_SOURCE -O1 -g -fno-builtin -pthread -Wno-infinite-recursion "$here/programs.c" -o program "$@" ||
		fail "programs.c does not compile"
}

build_counted() {
	"$compiler" -std=gnu17 -D_GNU_SOURCE -O1 -fno-builtin -fPIC -shared "$here/counter.c" -o libcounter.so || fail "counter.c does not compile"
	build -L. -Wl,--no-as-needed -lcounter -Wl,-rpath,"$folder"
	truncate -s 4096 counts
	export COUNTER="$folder/counts"
}

record() { # expected status, arguments of record
	expected=$1
	shift
	"$heapstorm" record -o out "$@" 2>log
	equal "exit status" $? "$expected"
}

show() { # file
	"$heapstorm" show "$1" >"$1.text" || fail "show $1"
}

count() { # pattern, file: lines of its text
	grep -c -- "$1" "$2.text"
}

counted() { # index
	od -An -v -t u8 -w8 counts | sed -n "$(($1 + 1))p" | tr -d ' '
}

# The recording is exactly what was counted, and no call is missing anywhere.
compare_counts() {
	show out
	equal "malloc" "$(count ' = malloc ' out)" "$(counted 0)"
	equal "calloc" "$(count ' = calloc ' out)" "$(counted 1)"
	equal "realloc" "$(count ' = realloc ' out)" "$(counted 2)"
	equal "free" "$(count ' free ' out)" "$(counted 3)"
	equal "aligned" "$(grep -c -e ' = aligned_alloc ' -e ' = posix_memalign ' -e ' = memalign ' out.text)" "$(counted 4)"
	! grep -q -e 'left out' -e 'not seen' -e 'lost' log || fail "calls are missing"
}

case $case in
kinds)
	build
	record 0 -- ./program kinds
	show out
	# What lies between the two sentinels, labels apart.
	sed -n '/malloc 123457/,/malloc 123457/p' out.text | sed -e 's/^ *//' -e 's/^[a-z]* = //' \
		-e 's/^\(free\|usable_size\|realloc\|reallocarray\) [a-z]*/\1 B/' >got
	cat >expected <<-END
		malloc 123457
		free B
		malloc 10
		calloc 3 7
		realloc B 5000
		reallocarray B 30 400
		realloc B 33
		usable_size B
		free B
		free B
		aligned_alloc 64 128
		posix_memalign 4096 100
		free B
		free B
		memalign 32 48
		free B
		memalign 4096 49
		free B
		memalign 4096 4096
		free B
		trim 51
		free B
		malloc 123457
	END
	diff expected got || fail "another sequence"
	grep -q 'realloc null 33' out.text || fail "no realloc of NULL"
	;;
threads)
	build_counted
	for i in 1 2 3; do
		record 0 -- ./program threads
		compare_counts
		grep -q ' 13 threads' log || fail "not 13 threads"
		truncate -s 0 counts
		truncate -s 4096 counts
	done
	;;
fork)
	build
	record 0 -- ./program fork
	show out
	equal "the parent's blocks" "$(count 'malloc 1001' out)" 10
	equal "those after the fork" "$(count 'malloc 1004' out)" 7
	equal "its frees" "$(count ' free ' out)" 10
	equal "others' blocks in its file" "$(count '200[23]\|300[34]' out)" 0
	set -- out.[0-9]*
	equal "files" $# 3
	for file; do
		show "$file"
		for size in 1001 2002 2003 3003 3004; do
			echo "$size $(count "$size" "$file")"
		done | grep -v ' 0$'
		echo
	done | tr '\n' ' ' | sed 's/  */ /g' >children
	case $(cat children) in
	*"2002 5 2003 1"*) ;;
	*) fail "child: $(cat children)" ;;
	esac
	grep -q '3003 2' children || fail "grandchild: $(cat children)"
	grep -q '3004 3' children || fail "child of the bare fork: $(cat children)"
	! grep 'fork of' log | grep -q 'lost' || fail "lost calls"
	equal "children told as such" "$(grep -c 'fork of ./program fork' log)" 3
	;;
exec)
	build
	record 0 -- ./program exec
	show out
	equal "before exec" "$(count 'malloc 1001' out)" 3
	equal "others in its file" "$(count 'malloc 100[23]' out)" 0
	set -- out.[0-9]*
	equal "files" $# 2
	for file; do
		show "$file"
		echo "$(count 'malloc 1001' "$file") $(count 'malloc 1002' "$file") $(count 'malloc 1003' "$file")"
	done | sort | tr '\n' ',' >images
	equal "images" "$(cat images)" "0 0 5,0 5 0,"
	grep -q '(./program exec3)' log || fail "no command line"
	;;
abort)
	build_counted
	record 134 -- ./program abort
	compare_counts
	equal "blocks" "$(count 'malloc 1001' out)" 70000
	;;
segv)
	build_counted
	record 139 -- ./program segv
	compare_counts
	equal "blocks" "$(count 'malloc 1001' out)" 100
	;;
exit)
	build_counted
	record 9 -- ./program exit
	compare_counts
	equal "blocks" "$(count 'malloc 1001' out)" 100
	;;
closed_files)
	build_counted
	record 0 -- ./program closed_files
	compare_counts
	equal "blocks" "$(count 'malloc 1001' out)" 90010
	;;
kill)
	build_counted
	record 137 -- ./program kill
	show out
	# The kill comes between any two instructions: a malloc may be counted and not yet recorded, a free recorded and not yet counted.
	mallocs=$(($(counted 0) - $(count ' = malloc ' out)))
	frees=$(($(count ' free ' out) - $(counted 3)))
	[ $mallocs = 0 ] || [ $mallocs = 1 ] || fail "malloc: $(counted 0) counted, $mallocs not recorded"
	[ $frees = 0 ] || [ $frees = 1 ] || fail "free: $(counted 3) counted, $frees more recorded"
	[ "$(counted 0)" -gt 10000 ] || fail "it hardly ran"
	;;
collector_killed)
	# heapstorm itself is killed: the program goes on as if nothing were, and the file is read up to the cut.
	build
	"$heapstorm" record -o out -- ./program endure 3 finished &
	pid=$!
	sleep 1.8
	kill -9 $pid
	wait $pid 2>log
	[ ! -e finished ] || fail "the program was done before the kill"
	show out 2>log
	grep -q 'cut off' log || fail "the cut is not told"
	[ "$(count 'malloc 100$' out)" -gt 1000 ] || fail "hardly anything is in the file"
	i=0
	while [ ! -e finished ]; do
		sleep 0.1
		i=$((i + 1))
		[ $i -lt 100 ] || fail "the program does not go on"
	done
	;;
max_operations)
	build
	record 9 --max-operations 50 -- ./program exit
	show out
	equal "operations" "$(grep -c -e ' = ' -e ' free ' out.text)" 50
	grep -q '50 operations.*stopped there' log || fail "not told"
	record 0 --max-operations 5000 -- ./program endure 1 finished
	grep -q '5000 operations.*stopped there' log || fail "not told"
	;;
children)
	build
	record 0 --children=ignore -- ./program fork
	set -- out.[0-9]*
	equal "files of children" "$*" 'out.[0-9]*'
	show out
	equal "the parent's blocks" "$(count 'malloc 1001' out)" 10
	record 0 --children=ignore -- ./program exec
	set -- out.[0-9]*
	equal "further images of the process itself" $# 1
	[ -e "$1" ] || fail "no further image"
	;;
static)
	build -static 2>/dev/null
	record 9 -- ./program exit
	show out
	equal "operations" "$(grep -c -e ' = ' -e ' free ' out.text)" 0
	grep -q 'no operations' log || fail "not told"
	;;
status)
	record 7 -- sh -c 'exit 7'
	record 143 -- sh -c 'kill -TERM $$'
	record 0 sh -c 'exit 0' -o other
	[ ! -e other ] || fail "an option of the program was taken"
	;;
usage)
	one_line() { # arguments of record
		"$heapstorm" record "$@" >stdout 2>log
		equal "exit status of '$*'" $? 2
		equal "lines of '$*'" "$(wc -l <log)" 1
		[ ! -s stdout ] || fail "'$*' writes to standard output"
		[ ! -e out ] || fail "'$*' wrote a file"
	}
	one_line
	one_line -o out
	one_line --foo -o out true
	one_line true
	one_line -o
	one_line -o out -- ./nonexistent
	one_line -o out nonexistent-program
	one_line -o nonexistent/out true
	one_line --max-operations 0 -o out true
	one_line --max-operations 1x -o out true
	one_line --children=maybe -o out true
	"$heapstorm" record --help | grep -q -- '-o FILE -- PROGRAM' || fail "no help"
	;;
*)
	fail "no such case"
	;;
esac
