/*
 * Bundles: an allocator compiled to one relocatable object, with brackets around all of its mutable data.
 *
 * cmake/bundle_allocator.sh makes a bundle. All its symbols are local but the allocator's interface and
 * `heapstorm_bundle_NAME`, so that several bundles, each with its own copy of what they share, are linked into one program. A
 * snapshot of a bundle is all that the allocator remembers outside of the memory it got from the OS.
 */
#ifndef HEAPSTORM_HARNESS_BUNDLE_H
#define HEAPSTORM_HARNESS_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>

struct bundle_range {
	char *begin, *end; /* the first byte, and the one after the last */
};

struct bundle {
	const char *name; /* as given to the script: "mem_alloc_2_0" */
	struct bundle_range data, bss;
	/* The thread-local variables of the calling thread. */
	void (*thread_local_ranges)(struct bundle_range *tdata, struct bundle_range *tbss);
};

struct bundle_snapshot {
	const struct bundle *bundle;
	char *copy;  /* a mapping of its own: data, bss, tdata, tbss */
	size_t size; /* bytes of it in use */
};

/*
 * Saves the data of a bundle and the thread-local variables of the calling thread. `snapshot` may hold anything before. False, with
 * errno, when there is no memory for the copy. No other thread may be inside the allocator.
 */
bool bundle_snapshot_take(const struct bundle *bundle, struct bundle_snapshot *snapshot);

/*
 * Puts the saved data back, the thread-local variables into those of the calling thread. Never fails, calls nothing: a plain copy of
 * `size` bytes, for every input of a fuzzer.
 */
void bundle_snapshot_restore(const struct bundle_snapshot *snapshot);

/* The thread-local variables of the calling thread alone: `copy` has room for bundle_thread_size bytes. */
size_t bundle_thread_size(const struct bundle *bundle);
void bundle_thread_save(const struct bundle *bundle, char *copy);
void bundle_thread_restore(const struct bundle *bundle, const char *copy);

/* Returns the memory of a snapshot. */
void bundle_snapshot_release(struct bundle_snapshot *snapshot);

#endif
