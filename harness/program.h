/*
 * A program: the operations of each thread, the OS faults to inject, and the schedule. Everything that heapstorm runs is one.
 *
 * Meaning
 * - A block has the label of the operation that made it. A label that is bound again leaves its old block live and nameless until the
 *   end of the program, where every live block is verified and freed.
 * - An operation takes its block from the label and puts it back if it is still live; a label with no block stands for NULL. Two
 *   threads therefore never work on one block, whatever the program says.
 * - Threads start at `spawn` (once each; a second spawn of a thread does nothing) and are joined by main's end at the latest. A thread
 *   that is never spawned never runs.
 * - What a thread has after `exit` runs in the destructor of a thread-specific value (pthread_key_create), after that of the allocator where
 *   it has one. Only calls, fork and `signal` do something there.
 * - An event is a counting semaphore: `signal` adds one, `wait` takes one. Where nothing else can run, the lowest waiting
 *   thread goes on as if it had been signalled, and where none waits, the lowest one but main that joins: no program hangs by
 *   itself.
 * - The default schedule runs main until it blocks (join, wait, end), then the lowest thread that can run, until it blocks, and so on.
 */
#ifndef HEAPSTORM_HARNESS_PROGRAM_H
#define HEAPSTORM_HARNESS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "verdict.h"

enum op_kind {
	OP_MALLOC,         /* result = malloc size */
	OP_CALLOC,         /* result = calloc count size */
	OP_REALLOC,        /* result = realloc block size */
	OP_REALLOCARRAY,   /* result = reallocarray block count size */
	OP_FREE,           /* free block */
	OP_ALIGNED_ALLOC,  /* result = aligned_alloc alignment size */
	OP_POSIX_MEMALIGN, /* result = posix_memalign alignment size */
	OP_MEMALIGN,       /* result = memalign alignment size */
	OP_USABLE_SIZE,    /* malloc_usable_size block */
	OP_TRIM,           /* malloc_trim size */
	OP_TOUCH,          /* touch block: verify it, then write it anew */
	OP_SPAWN,          /* spawn thread */
	OP_JOIN,           /* join thread */
	OP_EXIT,           /* exit: the thread ends here, its blocks stay live; see above (main: does nothing) */
	OP_SIGNAL,         /* signal event */
	OP_WAIT,           /* wait event */
	OP_FORK,           /* fork: the child allocates, frees and exits; the parent waits for it */
	OP_KINDS
};

#define LABEL_NULL UINT32_MAX /* the NULL pointer as an operand; no label as a result */
#define LABEL_COUNT                                                                                                    \
	12356630u /* labels are below it: the names of 1 to 5 lower-case letters, a = 0, z = 25, aa = 26, ... */
#define LABEL_SPELT_NULL 260583u /* the number of the name `null`, which is no label */
#define PROGRAM_THREADS_MAX 256  /* main is thread 0 */
#define PROGRAM_EVENTS_MAX 4096
#define PROGRAM_SPEC_MAX 512 /* bytes of the allocator line, NUL included */

struct op {
	uint8_t kind;    /* enum op_kind */
	uint32_t result; /* label, LABEL_NULL where the operation makes none */
	uint32_t block;  /* label, LABEL_NULL for NULL or where the operation takes none */
	uint64_t size;   /* bytes; OP_TRIM: pad */
	union {
		uint64_t count;
		uint64_t alignment;
		uint64_t thread;
		uint64_t event;
	};
};

struct thread_program {
	struct op *ops;
	size_t count, capacity;
};

struct program {
	char allocator[PROGRAM_SPEC_MAX]; /* the text after `allocator`, "" if not given */
	enum verdict_kind expect;         /* VERDICT_CLEAN also where no `expect` was given: see has_expect */
	bool has_expect;
	struct thread_program *threads; /* thread_count of them; thread 0 is main and always there */
	size_t thread_count, thread_capacity;
	uint64_t *faults; /* each n: the n-th mapping call of the run fails (from 1); ascending, no duplicates */
	size_t fault_count, fault_capacity;
	struct preemption *schedule; /* in the order given */
	size_t preemption_count, preemption_capacity;
};

/* Makes an empty program with thread main. `program` may hold anything before. Never fails: out of memory ends the process. */
void program_init(struct program *program);

/* Empties it for reuse and keeps its memory: nothing is allocated for the next program of at most the same size. */
void program_clear(struct program *program);

void program_destroy(struct program *program);

/* Makes `to` (initialised) the same program as `from`. */
void program_copy(struct program *to, const struct program *from);

bool program_equal(const struct program *a, const struct program *b);

/*
 * Appends an operation to a thread below PROGRAM_THREADS_MAX; threads up to it come into being. Fields that the kind does not use need not be
 * set. Returns its place, valid until the next append.
 */
struct op *program_append(struct program *program, size_t thread, struct op op);

/*
 * Sets the allocator line as both formats read it: blanks become spaces and are trimmed at both ends, a `#` that begins a word ends it,
 * what is not printable ASCII becomes `?`, and it is cut to PROGRAM_SPEC_MAX - 1 bytes.
 */
void program_set_allocator(struct program *program, const char *text, size_t length);

