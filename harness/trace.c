#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#define COMPRESSION_LEVEL 3 /* a recorder has to keep up with its program */
#define NIBBLE_MAX 15

#define HEAD_SIZE (TRACE_MAGIC_SIZE + 8) /* magic, header size, checksum */
#define FRAME_BYTES_MAX (ZSTD_COMPRESSBOUND(TRACE_FRAME_MAX) + 64)

static void *allocate(void *old, size_t size)
{
	void *memory = realloc(old, size);

	if (!memory) {
		fprintf(stderr, "heapstorm: out of memory for a recording: %zu bytes\n", size);
		exit(3);
	}
	return memory;
}

static uint32_t checksum(const uint8_t *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return (uint32_t)hash;
}

static void put_u32(uint8_t *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
	size_t length = 0;

	for (; value >= 0x80; value >>= 7)
		to[length++] = (uint8_t)(value | 0x80);
	to[length++] = (uint8_t)value;
	return length;
}

/* Operands of each kind, the one in the head byte included. */
static const uint8_t operand_counts[TRACE_EVENT_KINDS] = {
	[TRACE_THREAD] = 1,         [TRACE_THREAD_END] = 0, [TRACE_MALLOC] = 1,
	[TRACE_CALLOC] = 2,         [TRACE_REALLOC] = 2,    [TRACE_REALLOC_FREE] = 1,
	[TRACE_REALLOCARRAY] = 3,   [TRACE_FREE] = 1,       [TRACE_ALIGNED_ALLOC] = 2,
	[TRACE_POSIX_MEMALIGN] = 2, [TRACE_MEMALIGN] = 2,   [TRACE_USABLE_SIZE] = 1,
	[TRACE_TRIM] = 1,           [TRACE_END] = 3,
};

#define OPERANDS_MAX 3

/* ---- Writing ---- */

struct trace_writer {
	int file;
	int error; /* errno of the first write that failed */
	ZSTD_CCtx *compressor;
	uint64_t bytes, operations, births;
	uint32_t *thread_numbers; /* by the caller's number: 1 + the number in the file, 0 for none yet */
	size_t thread_capacity;
	uint32_t threads;
	uint32_t current; /* the caller's number of the thread that events belong to now */
	size_t used;      /* bytes of `events` */
	uint8_t events[TRACE_FRAME_MAX];
	uint8_t frame[FRAME_BYTES_MAX];
};

static void write_all(struct trace_writer *writer, const uint8_t *bytes, size_t length)
{
	while (length > 0 && !writer->error) {
		ssize_t n = write(writer->file, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			writer->error = errno;
			return;
		}
		bytes += n;
		length -= (size_t)n;
		writer->bytes += (uint64_t)n;
	}
}

struct trace_writer *trace_writer_open(const char *path, uint32_t pid, const char *command_line, size_t length)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	uint8_t head[HEAD_SIZE + TRACE_HEADER_MAX];
	uint8_t *header = head + HEAD_SIZE;
	size_t size;
	struct trace_writer *writer;

	if (file < 0)
		return NULL;
	if (length > TRACE_HEADER_MAX - 20)
		length = TRACE_HEADER_MAX - 20;
	writer = allocate(NULL, sizeof(*writer));
	*writer = (struct trace_writer){.file = file, .current = UINT32_MAX};
	writer->compressor = ZSTD_createCCtx();
	if (!writer->compressor) {
		fprintf(stderr, "heapstorm: out of memory for a recording\n");
		exit(3);
	}
	ZSTD_CCtx_setParameter(writer->compressor, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
	ZSTD_CCtx_setParameter(writer->compressor, ZSTD_c_checksumFlag, 1);
	ZSTD_CCtx_setParameter(writer->compressor, ZSTD_c_contentSizeFlag, 1);

	size = put_varint(header, pid);
	size += put_varint(header + size, length);
	memcpy(header + size, command_line, length);
	size += length;
	memcpy(head, TRACE_MAGIC, TRACE_MAGIC_SIZE);
	put_u32(head + TRACE_MAGIC_SIZE, (uint32_t)size);
	put_u32(head + TRACE_MAGIC_SIZE + 4, checksum(header, size));
	write_all(writer, head, HEAD_SIZE + size);
	return writer;
}

