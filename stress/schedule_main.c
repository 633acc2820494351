/*
 * The process in which programs run under a chosen schedule: runner-sched [options] ALLOCATOR [FILE]
 *
 *   --strategy NAME  none, file (the schedule of FILE), random, pct, surw, pos, bounded, or mix: the random ones in turn (default: file)
 *   --bound N        bounded: schedules with at most N preemptions (default 2); it ends when all were run
 *   --runs N         schedules to try (default 1)
 *   --seed N         run i of a strategy has the seed N + i
 *   --points N       more scheduling points are no progress
 *   --switch HOW     process or kernel: who switches threads (default: process)
 *   --scenario NAME  without FILE: programs of this scenario (stress/generator.h), SCHEDULES_EACH schedules of each
 *   --threads N      of these programs (default 3)
 *   --log FILE       writes the history of the run there (event_log.h)
 *   --walks N        taken for the sake of runner-asan: a heap is not walked while other threads are in the middle of it
 *   --fork-timeout MS  a child of a fork that takes longer hangs
 *   --batch          FILE has many programs (batch.h); they run one after another, each with its schedule, until one has a verdict, and
 *                    record->candidate says which
 *   --bounded N      --batch: then N schedules of each with at most --bound preemptions,
 *   --random N       and N random ones
 *   --stop T:N       with --log: calls event_log_stop before that operation, or at the `end`
 *
 * Started by the supervisor; what it finds is in the run record, the schedule included. Exit status: 0 clean, 1 a verdict, 2 unreadable
 * input or no such allocator, 3 the OS lacks something or a run was not the same the second time.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "event_log.h"
#include "executor.h"
#include "generator.h"
#include "schedule.h"
#include "supervisor.h"

#define SCHEDULES_EACH 64

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Runs of a program under other schedules, until one has a verdict. */
struct search {
	unsigned bound;
	uint64_t bounded, random;
};

static void search_orders(struct executor *executor, const struct subject *subject, const struct program *program,
			  const struct run_options *options, struct schedule_options *schedule,
			  const struct search *search, struct run_record *record)
{
	bool done = false;

	schedule->strategy = STRATEGY_BOUNDED;
	schedule_bounded_start(search->bound);
	for (uint64_t run = 0; run < search->bounded && !done && !interrupted; run++) {
		if (executor_run(executor, subject, program, options) != VERDICT_CLEAN)
			_Exit(1);
		done = schedule_bounded_next(record) != SEARCH_GOES_ON;
	}
	for (uint64_t run = 0; run < search->random && !interrupted; run++) {
		schedule->seed = 1 + run;
		schedule_mix(run, schedule);
		if (executor_run(executor, subject, program, options) != VERDICT_CLEAN)
			_Exit(1);
	}
}

/* Runs the programs of a batch until one has a verdict. */
static int run_batch(const char *path, struct executor *executor, const struct subject *subject,
		     const struct run_options *options, struct schedule_options *schedule, const struct search *search,
		     struct run_record *record)
{
	static struct program program;
	FILE *const file = fopen(path, "re");
	enum batch_result result;

	if (file == NULL) {
		fprintf(stderr, "heapstorm: %s cannot be read\n", path);
		return 2;
	}
	program_init(&program);
	for (uint64_t i = 0; (result = batch_read(file, &program)) == BATCH_PROGRAM && !interrupted; i++) {
		record->candidate = i;
		if (program.thread_count > SCHEDULE_THREADS_MAX)
			continue;
		schedule->strategy = STRATEGY_FILE;
		schedule->list = program.schedule;
		schedule->list_count = program.preemption_count;
		if (executor_run(executor, subject, &program, options) != VERDICT_CLEAN)
			_Exit(1);
		if (program.thread_count > 1)
			search_orders(executor, subject, &program, options, schedule, search, record);
	}
	fclose(file);
	if (result == BATCH_CUT_OFF)
		fprintf(stderr, "heapstorm: %s is cut off\n", path);
	return result == BATCH_CUT_OFF ? 2 : 0;
}

