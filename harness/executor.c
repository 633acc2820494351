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
#include "blocks.h"
#include "heap_check.h"
#include "sanitizer.h"

/* A value that no call sets: what is left of it was not touched. */
#define ERRNO_UNTOUCHED 4095

/* Without an arena nobody knows why a large request was refused. */
#define SURELY_AVAILABLE ((size_t)64 << 20)

/* More than any process can map: an allocator need not ask the OS. */
#define SURELY_IMPOSSIBLE ((size_t)1 << 46)

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
	uint32_t waits_for;                      /* event or thread */
	bool reaped;                             /* joined by the engine */
	uint64_t op;                             /* at work */
	uint64_t faults_before, refusals_before; /* at the start of the operation */
	pthread_t handle;
	sem_t token;
};

struct executor {
	struct run_record *record;
	struct blocks blocks;
	const struct subject *subject;
	const struct allocator *allocator;
	const struct program *program;
	const struct run_options *options;
	const struct scheduler *scheduler; /* of the options */
	struct executor_thread *current;   /* has the token */
	uint32_t oracles;
	unsigned round;
	bool failed;
	bool arena;
	uint8_t *outcomes[PROGRAM_THREADS_MAX];
	struct executor_thread threads[PROGRAM_THREADS_MAX];
	uint32_t events[PROGRAM_EVENTS_MAX];
	size_t event_limit;  /* events below it were signalled in this round */
	uint32_t just_ended; /* thread whose destructors may still run, plus 1 */
	struct finding finding;
};

static struct executor *watched; /* for handlers: they have no other way to it */

