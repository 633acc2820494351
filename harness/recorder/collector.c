#include "collector.h"

#include "hub.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 4096                  /* records between two looks at anything else */
#define FLUSH_NS 1000000000         /* what is older is in the file */
#define HOLE_PATIENCE_NS 2000000000 /* a full ring waits so long for a thread that took a ticket and does not write */

/* ---- Live blocks by address: open addressing, linear probing; removal shifts back, so there are no tombstones ---- */

struct live_block {
	uint64_t address; /* 0: free place */
	uint64_t number;
	uint64_t size;
};

struct block_table {
	struct live_block *places;
	size_t count;
	unsigned bits;
};

static void *allocate_zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory) {
		fprintf(stderr, "heapstorm: out of memory while recording\n");
		exit(3);
	}
	return memory;
}

static void *grow(void *old, size_t size)
{
	void *memory = realloc(old, size);

	if (!memory) {
		fprintf(stderr, "heapstorm: out of memory while recording\n");
		exit(3);
	}
	return memory;
}

static size_t block_place(const struct block_table *table, uint64_t address)
{
	return (size_t)((address >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - table->bits));
}

static struct live_block *block_find(const struct block_table *table, uint64_t address)
{
	size_t mask = ((size_t)1 << table->bits) - 1;

	for (size_t i = block_place(table, address);; i = (i + 1) & mask) {
		if (table->places[i].address == address)
			return &table->places[i];
		if (table->places[i].address == 0)
			return NULL;
	}
}

/* The address must not be there. */
static void block_insert(struct block_table *table, struct live_block block)
{
	size_t mask, i;

	if (table->count >= (size_t)1 << table->bits >> 1) {
		struct block_table larger = {.bits = table->bits + 1};

		larger.places = allocate_zeroed((size_t)1 << larger.bits, sizeof(*larger.places));
		for (i = 0; i < (size_t)1 << table->bits; i++)
			if (table->places[i].address != 0)
				block_insert(&larger, table->places[i]);
		free(table->places);
		*table = larger;
	}
	mask = ((size_t)1 << table->bits) - 1;
	for (i = block_place(table, block.address); table->places[i].address != 0;)
		i = (i + 1) & mask;
	table->places[i] = block;
	table->count++;
}

