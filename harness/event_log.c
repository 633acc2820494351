#include "event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REGIONS_MAX 1500 /* of a walk */

bool event_log_open(const char *path, size_t ops, size_t walks, struct event_log *log)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int error;

	*log = (struct event_log){.capacity = ops * 3 + (walks + 1) * (REGIONS_MAX + 2) + 16,
				  .walk_every = walks > 0 ? ops / walks + 1 : 0};
	if (fd < 0)
		return false;
	/* Sparse: only what is written takes room. */
	if (ftruncate(fd, (off_t)(log->capacity * sizeof(struct event))) == 0)
		log->events =
			mmap(NULL, log->capacity * sizeof(struct event), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	error = errno;
	close(fd);
	errno = error;
	if (log->events == MAP_FAILED)
		log->events = NULL;
	return log->events != NULL;
}

bool event_log_read(const char *path, struct event_log *log)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	int error;

	*log = (struct event_log){0};
	if (fd < 0)
		return false;
	if (fstat(fd, &status) == 0 && status.st_size >= (off_t)sizeof(struct event)) {
		log->capacity = (size_t)status.st_size / sizeof(struct event);
		log->events = mmap(NULL, log->capacity * sizeof(struct event), PROT_READ, MAP_PRIVATE, fd, 0);
	}
	error = errno;
	close(fd);
	errno = error;
	if (log->events == MAP_FAILED)
		log->events = NULL;
	while (log->events != NULL && log->count < log->capacity && log->events[log->count].kind != EVENT_NONE)
		log->count++;
	return log->events != NULL;
}

void event_log_close(struct event_log *log)
{
	if (log->events != NULL)
		munmap(log->events, log->capacity * sizeof(struct event));
	log->events = NULL;
}

void event_log_add(struct event_log *log, struct event event)
{
	if (log->count + 1 < log->capacity)
		log->events[log->count++] = event;
}

struct visit {
	struct event_log *log;
	size_t regions;
	bool live; /* live regions too: blocks are known already, but the allocator may think otherwise */
};

static bool visit_region(const struct region *region, void *context)
{
	struct visit *const visit = context;

	if (region->kind != REGION_LIVE || visit->live)
		event_log_add(visit->log, (struct event){.kind = EVENT_REGION,
							 .region = (uint8_t)region->kind,
							 .address = (uintptr_t)region->start,
							 .size = region->size});
	return ++visit->regions < REGIONS_MAX;
}

static void walk_heap(struct event_log *log, const struct allocator *allocator, bool live)
{
	struct visit visit = {.log = log, .live = live};

	if (allocator == NULL || allocator->walk == NULL)
		return;
	event_log_add(log, (struct event){.kind = EVENT_WALK});
	allocator->walk(visit_region, &visit);
	event_log_add(log, (struct event){.kind = EVENT_WALKED});
}

__attribute__((noinline)) void event_log_stop(void)
{
	__asm__ volatile("");
}

static void stop_before(struct event_log *log, const struct allocator *allocator, uint32_t thread, uint64_t op)
{
	if (!log->stops || thread != log->stop_thread || op != log->stop_op)
		return;
	walk_heap(log, allocator, true);
	event_log_stop();
}

void event_log_step(struct event_log *log, const struct allocator *allocator, uint32_t thread, uint64_t op)
{
	if (log->walk_every > 0 && log->steps % log->walk_every == 0)
		walk_heap(log, allocator, false);
	log->steps++;
	event_log_add(log, (struct event){.kind = EVENT_STEP, .thread = thread, .op = op});
	stop_before(log, allocator, thread, op);
}

void event_log_end(struct event_log *log, const struct allocator *allocator)
{
	if (log->walk_every > 0)
		walk_heap(log, allocator, false);
	stop_before(log, allocator, 0, NO_OP);
}

bool event_log_stop_at(struct event_log *log, const char *text)
{
	char *end;

	log->stops = true;
	log->stop_thread = 0;
	log->stop_op = NO_OP;
	if (strcmp(text, "end") == 0)
		return true;
	log->stop_thread = (uint32_t)strtoul(text, &end, 10);
	if (end == text || *end != ':')
		return false;
	text = end + 1;
	log->stop_op = strtoull(text, &end, 10);
	return end != text && *end == '\0';
}