struct executor *executor_create(struct run_record *record)
{
	struct executor *executor =
		mmap(NULL, sizeof *executor, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (executor == MAP_FAILED || !blocks_open(&executor->blocks))
		return NULL;
	executor->record = record;
	record->magic = RUN_RECORD_MAGIC;
	record->size = sizeof *record;
	for (uint32_t i = 0; i < PROGRAM_THREADS_MAX; i++) {
		executor->threads[i].executor = executor;
		executor->threads[i].number = i;
		sem_init(&executor->threads[i].token, 0, 0);
	}
	return executor;
}

/* ---- Findings ---- */

static void describe_block(const struct executor *executor, uint32_t index, struct verdict *verdict)
{
	const struct block *const block = &executor->blocks.records[index];

	if (index == 0 || verdict->block_count == VERDICT_BLOCKS_MAX)
		return;
	verdict->blocks[verdict->block_count++] = (struct verdict_block){
		.id = block->id,
		.address = (uintptr_t)block->address,
		.size = block->requested,
		.label = block->label,
		.thread = block->thread,
		.op = block->op,
	};
}

/* Puts executor->finding into the record, if it is the first. Always false. */
static bool report_finding(struct executor *executor)
{
	struct run_record *const record = executor->record;
	struct verdict *const verdict = &record->verdict;
	const struct finding *const finding = &executor->finding;

	executor->failed = true;
	if (verdict->kind != VERDICT_CLEAN)
		return false;
	verdict->thread = record->thread;
	verdict->op = record->op;
	verdict->address = finding->address;
	verdict->block_count = 0;
	describe_block(executor, finding->victim, verdict);
	describe_block(executor, finding->other, verdict);
	memcpy(verdict->message, finding->message, sizeof verdict->message);
	__atomic_store_n(&verdict->kind, finding->kind, __ATOMIC_RELEASE);
	return false;
}

static bool fail(struct executor *executor)
{
	const bool first = executor->record->verdict.kind == VERDICT_CLEAN;

	report_finding(executor);
	/* Last, since the heap may be in ruins: a crash in the walk finds the verdict in place. */
	if (first)
		heap_map(executor->allocator, &executor->blocks, &executor->finding, executor->record);
	if (executor->scheduler != NULL)
		executor->scheduler->failed();
	return false;
}

__attribute__((format(printf, 5, 6))) static bool fail_with(struct executor *executor, enum verdict_kind kind,
							    const void *address, uint32_t victim, const char *format,
							    ...)
{
	va_list arguments;

	if ((executor->oracles & ORACLE(kind)) == 0)
		return true;
	executor->finding.kind = kind;
	executor->finding.address = (uintptr_t)address;
	executor->finding.victim = victim;
	executor->finding.other = 0;
	va_start(arguments, format);
	vsnprintf(executor->finding.message, sizeof executor->finding.message, format, arguments);
	va_end(arguments);
	return fail(executor);
}

/* ---- Calls ---- */

/* What the operation asks of the standard. */
struct request {
	size_t size;
	size_t alignment; /* 0: the natural one */
	bool overflows;   /* count * size does not fit: the call has to fail */
	bool zeroed;
	bool bad_alignment;
	bool posix; /* posix_memalign: returns its error */
};

static bool exceeds(size_t size)
{
	return size > PTRDIFF_MAX;
}

static void begin_call(struct executor *executor)
{
	if (executor->arena) {
		executor->current->faults_before = arena_counts()->faults;
		executor->current->refusals_before = arena_counts()->refusals;
	}
}

/* True if the OS refused something during the call. */
static bool os_refused(const struct executor *executor)
{
	return executor->arena && (arena_counts()->faults != executor->current->faults_before ||
				   arena_counts()->refusals != executor->current->refusals_before);
}

/* NULL came back: must it, may it, and is errno right? */
static bool check_null(struct executor *executor, const struct request *request, int error, const char *name)
{
	const struct contract *const contract = &executor->allocator->contract;

	executor->record->checks[VERDICT_CONTRACT]++;
	const bool impossible =
		request->overflows || request->size >= SURELY_IMPOSSIBLE || request->alignment >= SURELY_IMPOSSIBLE;

	if (request->bad_alignment) {
		/* Where size and alignment are both wrong, either may be told. */
		if (error != EINVAL && !(error == ENOMEM && (impossible || os_refused(executor))) &&
		    (request->posix || contract->bad_alignment_fails == CONTRACT_YES))
			return fail_with(executor, VERDICT_CONTRACT, NULL, 0,
					 "%s refused the alignment %zu with error %d (%s) where EINVAL is due", name,
					 request->alignment, error, strerror(error));
		return true;
	}
	if (request->size == 0 && !request->overflows && contract->malloc_zero_is_block != CONTRACT_YES)
		return true;
	/* POSIX lets aligned_alloc say that no such alignment is supported. */
	if (error == EINVAL && request->alignment >= SURELY_IMPOSSIBLE && !request->posix)
		return true;
	if (error != ENOMEM)
		return fail_with(executor, VERDICT_CONTRACT, NULL, 0,
				 "%s of %zu bytes returned NULL and left errno at %d where ENOMEM is due", name,
				 request->size, error == ERRNO_UNTOUCHED ? 0 : error);
	if (impossible || os_refused(executor))
		return true;
	if (!executor->arena && request->size + request->alignment > SURELY_AVAILABLE)
		return true;
	return fail_with(executor, VERDICT_CONTRACT, NULL, 0,
			 "%s of %zu bytes returned NULL though the OS refused nothing", name, request->size);
}

/* Alignment that any object of this size may need. */
static size_t natural_alignment(const struct executor *executor, size_t size)
{
	size_t alignment = _Alignof(max_align_t);

	while (alignment > size && alignment > 1)
		alignment /= 2;
	if (executor->allocator->contract.small_alignment > alignment)
		alignment = executor->allocator->contract.small_alignment;
	return alignment;
}

static uint32_t label_block(const struct executor *executor, uint32_t label)
{
	const uint32_t index = label == LABEL_NULL ? 0 : executor->blocks.labels[label];

	if (index != 0 && executor->scheduler != NULL)
		executor->scheduler->acquire(&executor->blocks.records[index]);
	return index;
}

/* Others can have the block: what was done to it comes before what they do. */
static void publish_block(const struct executor *executor, uint32_t index)
{
	if (executor->scheduler != NULL)
		executor->scheduler->release(&executor->blocks.records[index]);
}

/* While a call works on a block, nobody else finds it under its label. */
static void take_label(struct executor *executor, uint32_t label)
{
	if (label != LABEL_NULL)
		executor->blocks.labels[label] = 0;
}

/* Afterwards it is there again, unless the label names another one by now. */
static void put_label(struct executor *executor, uint32_t index)
{
	const uint32_t label = executor->blocks.records[index].label;

	if (label != LABEL_NULL && executor->blocks.labels[label] == 0)
		executor->blocks.labels[label] = index;
	else
		executor->blocks.records[index].label = LABEL_NULL;
	publish_block(executor, index);
}

static void bind_label(struct executor *executor, uint32_t label, uint32_t index)
{
	uint32_t *const entry = &executor->blocks.labels[label];

	/* The old block lives on without a name. */
	if (*entry != 0)
		executor->blocks.records[*entry].label = LABEL_NULL;
	*entry = index;
	if (index != 0)
		executor->blocks.records[index].label = label;
}

/* Takes in what a call returned. */
static bool take_result(struct executor *executor, const struct op *op, const struct request *request, void *address,
			int error, enum outcome *outcome)
{
	const char *const name = op_kind_name(op->kind);
	struct run_record *const record = executor->record;
	uint32_t index;

	*outcome = address != NULL ? OUTCOME_BLOCK : OUTCOME_NULL;
	if (address == NULL) {
		bind_label(executor, op->result, 0);
		return check_null(executor, request, error, name);
	}
	record->checks[VERDICT_CONTRACT]++;
	if (request->overflows || exceeds(request->size))
		return fail_with(executor, VERDICT_CONTRACT, address, 0,
				 "%s returned %p for more bytes than any object can have", name, address);
	if (request->bad_alignment &&
	    (request->posix || executor->allocator->contract.bad_alignment_fails == CONTRACT_YES) &&
	    !fail_with(executor, VERDICT_CONTRACT, address, 0, "%s accepted the alignment %zu", name,
		       request->alignment))
		return false;
	index = blocks_add(&executor->blocks, address, request->size,
			   request->alignment == 0 || request->bad_alignment
				   ? natural_alignment(executor, request->size)
				   : request->alignment,
			   request->zeroed, executor->allocator->contract.malloc_zero_is_block == CONTRACT_YES,
			   executor->oracles, record, &executor->finding);
	if (index == 0)
		return fail(executor);
	bind_label(executor, op->result, index);
	publish_block(executor, index);
	return true;
}

static bool is_power_of_two(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool run_plain_allocation(struct executor *executor, const struct op *op, enum outcome *outcome)
{
	const struct allocator *const allocator = executor->allocator;
	struct request request = {.size = op->size};
	void *address = NULL;
	int error = ERRNO_UNTOUCHED;

	errno = ERRNO_UNTOUCHED;
	switch (op->kind) {
	case OP_MALLOC:
		address = allocator->malloc(op->size);
		break;
	case OP_CALLOC:
		if (allocator->calloc == NULL)
			return true;
		request.overflows = __builtin_mul_overflow(op->count, op->size, &request.size);
		request.zeroed = true;
		address = allocator->calloc(op->count, op->size);
		break;
	case OP_ALIGNED_ALLOC:
	case OP_MEMALIGN: {
		void *(*const function)(size_t, size_t) =
			op->kind == OP_MEMALIGN ? allocator->memalign : allocator->aligned_alloc;

		if (function == NULL)
			return true;
		request.alignment = op->alignment;
		request.bad_alignment = !is_power_of_two(op->alignment);
		if (request.bad_alignment && allocator->contract.bad_alignment_fails == CONTRACT_OPEN)
			return true;
		address = function(op->alignment, op->size);
		break;
	}
	default: {
		void *result = &request;

		if (allocator->posix_memalign == NULL)
			return true;
		request.alignment = op->alignment;
		request.posix = true;
		request.bad_alignment = !is_power_of_two(op->alignment) || op->alignment % sizeof(void *) != 0;
		error = allocator->posix_memalign(&result, op->alignment, op->size);
		executor->record->checks[VERDICT_CONTRACT]++;
		if (error == 0 ? result == (void *)&request : result != (void *)&request && result != NULL)
			return fail_with(executor, VERDICT_CONTRACT, NULL, 0, "posix_memalign returned %d and %s",
					 error, error == 0 ? "stored no pointer" : "stored a pointer all the same");
		address = error == 0 ? result : NULL;
		return take_result(executor, op, &request, address, error, outcome);
	}
	}
	error = errno;
	return take_result(executor, op, &request, address, error, outcome);
}

/* realloc of a live block. */
static bool realloc_block(struct executor *executor, const struct op *op, struct request *request, uint32_t old,
			  enum outcome *outcome)
{
	const struct allocator *const allocator = executor->allocator;
	struct blocks *const blocks = &executor->blocks;
	const struct block before = blocks->records[old];
	const size_t kept = before.requested < request->size ? before.requested : request->size;
	void *address;
	int error;

	if (!blocks_verify(blocks, old, before.size, VERDICT_CORRUPTION, executor->oracles, executor->record,
			   &executor->finding) ||
	    !blocks_release(blocks, old, executor->oracles, &executor->finding))
		return fail(executor);
	take_label(executor, before.label);
	errno = ERRNO_UNTOUCHED;
	address = op->kind == OP_REALLOC ? allocator->realloc(before.address, op->size)
					 : allocator->reallocarray(before.address, op->count, op->size);
	error = errno;
	if (address == NULL) {
		*outcome = OUTCOME_NULL;
		if (request->size == 0 && !request->overflows &&
		    allocator->contract.realloc_zero == REALLOC_ZERO_FREES) {
			blocks_forget(blocks, old);
			bind_label(executor, op->result, 0);
			return true;
		}
		if (!blocks_restore(blocks, old, executor->oracles, &executor->finding) ||
		    !blocks_verify(blocks, old, before.size, VERDICT_REALLOC_LOST, executor->oracles, executor->record,
				   &executor->finding))
			return fail(executor);
		put_label(executor, old);
		if (op->result != before.label)
			bind_label(executor, op->result, 0);
		return check_null(executor, request, error, op_kind_name(op->kind));
	}
	/* What was kept is looked at through the old record at the new address. */
	blocks->records[old].address = address;
	if (!request->overflows && (uintptr_t)address >> 47 == 0 &&
	    !blocks_verify(blocks, old, kept, VERDICT_REALLOC_LOST, executor->oracles, executor->record,
			   &executor->finding)) {
		blocks->records[old].address = before.address;
		return fail(executor);
	}
	blocks_forget(blocks, old);
	return take_result(executor, op, request, address, error, outcome);
}

static bool run_realloc(struct executor *executor, const struct op *op, enum outcome *outcome)
{
	const struct allocator *const allocator = executor->allocator;
	const uint32_t old = label_block(executor, op->block);
	struct request request = {.size = op->size};

	if (op->kind == OP_REALLOCARRAY)
		request.overflows = __builtin_mul_overflow(op->count, op->size, &request.size);
	if (op->kind == OP_REALLOC ? allocator->realloc == NULL : allocator->reallocarray == NULL)
		return true;
	if (old != 0) {
		if (request.size == 0 && !request.overflows && allocator->contract.realloc_zero == REALLOC_ZERO_OPEN)
			return true;
		return realloc_block(executor, op, &request, old, outcome);
	}
	errno = ERRNO_UNTOUCHED;
	void *const address = op->kind == OP_REALLOC ? allocator->realloc(NULL, op->size)
						     : allocator->reallocarray(NULL, op->count, op->size);

	return take_result(executor, op, &request, address, errno, outcome);
}

static bool check_free_errno(struct executor *executor, const void *address, int error)
{
	if (executor->allocator->contract.free_keeps_errno != CONTRACT_YES)
		return true;
	executor->record->checks[VERDICT_CONTRACT]++;
	return error == ERRNO_UNTOUCHED || fail_with(executor, VERDICT_CONTRACT, address, 0,
						     "free changed errno to %d (%s)", error, strerror(error));
}

/* Frees a live block, its label too. */
static bool free_block(struct executor *executor, uint32_t index)
{
	struct blocks *const blocks = &executor->blocks;
	const struct block block = blocks->records[index];

	if (!blocks_verify(blocks, index, block.size, VERDICT_CORRUPTION, executor->oracles, executor->record,
			   &executor->finding) ||
	    !blocks_release(blocks, index, executor->oracles, &executor->finding))
		return fail(executor);
	take_label(executor, block.label);
	errno = ERRNO_UNTOUCHED;
	executor->allocator->free(block.address);
	const int error = errno;

	blocks_forget(blocks, index);
	return check_free_errno(executor, block.address, error);
}

static bool run_usable_size(struct executor *executor, uint32_t index)
{
	const struct allocator *const allocator = executor->allocator;
	struct blocks *const blocks = &executor->blocks;
	size_t usable;

	if (allocator->malloc_usable_size == NULL)
		return true;
	executor->record->checks[VERDICT_UNDERSIZED]++;
	if (index == 0) {
		usable = allocator->malloc_usable_size(NULL);
		executor->record->checks[VERDICT_CONTRACT]++;
		return usable == 0 ||
		       fail_with(executor, VERDICT_CONTRACT, NULL, 0, "malloc_usable_size(NULL) is %zu, not 0", usable);
	}
	const struct block *const block = &blocks->records[index];

	take_label(executor, block->label);
	usable = allocator->malloc_usable_size(block->address);
	put_label(executor, index);
	if (usable < block->requested)
		return fail_with(executor, VERDICT_UNDERSIZED, block->address, index,
				 "malloc_usable_size is %zu for a block of %zu bytes", usable, block->requested);
	if (allocator->contract.usable_is_writable != CONTRACT_YES || usable <= block->size)
		return true;
	executor->record->checks[VERDICT_CONTRACT]++;
	if (usable > PTRDIFF_MAX || ((uintptr_t)block->address + usable) >> 47 != 0)
		return fail_with(executor, VERDICT_CONTRACT, block->address, index,
				 "malloc_usable_size is %zu, more than any object can have", usable);
	/* To fill it would be the engine's own crash. */
	if (executor->arena && arena_contains(block->address) &&
	    !arena_is_mapped((const char *)block->address + usable - 1))
		return fail_with(
			executor, VERDICT_UNDERSIZED, (const char *)block->address + usable - 1, index,
			"malloc_usable_size is %zu for a block of %zu bytes, and the last of them is not mapped",
			usable, block->requested);
	return blocks_extend(blocks, index, usable, executor->oracles, executor->record, &executor->finding) ||
	       fail(executor);
}

static bool run_touch(struct executor *executor, uint32_t index)
{
	struct blocks *const blocks = &executor->blocks;

	if (index == 0)
		return true;
	if (!blocks_verify(blocks, index, blocks->records[index].size, VERDICT_CORRUPTION, executor->oracles,
			   executor->record, &executor->finding))
		return fail(executor);
	blocks_rewrite(blocks, index);
	return true;
}

/* ---- fork ---- */

/* In the child: small and larger blocks, and one that the parent made. Exits 0 if all went well. */
static void run_fork_child(struct executor *executor)
{
	const struct allocator *const allocator = executor->allocator;
	void *blocks[16];

	for (unsigned i = 0; i < 16; i++) {
		const size_t size = (size_t)24 << i;

		blocks[i] = allocator->malloc(size);
		if (blocks[i] == NULL)
			_exit(10);
		((volatile char *)blocks[i])[0] = (char)i;
		((volatile char *)blocks[i])[size - 1] = (char)i;
	}
	for (uint32_t i = 1; i < executor->blocks.limit; i++) {
		const struct block *const block = &executor->blocks.records[i];

		/* Not one that another thread works on at the moment. */
		if (block->address == NULL || block->label == LABEL_NULL || executor->blocks.labels[block->label] != i)
			continue;
		if (!blocks_release(&executor->blocks, i, executor->oracles, &executor->finding))
			_exit(11);
		allocator->free(executor->blocks.records[i].address);
		break;
	}
	for (unsigned i = 0; i < 16; i++)
		allocator->free(blocks[i]);
	_exit(0);
}

static bool run_fork(struct executor *executor)
{
	struct timespec pause = {.tv_nsec = 1000 * 1000};
	const unsigned limit = executor->options->fork_timeout_milliseconds != 0
				       ? executor->options->fork_timeout_milliseconds
				       : FORK_TIMEOUT_MILLISECONDS;
	int status = 0;
	pid_t child, ended = 0;

	if (executor->options->no_fork || executor->round > 0)
		return true;
	executor->record->checks[VERDICT_FORK]++;
	/* A fault in the child would be the harness's own doing. */
	child = executor->scheduler != NULL ? executor->scheduler->fork() : fork();
	if (child == 0) {
		/* What happens here is told by the exit status; the shared record is the parent's. */
		watched = NULL;
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (executor->arena)
			arena_set_faults(NULL, 0);
		run_fork_child(executor);
	}
	if (child < 0)
		return true;
	for (unsigned i = 0; i < limit && ended == 0; i++) {
		ended = waitpid(child, &status, WNOHANG);
		if (ended == 0)
			nanosleep(&pause, NULL);
		executor->record->steps++; /* this wait has a limit of its own */
	}
	if (ended == 0) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return fail_with(executor, VERDICT_FORK, NULL, 0, "the child of a fork hung in the allocator");
	}
	if (WIFSIGNALED(status))
		return fail_with(executor, VERDICT_FORK, NULL, 0, "the child of a fork was killed by signal %d (%s)",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == FORK_CHILD_BLOCKED)
		return fail_with(executor, VERDICT_FORK, NULL, 0,
				 "the child of a fork waits for a lock that no thread of it holds");
	if (WEXITSTATUS(status) != 0)
		return fail_with(executor, VERDICT_FORK, NULL, 0, "the child of a fork could not allocate and free");
	return true;
}

/* ---- Threads ---- */

static bool run_thread_ops(struct executor_thread *thread);

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
	thread->executor->current = thread;
	thread->executor->record->thread = thread->number;
}

