/*
 * The library that `heapstorm record` preloads: it stands before the program's allocator, forwards every call to it,
 * and writes what was called into a ring that heapstorm reads (hub.h).
 *
 * It runs inside malloc, of any thread, before main, in signal handlers, and in the child of a fork. So it allocates
 * nothing, takes no lock, calls nothing that is a cancellation point (open, read and their like go through syscall()),
 * and leaves errno as it was.
 */
#include "hub.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/*
 * What a process image knows of its ring. It lies in a page that the kernel wipes in the child of a fork: the child
 * finds generation 0 however it was forked, and claims a slot of its own. (A vfork child shares all memory, and its
 * calls are its parent's.)
 */
struct image {
	_Atomic uint64_t generation; /* of the slot, 0: none claimed yet */
	_Atomic uint32_t attaching;  /* a thread is at it */
	_Atomic bool off;            /* nothing is to be recorded in this image */
	struct hub *hub;
	struct hub_slot *slot;
	struct ring_record *records;
};

/* Until the page is there, in a place that a fork copies. */
static struct image no_image;
static struct image *_Atomic image = &no_image;

#define GENERATION_NONE UINT64_MAX /* of a thread: equal to that of no image */

struct thread {
	uint64_t generation; /* of the image that `number` and `limit` belong to */
	uint64_t limit;      /* tickets below it have room in the ring */
	uint32_t number;
	uint32_t nested; /* inside the recorder, or inside an allocator's function (see enter) */
	bool resolving;
};

static __thread struct thread self __attribute__((tls_model("initial-exec"))) = {.generation = GENERATION_NONE};

static bool was_attached; /* to a slot of this image or, as a fork copies it, of its parent */
static char hub_path[64]; /* from the environment */
static uint64_t hub_nonce;
static pthread_key_t thread_key;
static _Atomic bool has_thread_key;

/* ---- The allocator that is recorded ---- */

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void (*free)(void *);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	size_t (*malloc_usable_size)(void *);
	int (*malloc_trim)(size_t);
} real;
static _Atomic bool resolved;

/* Serves the calls that dlsym makes while it looks for the real functions. Nothing of it is recorded or used again. */
#define BOOTSTRAP_HEADER 16
static alignas(16) char bootstrap[64 * 1024];
static _Atomic size_t bootstrap_used;

static bool is_bootstrap(const void *pointer)
{
	return (uintptr_t)pointer - (uintptr_t)bootstrap < sizeof(bootstrap);
}

static void *bootstrap_alloc(size_t alignment, size_t size)
{
	size_t used = atomic_load(&bootstrap_used);
	size_t start, end;

	if (alignment < 16)
		alignment = 16;
	do {
		start = (used + BOOTSTRAP_HEADER + alignment - 1) / alignment * alignment;
		if (size > sizeof(bootstrap) || alignment > 4096 || start > sizeof(bootstrap) - size) {
			errno = ENOMEM;
			return NULL;
		}
		end = start + size;
	} while (!atomic_compare_exchange_weak(&bootstrap_used, &used, end));
	memcpy(bootstrap + start - sizeof(size), &size, sizeof(size));
	return bootstrap + start; /* zero, as it was never used before */
}

static size_t bootstrap_size(const void *pointer)
{
	size_t size;

	memcpy(&size, (const char *)pointer - sizeof(size), sizeof(size));
	return size;
}

#define RESOLVE(name) (*(void **)&real.name = dlsym(RTLD_NEXT, #name))

/* False: called by dlsym itself. Several threads at it do the same thing. */
static __attribute__((noinline, cold)) bool resolve(void)
{
	int error = errno;

	if (self.resolving)
		return false;
	self.resolving = true;
	RESOLVE(malloc);
	RESOLVE(calloc);
	RESOLVE(realloc);
	RESOLVE(reallocarray);
	RESOLVE(free);
	RESOLVE(aligned_alloc);
	RESOLVE(posix_memalign);
	RESOLVE(memalign);
	RESOLVE(valloc);
	RESOLVE(pvalloc);
	RESOLVE(malloc_usable_size);
	RESOLVE(malloc_trim);
	if (!real.malloc || !real.calloc || !real.realloc || !real.free) {
		static const char message[] = "heapstorm: the recorder finds no allocator behind it\n";

		syscall(SYS_write, 2, message, sizeof(message) - 1);
		abort();
	}
	self.resolving = false;
	atomic_store_explicit(&resolved, true, memory_order_release);
	errno = error;
	return true;
}

