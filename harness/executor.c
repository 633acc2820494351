#define _GNU_SOURCE
#include "executor.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "calls.h"
#include "event_log.h"
#include "heap_check.h"
#include "known.h"
#include "sanitizer.h"

/* Rounds of a deep run whose footprint never stops growing. */
#define PLATEAU_ROUNDS 192

#define FORK_TIMEOUT_MILLISECONDS 5000

enum thread_state {
	THREAD_ABSENT, /* not spawned */
	THREAD_READY,
	THREAD_WAITING, /* for an event */
	THREAD_JOINING,
	THREAD_ENDED,
};

struct executor_thread {
	struct executor *executor;
	uint32_t number;
	enum thread_state state;
	uint32_t waits_for; /* event or thread */
	bool reaped;        /* joined by the engine */
	uint64_t op;        /* at work */
	size_t next;        /* operation */
	struct os_mark mark;
	pthread_t handle;
	sem_t token;
};

struct executor {
	struct caller call;
	const struct subject *subject;
	const struct program *program;
	const struct run_options *options;
	unsigned round;
	bool joining_all; /* main has done its operations */
	uint8_t *outcomes[PROGRAM_THREADS_MAX];
	struct executor_thread threads[PROGRAM_THREADS_MAX];
	uint32_t events[PROGRAM_EVENTS_MAX];
	size_t event_limit;               /* events below it were signalled in this round */
	const struct allocator *measured; /* whose largest_at_start it is */
	size_t largest_at_start;          /* bytes, of the largest block in an untouched fixed arena */
	uint32_t just_ended;              /* thread whose destructors may still run, plus 1 */
};

static pthread_key_t exit_key;
static struct executor *watched; /* for handlers: they have no other way to it */

static void on_failure(struct caller *caller);
static void run_rest(void *argument);

struct executor *executor_create(struct run_record *record)
{
	struct executor *executor =
		mmap(NULL, sizeof *executor, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (executor == MAP_FAILED || !blocks_open(&executor->call.blocks) ||
	    pthread_key_create(&exit_key, run_rest) != 0)
		return NULL;
	executor->call.record = record;
	executor->call.fail = on_failure;
	executor->call.steps = &record->steps;
	record->magic = RUN_RECORD_MAGIC;
	record->size = sizeof *record;
	for (uint32_t i = 0; i < PROGRAM_THREADS_MAX; i++) {
		executor->threads[i].executor = executor;
		executor->threads[i].number = i;
		sem_init(&executor->threads[i].token, 0, 0);
	}
	return executor;
}

/* Reports the finding at work, if it is the first. */
static void on_failure(struct caller *caller)
{
	/* Last, since the heap may be in ruins: a crash in the walk finds the verdict in place. */
	if (caller_report(caller, caller->record))
		heap_map(caller->allocator, &caller->blocks, &caller->finding, caller->record);
	if (caller->scheduler != NULL)
		caller->scheduler->failed();
}

/* A check of the whole heap has failed. Always false. */
static bool fail(struct executor *executor)
{
	executor->call.failed = true;
	on_failure(&executor->call);
	return false;
}

/* ---- Threads ---- */

/* `thread` goes on: what the OS refuses from now on it refuses to that. */
static void set_current(struct executor *executor, struct executor_thread *thread)
{
	executor->call.mark = &thread->mark;
}

static bool run_thread_ops(struct executor_thread *thread, bool ending);

static bool is_ended(const struct executor *executor, uint32_t number)
{
	return executor->threads[number].state == THREAD_ENDED || executor->threads[number].state == THREAD_ABSENT;
}

static bool can_run(struct executor *executor, const struct executor_thread *thread)
{
	switch (thread->state) {
	case THREAD_READY:
		return true;
	case THREAD_WAITING:
		return executor->events[thread->waits_for] > 0;
	case THREAD_JOINING:
		return is_ended(executor, thread->waits_for);
	default:
		return false;
	}
}

/* A program that would hang by itself does not: the lowest of those that wait goes on. NULL: all have ended. */
static struct executor_thread *release_blocked(struct executor *executor)
{
	struct executor_thread *blocked = NULL;

