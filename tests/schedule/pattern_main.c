/*
 * Runs a pattern under the scheduler: pattern_NAME [options]
 *
 *   --strategy NAME  none, random, pct, surw, pos, bounded, or mix (default: mix)
 *   --bound N        bounded: at most so many preemptions (default 2); `--runs` counts all the same
 *   --seeds N        campaigns, each in a process of its own (default 1); the first has the seed --seed
 *   --seed N         (default 1)
 *   --runs N         schedules of a campaign; it ends at the first failure (default 1000)
 *   --points N       more scheduling points in one run are no progress (default 50000)
 *   --verify         after each schedule that did not fail, its emitted list is run and must be the same run
 *   --save FILE      writes the failure that was found: its schedule, verdict, points and hash
 *   --replay FILE    runs that schedule and compares
 *
 * Each failure is replayed from its list in a fresh process. Prints one line:
 *   found F of SEEDS, median M, most X, VERDICT: MESSAGE
 * and before it, if the strategy bounded ran all there was:
 *   all N schedules
 * Exit status: 0 no failure, 1 failures, all replayed, 2 bad usage, 3 a replay was not the same run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "bundle/bundle.h"
#include "internal.h"
#include "pattern.h"

#ifndef PATTERN_BUNDLE
#define PATTERN_BUNDLE heapstorm_bundle_pattern
#endif
extern const struct bundle PATTERN_BUNDLE;

static struct bundle_snapshot snapshot;
static struct schedule_options options = {.depth = 3, .points_max = 50000};
static bool mix = true, verify;
static uint64_t runs = 1000, first_seed = 1;
static unsigned bound = 2;

void pattern_failed(const char *what)
{
	schedule_fail(VERDICT_ABORT, 0, "%s", what);
}

static void run_once(struct run_record *record)
{
	bundle_snapshot_restore(&snapshot);
	schedule_forget();
	schedule_begin(&options, NULL, record);
	pattern_run();
	schedule_end();
}

/* The list just emitted must be the same run. */
static void verify_list(struct run_record *record)
{
	static struct preemption list[RUN_PREEMPTIONS_MAX];
	const struct schedule_options kept = options;
	const uint64_t points = record->points, hash = record->trace_hash;

	memcpy(list, record->preemptions, record->preemption_count * sizeof list[0]);
	options.strategy = STRATEGY_FILE;
	options.list = list;
	options.list_count = record->preemption_count;
	run_once(record);
	options = kept;
	if (record->points != points || record->trace_hash != hash) {
		fprintf(stderr, "%s, seed %llu: the emitted list is another run: %llu points for %llu\n",
			schedule_strategy_name(options.strategy), (unsigned long long)options.seed,
			(unsigned long long)record->points, (unsigned long long)points);
		_exit(3);
	}
}

static void campaign(struct run_record *record, uint64_t seed)
{
	schedule_bounded_start(bound);
	for (uint64_t run = 0; run < runs; run++) {
		options.seed = seed * 1000003 + run;
		if (mix)
			schedule_mix(run, &options);
		record->programs = run + 1;
		run_once(record);
		if (verify)
			verify_list(record);
		if (options.strategy != STRATEGY_BOUNDED)
			continue;
		switch (schedule_bounded_next(record)) {
		case SEARCH_DONE:
			printf("all %llu schedules\n", (unsigned long long)record->programs);
			fflush(stdout);
			return;
		case SEARCH_DIVERGED:
			_exit(3);
		default:
			break;
		}
	}
}

/* In a child: a campaign, or one run. Returns how it ended. */
static int in_process(struct run_record *record, bool whole, uint64_t seed)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		if (whole)
			campaign(record, seed);
		else
			run_once(record);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("fork");
		exit(3);
	}
	return status;
}

static bool failed(int status)
{
	return !WIFEXITED(status) || WEXITSTATUS(status) == 1;
}

static struct run_record *map_record(void)
{
	struct run_record *const record =
		mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (record == MAP_FAILED) {
		perror("mmap");
		exit(3);
	}
	return record;
}

static bool same(const struct run_record *one, const struct run_record *two)
{
	return one->verdict.kind == two->verdict.kind && one->points == two->points &&
	       one->trace_hash == two->trace_hash && one->verdict.thread == two->verdict.thread;
}

