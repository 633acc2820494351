/* The workloads there are, and recordings as the worker plays them. */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "program.h"
#include "trace.h"
#include "workloads/replay.h"

static const struct {
	const char *name, *what;
} worker_workloads[] = {
	{"empty", "a process that does nothing: start, memory, end"},
	{"pairs-16", "a block of 16 B is made and freed at once, again and again"},
	{"pairs-64", "the same with 64 B"},
	{"pairs-256", "the same with 256 B"},
	{"pairs-1k", "the same with 1 KiB"},
	{"pairs-4k", "the same with 4 KiB"},
	{"pairs-16k", "the same with 16 KiB"},
	{"pairs-64k", "the same with 64 KiB"},
	{"pairs-200k", "the same with 200 KiB"},
	{"random-small", "of 20,000 live blocks of 16 to 512 B random ones are replaced"},
	{"random-many", "of 400,000 live blocks of 16 to 512 B random ones are replaced"},
	{"random-mixed", "of 4,000 live blocks of 16 B to 32 KiB random ones are replaced"},
	{"random-medium", "of 300 live blocks of 1 to 250 kB random ones are replaced"},
	{"lifetimes", "batches of small blocks, freed in and against their order; some live on"},
	{"large", "of 8 blocks of 5 to 25 MiB random ones are replaced; every page is written"},
	{"realloc-grow", "24 buffers grow by halves to 3 MiB, in turns"},
	{"realloc-small", "500 strings grow a little at a time and are cut"},
	{"calloc", "of 2,000 zeroed blocks of 16 B to 4 KiB random ones are replaced"},
	{"aligned", "the same with posix_memalign and alignments of 32 B to 1 KiB"},
	{"larson", "4 threads replace blocks, end, and hand their sets to new threads"},
	{"xmalloc", "2 threads make blocks, 2 others free them"},
	{"cache-thrash", "2 threads write small blocks of their own: do they share a cache line?"},
	{"cache-scratch", "the same, after freeing blocks that lay side by side"},
	{"lifetimes-threads", "lifetimes in 4 threads"},
	{"churn", "short-lived threads; half of the blocks go to whoever takes them"},
	{"threads-8", "8 threads, each with 2,000 live blocks of 16 B to 2 KiB"},
	{"threads-64", "64 threads with 40 live blocks each"},
	{"fragmentation", "phases of different sizes of which 1 % of the blocks survive"},
	{"peak", "150 MiB are made and freed, then light use goes on"},
};