/* Blocks the thread until it is chosen again. */
static void yield_token(struct executor_thread *thread)
{
	struct executor *const executor = thread->executor;
	const uint64_t op = executor->record->op;

	if (executor->scheduler != NULL) {
		while (!can_run(executor, thread))
			executor->scheduler->wait();
		executor->scheduler->acquire(thread->state == THREAD_WAITING
						     ? (void *)&executor->events[thread->waits_for]
						     : &executor->threads[thread->waits_for]);
	} else {
		struct executor_thread *const next = choose_next(executor);

		if (next != thread) {
			sem_post(&next->token);
			await_token(thread);
			executor->record->op = op;
		}
	}
	if (thread->state == THREAD_WAITING && executor->events[thread->waits_for] > 0)
		executor->events[thread->waits_for]--;
	thread->state = THREAD_READY;
}

static void *thread_main(void *argument)
{
	struct executor_thread *const thread = argument;
	struct executor *const executor = thread->executor;
	struct executor_thread *next;

	await_token(thread);
	if (!run_thread_ops(thread)) {
		/* Main returns the verdict; the heap is not touched any more, not even by this thread's destructors. */
		sem_post(&executor->threads[0].token);
		for (;;)
			pause();
	}
	thread->state = THREAD_ENDED;
	executor->just_ended = thread->number + 1;
	executor->record->op = NO_OP;
	next = choose_next(executor);
	sem_post(&next->token);
	return NULL;
}

