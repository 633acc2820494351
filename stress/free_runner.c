#define _GNU_SOURCE
#include "free_runner.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena.h"
#include "calls.h"
#include "heap_check.h"
#include "known.h"
#include "sanitizer.h"
#include "unseen_lock.h"

/* Passes of a program whose footprint never stops growing. */
#define PLATEAU_PASSES 192

#define FORK_PASSES 3 /* forks cost milliseconds: only so many passes have them */
#define FORK_TIMEOUT_MILLISECONDS 10000

#define STEPS_TOLD 64             /* operations between two signs of life */
#define WAIT_NANOSECONDS 10000000 /* then it is looked whether anybody can go on */

enum worker_state { WORKER_ABSENT, WORKER_STARTING, WORKER_RUNNING, WORKER_ENDED, WORKER_JOINED };
enum joining { JOINING_NOT_YET, JOINING_NOBODY, JOINING_SOMEBODY }; /* its handle is not known; known; at work */
enum worker_pause { PAUSE_NONE, PAUSE_EVENT, PAUSE_JOIN };

struct worker {
	struct free_runner *runner;
	uint32_t number;
	uint32_t state;     /* enum worker_state, waited on */
	uint32_t joining;   /* enum joining */
	uint32_t pause;     /* enum worker_pause */
	uint32_t waits_for; /* event or thread */
	size_t next;        /* operation, where the destructor goes on */
	pthread_t handle;
	struct os_mark mark;
	struct caller call;
	struct run_record record; /* what this thread counts; what comes after its verdict is never touched */
};

struct free_runner {
	struct run_record *record;
	const struct program *program;
	const struct free_runner_options *options;
	struct caller quiet; /* what main does while no other thread is there */
	uint8_t *shared;     /* by label: used by more than one thread */
	uint16_t *user;      /* by label: a thread that uses it, plus 1 */
	uint64_t *faults;    /* of this pass */
	size_t fault_capacity;
	unsigned pass;
	uint32_t failing;
	uint32_t alive, paused; /* threads */
	uint32_t signalled;     /* changes with every signal and end: what those that pause look at */
	uint32_t events[PROGRAM_EVENTS_MAX];
	struct worker workers[PROGRAM_THREADS_MAX];
};

static struct free_runner *watched; /* for handlers */
static __thread struct worker *self;
static pthread_key_t exit_key;
static __thread bool undefined; /* behaviour was reported of this thread: it ends the process once the report is written */
static bool in_child; /* of a fork: nothing is reported from there */

/* ---- Findings ---- */

/* The first one who finds something ends the process; the others wait for that. */
static void claim_failure(struct free_runner *runner)
{
	if (__atomic_exchange_n(&runner->failing, 1, __ATOMIC_ACQ_REL) != 0)
		for (;;)
			pause();
}

static void on_failure(struct caller *caller)
{
	claim_failure(watched);
	caller_report(caller, watched->record);
	if (caller == &watched->quiet)
		heap_map(caller->allocator, &caller->blocks, &caller->finding, watched->record);
	_Exit(1);
}

