/*
 * Recordings: the allocator calls of a real program, in the order in which they took effect.
 *
 * File
 *     "HSTRACE1"                  magic; the digit is the version
 *     u32  header size            little endian, bytes of the header that follows
 *     u32  checksum               low half of the FNV-1a hash (64 bits) of the header
 *     header                      varint pid, varint length of the command line, the command line (a NUL after each
 *                                 argument)
 *     zstd frames                 each of whole events, with its content size (at most TRACE_FRAME_MAX) and checksum
 *
 * A writer ends a frame when it is full or when its caller asks (trace_writer_flush), so that a file cut off anywhere
 * is readable up to the last whole frame. A finished recording ends with the event `end`.
 *
 * Event
 * One byte: the kind in the low four bits, the first operand in the high four. A first operand from 15 on stands
 * as 15, the rest as a varint behind (7 bits a byte, low ones first, the high bit set on all but the last). Further
 * operands are varints. Threads are numbered by first use, the first is 0. Blocks are numbered by birth: a block is
 * referred to as 1 + the number of blocks born after it, so that short-lived blocks have short names; 0 is NULL.
 * realloc ends the life of its block and gives birth to another. No addresses are in a file.
 *
 *     thread      number                 the events that follow are this thread's
 *     thread-end                         the thread ends (its number may still occur: destructors run late)
 *     malloc      size
 *     calloc      count size
 *     realloc     block size
 *     realloc-free block                 realloc(block, 0) that returned NULL and freed the block
 *     reallocarray block count size
 *     free        block
 *     aligned_alloc, posix_memalign, memalign   log2(alignment) size
 *     usable_size block
 *     trim        pad
 *     end         dropped unseen lost    figures of struct trace_totals
 *
 * What a recording leaves out: calls that returned NULL (they left the heap as it was), free(NULL),
 * malloc_usable_size(NULL), and calls on blocks that the recording does not know (made before it began, or by a
 * program's parent before it forked). valloc and pvalloc stand as memalign.
 */
#ifndef HEAPSTORM_HARNESS_TRACE_H
#define HEAPSTORM_HARNESS_TRACE_H

#include "program.h"

#define TRACE_MAGIC "HSTRACE1"
#define TRACE_MAGIC_SIZE 8
#define TRACE_FRAME_MAX (64 * 1024) /* bytes of events a frame holds at most */
#define TRACE_EVENT_MAX 48          /* bytes of the longest event */
#define TRACE_HEADER_MAX 4096

#define TRACE_OPERATIONS_MAX (1u << 24) /* a reader stops there: a small file can stand for any number of them */

enum trace_event_kind {
	TRACE_THREAD,
	TRACE_THREAD_END,
	TRACE_MALLOC,
	TRACE_CALLOC,
	TRACE_REALLOC,
	TRACE_REALLOC_FREE,
	TRACE_REALLOCARRAY,
	TRACE_FREE,
	TRACE_ALIGNED_ALLOC,
	TRACE_POSIX_MEMALIGN,
	TRACE_MEMALIGN,
	TRACE_USABLE_SIZE,
	TRACE_TRIM,
	TRACE_END,
	TRACE_EVENT_KINDS
};

/* What stands beside the operations. */
struct trace_totals {
	uint64_t dropped; /* calls on blocks that the recording does not know */
	uint64_t unseen;  /* frees that were not recorded themselves: their address was handed out again */
	uint64_t lost;    /* calls that a thread began to record and never finished */
};

/* ---- Writing ---- */

#define TRACE_NO_BLOCK UINT64_MAX /* the NULL pointer */

struct trace_writer;

/*
 * Begins a recording at `path`, over a file that may be there. `command_line` is `length` bytes, a NUL after each
 * argument; what does not fit the header is cut off. NULL with errno set: the file cannot be written.
 */
struct trace_writer *trace_writer_open(const char *path, uint32_t pid, const char *command_line, size_t length);

/*
 * Each of these adds one event of `thread` (small numbers of the caller's; the writer makes them dense). What
 * makes a block returns its number. Write errors are kept until trace_writer_close.
 */
uint64_t trace_write_malloc(struct trace_writer *writer, uint32_t thread, uint64_t size);
uint64_t trace_write_calloc(struct trace_writer *writer, uint32_t thread, uint64_t count, uint64_t size);
uint64_t trace_write_realloc(struct trace_writer *writer, uint32_t thread, uint64_t block, uint64_t size);
uint64_t trace_write_reallocarray(struct trace_writer *writer, uint32_t thread, uint64_t block, uint64_t count,
				  uint64_t size);

/* `kind`: one of the three with an alignment. An alignment that is no power of two is rounded up to one. */
uint64_t trace_write_aligned(struct trace_writer *writer, uint32_t thread, enum trace_event_kind kind,
			     uint64_t alignment, uint64_t size);

/* `kind`: TRACE_FREE, TRACE_REALLOC_FREE or TRACE_USABLE_SIZE. */
void trace_write_block(struct trace_writer *writer, uint32_t thread, enum trace_event_kind kind, uint64_t block);
void trace_write_trim(struct trace_writer *writer, uint32_t thread, uint64_t pad);
void trace_write_thread_end(struct trace_writer *writer, uint32_t thread);

/* Ends the frame, so that what was written so far can be read. */
void trace_writer_flush(struct trace_writer *writer);

/* What was written so far. */
uint64_t trace_writer_operations(const struct trace_writer *writer);
uint64_t trace_writer_threads(const struct trace_writer *writer);

/*
 * Writes the end and closes the file, and sets `bytes` (may be NULL) to its size. False with errno set: the file is not
 * whole. The writer is gone in either case.
 */
bool trace_writer_close(struct trace_writer *writer, const struct trace_totals *totals, uint64_t *bytes);

/* ---- Reading ---- */

bool trace_is_recording(const void *head, size_t length);

/*
 * Reads a recording into a program (initialised). False: `error` says what is wrong, its message begins with `at byte
 * N: `, `program` holds nothing useful. True with a message that is not empty: the recording is cut off, or longer than
 * TRACE_OPERATIONS_MAX, and the program holds what comes before that.
 *
 * The program
 * - Labels are dense and used again: their number is the peak of live blocks.
 * - Where there is more than one thread, the recorded order is the only order: the thread that was at work signals the
 *   next one (event = number of that thread), which has been waiting; main spawns each thread at its first operation.
 * - From the PROGRAM_THREADS_MAX-th thread on, a thread takes the number of one that has ended, and where none has, of
 *   one that has not: one thread of the program then does the work of several.
 * - realloc-free stands as free. Blocks that were never freed stay live.
 */
bool trace_read(const char *path, struct program *program, struct parse_error *error);
bool trace_read_memory(const void *data, size_t length, struct program *program, struct parse_error *error);

/* Reads bare events, as decompressed frames hold them: a fuzzer gets there without first finding a checksum. */
bool trace_read_events(const void *events, size_t length, struct program *program, struct parse_error *error);

/* The command line of a recording, with spaces between arguments, cut to `size` bytes. False: not a readable recording. */
bool trace_command_line(const char *path, char *text, size_t size);

#endif