static void block_remove(struct block_table *table, struct live_block *block)
{
	size_t mask = ((size_t)1 << table->bits) - 1;
	size_t hole = (size_t)(block - table->places);

	for (size_t i = (hole + 1) & mask; table->places[i].address != 0; i = (i + 1) & mask) {
		size_t home = block_place(table, table->places[i].address);

		/* It may move into the hole unless its home lies behind the hole. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			table->places[hole] = table->places[i];
			hole = i;
		}
	}
	table->places[hole].address = 0;
	table->count--;
}

/* ---- Images ---- */

/* A realloc between its two records: the old block is out of sight. */
struct pending_realloc {
	uint32_t thread;
	bool known; /* `block` is one of the recording's */
	bool null;  /* it was realloc(NULL, ...) */
	struct live_block block;
};

struct image {
	struct hub_slot *slot;
	struct ring_record *records;
	int pidfd; /* -1: the system has none */
	uint64_t position;
	int64_t hole_since, flushed_at; /* ns; 0: no hole */
	struct trace_writer *writer;    /* NULL before the first call and after the end */
	struct block_table blocks;
	struct pending_realloc *pending;
	size_t pending_count, pending_capacity;
	uint64_t live_bytes;
	struct recording recording;
};

struct collector {
	char *path;
	uint64_t operations_max;
	int file;
	struct hub *hub;
	char environment[64];
	bool main_claimed; /* PATH is taken */
	size_t live;
	struct image *images[HUB_SLOTS]; /* NULL: none in that slot */
	struct recording *recordings;
	size_t recording_count, recording_capacity;
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

struct collector *collector_create(const char *path, uint64_t operations_max, bool follow_children)
{
	struct collector *collector = allocate_zeroed(1, sizeof(*collector));
	struct hub *hub = MAP_FAILED;

	collector->path = strdup(path);
	collector->operations_max = operations_max;
	collector->file = memfd_create("heapstorm-record", MFD_CLOEXEC);
	if (collector->file >= 0 && ftruncate(collector->file, HUB_BYTES) == 0)
		hub = mmap(NULL, HUB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, collector->file, 0);
	if (hub == MAP_FAILED || !collector->path) {
		int error = errno;

		if (collector->file >= 0)
			close(collector->file);
		free(collector->path);
		free(collector);
		errno = error;
		return NULL;
	}
	collector->hub = hub;
	hub->magic = HUB_MAGIC;
	hub->version = HUB_VERSION;
	if (getrandom(&hub->nonce, sizeof(hub->nonce), 0) != sizeof(hub->nonce))
		hub->nonce = (uint64_t)now_ns();
	hub->follow_children = follow_children;
	snprintf(collector->environment, sizeof(collector->environment), "/proc/%ld/fd/%d:%" PRIu64, (long)getpid(),
		 collector->file, hub->nonce);
	return collector;
}

const char *collector_environment(const struct collector *collector)
{
	return collector->environment;
}

void collector_set_main(struct collector *collector, pid_t pid)
{
	atomic_store(&collector->hub->main_pid, (uint32_t)pid);
}

static bool path_taken(const struct collector *collector, const char *path)
{
	for (size_t i = 0; i < collector->recording_count; i++)
		if (strcmp(collector->recordings[i].path, path) == 0)
			return true;
	for (size_t i = 0; i < HUB_SLOTS; i++)
		if (collector->images[i] && collector->images[i]->recording.path &&
		    strcmp(collector->images[i]->recording.path, path) == 0)
			return true;
	return false;
}

/* A file for the image, at its first call. */
static void open_writer(struct collector *collector, struct image *image)
{
	struct recording *recording = &image->recording;
	bool is_main = recording->pid == atomic_load(&collector->hub->main_pid) && !recording->forked &&
		       !collector->main_claimed;
	size_t size = strlen(collector->path) + 48;
	char *path = allocate_zeroed(1, size);

	if (is_main) {
		collector->main_claimed = true;
		snprintf(path, size, "%s", collector->path);
	} else {
		snprintf(path, size, "%s.%" PRIu32, collector->path, recording->pid);
		for (unsigned n = 2; path_taken(collector, path); n++)
			snprintf(path, size, "%s.%" PRIu32 ".%u", collector->path, recording->pid, n);
	}
	recording->path = path;
	image->writer = trace_writer_open(path, recording->pid, image->slot->command, image->slot->command_length);
	if (!image->writer) {
		recording->error = errno;
		recording->stopped = true;
		atomic_store(&image->slot->closed, 1);
	}
	image->flushed_at = now_ns();
}

static void begin_image(struct collector *collector, size_t index)
{
	struct hub_slot *slot = &collector->hub->slots[index];
	struct image *image = allocate_zeroed(1, sizeof(*image));
	uint32_t length = slot->command_length < HUB_COMMAND_MAX ? slot->command_length : HUB_COMMAND_MAX;
	char *command = allocate_zeroed(1, (size_t)length + 1);

	slot->command_length = length; /* the program can write here, too: not to be trusted twice */
	memcpy(command, slot->command, length);
	while (length > 0 && command[length - 1] == '\0')
		length--;
	for (uint32_t i = 0; i < length; i++)
		if (command[i] == '\0')
			command[i] = ' ';
	image->slot = slot;
	image->records = (struct ring_record *)((char *)collector->hub + HUB_HEAD_BYTES + index * RING_BYTES);
	image->blocks.bits = 10;
	image->blocks.places = allocate_zeroed((size_t)1 << image->blocks.bits, sizeof(*image->blocks.places));
	image->recording.command = command;
	image->recording.pid = atomic_load(&slot->owner);
	image->recording.forked = slot->forked;
	image->pidfd = (int)syscall(SYS_pidfd_open, image->recording.pid, 0);
	collector->images[index] = image;
	collector->live++;
}

/* A process that is gone or a zombie writes nothing more. */
static bool process_ended(uint32_t pid, int pidfd)
{
	if (pidfd >= 0) {
		struct pollfd poll_end = {.fd = pidfd, .events = POLLIN};

		return poll(&poll_end, 1, 0) > 0;
	}
	return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* ---- From records to events ---- */

static void come_alive(struct image *image, uint32_t thread, uint64_t address, uint64_t size, uint64_t number)
{
	struct live_block *there;

	if (address == 0) { /* stands for a free place of the table; a sound recorder sends none */
		image->recording.totals.lost++;
		return;
	}
	there = block_find(&image->blocks, address);
	if (there) {
		/*
		 * Its memory is handed out again, so it was freed in a way that is not seen. Too late to say when; the
		 * new block has its number already, so the old one ends right behind.
		 */
		trace_write_block(image->writer, thread, TRACE_FREE, there->number);
		image->recording.totals.unseen++;
		image->live_bytes -= there->size;
		block_remove(&image->blocks, there);
	}
	block_insert(&image->blocks, (struct live_block){.address = address, .number = number, .size = size});
	image->live_bytes += size;
	if (image->live_bytes > image->recording.peak_bytes)
		image->recording.peak_bytes = image->live_bytes;
	if (image->blocks.count > image->recording.peak_blocks)
		image->recording.peak_blocks = image->blocks.count;
}

static void push_pending(struct image *image, struct pending_realloc pending)
{
	if (image->pending_count == image->pending_capacity) {
		image->pending_capacity = image->pending_capacity ? 2 * image->pending_capacity : 16;
		image->pending = grow(image->pending, image->pending_capacity * sizeof(*image->pending));
	}
	image->pending[image->pending_count++] = pending;
}

/* The newest of the thread's: a signal handler's realloc lies within the one it interrupted. */
static struct pending_realloc pop_pending(struct image *image, uint32_t thread)
{
	struct pending_realloc found = {.thread = thread, .null = true};

	for (size_t i = image->pending_count; i > 0; i--) {
		if (image->pending[i - 1].thread != thread)
			continue;
		found = image->pending[i - 1];
		memmove(&image->pending[i - 1], &image->pending[i],
			(image->pending_count - i) * sizeof(*image->pending));
		image->pending_count--;
		break;
	}
	return found;
}

static void take_realloc(struct image *image, uint32_t thread, enum record_kind kind, uint64_t address, uint64_t size,
			 uint64_t count)
{
	struct pending_realloc pending = pop_pending(image, thread);
	uint64_t old = pending.known ? pending.block.number : TRACE_NO_BLOCK;
	uint64_t number;

	if (kind == RECORD_REALLOC_FAILED) {
		if (pending.known)
			block_insert(&image->blocks, pending.block);
		return;
	}
	if (!pending.null && !pending.known)
		image->recording.totals.dropped++;
	if (pending.known)
		image->live_bytes -= pending.block.size;
	if (address == 0) {
		if (pending.known)
			trace_write_block(image->writer, thread, TRACE_REALLOC_FREE, old);
		return;
	}
	if (kind == RECORD_REALLOC)
		number = trace_write_realloc(image->writer, thread, old, size);
	else
		number = trace_write_reallocarray(image->writer, thread, old, count, size);
	come_alive(image, thread, address, kind == RECORD_REALLOC ? size : size * count, number);
}

static void take_record(struct image *image, enum record_kind kind, uint32_t thread, uint64_t address, uint64_t size,
			uint64_t extra)
{
	struct trace_writer *writer = image->writer;
	struct live_block *block;
	struct pending_realloc pending = {.thread = thread, .null = address == 0};
	enum trace_event_kind aligned;

	switch (kind) {
	case RECORD_MALLOC:
		come_alive(image, thread, address, size, trace_write_malloc(writer, thread, size));
		break;
	case RECORD_CALLOC:
		come_alive(image, thread, address, size * extra, trace_write_calloc(writer, thread, extra, size));
		break;
	case RECORD_ALIGNED_ALLOC:
	case RECORD_POSIX_MEMALIGN:
	case RECORD_MEMALIGN:
		aligned = kind == RECORD_ALIGNED_ALLOC    ? TRACE_ALIGNED_ALLOC
			  : kind == RECORD_POSIX_MEMALIGN ? TRACE_POSIX_MEMALIGN
							  : TRACE_MEMALIGN;
		come_alive(image, thread, address, size, trace_write_aligned(writer, thread, aligned, extra, size));
		break;
	case RECORD_REALLOC_BEGIN:
		block = address ? block_find(&image->blocks, address) : NULL;
		if (block) {
			pending.known = true;
			pending.block = *block;
			block_remove(&image->blocks, block);
		}
		push_pending(image, pending);
		break;
	case RECORD_REALLOC:
	case RECORD_REALLOCARRAY:
	case RECORD_REALLOC_FAILED:
		take_realloc(image, thread, kind, address, size, extra);
		break;
	case RECORD_FREE:
	case RECORD_USABLE_SIZE:
		block = address ? block_find(&image->blocks, address) : NULL;
		if (!block) {
			image->recording.totals.dropped++;
			break;
		}
		trace_write_block(writer, thread, kind == RECORD_FREE ? TRACE_FREE : TRACE_USABLE_SIZE, block->number);
		if (kind == RECORD_FREE) {
			image->live_bytes -= block->size;
			block_remove(&image->blocks, block);
		}
		break;
	case RECORD_TRIM:
		trace_write_trim(writer, thread, size);
		break;
	case RECORD_THREAD_END:
		trace_write_thread_end(writer, thread);
		break;
	default:
		image->recording.totals.lost++;
		break;
	}
}

static void end_recording(struct collector *collector, struct image *image)
{
	struct recording *recording = &image->recording;

	if (image->writer) {
		recording->operations = trace_writer_operations(image->writer);
		recording->threads = trace_writer_threads(image->writer);
		if (!trace_writer_close(image->writer, &recording->totals, &recording->bytes))
			recording->error = errno;
		image->writer = NULL;
	}
	if (recording->path) {
		if (collector->recording_count == collector->recording_capacity) {
			collector->recording_capacity =
				collector->recording_capacity ? 2 * collector->recording_capacity : 16;
			collector->recordings = grow(collector->recordings,
						     collector->recording_capacity * sizeof(*collector->recordings));
		}
		collector->recordings[collector->recording_count++] = *recording;
	} else {
		free(recording->command);
	}
	recording->path = recording->command = NULL;
}

/*
 * Takes in up to BATCH records. `ended`: nobody writes any more, so that a record that is not there never will be.
 * False: there is nothing now.
 */
static bool drain(struct collector *collector, struct image *image, bool ended)
{
	uint64_t head = atomic_load_explicit(&image->slot->head, memory_order_acquire);
	uint64_t begin = image->position;
	uint64_t end = head - begin > BATCH ? begin + BATCH : head;
	uint64_t position;

	for (position = begin; position < end; position++) {
		struct ring_record *record = &image->records[position & (RING_RECORDS - 1)];
		uint64_t tag = atomic_load_explicit(&record->tag, memory_order_acquire);

		if (tag >> 32 != (uint32_t)((position >> RING_BITS) + 1)) {
			/*
			 * A thread holds a ticket and has not written yet. It may never do so, where it was cancelled
			 * or jumped out of a signal handler: that must not stop the others for ever.
			 */
			int64_t now = ended || head - position < RING_RECORDS ? 0 : now_ns();

			if (!ended &&
			    (now == 0 || image->hole_since == 0 || now - image->hole_since < HOLE_PATIENCE_NS)) {
				image->hole_since = now == 0 ? 0 : image->hole_since == 0 ? now : image->hole_since;
				break;
			}
			image->recording.totals.lost++;
			image->hole_since = 0;
			continue;
		}
		image->hole_since = 0;
		if (!image->writer && !image->recording.stopped)
			open_writer(collector, image);
		if (!image->writer)
			continue;
		take_record(image, (enum record_kind)(tag & 0xff), (uint32_t)(tag >> 8) & (RECORD_THREADS_MAX - 1),
			    record->block, record->size, record->extra);
		if (collector->operations_max > 0 &&
		    trace_writer_operations(image->writer) >= collector->operations_max) {
			image->recording.stopped = true;
			atomic_store(&image->slot->closed, 1);
			end_recording(collector, image);
		}
	}
	image->position = position;
	atomic_store_explicit(&image->slot->consumed, position, memory_order_release);
	return position > begin;
}

static void end_image(struct collector *collector, size_t index)
{
	struct image *image = collector->images[index];
	struct hub_slot *slot = image->slot;

	while (!image->recording.stopped && drain(collector, image, true))
		;
	if (!image->recording.stopped || image->recording.path)
		end_recording(collector, image);
	if (image->pidfd >= 0)
		close(image->pidfd);
	free(image->blocks.places);
	free(image->pending);
	free(image);
	collector->images[index] = NULL;
	collector->live--;

	/* The slot is made as new for the next image. */
	madvise((char *)collector->hub + HUB_HEAD_BYTES + index * RING_BYTES, RING_BYTES, MADV_REMOVE);
	atomic_store(&slot->head, 0);
	atomic_store(&slot->consumed, 0);
	atomic_store(&slot->closed, 0);
	atomic_store(&slot->threads, 0);
	atomic_store(&slot->ready, 0);
	atomic_store(&slot->owner, 0);
}

/* Begins the oldest image that is new. False: there is none. */
static bool begin_oldest(struct collector *collector)
{
	size_t oldest = HUB_SLOTS;

	for (size_t i = 0; i < HUB_SLOTS; i++) {
		struct hub_slot *slot = &collector->hub->slots[i];
		uint32_t owner = atomic_load_explicit(&slot->owner, memory_order_acquire);

		if (owner == 0 || collector->images[i])
			continue;
		if (atomic_load_explicit(&slot->ready, memory_order_acquire)) {
			if (oldest == HUB_SLOTS || slot->generation < collector->hub->slots[oldest].generation)
				oldest = i;
		} else if (kill((pid_t)owner, 0) != 0 && errno == ESRCH) {
			atomic_store(&slot->owner, 0); /* ended between claiming and filling in */
		}
	}
	if (oldest == HUB_SLOTS)
		return false;
	/* An earlier image of the process has ended: it has exec'ed. */
	for (size_t i = 0; i < HUB_SLOTS; i++)
		if (collector->images[i] &&
		    collector->images[i]->recording.pid == atomic_load(&collector->hub->slots[oldest].owner))
			end_image(collector, i);
	begin_image(collector, oldest);
	return true;
}

bool collector_poll(struct collector *collector)
{
	bool any = false;

	while (begin_oldest(collector))
		;
	for (size_t i = 0; i < HUB_SLOTS; i++) {
		struct image *image = collector->images[i];

		if (!image || image->recording.stopped)
			continue;
		if (drain(collector, image, false))
			any = true;
		if (image->writer && trace_writer_operations(image->writer) > 0) {
			int64_t now = now_ns();

			if (now - image->flushed_at > FLUSH_NS) {
				trace_writer_flush(image->writer);
				image->flushed_at = now;
			}
		}
	}
	if (any)
		return true;
	for (size_t i = 0; i < HUB_SLOTS; i++) {
		if (collector->images[i] &&
		    process_ended(collector->images[i]->recording.pid, collector->images[i]->pidfd)) {
			end_image(collector, i);
			any = true;
		}
	}
	return any;
}

void collector_wait(struct collector *collector, int timeout)
{
	struct pollfd ends[HUB_SLOTS];
	nfds_t count = 0;

	for (size_t i = 0; i < HUB_SLOTS; i++)
		if (collector->images[i] && collector->images[i]->pidfd >= 0)
			ends[count++] = (struct pollfd){.fd = collector->images[i]->pidfd, .events = POLLIN};
	poll(ends, count, timeout);
}

size_t collector_live(const struct collector *collector)
{
	return collector->live;
}

void collector_finish(struct collector *collector)
{
	atomic_store(&collector->hub->closed, 1);
	collector_poll(collector);
	for (size_t i = 0; i < HUB_SLOTS; i++) {
		if (!collector->images[i])
			continue;
		/* The process may be running: it is told to write no more, and what is in the ring is taken in. */
		atomic_store(&collector->images[i]->slot->closed, 1);
		for (size_t n = 0; n < RING_RECORDS / BATCH && !collector->images[i]->recording.stopped; n++)
			drain(collector, collector->images[i], false);
		end_recording(collector, collector->images[i]);
		collector->images[i]->recording.stopped = true;
	}
}

const struct recording *collector_recordings(const struct collector *collector, size_t *count)
{
	*count = collector->recording_count;
	return collector->recordings;
}

uint32_t collector_left_out(const struct collector *collector)
{
	return atomic_load(&collector->hub->left_out);
}

void collector_destroy(struct collector *collector)
{
	collector_finish(collector);
	for (size_t i = 0; i < HUB_SLOTS; i++) {
		struct image *image = collector->images[i];

		if (!image)
			continue;
		if (image->pidfd >= 0)
			close(image->pidfd);
		free(image->blocks.places);
		free(image->pending);
		free(image);
	}
	for (size_t i = 0; i < collector->recording_count; i++) {
		free(collector->recordings[i].path);
		free(collector->recordings[i].command);
	}
	free(collector->recordings);
	munmap(collector->hub, HUB_BYTES);
	close(collector->file);
	free(collector->path);
	free(collector);
}