static inline bool ready(void)
{
	return LIKELY(atomic_load_explicit(&resolved, memory_order_acquire)) || resolve();
}

/* ---- Attaching to the hub ---- */

/* Reads up to `size` bytes of a file of /proc. Returns the bytes read, 0 if it cannot be read. */
static size_t read_proc(const char *path, char *to, size_t size)
{
	int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	size_t used = 0;

	if (file < 0)
		return 0;
	while (used < size) {
		long n = syscall(SYS_read, file, to + used, size - used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	syscall(SYS_close, file);
	return used;
}

/*
 * Finds HEAPSTORM_RECORD=PATH:NONCE. The first calls come from the dynamic linker, before libc knows its environment,
 * so it is read from the kernel, in pieces that overlap nowhere: `matched` carries over.
 */
static bool find_hub_in_environment(void)
{
	static const char name[] = HUB_ENVIRONMENT "=";
	char piece[512];
	char value[sizeof(hub_path) + 32];
	size_t value_length = 0, matched = 0;
	bool at_start = true, in_value = false, found = false;
	int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY | O_CLOEXEC, 0);
	long n;
	char *colon;

	if (file < 0)
		return false;
	while (!found && (n = syscall(SYS_read, file, piece, sizeof(piece))) > 0) {
		for (long i = 0; i < n && !found; i++) {
			char c = piece[i];

			if (in_value) {
				if (value_length < sizeof(value) - 1)
					value[value_length++] = c;
				found = c == '\0';
			} else if (c == '\0') {
				at_start = true;
				matched = 0;
			} else if (at_start && c == name[matched]) {
				in_value = name[++matched] == '\0';
			} else {
				at_start = false;
			}
		}
	}
	syscall(SYS_close, file);
	if (!in_value)
		return false;
	value[value_length] = '\0';
	colon = strrchr(value, ':');
	if (!colon || (size_t)(colon - value) >= sizeof(hub_path))
		return false;
	memcpy(hub_path, value, (size_t)(colon - value));
	hub_path[colon - value] = '\0';
	hub_nonce = 0;
	for (const char *p = colon + 1; *p >= '0' && *p <= '9'; p++)
		hub_nonce = hub_nonce * 10 + (uint64_t)(*p - '0');
	return true;
}

/* A page that is zero in the child of a fork. */
static struct image *make_image(void)
{
	struct image *made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (made == MAP_FAILED)
		return NULL;
	if (madvise(made, sizeof(*made), MADV_WIPEONFORK) != 0)
		return NULL;
	return made;
}

/* Claims a slot of the hub for this image. */
static bool attach_image(struct image *to)
{
	int file;
	struct hub *hub;
	struct hub_slot *slot = NULL;
	uint32_t pid = (uint32_t)getpid();
	size_t i;
	void *records;

	if (hub_path[0] == '\0' && !find_hub_in_environment())
		return false;
	file = (int)syscall(SYS_openat, AT_FDCWD, hub_path, O_RDWR | O_CLOEXEC, 0);
	if (file < 0)
		return false;
	hub = mmap(NULL, HUB_HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (hub == MAP_FAILED)
		goto no_hub;
	if (hub->magic != HUB_MAGIC || hub->version != HUB_VERSION || hub->nonce != hub_nonce ||
	    atomic_load(&hub->closed))
		goto no_slot;
	if (!hub->follow_children && pid != atomic_load(&hub->main_pid))
		goto no_slot;
	for (i = 0; i < HUB_SLOTS; i++) {
		uint32_t nobody = 0;

		if (atomic_load_explicit(&hub->slots[i].owner, memory_order_relaxed) == 0 &&
		    atomic_compare_exchange_strong(&hub->slots[i].owner, &nobody, pid))
			break;
	}
	if (i == HUB_SLOTS) {
		atomic_fetch_add(&hub->left_out, 1);
		goto no_slot;
	}
	slot = &hub->slots[i];
	records = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file,
		       (off_t)(HUB_HEAD_BYTES + i * RING_BYTES));
	if (records == MAP_FAILED) {
		atomic_store(&slot->owner, 0);
		goto no_slot;
	}
	/* A child of a fork has no business in this ring. */
	madvise(records, RING_BYTES, MADV_DONTFORK);
	madvise(hub, HUB_HEAD_BYTES, MADV_DONTFORK);
	syscall(SYS_close, file);
	slot->forked = was_attached;
	slot->command_length = (uint32_t)read_proc("/proc/self/cmdline", slot->command, HUB_COMMAND_MAX);
	slot->generation = 1 + atomic_fetch_add(&hub->generations, 1);
	to->hub = hub;
	to->slot = slot;
	to->records = records;
	was_attached = true;
	atomic_store_explicit(&slot->ready, 1, memory_order_release);
	atomic_store_explicit(&to->generation, slot->generation, memory_order_release);
	return true;

no_slot:
	munmap(hub, HUB_HEAD_BYTES);
no_hub:
	syscall(SYS_close, file);
	return false;
}

/* Makes this thread one of the image's. False: its call is not to be recorded. */
static __attribute__((noinline, cold)) bool attach(void)
{
	struct image *mine = atomic_load_explicit(&image, memory_order_acquire);
	int error = errno;
	bool good = false;

	/* Nested: what pthread_setspecific allocates, or a signal handler that interrupted this very function. */
	if (self.nested > 0 || atomic_load_explicit(&mine->off, memory_order_relaxed))
		return false;
	self.nested++;
	if (mine == &no_image) {
		/* The first call of a process comes from the dynamic linker: there are no other threads yet. */
		mine = make_image();
		if (!mine) {
			atomic_store(&no_image.off, true);
			goto out;
		}
		atomic_store_explicit(&image, mine, memory_order_release);
	}
	while (atomic_load_explicit(&mine->generation, memory_order_acquire) == 0) {
		if (atomic_load(&mine->off))
			goto out;
		if (atomic_exchange(&mine->attaching, 1) != 0) {
			syscall(SYS_sched_yield);
			continue;
		}
		if (atomic_load(&mine->generation) == 0 && !attach_image(mine))
			atomic_store(&mine->off, true);
		atomic_store(&mine->attaching, 0);
	}
	self.number = atomic_fetch_add(&mine->slot->threads, 1);
	if (self.number >= RECORD_THREADS_MAX)
		goto out;
	self.limit = 0;
	self.generation = atomic_load(&mine->generation);
	if (atomic_load(&has_thread_key))
		pthread_setspecific(thread_key, &self);
	good = true;
out:
	self.nested--;
	errno = error;
	return good;
}

/* ---- Recording ---- */

/* Nobody reads the ring: this image records nothing more. The ring stays mapped for the threads that are at it. */
static void detach(void)
{
	struct image *mine = atomic_load(&image);

	atomic_store(&mine->off, true);
	self.generation = GENERATION_NONE;
	atomic_store(&mine->generation, 0);
}

/* Waits until the ring has room for `ticket`. False: there will never be any. */
static __attribute__((noinline, cold)) bool wait_for_room(const struct image *mine, uint64_t ticket)
{
	struct hub_slot *slot = mine->slot;

	for (unsigned tries = 0;; tries++) {
		static const struct timespec pause = {.tv_nsec = 200000};

		self.limit = atomic_load_explicit(&slot->consumed, memory_order_acquire) + RING_RECORDS;
		if (atomic_load_explicit(&slot->closed, memory_order_relaxed)) {
			detach();
			return false;
		}
		if (ticket < self.limit)
			return true;
		if (atomic_load_explicit(&mine->off, memory_order_relaxed))
			return false;
		if (tries < 16) {
			syscall(SYS_sched_yield);
		} else {
			syscall(SYS_nanosleep, &pause, NULL);
			/* The path is below the collector's entry in /proc, and gone with it. */
			if (tries % 256 == 0 && syscall(SYS_faccessat, AT_FDCWD, hub_path, F_OK) != 0) {
				detach();
				return false;
			}
		}
	}
}

static __attribute__((noinline, cold)) bool make_room(const struct image *mine, uint64_t ticket)
{
	int error = errno;
	bool room = wait_for_room(mine, ticket);

	errno = error;
	return room;
}

static inline void record(enum record_kind kind, const void *block, uint64_t size, uint64_t extra)
{
	struct image *mine = atomic_load_explicit(&image, memory_order_acquire);
	struct ring_record *to;
	uint64_t ticket;

	if (UNLIKELY(self.generation != atomic_load_explicit(&mine->generation, memory_order_acquire))) {
		if (!attach())
			return;
		mine = atomic_load_explicit(&image, memory_order_acquire);
	}
	ticket = atomic_fetch_add_explicit(&mine->slot->head, 1, memory_order_relaxed);
	if (UNLIKELY(ticket >= self.limit) && !make_room(mine, ticket))
		return;
	to = &mine->records[ticket & (RING_RECORDS - 1)];
	to->block = (uintptr_t)block;
	to->size = size;
	to->extra = extra;
	atomic_store_explicit(&to->tag, RECORD_TAG(ticket, self.number, kind), memory_order_release);
}

/*
 * Around a call of a function that may be written in terms of others: some allocators' realloc calls malloc by its
 * public name, and libc's reallocarray calls realloc. These calls come here again and are no calls of the program's.
 */
static inline uint64_t enter(void)
{
	uint64_t generation = self.generation;

	self.nested++;
	self.generation = GENERATION_NONE;
	return generation;
}

static inline void leave(uint64_t generation)
{
	self.nested--;
	self.generation = generation;
}

static void end_thread(void *unused)
{
	(void)unused;
	record(RECORD_THREAD_END, NULL, 0, 0);
}

static __attribute__((constructor)) void begin(void)
{
	/* Among the first keys of the process, so that setting it allocates nothing. */
	if (pthread_key_create(&thread_key, end_thread) == 0)
		atomic_store(&has_thread_key, true);
}

/* ---- libc's names ---- */

EXPORTED void *malloc(size_t size)
{
	void *block;

	if (UNLIKELY(!ready()))
		return bootstrap_alloc(0, size);
	block = real.malloc(size);
	if (LIKELY(block != NULL))
		record(RECORD_MALLOC, block, size, 0);
	return block;
}

EXPORTED void free(void *block)
{
	if (!block || UNLIKELY(is_bootstrap(block)) || UNLIKELY(!ready()))
		return;
	record(RECORD_FREE, block, 0, 0);
	real.free(block);
}

EXPORTED void *calloc(size_t count, size_t size)
{
	uint64_t generation;
	void *block;

	if (UNLIKELY(!ready())) {
		if (__builtin_mul_overflow(count, size, &size)) {
			errno = ENOMEM;
			return NULL;
		}
		return bootstrap_alloc(0, size);
	}
	generation = enter();
	block = real.calloc(count, size);
	leave(generation);
	if (LIKELY(block != NULL))
		record(RECORD_CALLOC, block, size, count);
	return block;
}

/* A block of the bootstrap arena moves to the program's heap. */
static void *leave_bootstrap(void *block, size_t size)
{
	size_t old_size = bootstrap_size(block);
	void *moved = malloc(size);

	if (moved)
		memcpy(moved, block, old_size < size ? old_size : size);
	return moved;
}

EXPORTED void *realloc(void *block, size_t size)
{
	uint64_t generation;
	void *result;

	if (UNLIKELY(is_bootstrap(block)) || UNLIKELY(!ready())) {
		if (!block)
			return bootstrap_alloc(0, size);
		return leave_bootstrap(block, size);
	}
	record(RECORD_REALLOC_BEGIN, block, 0, 0);
	generation = enter();
	result = real.realloc(block, size);
	leave(generation);
	/* NULL for size 0 comes from an allocator that frees the block. Where it only failed, the block's end goes unseen. */
	if (LIKELY(result != NULL) || (size == 0 && block))
		record(RECORD_REALLOC, result, size, 0);
	else
		record(RECORD_REALLOC_FAILED, NULL, 0, 0);
	return result;
}

EXPORTED void *reallocarray(void *block, size_t count, size_t size)
{
	uint64_t generation;
	void *result;
	size_t product;

	if (UNLIKELY(is_bootstrap(block)) || UNLIKELY(!ready()) || UNLIKELY(!real.reallocarray)) {
		if (__builtin_mul_overflow(count, size, &product)) {
			errno = ENOMEM;
			return NULL;
		}
		return realloc(block, product);
	}
	record(RECORD_REALLOC_BEGIN, block, 0, 0);
	generation = enter();
	result = real.reallocarray(block, count, size);
	leave(generation);
	if (LIKELY(result != NULL) || ((size == 0 || count == 0) && block))
		record(RECORD_REALLOCARRAY, result, size, count);
	else
		record(RECORD_REALLOC_FAILED, NULL, 0, 0);
	return result;
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
	uint64_t generation;
	void *block;

	if (UNLIKELY(!ready()))
		return bootstrap_alloc(alignment, size);
	generation = enter();
	block = real.aligned_alloc(alignment, size);
	leave(generation);
	if (LIKELY(block != NULL))
		record(RECORD_ALIGNED_ALLOC, block, size, alignment);
	return block;
}

EXPORTED int posix_memalign(void **result, size_t alignment, size_t size)
{
	uint64_t generation;
	int status;

	if (UNLIKELY(!ready())) {
		*result = bootstrap_alloc(alignment, size);
		return *result ? 0 : ENOMEM;
	}
	generation = enter();
	status = real.posix_memalign(result, alignment, size);
	leave(generation);
	if (LIKELY(status == 0) && *result)
		record(RECORD_POSIX_MEMALIGN, *result, size, alignment);
	return status;
}

EXPORTED void *memalign(size_t alignment, size_t size)
{
	uint64_t generation;
	void *block;

	if (UNLIKELY(!ready()))
		return bootstrap_alloc(alignment, size);
	generation = enter();
	block = real.memalign(alignment, size);
	leave(generation);
	if (LIKELY(block != NULL))
		record(RECORD_MEMALIGN, block, size, alignment);
	return block;
}

/* The first by the page size; pvalloc also rounds the size up to it. */
EXPORTED void *valloc(size_t size)
{
	uint64_t generation;
	void *block;

	if (UNLIKELY(!ready()))
		return bootstrap_alloc(4096, size);
	generation = enter();
	block = real.valloc(size);
	leave(generation);
	if (LIKELY(block != NULL))
		record(RECORD_MEMALIGN, block, size, (uint64_t)sysconf(_SC_PAGESIZE));
	return block;
}

EXPORTED void *pvalloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t generation;
	void *block;

	if (UNLIKELY(!ready()))
		return bootstrap_alloc(4096, size);
	generation = enter();
	block = real.pvalloc(size);
	leave(generation);
	if (LIKELY(block != NULL))
		record(RECORD_MEMALIGN, block, (size + page - 1) & ~(page - 1), page);
	return block;
}

EXPORTED size_t malloc_usable_size(void *block)
{
	uint64_t generation;
	size_t size;

	if (!block)
		return 0;
	if (UNLIKELY(is_bootstrap(block)) || UNLIKELY(!ready()))
		return bootstrap_size(block);
	record(RECORD_USABLE_SIZE, block, 0, 0);
	generation = enter();
	size = real.malloc_usable_size(block);
	leave(generation);
	return size;
}

EXPORTED int malloc_trim(size_t pad)
{
	uint64_t generation;
	int trimmed;

	if (UNLIKELY(!ready()) || !real.malloc_trim)
		return 0;
	generation = enter();
	trimmed = real.malloc_trim(pad);
	leave(generation);
	record(RECORD_TRIM, NULL, pad, 0);
	return trimmed;
}