static void replay_or_exit(const struct run_record *found, struct run_record *again, const char *what)
{
	options.strategy = STRATEGY_FILE;
	options.list = found->preemptions;
	options.list_count = found->preemption_count;
	memset(again, 0, sizeof *again);
	in_process(again, false, 0);
	if (same(found, again))
		return;
	fprintf(stderr, "%s: the replay is another run: %s after %llu points for %s after %llu\n", what,
		verdict_name(again->verdict.kind), (unsigned long long)again->points, verdict_name(found->verdict.kind),
		(unsigned long long)found->points);
	exit(3);
}

static int replay_file(const char *path)
{
	struct run_record *const found = map_record(), *const again = map_record();
	FILE *const file = fopen(path, "rb");

	if (file == NULL || fread(found, sizeof *found, 1, file) != 1) {
		fprintf(stderr, "%s: not a saved failure\n", path);
		return 2;
	}
	fclose(file);
	replay_or_exit(found, again, path);
	printf("%s: %s after %llu points, hash %016llx\n", path, verdict_name(again->verdict.kind),
	       (unsigned long long)again->points, (unsigned long long)again->trace_hash);
	return 1;
}

static int compare(const void *a, const void *b)
{
	const uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

	return one < two ? -1 : one > two;
}

int main(int argc, char **argv)
{
	static uint64_t needed[1024];
	struct run_record *const record = map_record(), *const again = map_record();
	const char *save = NULL, *replay = NULL;
	unsigned seeds = 1, found = 0;
	struct verdict verdict = {0};

	for (int i = 1; i < argc; i++) {
		const char *const value = argv[i + 1];

		if (strcmp(argv[i], "--verify") == 0) {
			verify = true;
			continue;
		}
		if (value == NULL)
			return 2;
		if (strcmp(argv[i], "--strategy") == 0) {
			mix = strcmp(value, "mix") == 0;
			if (!mix && !schedule_strategy_from_name(value, &options.strategy))
				return 2;
		} else if (strcmp(argv[i], "--seeds") == 0) {
			seeds = (unsigned)strtoul(value, NULL, 10);
		} else if (strcmp(argv[i], "--seed") == 0) {
			first_seed = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i], "--runs") == 0) {
			runs = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i], "--points") == 0) {
			options.points_max = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i], "--bound") == 0) {
			bound = (unsigned)strtoul(value, NULL, 10);
		} else if (strcmp(argv[i], "--save") == 0) {
			save = value;
		} else if (strcmp(argv[i], "--replay") == 0) {
			replay = value;
		} else {
			return 2;
		}
		i++;
	}
	if (seeds == 0 || seeds > 1024)
		return 2;
	if (!arena_use(0) || !bundle_snapshot_take(&PATTERN_BUNDLE, &snapshot))
		return 3;
	schedule_keep();
	schedule_watch_bundle(&PATTERN_BUNDLE);
	if (replay != NULL)
		return replay_file(replay);
	for (unsigned i = 0; i < seeds; i++) {
		const struct schedule_options kept = options;

		memset(record, 0, sizeof *record);
		const int status = in_process(record, true, first_seed + i);

		if (!failed(status)) {
			if (WEXITSTATUS(status) != 0)
				return WEXITSTATUS(status);
			continue;
		}
		needed[found++] = record->programs;
		verdict = record->verdict;
		if (verdict.kind == VERDICT_CLEAN) {
			printf("died: status %#x after %llu schedules\n", status, (unsigned long long)record->programs);
			return 3;
		}
		replay_or_exit(record, again, argv[0]);
		options = kept;
		if (save != NULL) {
			FILE *const file = fopen(save, "wb");

			if (file == NULL || fwrite(record, sizeof *record, 1, file) != 1 || fclose(file) != 0) {
				perror(save);
				return 3;
			}
		}
	}
	qsort(needed, found, sizeof needed[0], compare);
	if (found == 0)
		printf("found 0 of %u\n", seeds);
	else
		printf("found %u of %u, median %llu, most %llu, %s: %s\n", found, seeds,
		       (unsigned long long)needed[found / 2], (unsigned long long)needed[found - 1],
		       verdict_name(verdict.kind), verdict.message);
	return found > 0;
}
