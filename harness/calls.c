#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "event_log.h"
#include "known.h"
#include "sanitizer.h"

/* A value that no call sets: what is left of it was not touched. */
#define ERRNO_UNTOUCHED 4095

/* Without an arena nobody knows why a large request was refused. */
#define SURELY_AVAILABLE ((size_t)64 << 20)

/* C17 leaves it to the implementation which alignments aligned_alloc supports; a page's is asked of all. */
#define ALIGNMENT_ASKED 4096

/* More than any process can map: an allocator need not ask the OS. */
#define SURELY_IMPOSSIBLE ((size_t)1 << 46)

/* ---- Findings ---- */

static void describe_block(const struct caller *caller, uint32_t index, struct verdict *verdict)
{
	const struct block *const block = &caller->blocks.records[index];

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

bool caller_report(struct caller *caller, struct run_record *record)
{
	struct verdict *const verdict = &record->verdict;
	const struct finding *const finding = &caller->finding;

	caller->failed = true;
	if (verdict->kind != VERDICT_CLEAN)
		return false;
	verdict->thread = caller->record->thread;
	verdict->op = caller->record->op;
	verdict->address = finding->address;
	verdict->block_count = 0;
	describe_block(caller, finding->victim, verdict);
	describe_block(caller, finding->other, verdict);
	memcpy(verdict->message, finding->message, sizeof verdict->message);
	__atomic_store_n(&verdict->kind, finding->kind, __ATOMIC_RELEASE);
	return true;
}

static bool fail(struct caller *caller)
{
	caller->failed = true;
	caller->fail(caller);
	return false;
}

bool caller_fail(struct caller *caller, enum verdict_kind kind, const void *address, uint32_t victim,
		 const char *format, ...)
{
	va_list arguments;

	if ((caller->oracles & ORACLE(kind)) == 0)
		return true;
	caller->finding.kind = kind;
	caller->finding.address = (uintptr_t)address;
	caller->finding.victim = victim;
	caller->finding.other = 0;
	va_start(arguments, format);
	vsnprintf(caller->finding.message, sizeof caller->finding.message, format, arguments);
	va_end(arguments);
	return known_failure(kind, caller->finding.message) || fail(caller);
}

/* ---- Calls ---- */

/* What the operation asks of the standard. */
struct request {
	size_t size;
	size_t alignment; /* 0: the natural one */
	bool overflows;   /* count * size does not fit: the call has to fail */
	bool zeroed;
	bool bad_alignment;
	bool posix;    /* posix_memalign: returns its error */
	bool no_errno; /* memalign, of which no standard says that it sets errno */
	bool odd_size; /* aligned_alloc of no multiple of the alignment, which C11 allows to refuse */
};

static bool exceeds(size_t size)
{
	return size > PTRDIFF_MAX;
}

static void begin_call(struct caller *caller)
{
	if (caller->arena) {
		caller->mark->faults = arena_counts()->faults;
		caller->mark->refusals = arena_counts()->refusals;
	}
}

/* True if the OS refused something during the call. */
static bool os_refused(const struct caller *caller)
{
	return caller->arena &&
	       (arena_counts()->faults != caller->mark->faults || arena_counts()->refusals != caller->mark->refusals);
}

/* NULL came back: must it, may it, and is errno right? */
static bool check_null(struct caller *caller, const struct request *request, int error, const char *name)
{
	const struct contract *const contract = &caller->allocator->contract;

	caller->record->checks[VERDICT_CONTRACT]++;
	const bool impossible =
		request->overflows || request->size >= SURELY_IMPOSSIBLE || request->alignment >= SURELY_IMPOSSIBLE;

	if (request->bad_alignment) {
		/* Where size and alignment are both wrong, either may be told. */
		if (error != EINVAL && !(error == ENOMEM && (impossible || os_refused(caller))) &&
		    (request->posix || (contract->bad_alignment_fails == CONTRACT_YES &&
					contract->null_sets_errno == CONTRACT_YES && !request->no_errno)))
			return caller_fail(caller, VERDICT_CONTRACT, NULL, 0,
					   "%s refused the alignment %zu with error %d (%s) where EINVAL is due", name,
					   request->alignment, error, strerror(error));
		return true;
	}
	if (request->size == 0 && !request->overflows && contract->malloc_zero_is_block != CONTRACT_YES)
		return true;
	if (request->odd_size && error == EINVAL)
		return true;
	/* For 0 bytes POSIX lets posix_memalign store NULL and succeed, whatever malloc does. */
	if (request->size == 0 && request->posix && error == 0)
		return true;
	/* POSIX lets aligned_alloc say that no such alignment is supported; a fixed arena need not support large ones. */
	if (error == EINVAL && !request->posix &&
	    (request->alignment > ALIGNMENT_ASKED || (request->alignment != 0 && caller->allocator->arena_size != 0)))
		return true;
	if (error != ENOMEM && (request->posix || (contract->null_sets_errno == CONTRACT_YES && !request->no_errno)))
		return caller_fail(caller, VERDICT_CONTRACT, NULL, 0,
				   "%s of %zu bytes returned NULL and left errno at %d where ENOMEM is due", name,
				   request->size, error == ERRNO_UNTOUCHED ? 0 : error);
	if (impossible || contract->bounded == CONTRACT_YES || os_refused(caller) || caller->allocator->arena_size != 0)
		return true;
	if (!caller->arena && request->size + request->alignment > SURELY_AVAILABLE)
		return true;
	return caller_fail(caller, VERDICT_CONTRACT, NULL, 0,
			   "%s of %zu bytes returned NULL though the OS refused nothing", name, request->size);
}

/* Alignment that any object of this size may need. */
static size_t natural_alignment(const struct caller *caller, size_t size)
{
	const struct contract *const contract = &caller->allocator->contract;
	size_t alignment = _Alignof(max_align_t);

	while (alignment > size && alignment > 1)
		alignment /= 2;
	if (contract->small_alignment > alignment)
		alignment = contract->small_alignment;
	if (contract->alignment != 0 && alignment > contract->alignment)
		alignment = contract->alignment;
	return alignment;
}

/* ---- Labels ---- */

static bool is_shared(const struct caller *caller, uint32_t label)
{
	return caller->shared != NULL && caller->shared[label];
}

/* Takes the block out of a label, so that no other thread works on it. 0: there was none. */
static uint32_t take_block(struct caller *caller, uint32_t label)
{
	uint32_t *const entry = &caller->blocks.labels[label];
	uint32_t index;

	if (label == LABEL_NULL)
		return 0;
	if (!is_shared(caller, label)) {
		index = *entry;
		*entry = 0;
		if (index != 0 && caller->scheduler != NULL)
			caller->scheduler->acquire(&caller->blocks.records[index]);
		return index;
	}
	if (__atomic_load_n(entry, __ATOMIC_RELAXED) == 0)
		return 0;
	index = __atomic_exchange_n(entry, 0, __ATOMIC_ACQ_REL);
	/* The only order that a block handed over makes: who takes it comes after who put it there. */
	if (index != 0)
		sanitizer_acquire(entry);
	return index;
}

/* Others can have the block: what was done to it comes before what they do. */
static void publish(const struct caller *caller, uint32_t index)
{
	if (caller->scheduler != NULL)
		caller->scheduler->release(&caller->blocks.records[index]);
}

/* Puts a block back that is still live. If the label was bound meanwhile, the block is nameless. */
static void put_block_back(struct caller *caller, uint32_t label, uint32_t index)
{
	uint32_t *const entry = &caller->blocks.labels[label];
	uint32_t none = 0;

	if (!is_shared(caller, label)) {
		if (*entry == 0)
			*entry = index;
		else
			caller->blocks.records[index].label = LABEL_NULL;
		publish(caller, index);
		return;
	}
	sanitizer_release(entry);
	if (!__atomic_compare_exchange_n(entry, &none, index, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		caller->blocks.records[index].label = LABEL_NULL;
}

/* Drops the record of a block that is not live any more. */
static void forget(struct caller *caller, uint32_t index)
{
	if (caller->log != NULL)
		event_log_add(caller->log, (struct event){.kind = EVENT_DEATH, .id = caller->blocks.records[index].id});
	blocks_forget(&caller->blocks, index);
}

static void bind_label(struct caller *caller, uint32_t label, uint32_t index)
{
	uint32_t *const entry = &caller->blocks.labels[label];
	uint32_t old;

	if (index != 0)
		caller->blocks.records[index].label = label;
	if (is_shared(caller, label)) {
		sanitizer_release(entry);
		old = __atomic_exchange_n(entry, index, __ATOMIC_ACQ_REL);
	} else {
		old = *entry;
		*entry = index;
	}
	/* The old block lives on without a name. */
	if (old != 0)
		caller->blocks.records[old].label = LABEL_NULL;
	if (index != 0)
		publish(caller, index);
}

/* Takes in what a call returned. */
static bool take_result(struct caller *caller, const struct op *op, const struct request *request, void *address,
			int error, enum outcome *outcome)
{
	const char *const name = op_kind_name(op->kind);
	struct run_record *const record = caller->record;
	uint32_t index;

	*outcome = address != NULL ? OUTCOME_BLOCK : OUTCOME_NULL;
	if (address == NULL) {
		bind_label(caller, op->result, 0);
		return check_null(caller, request, error, name);
	}
	record->checks[VERDICT_CONTRACT]++;
	if (request->overflows || exceeds(request->size))
		return caller_fail(caller, VERDICT_CONTRACT, address, 0,
				   "%s returned %p for more bytes than any object can have", name, address);
	if (request->bad_alignment &&
	    (request->posix || caller->allocator->contract.bad_alignment_fails == CONTRACT_YES) &&
	    !caller_fail(caller, VERDICT_CONTRACT, address, 0, "%s accepted the alignment %zu", name,
			 request->alignment))
		return false;
	index = blocks_add(&caller->blocks, address, request->size,
			   request->alignment == 0 || request->bad_alignment ? natural_alignment(caller, request->size)
									     : request->alignment,
			   request->zeroed, caller->allocator->contract.malloc_zero_is_block == CONTRACT_YES,
			   caller->oracles, record, &caller->finding);
	if (index == 0)
		return fail(caller);
	if (caller->log != NULL) {
		const struct block *const block = &caller->blocks.records[index];

		event_log_add(caller->log, (struct event){.kind = EVENT_BIRTH,
							  .thread = block->thread,
							  .op = block->op,
							  .id = block->id,
							  .address = (uintptr_t)block->address,
							  .size = block->requested});
	}
	bind_label(caller, op->result, index);
	return true;
}

static bool is_power_of_two(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool run_plain_allocation(struct caller *caller, const struct op *op, enum outcome *outcome)
{
	const struct allocator *const allocator = caller->allocator;
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
		request.no_errno = op->kind == OP_MEMALIGN;
		request.odd_size =
			op->kind == OP_ALIGNED_ALLOC && !request.bad_alignment && op->size % op->alignment != 0;
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
		caller->record->checks[VERDICT_CONTRACT]++;
		if (error == 0 ? result == (void *)&request : result != (void *)&request && result != NULL)
			return caller_fail(caller, VERDICT_CONTRACT, NULL, 0, "posix_memalign returned %d and %s",
					   error, error == 0 ? "stored no pointer" : "stored a pointer all the same");
		address = error == 0 ? result : NULL;
		return take_result(caller, op, &request, address, error, outcome);
	}
	}
	error = errno;
	return take_result(caller, op, &request, address, error, outcome);
}

/* realloc of a live block. */
static bool realloc_block(struct caller *caller, const struct op *op, struct request *request, uint32_t old,
			  enum outcome *outcome)
{
	const struct allocator *const allocator = caller->allocator;
	struct blocks *const blocks = &caller->blocks;
	const struct block before = blocks->records[old];
	const size_t kept = before.requested < request->size ? before.requested : request->size;
	void *address;
	int error;

	if (!blocks_verify(blocks, old, before.size, VERDICT_CORRUPTION, caller->oracles, caller->record,
			   &caller->finding) ||
	    !blocks_release(blocks, old, caller->oracles, &caller->finding))
		return fail(caller);
	errno = ERRNO_UNTOUCHED;
	address = op->kind == OP_REALLOC ? allocator->realloc(before.address, op->size)
					 : allocator->reallocarray(before.address, op->count, op->size);
	error = errno;
	if (address == NULL) {
		*outcome = OUTCOME_NULL;
		if (request->size == 0 && !request->overflows &&
		    allocator->contract.realloc_zero == REALLOC_ZERO_FREES) {
			forget(caller, old);
			bind_label(caller, op->result, 0);
			return true;
		}
		if (!blocks_restore(blocks, old, caller->oracles, &caller->finding) ||
		    !blocks_verify(blocks, old, before.size, VERDICT_REALLOC_LOST, caller->oracles, caller->record,
				   &caller->finding))
			return fail(caller);
		put_block_back(caller, op->block, old);
		if (op->result != op->block)
			bind_label(caller, op->result, 0);
		return check_null(caller, request, error, op_kind_name(op->kind));
	}
	/* What was kept is looked at through the old record at the new address. */
	blocks->records[old].address = address;
	if (!request->overflows && (uintptr_t)address >> 47 == 0 &&
	    !blocks_verify(blocks, old, kept, VERDICT_REALLOC_LOST, caller->oracles, caller->record,
			   &caller->finding)) {
		blocks->records[old].address = before.address;
		return fail(caller);
	}
	forget(caller, old);
	return take_result(caller, op, request, address, error, outcome);
}

static bool run_realloc(struct caller *caller, const struct op *op, enum outcome *outcome)
{
	const struct allocator *const allocator = caller->allocator;
	struct request request = {.size = op->size};
	uint32_t old;

	if (op->kind == OP_REALLOCARRAY)
		request.overflows = __builtin_mul_overflow(op->count, op->size, &request.size);
	if (op->kind == OP_REALLOC ? allocator->realloc == NULL : allocator->reallocarray == NULL)
		return true;
	old = take_block(caller, op->block);
	if (old != 0) {
		if (request.size == 0 && !request.overflows && allocator->contract.realloc_zero == REALLOC_ZERO_OPEN) {
			put_block_back(caller, op->block, old);
			return true;
		}
		return realloc_block(caller, op, &request, old, outcome);
	}
	errno = ERRNO_UNTOUCHED;
	void *const address = op->kind == OP_REALLOC ? allocator->realloc(NULL, op->size)
						     : allocator->reallocarray(NULL, op->count, op->size);

	return take_result(caller, op, &request, address, errno, outcome);
}

static bool check_free_errno(struct caller *caller, const void *address, int error)
{
	if (caller->allocator->contract.free_keeps_errno != CONTRACT_YES)
		return true;
	caller->record->checks[VERDICT_CONTRACT]++;
	return error == ERRNO_UNTOUCHED || caller_fail(caller, VERDICT_CONTRACT, address, 0,
						       "free changed errno to %d (%s)", error, strerror(error));
}

bool caller_free(struct caller *caller, uint32_t index)
{
	struct blocks *const blocks = &caller->blocks;
	void *const address = blocks->records[index].address;
	const uint32_t label = blocks->records[index].label;

	if (!blocks_verify(blocks, index, blocks->records[index].size, VERDICT_CORRUPTION, caller->oracles,
			   caller->record, &caller->finding) ||
	    !blocks_release(blocks, index, caller->oracles, &caller->finding))
		return fail(caller);
	if (label != LABEL_NULL && __atomic_load_n(&blocks->labels[label], __ATOMIC_RELAXED) == index)
		blocks->labels[label] = 0;
	errno = ERRNO_UNTOUCHED;
	caller->allocator->free(address);
	const int error = errno;

	forget(caller, index);
	return check_free_errno(caller, address, error);
}

static bool run_usable_size(struct caller *caller, uint32_t index)
{
	const struct allocator *const allocator = caller->allocator;
	struct blocks *const blocks = &caller->blocks;
	size_t usable;

	if (allocator->malloc_usable_size == NULL)
		return true;
	caller->record->checks[VERDICT_UNDERSIZED]++;
	if (index == 0) {
		usable = allocator->malloc_usable_size(NULL);
		caller->record->checks[VERDICT_CONTRACT]++;
		return usable == 0 ||
		       caller_fail(caller, VERDICT_CONTRACT, NULL, 0, "malloc_usable_size(NULL) is %zu, not 0", usable);
	}
	const struct block *const block = &blocks->records[index];

	usable = allocator->malloc_usable_size(block->address);
	if (usable < block->requested)
		return caller_fail(caller, VERDICT_UNDERSIZED, block->address, index,
				   "malloc_usable_size is %zu for a block of %zu bytes", usable, block->requested);
	if (allocator->contract.usable_is_writable != CONTRACT_YES || usable <= block->size)
		return true;
	caller->record->checks[VERDICT_CONTRACT]++;
	if (usable > PTRDIFF_MAX || ((uintptr_t)block->address + usable) >> 47 != 0)
		return caller_fail(caller, VERDICT_CONTRACT, block->address, index,
				   "malloc_usable_size is %zu, more than any object can have", usable);
	/* To fill it would be the engine's own crash. */
	if (caller->arena && arena_contains(block->address) &&
	    !arena_is_mapped((const char *)block->address + usable - 1))
		return caller_fail(
			caller, VERDICT_UNDERSIZED, (const char *)block->address + usable - 1, index,
			"malloc_usable_size is %zu for a block of %zu bytes, and the last of them is not mapped",
			usable, block->requested);
	return blocks_extend(blocks, index, usable, caller->oracles, caller->record, &caller->finding) || fail(caller);
}

static bool run_touch(struct caller *caller, uint32_t index)
{
	struct blocks *const blocks = &caller->blocks;

	if (index == 0)
		return true;
	if (!blocks_verify(blocks, index, blocks->records[index].size, VERDICT_CORRUPTION, caller->oracles,
			   caller->record, &caller->finding))
		return fail(caller);
	blocks_rewrite(blocks, index);
	return true;
}

/* ---- fork ---- */

/* A live block that no other thread can have been at work on when the fork came, 0 if there is none. */
static uint32_t own_block(const struct caller *caller)
{
	const struct blocks *const blocks = &caller->blocks;

	for (uint32_t i = 1; i < blocks->limit; i++) {
		const struct block *const block = &blocks->records[i];

		if (block->address == NULL || block->label == LABEL_NULL || blocks->labels[block->label] != i)
			continue;
		if (caller->shared == NULL ||
		    (block->thread == caller->record->thread && !is_shared(caller, block->label)))
			return i;
	}
	return 0;
}

/* There in builds that measure coverage. */
extern int __llvm_profile_write_file(void) __attribute__((weak));

/* The end of the child: at once, also where a sanitizer would first wait for threads that are gone. */
__attribute__((noreturn)) static void end_child(int status)
{
	if (__llvm_profile_write_file != NULL)
		__llvm_profile_write_file();
	for (;;)
		syscall(SYS_exit_group, status);
}

/* In the child: small and larger blocks, and one that the parent made. Exits 0 if all went well. */
static void run_fork_child(struct caller *caller)
{
	const struct allocator *const allocator = caller->allocator;
	const uint32_t own = own_block(caller);
	void *blocks[16];

	for (unsigned i = 0; i < 16; i++) {
		const size_t size = (size_t)24 << i;

		blocks[i] = allocator->malloc(size);
		if (blocks[i] == NULL && (allocator->arena_size != 0 || allocator->contract.bounded == CONTRACT_YES))
			continue;
		if (blocks[i] == NULL)
			end_child(10);
		((volatile char *)blocks[i])[0] = (char)i;
		((volatile char *)blocks[i])[size - 1] = (char)i;
	}
	if (own != 0) {
		if (!blocks_release(&caller->blocks, own, caller->oracles, &caller->finding))
			end_child(11);
		allocator->free(caller->blocks.records[own].address);
	}
	for (unsigned i = 0; i < 16; i++)
		if (blocks[i] != NULL)
			allocator->free(blocks[i]);
	end_child(0);
}

bool caller_fork(struct caller *caller, unsigned timeout_milliseconds, void (*in_child)(void))
{
	const unsigned long timeout = timeout_milliseconds * 1000ul;
	int status = 0;
	pid_t child, ended = 0;

	if ((caller->oracles & ORACLE(VERDICT_FORK)) == 0 || caller->allocator->contract.fork_safe == CONTRACT_NO)
		return true;
	caller->record->checks[VERDICT_FORK]++;
	child = caller->scheduler != NULL ? caller->scheduler->fork() : fork();
	if (child == 0) {
		/* One that hangs goes with whoever waits for it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What happens here is told by the exit status; the shared record is the parent's. */
		in_child();
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		/* A fault in the child would be the harness's own doing. */
		if (caller->arena)
			arena_set_faults(NULL, 0);
		run_fork_child(caller);
	}
	if (child < 0)
		return true;
	/* Most children are done in less than a millisecond. */
	for (unsigned long waited = 0, pause = 0; waited < timeout && ended == 0; waited += pause) {
		ended = waitpid(child, &status, WNOHANG);
		pause = waited < 2000 ? 100 : 1000; /* microseconds */
		if (ended == 0)
			nanosleep(&(struct timespec){.tv_nsec = (long)pause * 1000}, NULL);
		__atomic_fetch_add(caller->steps, 1, __ATOMIC_RELAXED); /* this wait has a limit of its own */
	}
	if (ended == 0) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return caller_fail(caller, VERDICT_FORK, NULL, 0, "the child of a fork hung in the allocator");
	}
	if (WIFSIGNALED(status))
		return caller_fail(caller, VERDICT_FORK, NULL, 0, "the child of a fork was killed by signal %d (%s)",
				   WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == FORK_CHILD_UNLOCKED)
		return caller_fail(caller, VERDICT_FORK, NULL, 0,
				   "the child of a fork unlocks a mutex that is not locked");
	if (WEXITSTATUS(status) == FORK_CHILD_BLOCKED)
		return caller_fail(caller, VERDICT_FORK, NULL, 0,
				   "the child of a fork waits for a lock that no thread of it holds");
	if (WEXITSTATUS(status) != 0)
		return caller_fail(caller, VERDICT_FORK, NULL, 0, "the child of a fork could not allocate and free");
	return true;
}

/* ---- Any operation ---- */

bool caller_run(struct caller *caller, const struct op *op, enum outcome *outcome)
{
	begin_call(caller);
	switch ((enum op_kind)op->kind) {
	case OP_MALLOC:
	case OP_CALLOC:
	case OP_ALIGNED_ALLOC:
	case OP_MEMALIGN:
	case OP_POSIX_MEMALIGN:
		return run_plain_allocation(caller, op, outcome);
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		return run_realloc(caller, op, outcome);
	case OP_FREE: {
		const uint32_t index = take_block(caller, op->block);

		if (index != 0)
			return caller_free(caller, index);
		errno = ERRNO_UNTOUCHED;
		caller->allocator->free(NULL);
		return check_free_errno(caller, NULL, errno);
	}
	case OP_USABLE_SIZE:
	case OP_TOUCH: {
		const uint32_t index = take_block(caller, op->block);

		if (!(op->kind == OP_TOUCH ? run_touch(caller, index) : run_usable_size(caller, index)))
			return false;
		if (index != 0)
			put_block_back(caller, op->block, index);
		return true;
	}
	case OP_TRIM:
		if (caller->allocator->malloc_trim != NULL)
			caller->allocator->malloc_trim(op->size);
		return true;
	default:
		return true;
	}
}

bool caller_free_all(struct caller *caller, size_t order)
{
	const struct blocks *const blocks = &caller->blocks;
	const uint32_t limit = blocks->limit;

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
			caller->record->steps++;
			if (!caller_free(caller, index))
				return false;
		}
	}
	return true;
}

bool footprint_grows(const size_t *mapped, size_t window, size_t rounds, size_t *before, size_t *after)
{
	*before = 0;
	*after = SIZE_MAX;
	for (size_t i = 0; i < rounds; i++) {
		if (i < window * 2 / 3)
			*before = mapped[i] > *before ? mapped[i] : *before;
		else
			*after = mapped[i] < *after ? mapped[i] : *after;
	}
	return *after > *before;
}
