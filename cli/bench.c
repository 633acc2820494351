/* heapstorm bench: allocators side by side. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

struct arguments {
	const char *json, *plot, *corpus;
	const char *wanted[BENCH_WORKLOADS_MAX];
	size_t wanted_count;
	unsigned rounds;
	double share, timeout;
	bool list, all_metrics, absolute, instructions, quick;
};

enum {
	OPTION_WORKLOAD = 256,
	OPTION_ROUNDS,
	OPTION_JSON,
	OPTION_PLOT,
	OPTION_LIST,
	OPTION_CORPUS,
	OPTION_SHARE,
	OPTION_TIMEOUT,
	OPTION_ALL,
	OPTION_ABSOLUTE,
	OPTION_NO_INSTRUCTIONS,
	OPTION_QUICK,
};

static double parse_share(const char *text)
{
	char *end;
	const double share = strtod(text, &end);

	if (end == text || *end != '\0' || !(share > 0) || share > 100)
		cli_die(STATUS_USAGE, "--share %s: expected a number above 0, at most 100", text);
	return share;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case OPTION_WORKLOAD:
		if (arguments->wanted_count == BENCH_WORKLOADS_MAX)
			cli_die(STATUS_USAGE, "--workload: too many");
		arguments->wanted[arguments->wanted_count++] = value;
		return 0;
	case OPTION_ROUNDS:
		arguments->rounds = (unsigned)cli_number(value, "--rounds", 1, BENCH_ROUNDS_MAX);
		return 0;
	case OPTION_JSON:
		arguments->json = value;
		return 0;
	case OPTION_PLOT:
		arguments->plot = value;
		return 0;
	case OPTION_LIST:
		arguments->list = true;
		return 0;
	case OPTION_CORPUS:
		arguments->corpus = value;
		return 0;
	case OPTION_SHARE:
		arguments->share = parse_share(value);
		return 0;
	case OPTION_TIMEOUT:
		arguments->timeout = cli_seconds(value, "--timeout");
		return 0;
	case OPTION_ALL:
		arguments->all_metrics = true;
		return 0;
	case OPTION_ABSOLUTE:
		arguments->absolute = true;
		return 0;
	case OPTION_NO_INSTRUCTIONS:
		arguments->instructions = false;
		return 0;
	case OPTION_QUICK:
		arguments->quick = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The recordings: beside the installation or the build. */
static const char *find_corpus(void)
{
	static const char *const places[] = {"share/heapstorm/corpus", "../corpus"};
	static char path[PATH_MAX];

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		cli_install_path(places[i], path, sizeof path);
		if (access(path, R_OK) == 0)
			return path;
	}
	return NULL;
}

static void list(const struct bench_workload *workloads, size_t count, const char *lib)
{
	const char *name, *what;
	bool by_default, known;
	struct bench_peer peer;
	char why[256];

	printf("Allocators (* runs by default), and any shared object by its path\n");
	for (size_t i = 0; (name = bench_peer_name(i, &what, &by_default)) != NULL; i++) {
		const bool found = bench_peer_find(name, lib, &peer, &known, why, sizeof why);

		printf("  %c %-16s  %s%s%s\n", by_default ? '*' : ' ', name, what, what[0] != '\0' ? "; " : "",
		       !found                    ? why
		       : peer.library[0] != '\0' ? peer.library
						 : "always there");
	}
	printf("\nWorkloads\n");
	for (size_t i = 0; i < count; i++)
		printf("  %-17s  %s\n", workloads[i].name, workloads[i].what);
}

/* Adds an allocator. A known one that is missing is skipped by name. */
static void add_peer(struct bench_results *results, const char *name, const char *lib)
{
	struct bench_peer peer;
	bool known;
	char why[256];

	if (!bench_peer_find(name, lib, &peer, &known, why, sizeof why)) {
		if (!known)
			cli_die(STATUS_USAGE, "%s: %s: see heapstorm bench --list", name, why);
		printf("skipped: %s: %s\n", name, why);
		return;
	}
	for (size_t i = 0; i < results->peer_count; i++) {
		if (strcmp(results->peers[i].library, peer.library) == 0)
			return;
		if (strcmp(results->peers[i].name, peer.name) ==
		    0) /* two files of one name: the second gets a number */
			snprintf(peer.name + strlen(peer.name), sizeof peer.name - strlen(peer.name), "#%zu",
				 results->peer_count + 1);
	}
	if (results->peer_count == BENCH_PEERS_MAX)
		cli_die(STATUS_USAGE, "at most %d allocators at once", BENCH_PEERS_MAX);
	results->peers[results->peer_count++] = peer;
}