/* ---- With a scheduler ---- */

static void *scheduled_main(void *argument)
{
	run_thread_ops(argument); /* a failure ends the process */
	return NULL;
}

static bool scheduled_ready(void *context, uint32_t number)
{
	struct executor *const executor = context;

	return can_run(executor, &executor->threads[number]);
}

static bool scheduled_release(void *context)
{
	return release_blocked(context) != NULL;
}

static void scheduled_resumed(void *context, uint32_t number)
{
	struct executor *const executor = context;

	executor->current = &executor->threads[number];
	executor->record->thread = number;
	executor->record->op = executor->threads[number].op;
}

static void scheduled_ended(void *context, uint32_t number)
{
	struct executor *const executor = context;

	executor->threads[number].state = THREAD_ENDED;
	executor->scheduler->release(&executor->threads[number]);
}

static void run_spawn(struct executor *executor, uint32_t number)
{
	struct executor_thread *const thread = &executor->threads[number];
	pthread_attr_t attributes;

	if (number == 0 || number >= executor->program->thread_count || thread->state != THREAD_ABSENT)
		return;
	if (executor->scheduler != NULL) {
		thread->state = THREAD_READY;
		executor->scheduler->spawn(number, scheduled_main, thread);
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
		if (executor->scheduler != NULL)
			executor->scheduler->acquire(&executor->threads[number]);
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
		if (self->executor->scheduler != NULL)
			self->executor->scheduler->acquire(&self->executor->events[event]);
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

	for (uint32_t i = 1; i < executor->program->thread_count; i++) {
		/* Also of those that have ended: what they did comes before the checks. */
		if (executor->scheduler != NULL && executor->threads[i].state == THREAD_ENDED)
			run_join(main_thread, i);
		while (executor->threads[i].state != THREAD_ABSENT && executor->threads[i].state != THREAD_ENDED &&
		       !executor->failed)
			run_join(main_thread, i);
	}
	executor->record->thread = 0;
}

static bool run_op(struct executor_thread *thread, const struct op *op, enum outcome *outcome)
{
	struct executor *const executor = thread->executor;

	begin_call(executor);
	switch ((enum op_kind)op->kind) {
	case OP_MALLOC:
	case OP_CALLOC:
	case OP_ALIGNED_ALLOC:
	case OP_MEMALIGN:
	case OP_POSIX_MEMALIGN:
		return run_plain_allocation(executor, op, outcome);
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		return run_realloc(executor, op, outcome);
	case OP_FREE: {
		const uint32_t index = label_block(executor, op->block);

		if (index != 0)
			return free_block(executor, index);
		errno = ERRNO_UNTOUCHED;
		executor->allocator->free(NULL);
		return check_free_errno(executor, NULL, errno);
	}
	case OP_USABLE_SIZE:
		return run_usable_size(executor, label_block(executor, op->block));
	case OP_TRIM:
		if (executor->allocator->malloc_trim != NULL)
			executor->allocator->malloc_trim(op->size);
		return true;
	case OP_TOUCH:
		return run_touch(executor, label_block(executor, op->block));
	case OP_SPAWN:
		run_spawn(executor, (uint32_t)op->thread);
		return true;
	case OP_JOIN:
		run_join(thread, (uint32_t)op->thread);
		return !executor->failed;
	case OP_EXIT:
		return true;
	case OP_SIGNAL:
		executor->events[op->event]++;
		if (executor->scheduler != NULL)
			executor->scheduler->release(&executor->events[op->event]);
		if (op->event >= executor->event_limit)
			executor->event_limit = op->event + 1;
		return true;
	case OP_WAIT:
		run_wait(thread, (uint32_t)op->event);
		return !executor->failed;
	case OP_FORK:
		return run_fork(executor);
	case OP_KINDS:
		break;
	}
	return true;
}

static bool run_thread_ops(struct executor_thread *thread)
{
	struct executor *const executor = thread->executor;
	const struct thread_program *const code = &executor->program->threads[thread->number];
	struct run_record *const record = executor->record;
	uint8_t *const outcomes = executor->outcomes[thread->number];

	record->thread = thread->number;
	executor->current = thread;
	for (size_t i = 0; i < code->count; i++) {
		const struct op *const op = &code->ops[i];
		enum outcome outcome = OUTCOME_NONE;

		record->op = i;
		thread->op = i;
		if (executor->scheduler != NULL)
			executor->scheduler->operation();
		record->steps++;
		record->operations++;
		record->operations_by_kind[op->kind]++;
		if (op->kind == OP_EXIT && thread->number != 0)
			break;
		if (!run_op(thread, op, &outcome))
			return false;
		if (outcomes != NULL)
			outcomes[i] = (uint8_t)outcome;
	}
	return true;
}

/* ---- The end of a program ---- */

/* The order of the last frees differs from program to program and from round to round: coalescing must not care. */
static bool free_all(struct executor *executor, size_t order)
{
	struct blocks *const blocks = &executor->blocks;
	const uint32_t limit = blocks->limit;

	executor->record->op = NO_OP;
	for (uint32_t step = 1; step < limit; step++) {
		uint32_t index;

		switch (order % 4) {
		case 0:
			index = step;
			break;
		case 1:
			index = limit - step;
			break;
		case 2: /* odd ones first */
			index = 2 * step - 1 < limit ? 2 * step - 1 : 2 * (step - limit / 2);
			break;
		default: /* even ones first */
			index = 2 * step < limit ? 2 * step : 2 * (step - (limit - 1) / 2) - 1;
			break;
		}
		if (blocks->records[index].address != NULL) {
			executor->record->steps++;
			if (!free_block(executor, index))
				return false;
		}
	}
	return true;
}

/* The largest free region can be had while the OS gives nothing. */
static bool check_largest_free(struct executor *executor, size_t largest)
{
	const struct allocator *const allocator = executor->allocator;
	size_t size = largest - largest / 8;
	void *address;

	if (allocator->contract.coalesced_request_max == 0 || !executor->arena)
		return true;
	if (size > allocator->contract.coalesced_request_max)
		size = allocator->contract.coalesced_request_max;
	if (size < 32)
		return true;
	arena_fail_all(true);
	address = allocator->malloc(size);
	arena_fail_all(false);
	if (address == NULL)
		return fail_with(executor, VERDICT_UNCOALESCED, NULL, 0,
				 "%zu bytes are free in one region, but a request of %zu needs new memory", largest,
				 size);
	allocator->free(address);
	return true;
}

static bool check_quiet(struct executor *executor, bool quiesced, struct heap_summary *summary)
{
	executor->record->op = NO_OP;
	if (quiesced && executor->allocator->quiesce != NULL)
		executor->allocator->quiesce();
	return heap_check(executor->allocator, &executor->blocks, quiesced && executor->allocator->quiesce != NULL,
			  executor->oracles, executor->record, summary, &executor->finding) ||
	       fail(executor);
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

	memset(executor->events, 0, executor->event_limit * sizeof executor->events[0]);
	executor->event_limit = 0;
	for (size_t i = 0; i < executor->program->thread_count; i++)
		executor->threads[i].state = i == 0 ? THREAD_READY : THREAD_ABSENT;
	for (size_t i = 0; i < executor->program->thread_count; i++)
		executor->threads[i].op = NO_OP;
	if (executor->scheduler != NULL)
		executor->scheduler->begin(executor->scheduler, &client, executor->record);
	if (!run_thread_ops(&executor->threads[0]))
		return false;
	executor->threads[0].op = NO_OP;
	join_all(executor);
	if (executor->failed)
		return false;
	/* Main is alone: the rest is the same whatever the schedule was. */
	if (executor->scheduler != NULL)
		executor->scheduler->pause(true);
	executor->current = &executor->threads[0];
	if (!check_quiet(executor, false, NULL))
		return false;
	/* In the second round, so that the first is the same with these checks and without. */
	if (executor->options->deep && executor->round == 1) {
		if (!check_quiet(executor, true, &summary) || !check_largest_free(executor, summary.largest_free))
			return false;
	}
	if (!free_all(executor, order))
		return false;
	if (executor->round <= 1 && !check_quiet(executor, true, NULL))
		return false;
	if (executor->scheduler != NULL)
		executor->scheduler->end();
	return true;
}

/* Of the rounds so far: do the last ones all need more than any before? */
static bool still_grows(const size_t *mapped, size_t rounds, size_t *before, size_t *after)
{
	*before = 0;
	*after = SIZE_MAX;
	for (size_t i = 0; i < rounds; i++) {
		if (i < rounds * 2 / 3)
			*before = mapped[i] > *before ? mapped[i] : *before;
		else
			*after = mapped[i] < *after ? mapped[i] : *after;
	}
	return *after > *before;
}

/*
 * Runs the program again and again: what is mapped once all is freed must not grow without end. Caches that fill up grow at first, so
 * growth counts only if it is there after a few rounds, after many, and after very many.
 */
static bool check_plateau(struct executor *executor)
{
	static const unsigned windows[] = {12, 48, PLATEAU_ROUNDS};
	size_t mapped[PLATEAU_ROUNDS], before = 0, after = 0;

	if ((executor->oracles & ORACLE(VERDICT_UNRECLAIMED)) == 0)
		return true;
	executor->record->checks[VERDICT_UNRECLAIMED]++;
	mapped[0] = arena_counts()->mapped;
	executor->round = 1;
	for (size_t window = 0; window < sizeof windows / sizeof windows[0]; window++) {
		for (; executor->round < windows[window]; executor->round++) {
			if (!run_round(executor))
				return false;
			mapped[executor->round] = arena_counts()->mapped;
		}
		if (!still_grows(mapped, executor->round, &before, &after))
			return true;
	}
	return fail_with(executor, VERDICT_UNRECLAIMED, NULL, 0,
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
	struct run_record *const record = executor->record;
	uint8_t *outcomes = options->outcomes;
	cpu_set_t allowed;

	executor->subject = subject;
	executor->allocator = subject->allocator;
	executor->program = program;
	executor->options = options;
	executor->oracles = options->oracles;
	executor->scheduler = options->scheduler;
	executor->current = &executor->threads[0];
	executor->blocks.sparse = options->sparse;
	executor->arena = subject_has_arena(subject);
	executor->failed = false;
	executor->round = 0;
	if (outcomes != NULL)
		memset(outcomes, OUTCOME_NONE, program_op_count(program));
	for (size_t i = 0; i < program->thread_count; i++) {
		executor->outcomes[i] = outcomes;
		if (outcomes != NULL)
			outcomes += program->threads[i].count;
	}
	snprintf(record->allocator, sizeof record->allocator, "%s", subject->allocator->name);
	record->verdict.kind = VERDICT_CLEAN;
	record->thread = 0;
	record->op = NO_OP;
	record->state = RUN_RUNNING;
	subject_reset(subject);
	if (executor->arena)
		arena_set_faults(program->faults, program->fault_count);
	const bool pinned = program->thread_count > 1 && stay_on_one_processor(&allowed);

	if (run_round(executor) && options->deep && executor->arena)
		check_plateau(executor);
	if (pinned)
		sched_setaffinity(0, sizeof allowed, &allowed);
	if (executor->arena)
		record->faults_injected += arena_counts()->faults;
	if (!executor->failed)
		blocks_reset(&executor->blocks, 0);
	record->programs++;
	record->state = RUN_FINISHED;
	return record->verdict.kind;
}

/* ---- What kills the process ---- */

/* The live block that an address lies in, 0 if none. */
static uint32_t block_at(const struct executor *executor, uintptr_t address)
{
	const uint32_t index = shadow_find(address);

	return index < executor->blocks.limit ? index : 0;
}

static void record_death(enum verdict_kind kind, uintptr_t address, const char *what)
{
	struct executor *const executor = watched;

	if (executor == NULL || executor->record->state != RUN_RUNNING ||
	    executor->record->verdict.kind != VERDICT_CLEAN)
		return;
	struct finding *const finding = &executor->finding;

	finding->kind = kind;
	finding->address = address;
	finding->victim = block_at(executor, address);
	finding->other = 0;
	snprintf(finding->message, sizeof finding->message, "%s", what);
	report_finding(executor);
	heap_map(executor->allocator, &executor->blocks, finding, executor->record);
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

		block_describe(&watched->blocks.records[victim], text, sizeof text);
		snprintf(what, sizeof what, "the allocator %s byte %zu of the live block %s",
			 __asan_get_report_access_type != NULL && __asan_get_report_access_type() != 0 ? "writes"
												       : "reads",
			 (size_t)(address - (uintptr_t)watched->blocks.records[victim].address), text);
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
