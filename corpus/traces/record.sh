#!/bin/sh
# Makes the recordings of this folder again: record.sh [HEAPSTORM [FOLDER]]. What each of them is: docs/recording.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
heapstorm=${1:-heapstorm}
out=${2:-$here}
command -v "$heapstorm" >/dev/null || {
	echo "record.sh: no heapstorm: record.sh HEAPSTORM [FOLDER]" >&2
	exit 2
}
case $heapstorm in */*) heapstorm=$(cd "$(dirname "$heapstorm")" && pwd)/$(basename "$heapstorm") ;; esac
out=$(cd "$out" && pwd)
work=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

record() { # name, arguments of record
	name=$1
	shift
	"$heapstorm" record -o "$out/$name.trace" --children=ignore "$@" >/dev/null
}

# ---- A compiler: the C compiler proper of gcc ----
cat >compiled.c <<'END'
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct node {
	struct node *left, *right;
	char *key;
	double value;
};

static struct node *insert(struct node *n, const char *key, double value)
{
	int order;

	if (!n) {
		n = calloc(1, sizeof(*n));
		n->key = strdup(key);
	}
	order = strcmp(key, n->key);
	if (order < 0)
		n->left = insert(n->left, key, value);
	else if (order > 0)
		n->right = insert(n->right, key, value);
	else
		n->value += value;
	return n;
}

static double sum(const struct node *n)
{
	return n ? sum(n->left) + n->value + sum(n->right) : 0;
}

#define FUNCTION(n)                                                                    \
	static int function_##n(const char *text, int *counts, size_t length)          \
	{                                                                              \
		int total = n;                                                         \
		for (size_t i = 0; i < length; i++) {                                  \
			switch (text[i] % 7) {                                         \
			case 0: total += counts[i % 16] * n; break;                    \
			case 1: total ^= isalpha(text[i]) ? 3 : n; break;              \
			case 2: counts[(i + n) % 16]++; break;                         \
			case 3: total = total << (n % 5) | total >> 3; break;          \
			default: total += (int)sqrt((double)(total & 255)) + (int)i;   \
			}                                                              \
		}                                                                      \
		return total;                                                          \
	}
#define FUNCTIONS(n) FUNCTION(n##0) FUNCTION(n##1) FUNCTION(n##2) FUNCTION(n##3) FUNCTION(n##4) FUNCTION(n##5) FUNCTION(n##6) FUNCTION(n##7)
#define CALL(n) total += function_##n(argv[0], counts, strlen(argv[0]));
#define CALLS(n) CALL(n##0) CALL(n##1) CALL(n##2) CALL(n##3) CALL(n##4) CALL(n##5) CALL(n##6) CALL(n##7)
FUNCTIONS(1) FUNCTIONS(2)

int main(int argc, char **argv)
{
	struct node *root = NULL;
	int counts[16] = {0}, total = 0;

	for (int i = 1; i < argc; i++)
		root = insert(root, argv[i], strtod(argv[i], NULL));
	CALLS(1) CALLS(2)
	printf("%g %d %s\n", sum(root), total, strerror(errno));
	return 0;
}
END
gcc -E compiled.c -o compiled.i
record cc1 -- "$(gcc -print-prog-name=cc1)" -fpreprocessed -quiet -O2 -g compiled.i -o /dev/null

# ---- A database: tables in memory, indexes, joins, groups, updates ----
cat >work.sql <<'END'
create table item(id integer primary key, name text, weight integer);
create table sale(id integer primary key, item integer, price real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 9000)
	insert into item select x, 'item ' || x || ' ' || hex(x * x) || substr('----------------', 1, x % 16), x * 7919 % 1000 from n;
create index item_weight on item(weight);
create index item_name on item(name);
insert into sale select id * 2, weight * 31 % 9000, weight / 3.0 from item;
create index sale_item on sale(item);
select count(*), sum(length(name)) from item join sale on item.id = sale.item where weight > 100;
select weight, count(*), group_concat(substr(name, 1, 9)) from item group by weight having count(*) > 2 order by 2 desc;
update item set name = name || '!' where weight % 3 = 0;
delete from sale where item % 5 = 0;
select count(distinct name), max(upper(name)) from item;
select name, printf('%08.3f', price) from item left join sale on item.id = sale.item order by price desc, name limit 2000;
END
record sqlite3 -- sqlite3 -init work.sql :memory: .quit

# ---- Script interpreters ----
cat >work.py <<'END'
import collections, json, re

records = {}
for i in range(1500):
    records["key%d" % i] = {"a": i, "b": [str(j) for j in range(i % 17)], "c": "x" * (i % 100)}
text = json.dumps(records)
again = json.loads(text)
words = collections.Counter(re.findall(r"[a-z]+\d+", text))
tree = sorted((v["c"] + k, k) for k, v in again.items())
lines = "\n".join("%s=%r" % pair for pair in tree).split("\n")
print(len(words), sum(len(line) for line in lines), sum(1 for line in lines if re.search(r"x{40,}k.*7", line)))
END
# Otherwise python serves small blocks from pools of its own.
python=$(PATH=/usr/bin:$PATH command -v python3)
PYTHONMALLOC=malloc PYTHONHASHSEED=1 record python3 -- "$python" -S work.py

cat >work.pl <<'END'
my (%text, %list, @lines);
for my $i (1 .. 22000) {
	my $key = "key" . ($i * 7919 % 1009);
	$text{$key} .= "v$i,";
	push @{$list{$key}}, $i;
	my $joined = join('-', reverse split(/,/, $text{$key})) if $i % 5 == 0;
	push @lines, scalar reverse "$key/$i";
	if ($i % 1000 == 0) {
		@lines = sort grep { !/7\/1/ } @lines;
		splice(@lines, 0, 500);
	}
	delete $text{$key} if length $text{$key} > 200;
}
print scalar(keys %text), " ", scalar(@lines), "\n";
END
PERL_HASH_SEED=0 record perl -- perl work.pl

cat >work.jq <<'END'
[range(1; 1200) | {id: ., name: "item \(. * 7919 % 1009)", tags: [range(. % 7) | "t\(.)"]}]
| group_by(.name[5:6]) | map({key: .[0].name, count: length, tags: (map(.tags[]) | group_by(.) | map({(.[0]): length}) | add)})
| sort_by(.count) | map(tojson | ascii_upcase | split(",") | join(";"))
END
record jq -- jq -n -f work.jq

# ---- A version control tool: the history of a folder as patches, and packing it with two threads ----
git=$(command -v git)
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null HOME="$work"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
mkdir repository
(
	cd repository
	git init -q
	for i in $(seq 1 100); do
		for j in 1 2 3 4 5 6 7 8; do
			seq $((i * j)) $((i + j)) $((i * j + 4000)) | sed "s/\$/ line of $j/" >"file$((j * i % 23)).txt"
		done
		git add .
		GIT_AUTHOR_DATE="$((1600000000 + i * 1000)) +0000" GIT_COMMITTER_DATE="$((1600000000 + i * 1000)) +0000" git commit -qm "change $i"
	done
)
record git-log -- "$git" -C repository --no-pager log -p --stat --find-copies-harder
git -C repository rev-list --objects --all | sed 's/ .*//' >objects
"$heapstorm" record -o "$out/git-pack.trace" --children=ignore -- "$git" -C repository pack-objects --threads=2 --window=40 --no-reuse-delta -q --stdout \
	<objects >/dev/null

# ---- A server under load: with threads for its sockets ----
"$heapstorm" record -o "$out/redis.trace" --children=ignore -- redis-server --port 0 --unixsocket "$work/socket" --save '' --daemonize no \
	--io-threads 3 --io-threads-do-reads yes --dir "$work" >/dev/null &
server=$!
i=0
while ! [ -S "$work/socket" ]; do
	sleep 0.1
	i=$((i + 1))
	[ $i -lt 100 ] || exit 1
done
redis-benchmark -s "$work/socket" -q -n 600 -c 20 -r 500 -d 60 -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100 >/dev/null
redis-cli -s "$work/socket" flushall async >/dev/null
redis-cli -s "$work/socket" shutdown nosave >/dev/null 2>&1 || :
wait $server
server=
ls -l "$out"/*.trace >&2