static void choose_workloads(struct bench_results *results, const struct arguments *arguments,
			     const struct bench_workload *all, size_t count)
{
	bool chosen[BENCH_WORKLOADS_MAX] = {false};

	for (size_t i = 0; i < arguments->wanted_count; i++) {
		const char *const name = arguments->wanted[i];
		bool found = false;

		/* The name of a workload, or the beginning of some up to a hyphen: `pairs` is all of them. */
		for (size_t w = 0; w < count; w++) {
			const size_t length = strlen(name);

			if (strcmp(all[w].name, name) == 0 ||
			    (strncmp(all[w].name, name, length) == 0 && all[w].name[length] == '-'))
				chosen[w] = found = true;
		}
		if (!found)
			cli_die(STATUS_USAGE, "--workload %s: no such workload: see heapstorm bench --list", name);
	}
	for (size_t w = 0; w < count; w++)
		if (chosen[w] || arguments->wanted_count == 0)
			results->workloads[results->workload_count++] = all[w];
}

static void progress(const char *format, ...)
{
	va_list list;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fflush(stderr);
}

static void prepare(struct bench_results *results, const struct bench_paths *paths)
{
	size_t kept = 0;
	char why[512];

	for (size_t w = 0; w < results->workload_count; w++) {
		progress("prepares %s", results->workloads[w].name);
		if (bench_prepare(paths, &results->workloads[w], why, sizeof why)) {
			results->workloads[kept++] = results->workloads[w];
		} else {
			progress("");
			printf("skipped: %s: %s\n", results->workloads[w].name, why);
		}
	}
	progress("");
	results->workload_count = kept;
}

static void count_instructions(struct bench_results *results, const struct bench_paths *paths, bool steps)
{
	char why[256];

	for (size_t p = 0; p < results->peer_count && !cli_interrupted; p++) {
		progress("counts instructions: %s", results->peers[p].name);
		results->instructions[p] = bench_instructions(paths, &results->peers[p], why, sizeof why);
		if (isnan(results->instructions[p])) {
			progress("");
			printf("skipped: instructions of %s: %s\n", results->peers[p].name, why);
			if (strstr(why, "valgrind is not installed") != NULL)
				break;
		}
	}
	for (size_t p = 0; steps && p < results->peer_count && !cli_interrupted; p++) {
		progress("counts locked instructions: %s", results->peers[p].name);
		results->stepped[p] = bench_step(paths, &results->peers[p], &results->steps[p], why, sizeof why);
		if (!results->stepped[p]) {
			progress("");
			printf("skipped: locked instructions of %s: %s\n", results->peers[p].name, why);
		}
	}
	progress("");
}

static void measure(struct bench_results *results, const struct bench_paths *paths, double timeout)
{
	const double start = cli_now();
	const size_t total = results->rounds * results->workload_count * results->peer_count;
	size_t done = 0;

	for (unsigned round = 0; round < results->rounds; round++) {
		for (size_t w = 0; w < results->workload_count; w++) {
			for (size_t i = 0; i < results->peer_count; i++, done++) {
				const size_t p = (i + round) % results->peer_count;
				struct bench_cell *const cell = &results->cells[w][p];

				if (cli_interrupted)
					return;
				/* What failed once is not tried again. */
				if (cell->failure[0] != '\0')
					continue;
				progress("%3zu %%  %.0f s  round %u of %u, %s, %s", 100 * done / total,
					 cli_now() - start, round + 1, results->rounds, results->workloads[w].name,
					 results->peers[p].name);
				bench_measure(paths, &results->workloads[w], &results->peers[p], results->share,
					      timeout, &cell->rounds[round], cell->failure);
			}
		}
		if (!isatty(STDERR_FILENO)) {
			printf("round %u of %u: %.0f s\n", round + 1, results->rounds, cli_now() - start);
			fflush(stdout);
		}
	}
	progress("");
}

static void print(const struct bench_results *results, const struct arguments *arguments)
{
	for (int m = 0; m < BENCH_METRICS; m++)
		if (arguments->all_metrics || m == BENCH_CPU || m == BENCH_PEAK || m == BENCH_AFTER)
			bench_print_table(stdout, results, (enum bench_metric)m, arguments->absolute);
	bench_print_steps(stdout, results);
	bench_print_summary(stdout, results);
	for (size_t w = 0; w < results->workload_count; w++)
		for (size_t p = 0; p < results->peer_count; p++)
			if (results->cells[w][p].failure[0] != '\0')
				printf("failed: %s on %s: %s\n", results->workloads[w].name, results->peers[p].name,
				       results->cells[w][p].failure);
}