void trace_writer_flush(struct trace_writer *writer)
{
	size_t size;

	if (writer->used == 0)
		return;
	size = ZSTD_compress2(writer->compressor, writer->frame, sizeof(writer->frame), writer->events, writer->used);
	writer->used = 0;
	if (!ZSTD_isError(size))
		write_all(writer, writer->frame, size);
	else if (!writer->error)
		writer->error = ENOMEM; /* nothing else can go wrong with room for the worst case */
}

static void put_event(struct trace_writer *writer, enum trace_event_kind kind, const uint64_t operands[OPERANDS_MAX])
{
	unsigned count = operand_counts[kind];
	uint64_t first = count > 0 ? operands[0] : 0;
	uint8_t *events;
	size_t used;

	if (writer->used + TRACE_EVENT_MAX > TRACE_FRAME_MAX)
		trace_writer_flush(writer);
	events = writer->events;
	used = writer->used;
	events[used++] = (uint8_t)(kind | (first < NIBBLE_MAX ? first : NIBBLE_MAX) << 4);
	if (first >= NIBBLE_MAX)
		used += put_varint(events + used, first - NIBBLE_MAX);
	for (unsigned i = 1; i < count; i++)
		used += put_varint(events + used, operands[i]);
	writer->used = used;
}

/* Makes `thread` the one that events belong to. */
static void be_thread(struct trace_writer *writer, uint32_t thread)
{
	if (writer->current == thread)
		return;
	if (thread >= writer->thread_capacity) {
		size_t capacity = writer->thread_capacity ? writer->thread_capacity : 64;

		while (capacity <= thread)
			capacity *= 2;
		writer->thread_numbers = allocate(writer->thread_numbers, capacity * sizeof(*writer->thread_numbers));
		memset(writer->thread_numbers + writer->thread_capacity, 0,
		       (capacity - writer->thread_capacity) * sizeof(*writer->thread_numbers));
		writer->thread_capacity = capacity;
	}
	if (writer->thread_numbers[thread] == 0)
		writer->thread_numbers[thread] = ++writer->threads;
	/* A recording begins in thread 0. */
	if (writer->current != UINT32_MAX || writer->thread_numbers[thread] != 1)
		put_event(writer, TRACE_THREAD, (uint64_t[OPERANDS_MAX]){writer->thread_numbers[thread] - 1});
	writer->current = thread;
}

static void put_operation(struct trace_writer *writer, uint32_t thread, enum trace_event_kind kind, uint64_t a,
			  uint64_t b, uint64_t c)
{
	be_thread(writer, thread);
	put_event(writer, kind, (uint64_t[OPERANDS_MAX]){a, b, c});
	writer->operations++;
}

static uint64_t block_reference(const struct trace_writer *writer, uint64_t block)
{
	return block == TRACE_NO_BLOCK ? 0 : writer->births - block;
}

uint64_t trace_write_malloc(struct trace_writer *writer, uint32_t thread, uint64_t size)
{
	put_operation(writer, thread, TRACE_MALLOC, size, 0, 0);
	return writer->births++;
}

uint64_t trace_write_calloc(struct trace_writer *writer, uint32_t thread, uint64_t count, uint64_t size)
{
	put_operation(writer, thread, TRACE_CALLOC, count, size, 0);
	return writer->births++;
}

uint64_t trace_write_realloc(struct trace_writer *writer, uint32_t thread, uint64_t block, uint64_t size)
{
	put_operation(writer, thread, TRACE_REALLOC, block_reference(writer, block), size, 0);
	return writer->births++;
}

uint64_t trace_write_reallocarray(struct trace_writer *writer, uint32_t thread, uint64_t block, uint64_t count,
				  uint64_t size)
{
	put_operation(writer, thread, TRACE_REALLOCARRAY, block_reference(writer, block), count, size);
	return writer->births++;
}

uint64_t trace_write_aligned(struct trace_writer *writer, uint32_t thread, enum trace_event_kind kind,
			     uint64_t alignment, uint64_t size)
{
	unsigned shift = alignment <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(alignment - 1);

	put_operation(writer, thread, kind, shift < 64 ? shift : 63, size, 0);
	return writer->births++;
}

