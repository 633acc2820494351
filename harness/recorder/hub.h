/*
 * The memory that `heapstorm record` shares with the processes it records.
 *
 * The collector (heapstorm) makes one hub, a memory file, and names it in the environment variable HEAPSTORM_RECORD as
 * a path below /proc. The recorder (the preloaded library) of each process image, that is of each program a process
 * runs and of each fork of it, claims a slot, writes its calls into the slot's ring, and knows nothing of files or
 * compression: whatever ends the process (a signal, kill -9, _exit, exec), all that it did is in the ring.
 *
 * Order A call takes a ticket from the slot's counter and writes the record of that number: the counter is the order of
 * calls, and the ring has them sorted. The ticket is taken after the allocator has returned a block and before it is
 * given one back. So when thread A frees a block and thread B is handed the same memory, A's ticket comes before A's
 * free, that comes before B's malloc (the allocator synchronises the two, or it could not hand the memory on), and that
 * before B's ticket: no address is ever seen reused before it is seen freed. As the two tickets are ordered by
 * happens-before, a relaxed counter is enough: read-modify-writes of one object agree with it. realloc does both and so
 * takes two tickets: one before, which takes the old block out of sight, one after, which brings the new one in (or the
 * old one back, where the call failed).
 */
#ifndef HEAPSTORM_HARNESS_RECORDER_HUB_H
#define HEAPSTORM_HARNESS_RECORDER_HUB_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define HUB_ENVIRONMENT "HEAPSTORM_RECORD"
#define HUB_MAGIC 0x48535248u /* "HSRH" */
#define HUB_VERSION 1u
#define HUB_SLOTS 256 /* process images at one time */
#define HUB_COMMAND_MAX 1024

#define RING_BITS 16
#define RING_RECORDS (UINT64_C(1) << RING_BITS)
#define RING_BYTES (RING_RECORDS * sizeof(struct ring_record))

enum record_kind {
	RECORD_MALLOC = 1,     /* block size */
	RECORD_CALLOC,         /* block size count */
	RECORD_REALLOC_BEGIN,  /* old block, may be NULL */
	RECORD_REALLOC,        /* block size; block NULL and size 0: the old block was freed */
	RECORD_REALLOCARRAY,   /* block size count */
	RECORD_REALLOC_FAILED, /* nothing: the old block is as it was */
	RECORD_FREE,           /* block */
	RECORD_ALIGNED_ALLOC,  /* block size alignment */
	RECORD_POSIX_MEMALIGN, /* block size alignment */
	RECORD_MEMALIGN,       /* block size alignment */
	RECORD_USABLE_SIZE,    /* block */
	RECORD_TRIM,           /* pad as size */
	RECORD_THREAD_END,     /* nothing */
};

struct ring_record {
	/*
	 * Written last: lap << 32 | thread << 8 | kind. The lap of ticket n is 1 + n / RING_RECORDS: while the lap is an
	 * earlier one, the record is not there yet.
	 */
	_Atomic uint64_t tag;
	uint64_t block, size, extra;
};

#define RECORD_TAG(ticket, thread, kind) ((((ticket) >> RING_BITS) + 1) << 32 | (uint64_t)(thread) << 8 | (kind))
#define RECORD_THREADS_MAX (1u << 24)

struct hub_slot {
	_Atomic uint32_t owner; /* pid of the process that claimed it, 0: free */
	_Atomic uint32_t ready; /* the fields below are filled in */
	uint32_t forked;        /* the image is the child of a fork */
	uint32_t command_length;
	uint64_t generation;      /* ascending with each claim of any slot */
	_Atomic uint32_t threads; /* threads that have made a call so far */
	char command[HUB_COMMAND_MAX];

	alignas(64) _Atomic uint64_t head; /* tickets taken */
	/* The collector's: a ticket may be written once it is below consumed + RING_RECORDS. */
	alignas(64) _Atomic uint64_t consumed;
	_Atomic uint32_t closed; /* nobody reads the ring any more: record nothing */
};

struct hub {
	uint32_t magic, version;
	uint64_t nonce;            /* tells the hub from another file of the same name */
	_Atomic uint32_t main_pid; /* the process that heapstorm started */
	uint32_t follow_children;  /* record other processes than that */
	_Atomic uint32_t closed;   /* no more slots are to be claimed */
	_Atomic uint32_t left_out; /* images that found no slot */
	_Atomic uint64_t generations;
	struct hub_slot slots[HUB_SLOTS];
};

#define HUB_HEAD_BYTES ((sizeof(struct hub) + 65535) / 65536 * 65536)
#define HUB_BYTES (HUB_HEAD_BYTES + HUB_SLOTS * RING_BYTES)

#endif
