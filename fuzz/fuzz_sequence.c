/*
 * This fuzz target reads each input as a program (docs/format.md) and runs it on mem_alloc, mem_alloc_2.0 and libc with every oracle. It
 * proves that no program it was given breaks one of them, and that what the standards make visible is the same on all: a request
 * that succeeds on one succeeds on the others.
 *
 * The allocators run under AddressSanitizer and UndefinedBehaviorSanitizer on OS memory at a fixed address, from their untouched state for
 * each input: an input does the same alone as after a million others. The engine is not instrumented, so that coverage is the
 * allocators' own.
 *
 * Environment: HEAPSTORM_ALLOCATORS, names separated by commas, chooses others than all of the executable.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor.h"
#include "input_hash.h"
#include "mutator.h"
#include "program.h"
#include "report.h"
#include "sanitizer_options.h"
#include "subject.h"
#include "supervisor.h"

#define SUBJECTS_MAX 8

/* Programs beyond this are skipped: they would only be slow. Requests that no process can meet are none of it. */
#define OPS_MAX 2048
#define REQUEST_MAX ((uint64_t)8 << 20)
#define TOTAL_MAX ((uint64_t)48 << 20)
#define ALIGNMENT_MAX ((uint64_t)8 << 20)
#define IMPOSSIBLE ((uint64_t)1 << 46)
#define FORKS_MAX 2
#define THREADS_MAX 8

/*
 * What costs far more than a program of one thread is done for a part of the inputs, by a hash of theirs, so that an input does the same every
 * time: one in 64 goes through the checks that run it again and again; of those that fork one in 64 does; of those with
 * threads seven in eight are skipped.
 */
#define DEEP_MASK 63
#define FORK_MASK 63
#define THREADS_MASK 7

const struct mutator_options mutator_options = {MUTATOR_SEQUENCE};

static struct program program;
static struct run_record *record;
static struct executor *executor;
static struct subject subjects[SUBJECTS_MAX];
static size_t subject_count;
static uint8_t outcomes[SUBJECTS_MAX][OPS_MAX];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

SANITIZER_DEFAULT_OPTIONS(":quarantine_size_mb=1:malloc_context_size=2")

static void add_subject(const char *name)
{
	char message[256];

	if (subject_count == SUBJECTS_MAX || !subject_open(name, &subjects[subject_count], message, sizeof message)) {
		fprintf(stderr, "heapstorm: HEAPSTORM_ALLOCATORS: %s\n",
			subject_count == SUBJECTS_MAX ? "too many" : message);
		exit(2);
	}
	subject_count++;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *chosen = getenv("HEAPSTORM_ALLOCATORS");
	char *names = strdup(chosen != NULL ? chosen : "");

	(void)argc, (void)argv;
	for (size_t i = 0; names[0] == '\0' && heapstorm_adapters[i] != NULL; i++)
		add_subject(heapstorm_adapters[i]->allocator->name);
	for (char *state = NULL, *name = strtok_r(names, ",", &state); name != NULL; name = strtok_r(NULL, ",", &state))
		add_subject(name);
	free(names);
	program_init(&program);
	record = run_record_open();
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		exit(3);
	}
	executor_watch(executor, false);
	return 0;
}

/* Bytes that an operation asks for; saturates. */
static uint64_t request_of(const struct op *op)
{
	uint64_t size = op->size;

	if ((op->kind == OP_CALLOC || op->kind == OP_REALLOCARRAY) &&
	    __builtin_mul_overflow(op->count, op->size, &size))
		return UINT64_MAX;
	return op_makes_block(op->kind) ? size : 0;
}

static bool has_alignment(const struct op *op)
{
	return op->kind == OP_ALIGNED_ALLOC || op->kind == OP_POSIX_MEMALIGN || op->kind == OP_MEMALIGN;
}

static bool is_too_heavy(void)
{
	uint64_t total = 0;
	size_t ops = 0, forks = 0;

	if (program.thread_count > THREADS_MAX)
		return true;
	for (size_t thread = 0; thread < program.thread_count; thread++) {
		const struct thread_program *const code = &program.threads[thread];

		ops += code->count;
		for (size_t i = 0; i < code->count; i++) {
			const struct op *const op = &code->ops[i];
			const uint64_t request = request_of(op);

			forks += op->kind == OP_FORK;
			if (request > REQUEST_MAX && request < IMPOSSIBLE)
				return true;
			if (request <= REQUEST_MAX)
				total += request;
			if (has_alignment(op) && op->alignment > ALIGNMENT_MAX && op->alignment < IMPOSSIBLE)
				return true;
		}
	}
	return ops > OPS_MAX || total > TOTAL_MAX || forks > FORKS_MAX;
}

/* The input is in the record and in libFuzzer's hands: this ends the process, and libFuzzer writes it to a file. */
__attribute__((noreturn)) static void stop(void)
{
	report_print(stderr, &program, record, NULL);
	fprintf(stderr, "verdict: %s\n", verdict_name(record->verdict.kind));
	abort();
}

/* Requests on which the standards leave no choice. */
static bool is_determined(const struct op *op)
{
	const uint64_t request = request_of(op);

	if (request == 0 || (request > REQUEST_MAX && request <= PTRDIFF_MAX))
		return false;
	return !has_alignment(op) || (op->alignment != 0 && (op->alignment & (op->alignment - 1)) == 0);
}

static void compare_outcomes(void)
{
	size_t at = 0;

	for (size_t thread = 0; thread < program.thread_count; thread++) {
		for (size_t i = 0; i < program.threads[thread].count; i++, at++) {
			const struct op *const op = &program.threads[thread].ops[i];

			for (size_t other = 1; other < subject_count; other++) {
				struct verdict *const verdict = &record->verdict;

				if (outcomes[0][at] == OUTCOME_NONE || outcomes[other][at] == OUTCOME_NONE ||
				    outcomes[0][at] == outcomes[other][at] || !is_determined(op))
					continue;
				*verdict =
					(struct verdict){.kind = VERDICT_CONTRACT, .thread = (uint32_t)thread, .op = i};
				/* The one that refuses what can be had, or grants what cannot. */
				snprintf(record->allocator, sizeof record->allocator, "%s",
					 subjects[(outcomes[0][at] == OUTCOME_NULL) == (request_of(op) <= REQUEST_MAX)
							  ? 0
							  : other]
						 .allocator->name);
				snprintf(verdict->message, sizeof verdict->message, "%s returns %s on %s and %s on %s",
					 op_kind_name(op->kind), outcomes[0][at] == OUTCOME_NULL ? "NULL" : "a block",
					 subjects[0].allocator->name,
					 outcomes[other][at] == OUTCOME_NULL ? "NULL" : "a block",
					 subjects[other].allocator->name);
				stop();
			}
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_options options = {.oracles = ORACLES_ALL, .sparse = true};

	const uint64_t choice = input_hash(data, size);

	program_decode(data, size, &program);
	if (is_too_heavy() || (program.thread_count > 1 && (choice >> 16 & THREADS_MASK) != 0))
		return -1;
	record->input_size = (uint32_t)(size < RUN_INPUT_MAX ? size : RUN_INPUT_MAX);
	memcpy(record->input, data, record->input_size);
	options.deep = (choice & DEEP_MASK) == 0;
	options.no_fork = (choice >> 8 & FORK_MASK) != 0;
	for (size_t i = 0; i < subject_count; i++) {
		options.outcomes = outcomes[i];
		if (executor_run(executor, &subjects[i], &program, &options) != VERDICT_CLEAN)
			stop();
	}
	if (program.fault_count == 0)
		compare_outcomes();
	return 0;
}
