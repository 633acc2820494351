/*
 * This fuzz target reads each input as a program with threads and a schedule, and runs it one thread at a time in that order
 * (stress/schedule/). It proves that no order of its threads that it was given breaks an oracle, races or deadlocks.
 *
 * The allocator is compiled for AddressSanitizer and for the scheduler at once. Inputs without a schedule get one by their hash, which a failure
 * leaves in the run record. Beside the coverage of code, the pairs of places of which one thread reads what another wrote guide the
 * search.
 *
 * Environment: HEAPSTORM_ALLOCATORS, one name, chooses another than mem_alloc_2.0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor.h"
#include "input_hash.h"
#include "mutator.h"
#include "report.h"
#include "sanitizer_options.h"
#include "schedule.h"
#include "subject.h"
#include "supervisor.h"

/* Larger programs are skipped: it is short ones whose orders can be tried. */
#define OPS_MAX 96
#define THREADS_MAX 6
#define REQUEST_MAX ((uint64_t)1 << 20)
#define IMPOSSIBLE ((uint64_t)1 << 46)
#define FORK_MASK 63 /* a fork takes longer than a hundred programs */

#define TWICE_MASK 31 /* of the inputs, those that run twice */

const struct mutator_options mutator_options = {MUTATOR_THREADS, .preemptions = schedule_conflicts};

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t reads_from[SCHEDULE_FEEDBACK];

static struct program program;
static struct run_record *record;
static struct executor *executor;
static struct subject subject;
static struct schedule_options schedule_options = {.feedback = reads_from, .points_max = 200000};
static const struct scheduler *scheduler;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

SANITIZER_DEFAULT_OPTIONS(":quarantine_size_mb=1")

/* The schedule as it came to be becomes part of the input that the record keeps. */
static void stop(void)
{
	program_take_schedule(&program, record);
	record->input_size = (uint32_t)program_encode(&program, record->input, RUN_INPUT_MAX);
	report_print(stderr, &program, record, NULL);
	fprintf(stderr, "verdict: %s\n", verdict_name(record->verdict.kind));
	abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *const chosen = getenv("HEAPSTORM_ALLOCATORS");
	char message[256];

	(void)argc, (void)argv;
	const char *const default_name =
		heapstorm_adapters[1] != NULL ? "mem_alloc_2.0" : heapstorm_adapters[0]->allocator->name;

	if (!subject_open(chosen != NULL && *chosen != '\0' ? chosen : default_name, &subject, message,
			  sizeof message)) {
		fprintf(stderr, "heapstorm: HEAPSTORM_ALLOCATORS: %s\n", message);
		exit(2);
	}
	if (subject.allocator->contract.thread_safe == CONTRACT_NO) {
		fprintf(stderr, "heapstorm: %s is for one thread\n", subject.allocator->name);
		exit(2);
	}
	if (subject.bundle == NULL) {
		fprintf(stderr, "heapstorm: HEAPSTORM_ALLOCATORS: %s is not compiled for the scheduler\n",
			subject.allocator->name);
		exit(2);
	}
	schedule_keep();
	schedule_watch_bundle(subject.bundle);
	program_init(&program);
	record = run_record_open();
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		exit(3);
	}
	executor_watch(executor, false);
	schedule_options.failed = stop;
	scheduler = schedule_for_executor(&schedule_options);
	return 0;
}

static bool is_fit(void)
{
	size_t spawned = 0;

	if (program.thread_count < 2 || program.thread_count > THREADS_MAX || program_op_count(&program) > OPS_MAX)
		return false;
	for (size_t thread = 0; thread < program.thread_count; thread++) {
		for (size_t i = 0; i < program.threads[thread].count; i++) {
			const struct op *const op = &program.threads[thread].ops[i];
			const unsigned operands = op_operands(op->kind);
			uint64_t request = op->size;

			spawned += op->kind == OP_SPAWN;
			if ((operands & OPERAND_COUNT) != 0 && __builtin_mul_overflow(op->count, op->size, &request))
				continue;
			if (request > REQUEST_MAX && request < IMPOSSIBLE)
				return false;
			if ((operands & OPERAND_ALIGNMENT) != 0 && op->alignment > REQUEST_MAX &&
			    op->alignment < IMPOSSIBLE)
				return false;
		}
	}
	return spawned > 0;
}

/* The same input is the same run, to the last point. */
static void run_again(const struct run_options *options)
{
	const uint64_t hash = record->trace_hash, points = record->points;

	if (executor_run(executor, &subject, &program, options) != VERDICT_CLEAN)
		stop();
	if (record->trace_hash == hash && record->points == points)
		return;
	fprintf(stderr,
		"heapstorm: the second run of an input has %llu points (hash %016llx) where the first had %llu "
		"(%016llx): "
		"this is a defect of heapstorm, please report it with the input\n",
		(unsigned long long)record->points, (unsigned long long)record->trace_hash, (unsigned long long)points,
		(unsigned long long)hash);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options options = {.oracles = ORACLES_ALL, .sparse = true, .scheduler = scheduler};
	const uint64_t choice = input_hash(data, size);

	program_decode(data, size, &program);
	if (!is_fit())
		return -1;
	record->input_size = (uint32_t)(size < RUN_INPUT_MAX ? size : RUN_INPUT_MAX);
	memcpy(record->input, data, record->input_size);
	options.no_fork = (choice >> 8 & FORK_MASK) != 0;
	/* Those strategies that look at nothing but the seed: an input does the same alone as after a million others. */
	schedule_options.strategy = program.preemption_count > 0 ? STRATEGY_FILE
				    : (choice & 1) != 0          ? STRATEGY_RANDOM
								 : STRATEGY_POS;
	schedule_options.seed = choice;
	schedule_options.list = program.schedule;
	schedule_options.list_count = program.preemption_count;
	if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
		stop();
	if ((choice >> 16 & TWICE_MASK) == 0)
		run_again(&options);
	return 0;
}