void trace_write_block(struct trace_writer *writer, uint32_t thread, enum trace_event_kind kind, uint64_t block)
{
	put_operation(writer, thread, kind, block_reference(writer, block), 0, 0);
}

void trace_write_trim(struct trace_writer *writer, uint32_t thread, uint64_t pad)
{
	put_operation(writer, thread, TRACE_TRIM, pad, 0, 0);
}

void trace_write_thread_end(struct trace_writer *writer, uint32_t thread)
{
	be_thread(writer, thread);
	put_event(writer, TRACE_THREAD_END, NULL);
}

uint64_t trace_writer_operations(const struct trace_writer *writer)
{
	return writer->operations;
}

uint64_t trace_writer_threads(const struct trace_writer *writer)
{
	return writer->threads;
}

bool trace_writer_close(struct trace_writer *writer, const struct trace_totals *totals, uint64_t *bytes)
{
	int error;

	put_event(writer, TRACE_END, (uint64_t[OPERANDS_MAX]){totals->dropped, totals->unseen, totals->lost});
	trace_writer_flush(writer);
	if (bytes)
		*bytes = writer->bytes;
	error = writer->error;
	if (close(writer->file) != 0 && !error)
		error = errno;
	ZSTD_freeCCtx(writer->compressor);
	free(writer->thread_numbers);
	free(writer);
	errno = error;
	return !error;
}

/* ---- Reading ---- */

struct trace_reader {
	struct program *program;
	struct parse_error *error;
	size_t frame_offset; /* in the file, of what is read; bare events: 0 */
	bool ended;
	bool full; /* TRACE_OPERATIONS_MAX is reached */
	size_t operations;

	uint32_t *labels; /* by birth: which label the block has, LABEL_NULL once it is gone */
	size_t births, birth_capacity;
	uint32_t *free_labels; /* a stack */
	size_t free_label_count, free_label_capacity;
	uint32_t label_limit; /* labels given out so far, counted */

	uint16_t *threads; /* by number in the recording: 1 + the thread of the program, 0 for none yet */
	size_t thread_capacity;
	uint16_t ended_threads
		[PROGRAM_THREADS_MAX]; /* threads of the program to be taken over, a ring: each is in it once at most */
	size_t ended_first, ended_count;
	bool is_ended[PROGRAM_THREADS_MAX];
	bool spawned[PROGRAM_THREADS_MAX];
	uint32_t program_threads; /* main and those given out so far */
	uint64_t number;          /* of the thread that events belong to, in the recording */
	uint32_t wanted;          /* the same in the program */
	uint32_t working;         /* thread of the program that did the last operation */
};

#define THREAD_NUMBER_MAX                                                                                              \
	(1u << 22) /* bounds the table of threads: more than a system has in a lifetime of recording */

static bool fail_at(struct parse_error *error, size_t offset, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool fail_at(struct parse_error *error, size_t offset, const char *format, ...)
{
	int length = snprintf(error->message, sizeof(error->message), "at byte %zu: ", offset);
	va_list arguments;

	error->line = 1;
	error->column = offset + 1;
	va_start(arguments, format);
	vsnprintf(error->message + length, sizeof(error->message) - (size_t)length, format, arguments);
	va_end(arguments);
	return false;
}

/* False at the end of the bytes and beyond 64 bits. */
static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	const uint8_t *p = *at;

	*value = 0;
	for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
		uint8_t byte = *p++;

		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*at = p;
			return true;
		}
	}
	return false;
}

static void push_free_label(struct trace_reader *reader, uint32_t label)
{
	if (reader->free_label_count == reader->free_label_capacity) {
		reader->free_label_capacity = reader->free_label_capacity ? 2 * reader->free_label_capacity : 256;
		reader->free_labels =
			allocate(reader->free_labels, reader->free_label_capacity * sizeof(*reader->free_labels));
	}
	reader->free_labels[reader->free_label_count++] = label;
}

/* LABEL_NULL: there are no more. */
static uint32_t take_label(struct trace_reader *reader)
{
	uint32_t label;

	if (reader->free_label_count > 0)
		return reader->free_labels[--reader->free_label_count];
	label = label_nth(reader->label_limit);
	if (label != LABEL_NULL)
		reader->label_limit++;
	return label;
}