	for (size_t i = 0; i < executor->program->thread_count; i++) {
		struct executor_thread *const thread = &executor->threads[i];

		if (thread->state != THREAD_WAITING && thread->state != THREAD_JOINING)
			continue;
		/*
		 * Those that wait come before those that join, and main last of all: at its end it joins again until all
		 * have ended.
		 */
		if (blocked == NULL ||
		    (blocked->state == THREAD_JOINING && (thread->state == THREAD_WAITING || blocked->number == 0)))
			blocked = thread;
	}
	if (blocked != NULL)
		blocked->state = THREAD_READY;
	return blocked;
}

/* Chooses who goes on. NULL: all have ended. */
static struct executor_thread *choose_next(struct executor *executor)
{
	for (size_t i = 0; i < executor->program->thread_count; i++)
		if (can_run(executor, &executor->threads[i]))
			return &executor->threads[i];
	return release_blocked(executor);
}
/* Waits until the destructors of the thread that ended last have run. */
static void reap_ended(struct executor *executor)
{
	if (executor->just_ended == 0)
		return;
	struct executor_thread *const ended = &executor->threads[executor->just_ended - 1];

	executor->just_ended = 0;
	if (ended->number != 0 && !ended->reaped) {
		pthread_join(ended->handle, NULL);
		ended->reaped = true;
	}
}

static void await_token(struct executor_thread *thread)
{
	while (sem_wait(&thread->token) != 0)
		;
	reap_ended(thread->executor);
	set_current(thread->executor, thread);
	thread->executor->call.record->thread = thread->number;
}

/* Blocks the thread until it is chosen again. */
static void yield_token(struct executor_thread *thread)
{
	struct executor *const executor = thread->executor;
	const uint64_t op = executor->call.record->op;

	if (executor->call.scheduler != NULL) {
		while (!can_run(executor, thread))
			executor->call.scheduler->wait();
		executor->call.scheduler->acquire(thread->state == THREAD_WAITING
							  ? (void *)&executor->events[thread->waits_for]
							  : &executor->threads[thread->waits_for]);
	} else {
		struct executor_thread *const next = choose_next(executor);

		if (next != thread) {
			sem_post(&next->token);
			await_token(thread);
			executor->call.record->op = op;
		}
	}
	if (thread->state == THREAD_WAITING && executor->events[thread->waits_for] > 0)
		executor->events[thread->waits_for]--;
	thread->state = THREAD_READY;
}

/*
 * The destructor of a thread's value: what the program has after `exit`. Without a scheduler the next thread has the token by now, but waits
 * until this one is gone.
 */
static void run_rest(void *argument)
{
	run_thread_ops(argument, true);
}

static bool has_rest(const struct executor_thread *thread)
{
	return thread->next < thread->executor->program->threads[thread->number].count;
}

static void *thread_main(void *argument)
{
	struct executor_thread *const thread = argument;
	struct executor *const executor = thread->executor;
	struct executor_thread *next;

	await_token(thread);
	/* The destructors of the thread before may have found something. */
	if (executor->call.failed || !run_thread_ops(thread, false)) {
		/* Main returns the verdict; the heap is not touched any more, not even by this thread's destructors. */
		sem_post(&executor->threads[0].token);
		for (;;)
			pause();
	}
	if (has_rest(thread))
		pthread_setspecific(exit_key, thread);
	thread->state = THREAD_ENDED;
	executor->just_ended = thread->number + 1;
	executor->call.record->op = NO_OP;
	next = choose_next(executor);
	sem_post(&next->token);
	return NULL;
}

/* ---- With a scheduler ---- */

static void *scheduled_main(void *argument)
{
	struct executor_thread *const thread = argument;

	run_thread_ops(thread, false); /* a failure ends the process */
	if (has_rest(thread))
		thread->executor->call.scheduler->at_exit(run_rest, thread);
	return NULL;
}

static bool scheduled_ready(void *context, uint32_t number)
{
	struct executor *const executor = context;

	return can_run(executor, &executor->threads[number]);
}

static bool scheduled_release(void *context)
{
	struct executor *const executor = context;

	/* Main at its end waits for all: where the others cannot go on, neither can it. */
	for (size_t i = 1; i < executor->program->thread_count; i++)
		if (executor->threads[i].state == THREAD_WAITING || executor->threads[i].state == THREAD_JOINING)
			return release_blocked(executor) != NULL;
	return !executor->joining_all && release_blocked(executor) != NULL;
}

static void scheduled_resumed(void *context, uint32_t number)
{
	struct executor *const executor = context;

	set_current(executor, &executor->threads[number]);
	executor->call.record->thread = number;
	executor->call.record->op = executor->threads[number].op;
}

static void scheduled_ended(void *context, uint32_t number)
{
	struct executor *const executor = context;

	executor->threads[number].state = THREAD_ENDED;
	executor->call.scheduler->release(&executor->threads[number]);
}

static void run_spawn(struct executor *executor, uint32_t number)
{
	struct executor_thread *const thread = &executor->threads[number];
	pthread_attr_t attributes;

	if (number == 0 || number >= executor->program->thread_count || thread->state != THREAD_ABSENT)
		return;
	if (executor->call.scheduler != NULL) {
		thread->state = THREAD_READY;
		executor->call.scheduler->spawn(number, scheduled_main, thread);
		return;
	}
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	thread->reaped = false;
	if (pthread_create(&thread->handle, &attributes, thread_main, thread) != 0) {
		perror("heapstorm: no thread");
		exit(3);
	}
	pthread_attr_destroy(&attributes);
	thread->state = THREAD_READY;
}

static void run_join(struct executor_thread *self, uint32_t number)
{
	struct executor *const executor = self->executor;

	/* Main is not ended before the others are: nobody can join it. */
	if (number == 0 || number >= executor->program->thread_count || number == self->number)
		return;
	if (is_ended(executor, number)) {
		if (executor->call.scheduler != NULL)
			executor->call.scheduler->acquire(&executor->threads[number]);
		return;
	}
	self->state = THREAD_JOINING;
	self->waits_for = number;
	yield_token(self);
}

static void run_wait(struct executor_thread *self, uint32_t event)
{
	if (self->executor->events[event] > 0) {
		self->executor->events[event]--;
		if (self->executor->call.scheduler != NULL)
			self->executor->call.scheduler->acquire(&self->executor->events[event]);
		return;
	}
	self->state = THREAD_WAITING;
	self->waits_for = event;
	yield_token(self);
}

/* Main has ended: the others run on until all have. */
static void join_all(struct executor *executor)
{
	struct executor_thread *const main_thread = &executor->threads[0];
	uint32_t i = 1;

	while (i < executor->program->thread_count && !executor->call.failed) {
		if (is_ended(executor, i)) {
			i++;
			continue;
		}
		run_join(main_thread, i);
		i = 1; /* what ended may have started one that was passed over */
	}
	/* Nothing waits any more; what they did comes before the checks. */
	for (i = 1; executor->call.scheduler != NULL && i < executor->program->thread_count; i++)
		if (executor->threads[i].state == THREAD_ENDED)
			executor->call.scheduler->acquire(&executor->threads[i]);
	executor->call.record->thread = 0;
}

/* In the child of a fork. */
static void forget_watched(void)
{
	watched = NULL;
}

static bool run_op(struct executor_thread *thread, const struct op *op, bool ending, enum outcome *outcome)
{
	struct executor *const executor = thread->executor;

	if (ending && (op->kind == OP_SPAWN || op->kind == OP_JOIN || op->kind == OP_WAIT))
		return true;
	switch ((enum op_kind)op->kind) {
	case OP_SPAWN:
		run_spawn(executor, (uint32_t)op->thread);
		return true;
	case OP_JOIN:
		run_join(thread, (uint32_t)op->thread);
		return !executor->call.failed;
	case OP_EXIT:
		return true;
	case OP_SIGNAL:
		executor->events[op->event]++;
		if (executor->call.scheduler != NULL)
			executor->call.scheduler->release(&executor->events[op->event]);
		if (op->event >= executor->event_limit)
			executor->event_limit = op->event + 1;
		return true;
	case OP_WAIT:
		run_wait(thread, (uint32_t)op->event);
		return !executor->call.failed;
	case OP_FORK:
		if (executor->options->no_fork || executor->round > 0)
			return true;
		return caller_fork(&executor->call,
				   executor->options->fork_timeout_milliseconds != 0
					   ? executor->options->fork_timeout_milliseconds
					   : FORK_TIMEOUT_MILLISECONDS,
				   forget_watched);
	default:
		return caller_run(&executor->call, op, outcome);
	}
}

/* Until the end or, before `ending`, the operation `exit`. */
static bool run_thread_ops(struct executor_thread *thread, bool ending)
{
	struct executor *const executor = thread->executor;
	const struct thread_program *const code = &executor->program->threads[thread->number];
	struct run_record *const record = executor->call.record;
	uint8_t *const outcomes = executor->outcomes[thread->number];

	record->thread = thread->number;
	set_current(executor, thread);
	while (thread->next < code->count) {
		const size_t i = thread->next++;
		const struct op *const op = &code->ops[i];
		enum outcome outcome = OUTCOME_NONE;

		record->op = i;
		thread->op = i;
		if (executor->call.log != NULL)
			event_log_step(executor->call.log,
				       executor->call.scheduler == NULL ? executor->call.allocator : NULL,
				       thread->number, i);
		if (executor->call.scheduler != NULL)
			executor->call.scheduler->operation();
		record->steps++;
		record->operations++;
		record->operations_by_kind[op->kind]++;
		if (op->kind == OP_EXIT && thread->number != 0 && !ending)
			break;
		/* Undefined behaviour may have been reported, and the call gone on all the same. */
		if (!run_op(thread, op, ending, &outcome) || executor->call.failed)
			return false;
		if (outcomes != NULL)
			outcomes[i] = (uint8_t)outcome;
	}
	return true;
}

/* ---- The end of a program ---- */

/* The largest free region can be had while the OS gives nothing. */
static bool check_largest_free(struct executor *executor, size_t largest)
{
	const struct allocator *const allocator = executor->call.allocator;
	size_t size = largest - largest / 8;
	void *address;

	if (allocator->contract.coalesced_request_max == 0 || !executor->call.arena)
		return true;
	if (size > allocator->contract.coalesced_request_max)
		size = allocator->contract.coalesced_request_max;
	if (size < 32)
		return true;
	arena_fail_all(true);
	address = allocator->malloc(size);
	arena_fail_all(false);
	if (address == NULL)
		return caller_fail(&executor->call, VERDICT_UNCOALESCED, NULL, 0,
				   "%zu bytes are free in one region, but a request of %zu needs new memory", largest,
				   size);
	allocator->free(address);
	return true;
}

static bool check_quiet(struct executor *executor, bool quiesced, struct heap_summary *summary)
{
	executor->call.record->op = NO_OP;
	if (quiesced && executor->call.allocator->quiesce != NULL)
		executor->call.allocator->quiesce();
	return heap_check(executor->call.allocator, &executor->call.blocks,
			  quiesced && executor->call.allocator->quiesce != NULL, executor->call.oracles,
			  executor->call.record, summary, &executor->call.finding) ||
	       fail(executor);
}

/* The largest block that can be had at the moment, in bytes. */
static size_t largest_block(const struct allocator *allocator)
{
	size_t least = 0, most = allocator->arena_size;

	while (least < most) {
		const size_t size = most - (most - least) / 2;
		void *const address = allocator->malloc(size);

		if (address != NULL) {
			allocator->free(address);
			least = size;
		} else {
			most = size - 1;
		}
	}
	return least;
}

static bool promises_whole(const struct executor *executor)
{
	return executor->call.allocator->arena_size != 0 &&
	       executor->call.allocator->contract.whole_when_free == CONTRACT_YES;
}

/* Once for each allocator: it is started again after. */
static void measure_largest(struct executor *executor, const struct subject *subject)
{
	if (!promises_whole(executor) || executor->measured == subject->allocator)
		return;
	subject_reset(subject);
	executor->measured = subject->allocator;
	executor->largest_at_start = largest_block(subject->allocator);
}

/* Of a fixed arena nothing is lost and nothing stays in pieces. */
static bool check_whole(struct executor *executor)
{
	size_t largest;

	if (!promises_whole(executor) || (executor->call.oracles & ORACLE(VERDICT_UNCOALESCED)) == 0)
		return true;
	executor->call.record->op = NO_OP;
	executor->call.record->checks[VERDICT_UNCOALESCED]++;
	largest = largest_block(executor->call.allocator);
	return largest >= executor->largest_at_start || caller_fail(&executor->call, VERDICT_UNCOALESCED, NULL, 0,
								    "with everything freed the largest block that can "
								    "be had is %zu bytes, in the untouched arena it "
								    "was %zu",
								    largest, executor->largest_at_start);
}

/* One pass over the program from wherever the heap is, to an empty heap. */
static bool run_round(struct executor *executor)
{
	const size_t order = program_op_count(executor->program) + executor->round;
	const struct scheduler_client client = {
		.ready = scheduled_ready,
		.release = scheduled_release,
		.resumed = scheduled_resumed,
		.ended = scheduled_ended,
		.context = executor,
	};
	struct heap_summary summary;

	executor->call.log = executor->round == 0 ? executor->options->log : NULL;
	memset(executor->events, 0, executor->event_limit * sizeof executor->events[0]);
	executor->event_limit = 0;
	for (size_t i = 0; i < executor->program->thread_count; i++)
		executor->threads[i].state = i == 0 ? THREAD_READY : THREAD_ABSENT;
	for (size_t i = 0; i < executor->program->thread_count; i++) {
		executor->threads[i].op = NO_OP;
		executor->threads[i].next = 0;
	}
	if (executor->call.scheduler != NULL)
		executor->call.scheduler->begin(executor->call.scheduler, &client, executor->call.record);
	if (!run_thread_ops(&executor->threads[0], false))
		return false;
	executor->threads[0].op = NO_OP;
	executor->joining_all = true;
	join_all(executor);
	executor->joining_all = false;
	if (executor->call.failed)
		return false;
	/* Main is alone: the rest is the same whatever the schedule was. */
	if (executor->call.scheduler != NULL)
		executor->call.scheduler->pause(true);
	set_current(executor, &executor->threads[0]);
	if (executor->call.log != NULL)
		event_log_end(executor->call.log, executor->call.allocator);
	if (!check_quiet(executor, false, NULL))
		return false;
	/* In the second round, so that the first is the same with these checks and without. */
	if (executor->options->deep && executor->round == 1) {
		if (!check_quiet(executor, true, &summary) || !check_largest_free(executor, summary.largest_free))
			return false;
	}
	executor->call.record->op = NO_OP;
	if (!caller_free_all(&executor->call, order))
		return false;
	if (executor->round <= 1 && (!check_quiet(executor, true, NULL) || !check_whole(executor)))
		return false;
	if (executor->call.scheduler != NULL)
		executor->call.scheduler->end();
	return true;
}

/*
 * Runs the program again and again: what is mapped once all is freed must not grow without end. Caches that fill up grow at first, so
 * growth counts only if it is there after a few rounds, after many, and after very many.
 */
static bool check_plateau(struct executor *executor)
{
	static const unsigned windows[] = {12, 48, PLATEAU_ROUNDS};
	size_t mapped[PLATEAU_ROUNDS], before = 0, after = 0;

	/* What a fixed arena has does not change: here it is the largest block that tells. */
	if (executor->call.allocator->arena_size != 0) {
		executor->round = 1;
		return run_round(executor);
	}
	if ((executor->call.oracles & ORACLE(VERDICT_UNRECLAIMED)) == 0)
		return true;
	executor->call.record->checks[VERDICT_UNRECLAIMED]++;
	mapped[0] = arena_counts()->mapped;
	executor->round = 1;
	for (size_t window = 0; window < sizeof windows / sizeof windows[0]; window++) {
		for (; executor->round < windows[window]; executor->round++) {
			if (!run_round(executor))
				return false;
			mapped[executor->round] = arena_counts()->mapped;
			/* One of the last rounds that needs no more than those before is enough. */
			if (executor->round >= windows[window] * 2 / 3 &&
			    !footprint_grows(mapped, windows[window], executor->round + 1, &before, &after))
				return true;
		}
	}
	return caller_fail(&executor->call, VERDICT_UNRECLAIMED, NULL, 0,
			   "with everything freed, up to %zu bytes stay mapped in the first %d rounds and at least %zu "
			   "in the last of %d",
			   before, PLATEAU_ROUNDS * 2 / 3, after, PLATEAU_ROUNDS);
}

/*
 * Threads that run one at a time hand over several times as fast on one processor as across two. Keeps what was allowed before in `allowed`;
 * false if nothing was changed.
 */
static bool stay_on_one_processor(cpu_set_t *allowed)
{
	const int here = sched_getcpu();
	cpu_set_t one;

	if (here < 0 || sched_getaffinity(0, sizeof *allowed, allowed) != 0)
		return false;
	CPU_ZERO(&one);
	CPU_SET(here, &one);
	return sched_setaffinity(0, sizeof one, &one) == 0;
}

enum verdict_kind executor_run(struct executor *executor, const struct subject *subject, const struct program *program,
			       const struct run_options *options)
{
	struct run_record *const record = executor->call.record;
	uint8_t *outcomes = options->outcomes;
	cpu_set_t allowed;

	executor->subject = subject;
	executor->call.allocator = subject->allocator;
	executor->program = program;
	executor->options = options;
	executor->call.oracles = known_oracles_left(options->oracles);
	executor->call.scheduler = options->scheduler;
	set_current(executor, &executor->threads[0]);
	executor->call.blocks.sparse = options->sparse;
	executor->call.arena = subject_has_arena(subject);
	executor->call.failed = false;
	executor->round = 0;
	if (outcomes != NULL)
		memset(outcomes, OUTCOME_NONE, program_op_count(program));
	for (size_t i = 0; i < program->thread_count; i++) {
		executor->outcomes[i] = outcomes;
		if (outcomes != NULL)
			outcomes += program->threads[i].count;
	}
	if (strcmp(record->allocator, subject->allocator->name) != 0)
		snprintf(record->allocator, sizeof record->allocator, "%s", subject->allocator->name);
	record->verdict.kind = VERDICT_CLEAN;
	record->thread = 0;
	record->op = NO_OP;
	record->state = RUN_RUNNING;
	measure_largest(executor, subject);
	subject_reset(subject);
	if (executor->call.arena)
		arena_set_faults(program->faults, program->fault_count);
	const bool pinned = program->thread_count > 1 &&
			    (options->scheduler == NULL || options->scheduler->one_processor) &&
			    stay_on_one_processor(&allowed);

	if (run_round(executor) && options->deep && executor->call.arena)
		check_plateau(executor);
	if (pinned)
		sched_setaffinity(0, sizeof allowed, &allowed);
	if (executor->call.arena)
		record->faults_injected += arena_counts()->faults;
	if (!executor->call.failed)
		blocks_reset(&executor->call.blocks, 0);
	record->programs++;
	record->state = RUN_FINISHED;
	return record->verdict.kind;
}

/* ---- What kills the process ---- */

/* The live block that an address lies in, 0 if none. */
static uint32_t block_at(const struct executor *executor, uintptr_t address)
{
	const uint32_t index = shadow_find(address);

	return index < executor->call.blocks.limit ? index : 0;
}

static void record_death(enum verdict_kind kind, uintptr_t address, const char *what)
{
	struct executor *const executor = watched;

	if (executor == NULL || executor->call.record->state != RUN_RUNNING ||
	    executor->call.record->verdict.kind != VERDICT_CLEAN)
		return;
	struct finding *const finding = &executor->call.finding;

	finding->kind = kind;
	finding->address = address;
	finding->victim = block_at(executor, address);
	finding->other = 0;
	snprintf(finding->message, sizeof finding->message, "%s", what);
	caller_report(&executor->call, executor->call.record);
	heap_map(executor->call.allocator, &executor->call.blocks, finding, executor->call.record);
}

static void on_signal(int signal_number, siginfo_t *information, void *context)
{
	char what[64];

	(void)context;
	snprintf(what, sizeof what, "killed by signal %d (%s)", signal_number, strsignal(signal_number));
	record_death(signal_number == SIGABRT ? VERDICT_ABORT : VERDICT_CRASH,
		     signal_number == SIGABRT ? 0 : (uintptr_t)information->si_addr, what);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* The first line of a sanitizer's report that says what happened: "AddressSanitizer: heap-buffer-overflow on address ...". */
static void first_line(const char *report, char *line, size_t size)
{
	const char *start = strstr(report, "Sanitizer: ");
	size_t length;

	while (start != NULL && start > report && start[-1] != ' ' && start[-1] != '\n')
		start--;
	if (start == NULL)
		start = report;
	length = strcspn(start, "\n");
	snprintf(line, size, "%.*s", (int)(length < size ? length : size - 1), start);
}

static void on_asan_report(const char *report)
{
	char line[400], what[480];
	const uintptr_t address = __asan_get_report_address != NULL ? (uintptr_t)__asan_get_report_address() : 0;
	const bool is_abort = strstr(report, "Sanitizer: ABRT") != NULL;

	if (watched == NULL)
		return;
	const uint32_t victim = block_at(watched, address);

	first_line(report, line, sizeof line);
	if (victim != 0 && strstr(report, "use-after-poison") != NULL) {
		char text[160];

		block_describe(&watched->call.blocks.records[victim], text, sizeof text);
		snprintf(what, sizeof what, "the allocator %s byte %zu of the live block %s",
			 __asan_get_report_access_type != NULL && __asan_get_report_access_type() != 0 ? "writes"
												       : "reads",
			 (size_t)(address - (uintptr_t)watched->call.blocks.records[victim].address), text);
		record_death(VERDICT_TOUCHED_LIVE, address, what);
		return;
	}
	record_death(is_abort ? VERDICT_ABORT : VERDICT_CRASH, is_abort ? 0 : address, line);
}

void __ubsan_on_report(void);

/* UndefinedBehaviorSanitizer calls this for each report, where its runtime is linked. */
void __ubsan_on_report(void)
{
	const char *kind = "", *message = "", *file = "";
	unsigned line = 0, column = 0;
	char *address = NULL, what[400];

	if (watched == NULL || __ubsan_get_current_report_data == NULL)
		return;
	__ubsan_get_current_report_data(&kind, &message, &file, &line, &column, &address);
	snprintf(what, sizeof what, "undefined behaviour at %s:%u:%u: %s", file, line, column, message);
	if (!known_failure(VERDICT_CRASH, what))
		record_death(VERDICT_CRASH, (uintptr_t)address, what);
}

void executor_watch(struct executor *executor, bool handle_signals)
{
	static char stack[64 * 1024];
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	watched = executor;
	if (__asan_set_error_report_callback != NULL)
		__asan_set_error_report_callback(on_asan_report);
	if (!handle_signals)
		return;
	sigaltstack(&alternative, NULL);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaction(signals[i], &action, NULL);
}
