#include "event_log.h"

#include <errno.h>
#include <fcntl.h>
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
};

static bool visit_region(const struct region *region, void *context)
{
	struct visit *const visit = context;

	/* Live ones are known already. */
	if (region->kind != REGION_LIVE)
		event_log_add(visit->log, (struct event){.kind = EVENT_REGION,
							 .region = (uint8_t)region->kind,
							 .address = (uintptr_t)region->start,
							 .size = region->size});
	return ++visit->regions < REGIONS_MAX;
}

void event_log_walk(struct event_log *log, const struct allocator *allocator)
{
	struct visit visit = {.log = log};

	if (allocator->walk == NULL || log->walk_every == 0)
		return;
	event_log_add(log, (struct event){.kind = EVENT_WALK});
	allocator->walk(visit_region, &visit);
	event_log_add(log, (struct event){.kind = EVENT_WALKED});
}

void event_log_step(struct event_log *log, const struct allocator *allocator, uint32_t thread, uint64_t op)
{
	if (allocator != NULL && log->walk_every > 0 && log->steps % log->walk_every == 0)
		event_log_walk(log, allocator);
	log->steps++;
	event_log_add(log, (struct event){.kind = EVENT_STEP, .thread = thread, .op = op});
}