/* Scripts make ./program, a link to what is measured. `need PROGRAM` ends with status 3 where it is not installed. */
static const struct {
	const char *name, *what, *setup, *client;
	const char *run[12];
} programs[] = {
	{"cc1",
	 "gcc's compiler proper, -O2, 60 functions",
	 "need gcc\n"
	 "ln -s \"$(gcc -print-prog-name=cc1)\" program\n"
	 "{ i=0\n"
	 "echo 'struct node { struct node *left, *right; int key; char name[20]; };'\n"
	 "while [ $i -lt 60 ]; do i=$((i + 1))\n"
	 "echo \"int f$i(struct node *n, const char *s, int *c, int k) { int t = $i; for (int i = 0; i < k; i++) {\"\n"
	 "echo \"switch (s[i] % 7) { case 0: t += c[i % 16] * $i; break; case 1: t ^= s[i] > 60 ? 3 : $i; break;\"\n"
	 "echo \"case 2: c[(i + $i) % 16]++; break; case 3: t = t << ($i % 5) | t >> 3; break; default:\"\n"
	 "echo \"if (n && n->key > t) n = n->left; else if (n) n = n->right; t += n ? n->name[i % 20] : i; } }\"\n"
	 "echo 'return t; }'\n"
	 "done; } >input.i\n",
	 NULL,
	 {"-fpreprocessed", "-quiet", "-O2", "-g", "input.i", "-o", "/dev/null"}},
	{"sqlite3",
	 "tables in memory, indexes, joins, groups, updates",
	 "need sqlite3\n"
	 "ln -s \"$(command -v sqlite3)\" program\n"
	 "cat >work.sql <<'END'\n"
	 "create table item(id integer primary key, name text, weight integer);\n"
	 "create table sale(id integer primary key, item integer, price real);\n"
	 "with recursive n(x) as (select 1 union all select x + 1 from n where x < 60000)\n"
	 "insert into item select x, 'item ' || x || ' ' || hex(x * x) || substr('----------------', 1, x % 16),\n"
	 "x * 7919 % 1000 from n;\n"
	 "create index item_weight on item(weight);\n"
	 "create index item_name on item(name);\n"
	 "insert into sale select id * 2, weight * 31 % 60000, weight / 3.0 from item;\n"
	 "create index sale_item on sale(item);\n"
	 "select count(*), sum(length(name)) from item join sale on item.id = sale.item where weight > 100;\n"
	 "select weight, count(*), group_concat(substr(name, 1, 9)) from item group by weight order by 2 desc;\n"
	 "update item set name = name || '!' where weight % 3 = 0;\n"
	 "delete from sale where item % 5 = 0;\n"
	 "select count(distinct name), max(upper(name)) from item;\n"
	 "select name, printf('%08.3f', price) from item left join sale on item.id = sale.item\n"
	 "order by price desc, name limit 20000;\n"
	 "END\n",
	 NULL,
	 {"-init", "work.sql", ":memory:", ".quit"}},
	{"python3",
	 "dictionaries, JSON, regular expressions, objects",
	 "need python3\n"
	 "ln -s \"$(python3 -c 'import sys; print(sys.executable)')\" program\n"
	 "cat >work.py <<'END'\n"
	 "import json, re\n"
	 "class Node:\n"
	 "    def __init__(self, key):\n"
	 "        self.key, self.left, self.right = key, None, None\n"
	 "for turn in range(3):\n"
	 "    words = ['word%d' % (i * 7919 % 5003) for i in range(60000)]\n"
	 "    index = {}\n"
	 "    for place, word in enumerate(words):\n"
	 "        index.setdefault(word, []).append(place)\n"
	 "    text = json.dumps([{'i': i, 'name': words[i], 'list': list(range(i % 30))} for i in range(9000)])\n"
	 "    back = json.loads(text)\n"
	 "    found = re.findall(r'\"name\": \"(\\w+)\"', text)\n"
	 "    nodes = [Node(word * (i % 40)) for i, word in enumerate(words[:20000])]\n"
	 "    big = [bytes(1000 + i % 9000) for i in range(3000)]\n"
	 "END\n",
	 NULL,
	 {"work.py"}},
	{"perl",
	 "hashes, strings, sorting",
	 "need perl\n"
	 "ln -s \"$(command -v perl)\" program\n"
	 "cat >work.pl <<'END'\n"
	 "for my $turn (1 .. 3) {\n"
	 "my %h; $h{$_ * 7919 % 50021} .= \"<$_>\" for 1 .. 120000;\n"
	 "my @lines = map { join ' ', map { 'w' . ($_ * 31 % 97) } 1 .. ($_ % 40) } 1 .. 6000;\n"
	 "my @sorted = sort { length $a <=> length $b or $a cmp $b } @lines;\n"
	 "my $text = join \"\\n\", @sorted; $text =~ s/(\\d+)/<$1>/g;\n"
	 "my @tree; push @{$tree[$_ % 500]{list}}, {id => $_, name => 'n' x ($_ % 100)} for 1 .. 40000;\n"
	 "}\n"
	 "END\n",
	 NULL,
	 {"work.pl"}},
	{"git",
	 "git log with patches over 60 commits of 200 files",
	 "need git\n"
	 "ln -s \"$(command -v git)\" program\n"
	 "export HOME=\"$PWD\" GIT_CONFIG_NOSYSTEM=1\n"
	 "git init -q repository && cd repository\n"
	 "git config user.name heapstorm && git config user.email heapstorm@example.org && git config gc.auto 0\n"
	 "i=0; while [ $i -lt 200 ]; do i=$((i + 1)); seq $i $((i * 17 % 900 + i)) >file$i; done\n"
	 "i=0; while [ $i -lt 60 ]; do i=$((i + 1)); for n in 1 2 3 4 5 6 7 8; do\n"
	 "f=file$(((i * 31 + n * 7) % 200 + 1)); seq $n 3 $((i * 23 % 700 + n)) >>$f; done\n"
	 "git add . && git commit -q -m \"change $i\"; done\n",
	 NULL,
	 {"-C", "repository", "-c", "core.pager=cat", "log", "-p", "--stat", "-M", "-C", "--all"}},
	{"redis",
	 "a server under redis-benchmark",
	 "need redis-server\nneed redis-benchmark\nneed redis-cli\n"
	 "ln -s \"$(command -v redis-server)\" program\n",
	 "i=0; until redis-cli -s socket ping 2>&1 | grep -q PONG; do i=$((i + 1)); [ $i -lt 200 ]; sleep 0.05; done\n"
	 "redis-benchmark -s socket -q -n 60000 -c 20 -P 32 -r 100000 -d 100 -t set,get,lpush,sadd,hset,zadd,mset\n"
	 "redis-cli -s socket shutdown nosave || :\n",
	 {"--port", "0", "--unixsocket", "socket", "--save", "", "--appendonly", "no", "--loglevel", "warning"}},
};

