/* replay-NAME SHARE FILE: the calls of a recorded program, again and again until there were enough of them. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"
#include "worker.h"

#define CALLS_ENOUGH 5000000
#define BUFFER_CALLS 1024

static size_t read_all(int descriptor, void *buffer, size_t size)
{
	size_t length = 0;
	ssize_t got;

	while (length < size && (got = read(descriptor, (char *)buffer + length, size - length)) > 0)
		length += (size_t)got;
	return length;
}

/* The first bytes of a block are written, and once a page. */
static void play(const struct replay_call *call, void **blocks)
{
	void *const block = call->block == REPLAY_NONE ? NULL : blocks[call->block];
	void *result = NULL;

	switch (call->kind) {
	case REPLAY_MALLOC:
		result = malloc(call->size);
		break;
	case REPLAY_CALLOC:
		result = calloc(1, call->size);
		break;
	case REPLAY_REALLOC:
		result = realloc(block, call->size);
		break;
	case REPLAY_ALIGNED:
		if (posix_memalign(&result, (size_t)1 << call->alignment_log2, call->size) != 0)
			result = NULL;
		break;
	case REPLAY_FREE:
		free(block);
		break;
	case REPLAY_USABLE_SIZE:
		malloc_usable_size(block);
		return;
	default:
		malloc_trim(call->size);
		return;
	}
	if (call->block != REPLAY_NONE)
		blocks[call->block] = NULL;
	if (call->result != REPLAY_NONE)
		blocks[call->result] = touch_block(result, call->size);
}

static uint64_t run_replay(double share, const char *path)
{
	static struct replay_call buffer[BUFFER_CALLS];
	const int descriptor = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct replay_head head;
	uint64_t operations = 0, times;
	void **blocks;

	if (descriptor < 0)
		die("%s: %s", path != NULL ? path : "replay", strerror(errno));
	if (read_all(descriptor, &head, sizeof head) != sizeof head || head.magic != REPLAY_MAGIC || head.calls == 0)
		die("%s: no recording for replay", path);
	blocks = table_map((head.labels + 1) * sizeof(*blocks));
	times = share_of(share, CALLS_ENOUGH / head.calls);
	for (uint64_t time = 0; time < times; time++) {
		size_t got;

		lseek(descriptor, sizeof head, SEEK_SET);
		while ((got = read_all(descriptor, buffer, sizeof buffer) / sizeof buffer[0]) > 0) {
			for (size_t i = 0; i < got; i++)
				play(&buffer[i], blocks);
			operations += got;
		}
		for (uint64_t label = 0; label < head.labels; label++) {
			free(blocks[label]);
			blocks[label] = NULL;
		}
	}
	table_unmap(blocks, (head.labels + 1) * sizeof(*blocks));
	close(descriptor);
	return operations;
}

const struct workload workloads_replay[] = {
	{"replay-", run_replay},
	{NULL, NULL},
};
