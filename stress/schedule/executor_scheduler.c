/* The scheduler as the executor sees it. */
#define _GNU_SOURCE
#include <unistd.h>

#include "internal.h"

static const struct schedule_options *used;

static void begin(const struct scheduler *scheduler, const struct scheduler_client *client, struct run_record *record)
{
	(void)scheduler;
	schedule_forget();
	schedule_begin(used, client, record);
}

static void spawn(uint32_t thread, void *(*start)(void *), void *argument)
{
	schedule_spawn(thread, start, argument);
}

static int fork_child_alone(void)
{
	int child;

	schedule_fork_handlers(0);
	child = _Fork();
	if (child == 0) {
		schedule_fork_child();
		schedule_fork_handlers(2);
	} else {
		schedule_fork_handlers(1);
	}
	return child;
}

static void failed(void)
{
	schedule.record->points = schedule.points;
	schedule.record->trace_hash = schedule.hash;
	_exit(1);
}

const struct scheduler *schedule_for_executor(const struct schedule_options *options)
{
	static const struct scheduler scheduler = {
		.begin = begin,
		.pause = schedule_pause,
		.end = schedule_end,
		.spawn = spawn,
		.operation = schedule_operation,
		.wait = schedule_wait,
		.release = schedule_release,
		.acquire = schedule_acquire,
		.fork = fork_child_alone,
		.failed = failed,
	};

	used = options;
	return &scheduler;
}