static void bear(struct trace_reader *reader, uint32_t label)
{
	if (reader->births == reader->birth_capacity) {
		reader->birth_capacity = reader->birth_capacity ? 2 * reader->birth_capacity : 1024;
		reader->labels = allocate(reader->labels, reader->birth_capacity * sizeof(*reader->labels));
	}
	reader->labels[reader->births++] = label;
}

/* The thread of the program that stands for thread `number` of the recording. */
static uint32_t map_thread(struct trace_reader *reader, uint64_t number)
{
	uint32_t thread;

	if (number >= reader->thread_capacity) {
		size_t capacity = reader->thread_capacity ? reader->thread_capacity : 64;

		while (capacity <= number)
			capacity *= 2;
		reader->threads = allocate(reader->threads, capacity * sizeof(*reader->threads));
		memset(reader->threads + reader->thread_capacity, 0,
		       (capacity - reader->thread_capacity) * sizeof(*reader->threads));
		reader->thread_capacity = capacity;
	}
	if (reader->threads[number] != 0)
		return reader->threads[number] - 1u;
	if (reader->program_threads < PROGRAM_THREADS_MAX) {
		thread = reader->program_threads++;
	} else if (reader->ended_count > 0) {
		thread = reader->ended_threads[reader->ended_first];
		reader->ended_first = (reader->ended_first + 1) % PROGRAM_THREADS_MAX;
		reader->ended_count--;
		reader->is_ended[thread] = false;
	} else {
		thread = (uint32_t)(1 + number % (PROGRAM_THREADS_MAX - 1));
	}
	reader->threads[number] = (uint16_t)(thread + 1);
	return thread;
}

/* Hands the turn from the thread at work to another one, which waits for it or has not begun yet. */
static void hand_over(struct trace_reader *reader, uint32_t to)
{
	if (reader->working == to)
		return;
	program_append(reader->program, reader->working, (struct op){.kind = OP_SIGNAL, .event = to});
	program_append(reader->program, to, (struct op){.kind = OP_WAIT, .event = to});
	reader->working = to;
}

static void append(struct trace_reader *reader, struct op op)
{
	uint32_t thread = reader->wanted;

	if (thread != reader->working && thread != 0 && !reader->spawned[thread]) {
		hand_over(reader, 0);
		program_append(reader->program, 0, (struct op){.kind = OP_SPAWN, .thread = thread});
		reader->spawned[thread] = true;
		reader->working = thread;
		/* Main goes on to the `wait` that the next hand-over to it appends. */
	}
	hand_over(reader, thread);
	program_append(reader->program, thread, op);
}

/* Looks up the block that an operand other than 0 refers to: `place` is where its label stands. */
static bool find_block(struct trace_reader *reader, uint64_t reference, uint32_t **place, const char **why)
{
	if (reference > reader->births) {
		*why = "a block that was never made";
		return false;
	}
	*place = &reader->labels[reader->births - reference];
	if (**place == LABEL_NULL) {
		*why = "a block that is gone";
		return false;
	}
	return true;
}

static const uint8_t op_kinds[TRACE_EVENT_KINDS] = {
	[TRACE_MALLOC] = OP_MALLOC,
	[TRACE_CALLOC] = OP_CALLOC,
	[TRACE_REALLOC] = OP_REALLOC,
	[TRACE_REALLOC_FREE] = OP_FREE,
	[TRACE_REALLOCARRAY] = OP_REALLOCARRAY,
	[TRACE_FREE] = OP_FREE,
	[TRACE_ALIGNED_ALLOC] = OP_ALIGNED_ALLOC,
	[TRACE_POSIX_MEMALIGN] = OP_POSIX_MEMALIGN,
	[TRACE_MEMALIGN] = OP_MEMALIGN,
	[TRACE_USABLE_SIZE] = OP_USABLE_SIZE,
	[TRACE_TRIM] = OP_TRIM,
};