/* What the process dies of. Returns to the handler. */
static void record_death(enum verdict_kind kind, uintptr_t address, const char *what)
{
	struct free_runner *const runner = watched;
	struct caller *caller;
	uint32_t block;

	if (runner == NULL || in_child || __atomic_exchange_n(&runner->failing, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	caller = self != NULL ? &self->call : &runner->quiet;
	block = shadow_find(address);
	caller->finding = (struct finding){
		.kind = kind,
		.address = address,
		.victim = block < runner->quiet.blocks.limit ? block : 0,
	};
	snprintf(caller->finding.message, sizeof caller->finding.message, "%s", what);
	caller_report(caller, runner->record);
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

static void on_asan_report(const char *report)
{
	const uintptr_t address = __asan_get_report_address != NULL ? (uintptr_t)__asan_get_report_address() : 0;
	const uint32_t victim = shadow_find(address);
	const char *start = strstr(report, "Sanitizer: ");
	char what[480], text[160];

	if (watched == NULL)
		return;
	if (victim != 0 && victim < watched->quiet.blocks.limit && strstr(report, "use-after-poison") != NULL) {
		const struct block *const block = &watched->quiet.blocks.records[victim];

		block_describe(block, text, sizeof text);
		snprintf(what, sizeof what, "the allocator %s byte %zu of the live block %s",
			 __asan_get_report_access_type != NULL && __asan_get_report_access_type() != 0 ? "writes"
												       : "reads",
			 (size_t)(address - (uintptr_t)block->address), text);
		record_death(VERDICT_TOUCHED_LIVE, address, what);
		return;
	}
	start = start != NULL ? start : report;
	snprintf(what, sizeof what, "Address%.*s", (int)strcspn(start, "\n"), start);
	record_death(strstr(report, "Sanitizer: ABRT") != NULL ? VERDICT_ABORT : VERDICT_CRASH, address, what);
}

void __ubsan_on_report(void);
void __tsan_on_report(void *report);
int __tsan_get_report_data(void *report, const char **description, int *count, int *stack_count, int *mop_count,
			   int *loc_count, int *mutex_count, int *thread_count, int *unique_tid_count,
			   void **sleep_trace, unsigned long trace_size) __attribute__((weak));
int __tsan_get_report_mop(void *report, unsigned long index, int *tid, void **address, int *size, int *write,
			  int *atomic, void **trace, unsigned long trace_size) __attribute__((weak));

/* UndefinedBehaviorSanitizer calls this for each report. */
void __ubsan_on_report(void)
{
	const char *kind = "", *message = "", *file = "";
	unsigned line = 0, column = 0;
	char *address = NULL, what[400];

	if (__ubsan_get_current_report_data != NULL)
		__ubsan_get_current_report_data(&kind, &message, &file, &line, &column, &address);
	snprintf(what, sizeof what, "undefined behaviour at %s:%u:%u: %s", file, line, column, message);
	if (known_failure(VERDICT_CRASH, what))
		return;
	record_death(VERDICT_CRASH, (uintptr_t)address, what);
	undefined = true;
}

/* ThreadSanitizer calls this for each report, before it prints it. */
void __tsan_on_report(void *report)
{
	const char *description = "data race";
	int unused[7];
	void *trace[1], *address = NULL;
	char what[256];

	if (__tsan_get_report_data != NULL)
		__tsan_get_report_data(report, &description, &unused[0], &unused[1], &unused[2], &unused[3], &unused[4],
				       &unused[5], &unused[6], trace, 1);
	if (__tsan_get_report_mop != NULL)
		__tsan_get_report_mop(report, 0, &unused[0], &address, &unused[1], &unused[2], &unused[3], trace, 1);
	snprintf(what, sizeof what, "ThreadSanitizer: %s", description);
	record_death(VERDICT_RACE, (uintptr_t)address, what);
}

static void watch_process(void)
{
	static char stack[64 * 1024]; /* of main: the other threads take the signal on theirs */
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	const stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (__asan_set_error_report_callback != NULL)
		__asan_set_error_report_callback(on_asan_report);
	if (sanitizer_has_asan())
		return; /* its own handlers call that */
	sigaltstack(&alternative, NULL);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		sigaction(signals[i], &action, NULL);
}

/* ---- Waiting ---- */

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void tell_all(struct free_runner *runner)
{
	__atomic_fetch_add(&runner->signalled, 1, __ATOMIC_ACQ_REL);
	if (load(&runner->paused) > 0)
		unseen_wake(&runner->signalled, INT32_MAX);
}

static bool is_running(const struct free_runner *runner, uint32_t number)
{
	const uint32_t state = load(&runner->workers[number].state);

	return state == WORKER_STARTING || state == WORKER_RUNNING;
}

/*
 * Whether nobody can run, and this is the one that goes on then (program.h): the lowest that waits for an event, else the lowest but main
 * that joins, else main.
 */
static bool goes_on_alone(struct free_runner *runner, const struct worker *worker)
{
	const struct worker *chosen = NULL;

	if (load(&runner->paused) != load(&runner->alive))
		return false;
	for (size_t i = 0; i < runner->program->thread_count; i++) {
		const struct worker *const other = &runner->workers[i];
		const uint32_t pause = load(&other->pause);

		if (pause == PAUSE_NONE)
			continue;
		if (pause == PAUSE_EVENT ? load(&runner->events[other->waits_for]) > 0
					 : !is_running(runner, other->waits_for))
			return false;
		if (chosen == NULL || (chosen->pause == PAUSE_JOIN && (pause == PAUSE_EVENT || chosen->number == 0)))
			chosen = other;
	}
	return chosen == worker && load(&runner->paused) == load(&runner->alive);
}

static bool take_event(struct free_runner *runner, uint32_t event)
{
	uint32_t count = load(&runner->events[event]);

	while (count > 0)
		if (__atomic_compare_exchange_n(&runner->events[event], &count, count - 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return true;
	return false;
}

/* Whether what the worker waits for has come; takes an event. */
static bool has_come(struct worker *worker, enum worker_pause pause)
{
	struct free_runner *const runner = worker->runner;

	return pause == PAUSE_EVENT ? take_event(runner, worker->waits_for) : !is_running(runner, worker->waits_for);
}

/* False: it never came, and the thread goes on without. */
static bool wait_for(struct worker *worker, enum worker_pause pause, uint32_t what)
{
	const struct timespec time = {.tv_nsec = WAIT_NANOSECONDS};
	struct free_runner *const runner = worker->runner;
	bool came;

	worker->waits_for = what;
	if (has_come(worker, pause))
		return true;
	store(&worker->pause, pause);
	__atomic_fetch_add(&runner->paused, 1, __ATOMIC_ACQ_REL);
	for (;;) {
		const uint32_t seen = load(&runner->signalled);

		came = has_come(worker, pause);
		if (came || goes_on_alone(runner, worker))
			break;
		unseen_wait(&runner->signalled, seen, &time);
	}
	store(&worker->pause, PAUSE_NONE);
	__atomic_fetch_sub(&runner->paused, 1, __ATOMIC_ACQ_REL);
	return came;
}

/* ---- Threads ---- */

static void *worker_main(void *argument);

static void begin_worker(struct worker *worker)
{
	struct free_runner *const runner = worker->runner;

	memset(&worker->record, 0, offsetof(struct run_record, map_count));
	worker->record.thread = worker->number;
	worker->next = 0;
	worker->call.record = &worker->record;
	worker->call.allocator = runner->quiet.allocator;
	worker->call.oracles = runner->quiet.oracles;
	worker->call.arena = runner->quiet.arena;
	worker->call.shared = runner->shared;
	worker->call.fail = on_failure;
	worker->call.steps = &runner->record->steps;
	worker->call.mark = &worker->mark;
	blocks_share(&worker->call.blocks, &runner->quiet.blocks,
		     ((uint64_t)worker->number << 48) + ((uint64_t)(runner->pass & 0xffff) << 32) + 1);
	__atomic_fetch_add(&runner->alive, 1, __ATOMIC_ACQ_REL);
}

static void spawn(struct free_runner *runner, uint32_t number)
{
	struct worker *const worker = &runner->workers[number];
	uint32_t state = WORKER_ABSENT;
	pthread_attr_t attributes;

	if (number == 0 || number >= runner->program->thread_count ||
	    !__atomic_compare_exchange_n(&worker->state, &state, WORKER_STARTING, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	begin_worker(worker);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 * 1024);
	if (pthread_create(&worker->handle, &attributes, worker_main, worker) != 0) {
		perror("heapstorm: no thread");
		_Exit(3);
	}
	pthread_attr_destroy(&attributes);
	/* The thread may have ended by now. */
	state = WORKER_STARTING;
	__atomic_compare_exchange_n(&worker->state, &state, WORKER_RUNNING, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	store(&worker->joining, JOINING_NOBODY);
}

static void join(struct worker *worker, uint32_t number)
{
	struct free_runner *const runner = worker->runner;
	struct worker *const other = &runner->workers[number];

	if (number == 0 || number >= runner->program->thread_count || number == worker->number ||
	    load(&other->state) == WORKER_ABSENT || !wait_for(worker, PAUSE_JOIN, number))
		return;
	while (load(&other->joining) == JOINING_NOT_YET)
		sched_yield();
	if (__atomic_exchange_n(&other->joining, JOINING_SOMEBODY, __ATOMIC_ACQ_REL) == JOINING_NOBODY) {
		pthread_join(other->handle, NULL);
		sanitizer_release(&other->state);
		store(&other->state, WORKER_JOINED);
		unseen_wake(&other->state, INT32_MAX);
		return;
	}
	/* Its destructors come to an end by themselves. */
	for (uint32_t state = load(&other->state); state != WORKER_JOINED; state = load(&other->state))
		unseen_wait(&other->state, state, NULL);
	sanitizer_acquire(&other->state);
}

static void forget_watched(void)
{
	in_child = true;
}

static bool run_op(struct worker *worker, const struct op *op, bool ending)
{
	struct free_runner *const runner = worker->runner;
	enum outcome outcome;

	switch ((enum op_kind)op->kind) {
	case OP_SPAWN:
		if (!ending)
			spawn(runner, (uint32_t)op->thread);
		return true;
	case OP_JOIN:
		if (!ending)
			join(worker, (uint32_t)op->thread);
		return true;
	case OP_SIGNAL:
		sanitizer_release(&runner->events[op->event]);
		__atomic_fetch_add(&runner->events[op->event], 1, __ATOMIC_ACQ_REL);
		tell_all(runner);
		return true;
	case OP_WAIT:
		if (!ending && wait_for(worker, PAUSE_EVENT, (uint32_t)op->event))
			sanitizer_acquire(&runner->events[op->event]);
		return true;
	case OP_FORK:
		return runner->pass >= FORK_PASSES || runner->options->bare ||
		       caller_fork(&worker->call, FORK_TIMEOUT_MILLISECONDS, forget_watched);
	default:
		if (!caller_run(&worker->call, op, &outcome))
			return false;
		if (undefined)
			_Exit(1);
		return true;
	}
}

/* Until the end or, before `ending`, the operation `exit`. */
static void run_ops(struct worker *worker, bool ending)
{
	const struct thread_program *const code = &worker->runner->program->threads[worker->number];
	struct run_record *const record = &worker->record;

	while (worker->next < code->count) {
		const struct op *const op = &code->ops[worker->next];

		record->op = worker->next++;
		record->operations++;
		record->operations_by_kind[op->kind]++;
		if (record->operations % STEPS_TOLD == 0)
			__atomic_fetch_add(&worker->runner->record->steps, 1, __ATOMIC_RELAXED);
		if (op->kind == OP_EXIT) {
			if (worker->number != 0 && !ending)
				return;
			continue;
		}
		run_op(worker, op, ending);
	}
}

/* The destructor of a thread's value: what the program has after `exit`. */
static void run_rest(void *argument)
{
	run_ops(argument, true);
}

static void *worker_main(void *argument)
{
	struct worker *const worker = argument;

	self = worker;
	run_ops(worker, false);
	if (worker->next < worker->runner->program->threads[worker->number].count)
		pthread_setspecific(exit_key, worker);
	__atomic_fetch_sub(&worker->runner->alive, 1, __ATOMIC_ACQ_REL);
	store(&worker->state, WORKER_ENDED);
	tell_all(worker->runner);
	return NULL;
}

/* ---- A pass ---- */

static void join_all(struct free_runner *runner)
{
	struct worker *const main_worker = &runner->workers[0];

	uint32_t i = 1;

	while (i < runner->program->thread_count) {
		const uint32_t state = load(&runner->workers[i].state);

		if (state == WORKER_ABSENT || state == WORKER_JOINED) {
			i++;
			continue;
		}
		join(main_worker, i);
		i = 1; /* what ended may have started one that was passed over */
	}
}

/* Adds what the threads have counted. */
static void gather(struct free_runner *runner)
{
	struct run_record *const record = runner->record;

	for (uint32_t i = 0; i < runner->program->thread_count; i++) {
		struct worker *const worker = &runner->workers[i];

		if (i > 0 && worker->state == WORKER_ABSENT)
			continue;
		record->operations += worker->record.operations;
		for (size_t kind = 0; kind < OP_KINDS; kind++)
			record->operations_by_kind[kind] += worker->record.operations_by_kind[kind];
		for (size_t kind = 0; kind < VERDICT_KINDS; kind++)
			record->checks[kind] += worker->record.checks[kind];
		blocks_join(&runner->quiet.blocks, &worker->call.blocks);
	}
}

static void check_quiet(struct free_runner *runner, bool quiesced)
{
	struct caller *const quiet = &runner->quiet;

	if (runner->options->bare)
		return;
	if (quiesced && quiet->allocator->quiesce != NULL)
		quiet->allocator->quiesce();
	if (!heap_check(quiet->allocator, &quiet->blocks, quiesced && quiet->allocator->quiesce != NULL, quiet->oracles,
			quiet->record, NULL, &quiet->finding))
		on_failure(quiet);
}

/* The n-th mapping of a pass fails, whatever came before it. */
static void set_faults(struct free_runner *runner)
{
	const uint64_t before = arena_counts()->calls;

	for (size_t i = 0; i < runner->program->fault_count; i++)
		runner->faults[i] = before + runner->program->faults[i];
	arena_set_faults(runner->faults, runner->program->fault_count);
}

static void run_pass(struct free_runner *runner, uint32_t label_limit)
{
	struct caller *const quiet = &runner->quiet;
	const uint64_t faults_before = quiet->arena ? arena_counts()->faults : 0;

	memset(runner->events, 0, sizeof runner->events);
	for (uint32_t i = 0; i < runner->program->thread_count; i++) {
		runner->workers[i].state = WORKER_ABSENT;
		runner->workers[i].pause = PAUSE_NONE;
		runner->workers[i].joining = JOINING_NOT_YET;
	}
	runner->alive = runner->paused = 0;
	if (quiet->arena)
		set_faults(runner);
	begin_worker(&runner->workers[0]);
	self = &runner->workers[0];
	run_ops(self, false);
	join_all(runner);
	self = NULL;
	if (quiet->arena) {
		runner->record->faults_injected += arena_counts()->faults - faults_before;
		arena_set_faults(NULL, 0);
	}
	gather(runner);
	quiet->record->thread = 0;
	quiet->record->op = NO_OP;
	check_quiet(runner, false);
	caller_free_all(quiet, program_op_count(runner->program) + runner->pass);
	check_quiet(runner, true);
	blocks_reset(&quiet->blocks, label_limit);
}

/* ---- A run ---- */

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct free_runner *free_runner_create(struct run_record *record)
{
	struct free_runner *const runner = reserve(sizeof *runner);

	if (runner == NULL || !blocks_open(&runner->quiet.blocks))
		return NULL;
	runner->shared = reserve(LABEL_COUNT * sizeof *runner->shared);
	runner->user = reserve(LABEL_COUNT * sizeof *runner->user);
	if (runner->shared == NULL || runner->user == NULL || pthread_key_create(&exit_key, run_rest) != 0)
		return NULL;
	runner->record = record;
	record->magic = RUN_RECORD_MAGIC;
	record->size = sizeof *record;
	runner->quiet.record = record;
	runner->quiet.fail = on_failure;
	runner->quiet.mark = &runner->workers[0].mark;
	for (uint32_t i = 0; i < PROGRAM_THREADS_MAX; i++) {
		runner->workers[i].runner = runner;
		runner->workers[i].number = i;
	}
	watched = runner;
	watch_process();
	return runner;
}

static void note_use(struct free_runner *runner, uint32_t label, size_t thread)
{
	if (label == LABEL_NULL)
		return;
	if (runner->user[label] == 0)
		runner->user[label] = (uint16_t)(thread + 1);
	else if (runner->user[label] != thread + 1)
		runner->shared[label] = 1;
}

/* Only what several threads use needs an exchange; programs use few labels by comparison. */
static uint32_t find_shared_labels(struct free_runner *runner, const struct program *program)
{
	const uint32_t limit = program_label_limit(program);

	memset(runner->shared, 0, limit * sizeof *runner->shared);
	memset(runner->user, 0, limit * sizeof *runner->user);
	for (size_t i = 0; i < program->thread_count; i++) {
		for (size_t j = 0; j < program->threads[i].count; j++) {
			note_use(runner, program->threads[i].ops[j].result, i);
			note_use(runner, program->threads[i].ops[j].block, i);
		}
	}
	return limit;
}

static bool reserve_faults(struct free_runner *runner, size_t count)
{
	if (count <= runner->fault_capacity)
		return true;
	runner->faults = reserve(count * sizeof *runner->faults);
	runner->fault_capacity = count;
	return runner->faults != NULL;
}

/* What stays mapped when all is freed must not grow for ever: see the same check of the executor. */
static void check_plateau(struct free_runner *runner, uint32_t label_limit, size_t *mapped)
{
	const unsigned windows[] = {runner->options->passes, 48, PLATEAU_PASSES};
	size_t before = 0, after = 0;

	if ((runner->quiet.oracles & ORACLE(VERDICT_UNRECLAIMED)) == 0 || !runner->quiet.arena ||
	    runner->options->passes < 12)
		return;
	runner->record->checks[VERDICT_UNRECLAIMED]++;
	for (size_t window = 0; window < sizeof windows / sizeof windows[0]; window++) {
		for (; runner->pass < windows[window] && runner->pass < PLATEAU_PASSES; runner->pass++) {
			run_pass(runner, label_limit);
			mapped[runner->pass] = arena_counts()->mapped;
		}
		if (!footprint_grows(mapped, runner->pass, runner->pass, &before, &after))
			return;
	}
	caller_fail(
		&runner->quiet, VERDICT_UNRECLAIMED, NULL, 0,
		"with everything freed, up to %zu bytes stay mapped after the first %d passes and at least %zu after "
		"the last of %d",
		before, PLATEAU_PASSES * 2 / 3, after, PLATEAU_PASSES);
}

void free_runner_run(struct free_runner *runner, const struct subject *subject, const struct program *program,
		     const struct free_runner_options *options)
{
	struct run_record *const record = runner->record;
	size_t mapped[PLATEAU_PASSES];
	uint32_t label_limit;

	runner->program = program;
	runner->options = options;
	runner->quiet.allocator = subject->allocator;
	runner->quiet.oracles = options->bare ? 0 : known_oracles_left(options->oracles);
	runner->quiet.arena = subject_has_arena(subject);
	runner->quiet.blocks.untracked = options->bare;
	runner->quiet.blocks.sparse = options->sparse;
	snprintf(record->allocator, sizeof record->allocator, "%s", subject->allocator->name);
	if (!reserve_faults(runner, program->fault_count)) {
		perror("heapstorm: no memory for faults");
		_Exit(3);
	}
	label_limit = find_shared_labels(runner, program);
	subject_reset(subject);
	record->state = RUN_RUNNING;
	for (runner->pass = 0; runner->pass < options->passes && runner->pass < PLATEAU_PASSES; runner->pass++) {
		run_pass(runner, label_limit);
		mapped[runner->pass] = runner->quiet.arena ? arena_counts()->mapped : 0;
	}
	check_plateau(runner, label_limit, mapped);
	if (record->verdict.kind != VERDICT_CLEAN)
		_Exit(1);
	record->programs++;
}