size_t bench_workloads(struct bench_workload workloads[BENCH_WORKLOADS_MAX], const char *corpus)
{
	size_t count = 0;
	char pattern[PATH_MAX];
	glob_t found;

	memset(workloads, 0, BENCH_WORKLOADS_MAX * sizeof workloads[0]);
	for (size_t i = 0; i < sizeof worker_workloads / sizeof worker_workloads[0]; i++, count++) {
		snprintf(workloads[count].name, sizeof workloads[count].name, "%s", worker_workloads[i].name);
		workloads[count].what = worker_workloads[i].what;
	}
	snprintf(pattern, sizeof pattern, "%s/traces/*.trace", corpus != NULL ? corpus : "");
	if (corpus != NULL && glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc && count < BENCH_WORKLOADS_MAX / 2; i++, count++) {
			const char *const base = strrchr(found.gl_pathv[i], '/') + 1;

			workloads[count].kind = BENCH_REPLAY;
			snprintf(workloads[count].name, sizeof workloads[count].name, "replay-%.*s",
				 (int)(strlen(base) - strlen(".trace")), base);
			workloads[count].what = "the allocator calls of a recorded program, on one thread";
			snprintf(workloads[count].file, sizeof workloads[count].file, "%s", found.gl_pathv[i]);
		}
		globfree(&found);
	}
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++, count++) {
		snprintf(workloads[count].name, sizeof workloads[count].name, "%s", programs[i].name);
		workloads[count].kind = BENCH_PROGRAM;
		workloads[count].what = programs[i].what;
		workloads[count].setup = programs[i].setup;
		workloads[count].run = programs[i].run;
		workloads[count].client = programs[i].client;
	}
	return count;
}

/* What an operation is for the worker; false for those that are none of the allocator's. */
static bool replay_call(const struct op *op, struct replay_call *call)
{
	*call = (struct replay_call){.result = op_makes_block(op->kind) ? op->result : REPLAY_NONE,
				     .block = op_takes_block(op->kind) ? op->block : REPLAY_NONE,
				     .size = op->size};
	switch (op->kind) {
	case OP_MALLOC:
		call->kind = REPLAY_MALLOC;
		return true;
	case OP_CALLOC:
		call->kind = REPLAY_CALLOC;
		call->size = op->count * op->size;
		return true;
	case OP_REALLOC:
		call->kind = REPLAY_REALLOC;
		return true;
	case OP_REALLOCARRAY:
		call->kind = REPLAY_REALLOC;
		call->size = op->count * op->size;
		return true;
	case OP_FREE:
		call->kind = REPLAY_FREE;
		return true;
	case OP_ALIGNED_ALLOC:
	case OP_POSIX_MEMALIGN:
	case OP_MEMALIGN:
		call->kind = REPLAY_ALIGNED;
		/* posix_memalign takes the size of a pointer and more. */
		call->alignment_log2 = op->alignment < sizeof(void *) ? 3u : (unsigned)__builtin_ctzll(op->alignment);
		return true;
	case OP_USABLE_SIZE:
		call->kind = REPLAY_USABLE_SIZE;
		return true;
	case OP_TRIM:
		call->kind = REPLAY_TRIM;
		return true;
	default:
		return false;
	}
}

/* The operations in the order of the default schedule: each thread runs until it waits. */
static bool write_calls(const struct program *program, FILE *file, uint64_t *calls)
{
	size_t *const next = calloc(program->thread_count, sizeof *next);
	uint32_t *const events = calloc(PROGRAM_EVENTS_MAX, sizeof *events);
	size_t thread = 0;
	bool ok = next != NULL && events != NULL;

	*calls = 0;
	while (ok && thread < program->thread_count) {
		const struct thread_program *const code = &program->threads[thread];
		bool ran = false;

		for (; next[thread] < code->count; next[thread]++, ran = true) {
			const struct op *const op = &code->ops[next[thread]];
			struct replay_call call;

			if (op->kind == OP_WAIT && op->event < PROGRAM_EVENTS_MAX) {
				if (events[op->event] == 0)
					break;
				events[op->event]--;
			} else if (op->kind == OP_SIGNAL && op->event < PROGRAM_EVENTS_MAX) {
				events[op->event]++;
			} else if (replay_call(op, &call)) {
				ok = ok && fwrite(&call, sizeof call, 1, file) == 1;
				++*calls;
			}
		}
		/* Back to the first that may have been signalled; past the last, all have ended or wait for ever. */
		thread = ran && program->thread_count > 1 ? 0 : thread + 1;
	}
	free(next);
	free(events);
	return ok;
}

bool bench_replay_write(const char *recording, const char *path, uint64_t *calls, char *why, size_t why_size)
{
	struct replay_head head = {.magic = REPLAY_MAGIC};
	struct program program;
	struct parse_error error;
	FILE *file;
	bool ok;

	program_init(&program);
	if (!trace_read(recording, &program, &error)) {
		snprintf(why, why_size, "%s: %s", recording, error.message);
		program_destroy(&program);
		return false;
	}
	head.labels = program_label_limit(&program);
	file = fopen(path, "we");
	ok = file != NULL && fwrite(&head, sizeof head, 1, file) == 1 && write_calls(&program, file, &head.calls) &&
	     fseek(file, 0, SEEK_SET) == 0 && fwrite(&head, sizeof head, 1, file) == 1;
	if (file != NULL)
		ok = fclose(file) == 0 && ok;
	program_destroy(&program);
	if (!ok)
		snprintf(why, why_size, "%s: %s", path, strerror(errno));
	*calls = head.calls;
	return ok;
}