/* Adds one event to the program. False: `why` says what is wrong with it. */
static bool apply_event(struct trace_reader *reader, enum trace_event_kind kind, const uint64_t *operands,
			const char **why)
{
	struct op op = {.kind = op_kinds[kind], .result = LABEL_NULL, .block = LABEL_NULL};
	uint32_t *place = NULL;

	switch (kind) {
	case TRACE_THREAD:
		if (operands[0] >= THREAD_NUMBER_MAX) {
			*why = "a thread number beyond all bounds";
			return false;
		}
		reader->number = operands[0];
		reader->wanted = map_thread(reader, operands[0]);
		return true;
	case TRACE_THREAD_END:
		if (reader->wanted != 0 && !reader->is_ended[reader->wanted]) {
			size_t place_in_ring = (reader->ended_first + reader->ended_count) % PROGRAM_THREADS_MAX;

			reader->ended_threads[place_in_ring] = (uint16_t)reader->wanted;
			reader->ended_count++;
			reader->is_ended[reader->wanted] = true;
		}
		return true;
	case TRACE_END:
		reader->ended = true;
		return true;
	case TRACE_MALLOC:
		op.size = operands[0];
		break;
	case TRACE_CALLOC:
		op.count = operands[0];
		op.size = operands[1];
		break;
	case TRACE_REALLOC:
		op.size = operands[1];
		break;
	case TRACE_REALLOCARRAY:
		op.count = operands[1];
		op.size = operands[2];
		break;
	case TRACE_ALIGNED_ALLOC:
	case TRACE_POSIX_MEMALIGN:
	case TRACE_MEMALIGN:
		if (operands[0] > 63) {
			*why = "an alignment beyond 64 bits";
			return false;
		}
		op.alignment = UINT64_C(1) << operands[0];
		op.size = operands[1];
		break;
	case TRACE_TRIM:
		op.size = operands[0];
		break;
	default:
		break;
	}

	if (op_takes_block(op.kind)) {
		if (operands[0] != 0) {
			if (!find_block(reader, operands[0], &place, why))
				return false;
			op.block = *place;
		} else if (!op_makes_block(op.kind)) {
			*why = "NULL where a block must be";
			return false;
		}
	}
	if (op.kind == OP_FREE)
		push_free_label(reader, op.block);
	if (place && kind != TRACE_USABLE_SIZE)
		*place = LABEL_NULL;
	if (op_makes_block(op.kind)) {
		op.result = op.block != LABEL_NULL ? op.block : take_label(reader);
		if (op.result == LABEL_NULL) {
			*why = "more live blocks than there are labels";
			return false;
		}
		bear(reader, op.result);
	}
	append(reader, op);
	reader->full = ++reader->operations == TRACE_OPERATIONS_MAX;
	return true;
}

static bool read_events(struct trace_reader *reader, const uint8_t *events, size_t length)
{
	const uint8_t *at = events;
	const uint8_t *end = events + length;

	while (at < end && !reader->full) {
		size_t offset = (size_t)(at - events);
		enum trace_event_kind kind = *at & 0x0f;
		uint64_t operands[OPERANDS_MAX] = {*at >> 4};
		const char *why = "an operand that is cut off or beyond 64 bits";
		bool good = true;

		at++;
		if (reader->ended) {
			good = false;
			why = "an event after the end";
		} else if (kind >= TRACE_EVENT_KINDS) {
			good = false;
			why = "an unknown kind of event";
		} else if (operands[0] == NIBBLE_MAX) {
			good = get_varint(&at, end, &operands[0]) && operands[0] <= UINT64_MAX - NIBBLE_MAX;
			operands[0] += NIBBLE_MAX;
		}
		for (unsigned i = 1; good && i < operand_counts[kind]; i++)
			good = get_varint(&at, end, &operands[i]);
		if (!good || !apply_event(reader, kind, operands, &why))
			return fail_at(reader->error, reader->frame_offset, "%s (byte %zu of the events there)", why,
				       offset);
	}
	return true;
}

static void reader_begin(struct trace_reader *reader, struct program *program, struct parse_error *error)
{
	*reader = (struct trace_reader){.program = program, .error = error, .program_threads = 1};
	program_clear(program);
	*error = (struct parse_error){.line = 1, .column = 1};
	map_thread(reader, 1); /* makes the table */
	memset(reader->threads, 0, reader->thread_capacity * sizeof(*reader->threads));
	reader->program_threads = 1;
	reader->threads[0] = 1; /* main */
}

static void reader_end(struct trace_reader *reader)
{
	free(reader->labels);
	free(reader->free_labels);
	free(reader->threads);
}