/* Threads up to `thread` (below PROGRAM_THREADS_MAX) come into being, with no operations. */
void program_require_thread(struct program *program, size_t thread);

/* The same, and the next `ops` operations of `thread` can be appended without allocating. */
void program_reserve(struct program *program, size_t thread, size_t ops);

/* Puts `count` operations (not part of `program`) before the one at `place` (at most the thread's count). */
void program_insert(struct program *program, size_t thread, size_t place, const struct op *ops, size_t count);

/* Takes out `count` operations from `place` on; all of them must be there. */
void program_remove(struct program *program, size_t thread, size_t place, size_t count);

/* Keeps `faults` ascending; a number that is there already is not added again. */
void program_add_fault(struct program *program, uint64_t n);
void program_add_preemption(struct program *program, struct preemption preemption);

/* Replaces the schedule by that of a run, as it came to be. */
void program_take_schedule(struct program *program, const struct run_record *record);

/* Operations of all threads. */
size_t program_op_count(const struct program *program);

/* One more than the highest label used, 0 if none is. */
uint32_t program_label_limit(const struct program *program);

/* One more than the highest event, 0 if there is none. */
size_t program_event_limit(const struct program *program);

const char *op_kind_name(enum op_kind kind); /* "malloc", ... as in the text format */

/* What an operation has besides its kind, as a set. The text format and the byte encoding have them in this order. */
enum op_operand {
	OPERAND_RESULT = 1 << 0,
	OPERAND_BLOCK = 1 << 1,
	OPERAND_COUNT = 1 << 2,
	OPERAND_ALIGNMENT = 1 << 3,
	OPERAND_SIZE = 1 << 4,
	OPERAND_THREAD = 1 << 5,
	OPERAND_EVENT = 1 << 6,
};

unsigned op_operands(enum op_kind kind);
bool op_makes_block(enum op_kind kind); /* has a result */
bool op_takes_block(enum op_kind kind); /* has a block operand */

/* The same operation, with every field that its kind does not use LABEL_NULL or 0. */
struct op op_normalized(struct op op);

/* The n-th label from 0, without the one that is spelt `null`. LABEL_NULL if there are not so many. */
uint32_t label_nth(uint64_t n);

/* Writes the name of a label ("a", "foo"; "null" for LABEL_NULL). `name` has room for 8 bytes. */
void label_name(uint32_t label, char *name);

/* Writes "main" or "t7". `name` has room for 16 bytes. */
void thread_name(size_t thread, char *name);

/* Writes one operation as the text format does, without indentation or newline. Returns the length, as snprintf. */
int op_print(const struct op *op, char *text, size_t size);

/* ---- Text format (docs/format.md), text.c ---- */

struct parse_error {
	size_t line, column; /* from 1 */
	char message[256];   /* what was wrong and what was expected, one line */
};

/* Reads a text of `length` bytes. False: `error` says what is wrong, `program` holds nothing useful. */
bool program_parse(const char *text, size_t length, struct program *program, struct parse_error *error);

/* Writes the canonical text. False on a write error. */
bool program_print(const struct program *program, FILE *file);

/* ---- Byte encoding (docs/format.md), bytes.c ---- */

/* Every byte string is a program. Replaces what `program` (initialised) holds. */
void program_decode(const uint8_t *bytes, size_t length, struct program *program);

/* Writes at most `capacity` bytes, whole records only, so that what does not fit is left out at the end. Returns the bytes written. */
size_t program_encode(const struct program *program, uint8_t *bytes, size_t capacity);

/* Bytes that program_encode writes with room enough. */
size_t program_encoded_size(const struct program *program);

/* ---- CS:APP malloc-lab traces, rep.c ---- */

/*
 * Reads a `.rep` trace: 4 header numbers (suggested heap size, number of ids, number of operations, weight), then `a ID SIZE`, `r ID SIZE`,
 * `f ID`, all separated by blanks or newlines. An id becomes the label of its number; `f -1` frees NULL.
 */
bool program_parse_rep(const char *text, size_t length, struct program *program, struct parse_error *error);

/* Whether a text begins like a `.rep` trace: four numbers, then an operation or the end. */
bool program_is_rep(const char *text, size_t length);

/* ---- Any file, load.c ---- */

enum program_format { FORMAT_TEXT, FORMAT_BYTES, FORMAT_REP, FORMAT_TRACE };

/*
 * Reads a file and tells its format by content: text begins with `heapstorm` (comments and blank lines may precede it), a recording with the trace magic
 * (trace.h), a `.rep` trace with its four header numbers; what has none of these is text or `.rep` if its name ends in `.heap` or `.rep`, so that it is
 * told what is wrong with it, and bytes otherwise. On failure returns false with one line in `message`: `FILE:LINE:COLUMN: what` for what is wrong
 * inside, `FILE: reason` for a file that cannot be read or a damaged recording. On success `message` is empty, or a warning in the same
 * form: a recording that is cut off is read up to the cut.
 */
bool program_load(const char *path, struct program *program, enum program_format *format, char *message,
		  size_t message_size);

const char *program_format_name(enum program_format format); /* "text", "bytes", "rep", "trace" */

#endif
