#!/bin/sh
# Real programs on a preloadable library: run.sh LIBRARY
#
# Each program does the same work with and without the library, and must end the same way and print the same. What is not installed is
# skipped and named. Exit status: 0 all the same, 1 not, 2 wrong usage.
set -u

[ $# -eq 1 ] && [ -f "$1" ] || {
	echo "usage: run.sh LIBRARY" >&2
	exit 2
}
library=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
server=
clean_up() {
	[ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
export LC_ALL=C.UTF-8 PYTHONHASHSEED=0 PERL_HASH_SEED=0
failed=0 passed=0 skipped=0

# Each run_PROGRAM works in the current directory, with $preload as LD_PRELOAD, and prints what is to be compared.

run_python3() {
	LD_PRELOAD=$preload python3 "$here/work.py"
}

run_perl() {
	LD_PRELOAD=$preload perl "$here/work.pl"
}

run_sqlite3() {
	LD_PRELOAD=$preload sqlite3 data.db <"$here/work.sql"
}

run_gcc() {
	LD_PRELOAD=$preload gcc -O2 -g -pipe -o program "$here/work.c" && cksum <program && ./program
}

run_git() {
	(
		export LD_PRELOAD="$preload" HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='1700000000 +0000' \
			GIT_COMMITTER_DATE='1700000000 +0000'
		git init -q -b main repository && cd repository || exit 1
		git config user.name heapstorm
		git config user.email heapstorm@example.org
		git config gc.auto 0
		for i in 1 2 3 4 5 6 7 8; do
			mkdir -p "directory$i"
			cp "$here"/work.* "directory$i"
			echo "revision $i" >>directory1/work.c
			git add . && git commit -q -m "revision $i"
		done
		git checkout -q -b side HEAD~3 && git mv directory2 moved && git commit -q -m moved && git checkout -q main
		git merge -q -m merged side
		git repack -a -d -q --threads=2
		git fsck --no-progress
		git log --stat --format='%H %s' | cat
		git diff HEAD~4 | cksum
		git grep -c for | cksum
	)
}

# What the benchmark leaves behind is a function of its arguments; its figures are not compared.
run_redis() {
	LD_PRELOAD=$preload redis-server --port 0 --unixsocket "$PWD/socket" --save '' --appendonly no --dir "$PWD" \
		--enable-debug-command local --daemonize no --loglevel warning --io-threads 2 >server.log 2>&1 &
	server=$!
	tries=0
	until redis-cli -s socket ping >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ]; then
			echo "the server does not answer"
			cat server.log
			return 1
		fi
		sleep 0.1
	done
	if [ -n "$preload" ]; then
		grep -qF "$preload" "/proc/$server/maps" || echo "the server does not have the library"
	fi
	redis-benchmark -s socket -q -n 3000 -c 20 -P 4 -d 200 -t set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,zadd,lrange_100,mset \
		>benchmark.log 2>&1
	echo "redis-benchmark: $?"
	grep -i error benchmark.log
	redis-benchmark -s socket -q -n 3000 -c 20 -P 4 hset table field:1 value >/dev/null 2>&1
	redis-cli -s socket eval 'for i = 1, 3000 do redis.call("set", "k" .. i, string.rep("v", i)) end return 1' 0
	redis-cli -s socket eval 'for i = 1, 3000, 2 do redis.call("append", "k" .. i, "more") redis.call("del", "k" .. (i + 1)) end return 2' 0
	redis-cli -s socket save
	redis-cli -s socket dbsize
	redis-cli -s socket debug digest
	redis-cli -s socket debug reload
	redis-cli -s socket debug digest
	redis-cli -s socket shutdown nosave
	wait "$server"
	echo "redis-server: $?"
	server=
}

# program COMMAND...: does the work of run_PROGRAM twice, if all the commands are there.
program() {
	name=$1
	shift
	for command in "$@"; do
		if ! command -v "$command" >/dev/null 2>&1; then
			echo "skip $name: $command is not installed"
			skipped=$((skipped + 1))
			return
		fi
	done
	for preload in '' "$library"; do
		directory=$work/$name
		rm -rf "$directory"
		mkdir "$directory"
		output=$work/$name.${preload:+preloaded.}output
		# Where the server is started here, it must be seen by the trap: no subshell.
		cd "$directory" || exit 1
		"run_$name" >"$output" 2>&1
		echo "exit status $?" >>"$output"
		cd "$work" || exit 1
	done
	if ! grep -q '^exit status 0$' "$work/$name.output"; then
		echo "FAIL $name: it does not work without the library either"
		head -n 10 "$work/$name.output"
		failed=$((failed + 1))
	elif cmp -s "$work/$name.output" "$work/$name.preloaded.output"; then
		echo "ok $name: $(wc -l <"$work/$name.output") lines the same"
		passed=$((passed + 1))
	else
		echo "FAIL $name: with the library the output differs"
		diff "$work/$name.output" "$work/$name.preloaded.output" | head -n 20
		failed=$((failed + 1))
	fi
}

# The names in LD_PRELOAD are separated by blanks and colons: where the path has one a copy is preloaded.
case $library in
*[\ :]*)
	cp "$library" "$work/preloaded.so"
	library=$work/preloaded.so
	;;
esac

# A library that cannot be loaded would be left out with a warning, and every comparison would pass.
if ! LD_PRELOAD=$library cat /proc/self/maps 2>/dev/null | grep -qF "$library"; then
	echo "FAIL: $library is not loaded"
	exit 1
fi
program python3 python3
program perl perl
program sqlite3 sqlite3
program git git
program gcc gcc
program redis redis-server redis-benchmark redis-cli
echo "$(basename "$library"): $passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -ne 0 ]