bool trace_read_events(const void *events, size_t length, struct program *program, struct parse_error *error)
{
	struct trace_reader reader;
	bool good;

	reader_begin(&reader, program, error);
	good = read_events(&reader, events, length);
	if (reader.full)
		fail_at(error, 0, "the recording goes on beyond %u operations, the rest is left out",
			TRACE_OPERATIONS_MAX);
	reader_end(&reader);
	return good;
}

bool trace_is_recording(const void *head, size_t length)
{
	/* The version is the reader's business: a recording of another one is still a recording. */
	return length >= TRACE_MAGIC_SIZE && memcmp(head, TRACE_MAGIC, TRACE_MAGIC_SIZE - 1) == 0;
}

/* Reads what is before the frames. `frames` is where those begin, `command_line` points into `data`. */
static bool read_head(const uint8_t *data, size_t length, size_t *frames, const uint8_t **command_line,
		      size_t *command_line_length, struct parse_error *error)
{
	const uint8_t *at = data + HEAD_SIZE;
	const uint8_t *end;
	uint32_t size;
	uint64_t pid, arguments;

	if (!trace_is_recording(data, length))
		return fail_at(error, 0, "not a recording: it does not begin with %s", TRACE_MAGIC);
	if (data[TRACE_MAGIC_SIZE - 1] != TRACE_MAGIC[TRACE_MAGIC_SIZE - 1])
		return fail_at(error, TRACE_MAGIC_SIZE - 1, "a recording of an unknown version, expected %s",
			       TRACE_MAGIC);
	if (length < HEAD_SIZE)
		return fail_at(error, length, "cut off in the header");
	size = get_u32(data + TRACE_MAGIC_SIZE);
	if (size > TRACE_HEADER_MAX)
		return fail_at(error, TRACE_MAGIC_SIZE, "a header of %" PRIu32 " bytes, expected at most %d", size,
			       TRACE_HEADER_MAX);
	if (length - HEAD_SIZE < size)
		return fail_at(error, length, "cut off in the header");
	if (checksum(at, size) != get_u32(data + TRACE_MAGIC_SIZE + 4))
		return fail_at(error, TRACE_MAGIC_SIZE + 4, "the checksum of the header is wrong");
	end = at + size;
	if (!get_varint(&at, end, &pid) || !get_varint(&at, end, &arguments) || arguments > (size_t)(end - at))
		return fail_at(error, HEAD_SIZE, "a header that is malformed");
	*frames = HEAD_SIZE + size;
	*command_line = at;
	*command_line_length = (size_t)arguments;
	return true;
}

enum frame_result { FRAME_GOOD, FRAME_CUT_OFF, FRAME_BAD };

/* Reads the frame at `reader->frame_offset`, and sets `size` to the bytes it takes in the file. */
static enum frame_result read_frame(struct trace_reader *reader, ZSTD_DCtx *decompressor, const uint8_t *data,
				    size_t length, uint8_t *events, size_t *size)
{
	const uint8_t *frame = data + reader->frame_offset;
	size_t left = length - reader->frame_offset;
	unsigned long long content;
	size_t got;

	if (left >= 4 && get_u32(frame) != ZSTD_MAGICNUMBER) {
		fail_at(reader->error, reader->frame_offset, "expected a zstd frame");
		return FRAME_BAD;
	}
	*size = ZSTD_findFrameCompressedSize(frame, left);
	if (ZSTD_isError(*size)) {
		/* A frame that lacks its end is a cut only where no whole frame would have fitted. */
		if (ZSTD_getErrorCode(*size) == ZSTD_error_srcSize_wrong && left <= FRAME_BYTES_MAX)
			return FRAME_CUT_OFF;
		fail_at(reader->error, reader->frame_offset, "zstd: %s", ZSTD_getErrorName(*size));
		return FRAME_BAD;
	}
	content = ZSTD_getFrameContentSize(frame, *size);
	if (content == 0 || content > TRACE_FRAME_MAX) { /* unknown and error are huge values */
		fail_at(reader->error, reader->frame_offset, "a frame of unknown size, empty, or above %d bytes",
			TRACE_FRAME_MAX);
		return FRAME_BAD;
	}
	got = ZSTD_decompressDCtx(decompressor, events, TRACE_FRAME_MAX, frame, *size);
	if (ZSTD_isError(got) || got != content) {
		fail_at(reader->error, reader->frame_offset, "zstd: %s",
			ZSTD_isError(got) ? ZSTD_getErrorName(got) : "a frame of another size than it says");
		return FRAME_BAD;
	}
	return read_events(reader, events, got) ? FRAME_GOOD : FRAME_BAD;
}