int main(int argc, char **argv)
{
	static struct program program;
	static struct schedule_options schedule_options = {.strategy = STRATEGY_FILE, .depth = 3};
	struct run_options options = {.oracles = ORACLES_ALL};
	struct run_record *const record = run_record_open();
	struct subject subject;
	struct executor *executor;
	enum program_format format;
	const char *log_path = NULL;
	struct event_log log;
	char message[512];
	const struct scenario *scenario = &scenarios[0];
	struct search search = {.bound = 2};
	unsigned threads = 3;
	uint64_t runs = 1, seed = 1, same = 0, hash = 0, points = 0;
	bool mix = false, batch = false;
	const char *stop = NULL;
	int at = 1;

	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		const char *const value = argv[at + 1];

		if (strcmp(argv[at], "--batch") == 0) {
			batch = true;
			at--;
		} else if (strcmp(argv[at], "--strategy") == 0) {
			mix = strcmp(value, "mix") == 0;
			if (!mix && !schedule_strategy_from_name(value, &schedule_options.strategy)) {
				fprintf(stderr, "heapstorm: no strategy is called '%s'\n", value);
				return 2;
			}
		} else if (strcmp(argv[at], "--runs") == 0) {
			runs = strtoull(value, NULL, 10);
		} else if (strcmp(argv[at], "--seed") == 0) {
			seed = strtoull(value, NULL, 10);
		} else if (strcmp(argv[at], "--bound") == 0) {
			search.bound = (unsigned)strtoul(value, NULL, 10);
		} else if (strcmp(argv[at], "--log") == 0) {
			log_path = value;
		} else if (strcmp(argv[at], "--walks") == 0) {
			continue;
		} else if (strcmp(argv[at], "--bounded") == 0) {
			search.bounded = strtoull(value, NULL, 10);
		} else if (strcmp(argv[at], "--random") == 0) {
			search.random = strtoull(value, NULL, 10);
		} else if (strcmp(argv[at], "--fork-timeout") == 0) {
			options.fork_timeout_milliseconds = (unsigned)strtoul(value, NULL, 10);
		} else if (strcmp(argv[at], "--points") == 0) {
			schedule_options.points_max = strtoull(value, NULL, 10);
		} else if (strcmp(argv[at], "--switch") == 0) {
			schedule_options.kernel_switch = strcmp(value, "kernel") == 0;
		} else if (strcmp(argv[at], "--stop") == 0) {
			stop = value;
		} else if (strcmp(argv[at], "--threads") == 0) {
			threads = (unsigned)strtoul(value, NULL, 10);
		} else if (strcmp(argv[at], "--scenario") == 0) {
			scenario = scenario_find(value);
			if (scenario == NULL) {
				fprintf(stderr, "heapstorm: no scenario is called '%s'\n", value);
				return 2;
			}
		} else {
			break;
		}
	}
	const bool generated = argc - at == 1;

	if (argc - at != 2 && (batch || argc - at != 1)) {
		fprintf(stderr,
			"usage: %s [--strategy NAME] [--runs N] [--seed N] [--points N] [--bound N] [--switch HOW] "
			"[--scenario "
			"NAME] "
			"[--threads N] "
			"ALLOCATOR [FILE]\n",
			argv[0]);
		return 2;
	}
	program_init(&program);
	if ((!generated && !batch && !program_load(argv[at + 1], &program, &format, message, sizeof message)) ||
	    !subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	if (subject.allocator->contract.thread_safe == CONTRACT_NO && (generated || program.thread_count > 1)) {
		fprintf(stderr, "heapstorm: %s is for one thread\n", subject.allocator->name);
		return 2;
	}
	if (program.thread_count > SCHEDULE_THREADS_MAX) {
		fprintf(stderr, "heapstorm: %s: %zu threads, a scheduled run has at most %d\n", argv[at + 1],
			program.thread_count, SCHEDULE_THREADS_MAX);
		return 2;
	}
	if (log_path != NULL) {
		if (!event_log_open(log_path, program_op_count(&program), 0, &log)) {
			perror(log_path);
			return 3;
		}
		if (stop != NULL && !event_log_stop_at(&log, stop))
			return 2;
		options.log = &log;
	}
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		return 3;
	}
	executor_watch(executor, true);
	schedule_keep();
	if (subject.bundle != NULL)
		schedule_watch_bundle(subject.bundle);
	schedule_options.list = program.schedule;
	schedule_options.list_count = program.preemption_count;
	options.scheduler = schedule_for_executor(&schedule_options);
	signal(SIGINT, on_interrupt);
	signal(SIGTERM, on_interrupt);
	if (batch)
		return run_batch(argv[at + 1], executor, &subject, &options, &schedule_options, &search, record);
	schedule_bounded_start(search.bound);
	for (uint64_t run = 0; run < runs && !interrupted; run++) {
		schedule_options.seed = seed + run;
		if (generated && run % SCHEDULES_EACH == 0) {
			generate_small_round(scenario, seed, run / SCHEDULES_EACH, threads, &program);
			record->input_size = (uint32_t)program_encode(&program, record->input, RUN_INPUT_MAX);
			same = 0;
		}
		if (mix)
			schedule_mix(run, &schedule_options);
		if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
			_Exit(1);
		if (schedule_options.strategy == STRATEGY_BOUNDED) {
			switch (schedule_bounded_next(record)) {
			case SEARCH_GOES_ON:
				continue;
			case SEARCH_DIVERGED:
				fprintf(stderr,
					"heapstorm: run %" PRIu64 " did not get to where the one before it was\n",
					run + 1);
				return 3;
			default:
				return 0;
			}
		}
		/* The same schedule has to be the same run. */
		if (schedule_options.strategy != STRATEGY_FILE && schedule_options.strategy != STRATEGY_NONE)
			continue;
		if (same++ > 0 && (record->trace_hash != hash || record->points != points)) {
			fprintf(stderr,
				"heapstorm: run %" PRIu64 " of the same schedule has %" PRIu64
				" points (hash %016" PRIx64 ") where the first had %" PRIu64 " (%016" PRIx64 ")\n",
				run + 1, record->points, record->trace_hash, points, hash);
			return 3;
		}
		hash = record->trace_hash;
		points = record->points;
	}
	return 0;
}
