#!/bin/sh
# What recording costs: wall time of programs bare and under `heapstorm record`, the best of several runs each, in turns. record_cost.sh HEAPSTORM [RUNS]
# Exits 1 if any takes three times as long.
set -eu
heapstorm=${1:?record_cost.sh HEAPSTORM [RUNS]}
runs=${2:-5}
case $heapstorm in */*) heapstorm=$(cd "$(dirname "$heapstorm")" && pwd)/$(basename "$heapstorm") ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >work.py <<'END'
import json, re
d = {"key%d" % i: {"a": i, "b": [str(j) for j in range(i % 17)], "c": "x" * (i % 100)} for i in range(30000)}
s = json.dumps(d)
print(len(json.loads(s)) + len(re.findall(r"[a-z]+\d+", s)))
END
cat >work.sql <<'END'
create table a(id integer primary key, t text, n integer);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000) insert into a select x, 'row ' || x, x * 7919 % 1000 from c;
create index i on a(n); create index j on a(t);
select count(*), sum(length(t)) from a where n > 100;
select n, count(*), group_concat(substr(t, 1, 9)) from a group by n order by 2 desc limit 3;
update a set t = t || '!' where n % 3 = 0;
END
cat >work.pl <<'END'
my (%h, @l);
for my $i (1 .. 300000) {
	my $k = "key" . ($i * 7919 % 10007);
	$h{$k} = substr("$h{$k}v$i,", -100);
	my $s = join('-', split(/,/, $h{$k})) if $i % 3 == 0;
	push @l, scalar reverse $k;
	if ($i % 1000 == 0) { @l = sort @l; splice(@l, 0, 900); }
}
print scalar(keys %h), "\n";
END
# Nothing but malloc and free: the worst case, not a program.
cat >loop.c <<'END'
#include <stdlib.h>
int main(void)
{
	static void *volatile blocks[64];
	for (unsigned i = 0; i < 20000000; i++) {
		free(blocks[i * 7 % 64]);
		blocks[i * 7 % 64] = malloc(16 + i % 200);
	}
}
END

wall() { # command: milliseconds
	begin=$(date +%s%N)
	"$@" >/dev/null 2>log || {
		cat log >&2
		exit 1
	}
	echo $((($(date +%s%N) - begin) / 1000000))
}

bad=0
measure() { # name, limit or -, command
	name=$1 limit=$2
	shift 2
	bare=1000000 recorded=1000000
	for _ in $(seq "$runs"); do
		t=$(wall "$@")
		[ "$t" -ge "$bare" ] || bare=$t
		t=$(wall "$heapstorm" record -o trace -- "$@")
		[ "$t" -ge "$recorded" ] || recorded=$t
	done
	operations=$(sed -n 's/.*: \([0-9]*\) operations.*/\1/p' log | head -n 1)
	ratio=$(awk "BEGIN { printf \"%.2f\", $recorded / $bare }")
	echo "| $name | $operations | $bare ms | $recorded ms | $ratio |"
	[ "$limit" = - ] || awk "BEGIN { exit !($ratio < $limit) }" || bad=1
}

python=$(PATH=/usr/bin:$PATH command -v python3)
export PYTHONMALLOC=malloc
measure "python3: JSON, regular expressions" 3 "$python" work.py
measure "sqlite3: in memory" 3 sqlite3 -init work.sql :memory: .quit
measure "perl: hashes, strings" 3 perl work.pl
if cc -O1 -fno-builtin loop.c -o loop 2>/dev/null; then
	measure "a loop of malloc and free alone" - ./loop
fi
exit $bad