bool trace_read_memory(const void *data, size_t length, struct program *program, struct parse_error *error)
{
	struct trace_reader reader;
	ZSTD_DCtx *decompressor;
	uint8_t *events;
	const uint8_t *command_line;
	size_t command_line_length, size;
	enum frame_result result = FRAME_GOOD;

	reader_begin(&reader, program, error);
	if (!read_head(data, length, &reader.frame_offset, &command_line, &command_line_length, error)) {
		reader_end(&reader);
		return false;
	}
	decompressor = ZSTD_createDCtx();
	if (!decompressor) {
		fprintf(stderr, "heapstorm: out of memory for a recording\n");
		exit(3);
	}
	events = allocate(NULL, TRACE_FRAME_MAX);
	while (result == FRAME_GOOD && reader.frame_offset < length && !reader.ended && !reader.full) {
		result = read_frame(&reader, decompressor, data, length, events, &size);
		if (result == FRAME_GOOD)
			reader.frame_offset += size;
	}
	if (result == FRAME_GOOD && reader.ended && reader.frame_offset < length) {
		fail_at(error, reader.frame_offset, "%zu bytes after the end", length - reader.frame_offset);
		result = FRAME_BAD;
	}
	if (reader.full)
		fail_at(error, reader.frame_offset, "the recording goes on beyond %u operations, the rest is left out",
			TRACE_OPERATIONS_MAX);
	else if (result != FRAME_BAD && !reader.ended)
		fail_at(error, reader.frame_offset, "the recording is cut off, the last %zu bytes are left out",
			length - reader.frame_offset);
	free(events);
	ZSTD_freeDCtx(decompressor);
	reader_end(&reader);
	return result != FRAME_BAD;
}

/* Reads a whole file, at most `limit` bytes. NULL with errno set: not readable. */
static uint8_t *read_file(const char *path, size_t limit, size_t *length)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *bytes = NULL;
	size_t capacity = 0, used = 0;
	struct stat status;

	if (file < 0)
		return NULL;
	if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && (uint64_t)status.st_size < limit)
		capacity = (size_t)status.st_size + 1; /* one more, so that the end is seen without growing */
	else
		capacity = limit < 65536 ? limit : 65536;
	bytes = allocate(NULL, capacity);
	while (used < limit) {
		ssize_t n;

		if (used == capacity) {
			capacity *= 2;
			bytes = allocate(bytes, capacity);
		}
		n = read(file, bytes + used, capacity - used < limit - used ? capacity - used : limit - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int error = errno;

			free(bytes);
			close(file);
			errno = error;
			return NULL;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	close(file);
	*length = used;
	return bytes;
}

bool trace_read(const char *path, struct program *program, struct parse_error *error)
{
	size_t length;
	uint8_t *bytes = read_file(path, SIZE_MAX / 4, &length);
	bool good;

	if (!bytes)
		return fail_at(error, 0, "cannot be read: %s", strerror(errno));
	good = trace_read_memory(bytes, length, program, error);
	free(bytes);
	return good;
}

bool trace_command_line(const char *path, char *text, size_t size)
{
	struct parse_error error;
	const uint8_t *command_line;
	size_t length, frames, arguments;
	uint8_t *bytes = read_file(path, HEAD_SIZE + TRACE_HEADER_MAX, &length);
	bool good;

	if (!bytes)
		return false;
	good = read_head(bytes, length, &frames, &command_line, &arguments, &error);
	if (good && size > 0) {
		while (arguments > 0 && command_line[arguments - 1] == '\0')
			arguments--;
		if (arguments > size - 1)
			arguments = size - 1;
		for (size_t i = 0; i < arguments; i++)
			text[i] = command_line[i] == '\0' ? ' ' : (char)command_line[i];
		text[arguments] = '\0';
	}
	free(bytes);
	return good;
}