int cmd_bench(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"workload", OPTION_WORKLOAD, "NAME", 0,
		 "Only this one, or those that begin with NAME-; may be repeated", 0},
		{"rounds", OPTION_ROUNDS, "N", 0, "Rounds, of which the median counts (default 3)", 0},
		{"quick", OPTION_QUICK, NULL, 0, "One round with half of the work, without locked instructions", 0},
		{"share", OPTION_SHARE, "X", 0, "Do X times the work (default 1)", 0},
		{"timeout", OPTION_TIMEOUT, "TIME", 0, "Stop a process after TIME (default 30s)", 0},
		{"all", OPTION_ALL, NULL, 0,
		 "Print the tables of wall time, memory after malloc_trim and page faults too", 0},
		{"absolute", OPTION_ABSOLUTE, NULL, 0, "Print figures in place of ratios", 0},
		{"no-instructions", OPTION_NO_INSTRUCTIONS, NULL, 0, "Do not count instructions", 0},
		{"json", OPTION_JSON, "FILE", 0, "Write all figures as JSON", 0},
		{"plot", OPTION_PLOT, "PREFIX", 0, "Draw PREFIX-*.png and PREFIX-*.svg", 0},
		{"corpus", OPTION_CORPUS, "DIR", 0, "The folder whose traces/ are replayed", 0},
		{"list", OPTION_LIST, NULL, 0, "List allocators and workloads", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[ALLOCATOR...]",
		.doc = "Measures allocators side by side: time, memory and page faults of workloads, replays of "
		       "recorded "
		       "programs and real programs. An ALLOCATOR is a name or the path of a shared object; libc is "
		       "always "
		       "there, and ratios are to it. What is not installed is skipped by name."
		       "\vEach workload runs on each allocator in a process of its own with the allocator preloaded, "
		       "in "
		       "rounds.",
	};
	struct arguments arguments = {.rounds = 0, .share = 0, .timeout = 30, .instructions = true};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	static struct bench_workload all[BENCH_WORKLOADS_MAX];
	static struct bench_results results;
	static struct bench_paths paths;
	char lib[PATH_MAX], why[256];
	const char *name, *what;
	bool by_default;

	const size_t count = bench_workloads(all, arguments.corpus != NULL ? arguments.corpus : find_corpus());

	cli_install_path("lib", lib, sizeof lib);
	if (arguments.list) {
		list(all, count, lib);
		return STATUS_CLEAN;
	}
	cli_check_writable(arguments.json);
	cli_check_writable(arguments.plot);
	choose_workloads(&results, &arguments, all, count);
	for (int i = first; i < argc; i++) /* a wrong name is told before the work */
		if (strchr(argv[i], ',') != NULL)
			cli_die(STATUS_USAGE, "%s: allocators are separated by blanks", argv[i]);
	results.rounds = arguments.rounds > 0 ? arguments.rounds : arguments.quick ? 1 : 3;
	results.share = arguments.share > 0 ? arguments.share : arguments.quick ? 0.5 : 1;
	for (int i = first; i < argc; i++) {
		struct bench_peer peer;
		bool known;

		if (!bench_peer_find(argv[i], lib, &peer, &known, why, sizeof why) && !known)
			cli_die(STATUS_USAGE, "%s: %s: see heapstorm bench --list", argv[i], why);
	}
	add_peer(&results, "libc", lib);
	for (int i = first; i < argc; i++)
		add_peer(&results, argv[i], lib);
	for (size_t i = 0; first == argc && (name = bench_peer_name(i, &what, &by_default)) != NULL; i++)
		if (by_default)
			add_peer(&results, name, lib);
	cli_install_path("libexec/heapstorm/bench-spawn", paths.spawn, sizeof paths.spawn);
	cli_install_path("libexec/heapstorm/bench-worker", paths.worker, sizeof paths.worker);
	if (access(paths.spawn, X_OK) != 0 || access(paths.worker, X_OK) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s is not there: build all of heapstorm", paths.worker);
	snprintf(paths.work, sizeof paths.work, "%s", cli_temporary_folder());
	for (size_t p = 0; p < results.peer_count; p++)
		if (!bench_peer_link(&results.peers[p], paths.work))
			cli_die(STATUS_ENVIRONMENT, "%s: neither it nor a link in %s can be preloaded",
				results.peers[p].library, paths.work);
	cli_catch_interrupts();
	prepare(&results, &paths);
	results.cells = calloc(results.workload_count + 1, sizeof *results.cells);
	if (results.cells == NULL)
		cli_die(STATUS_ENVIRONMENT, "no memory");
	for (size_t p = 0; p < results.peer_count; p++)
		results.instructions[p] = NAN;
	if (arguments.instructions)
		count_instructions(&results, &paths, !arguments.quick);
	measure(&results, &paths, arguments.timeout);
	if (cli_interrupted) {
		progress("");
		cli_die(130, "interrupted");
	}
	print(&results, &arguments);
	if (arguments.json != NULL) {
		cJSON *const json = bench_json(&results);

		cli_write_json(arguments.json, json);
		cJSON_Delete(json);
	}
	if (arguments.plot != NULL && !bench_plot(&results, arguments.plot, why, sizeof why))
		printf("skipped: graphs: %s\n", why);
	free(results.cells);
	return STATUS_CLEAN;
}
