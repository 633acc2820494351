/* The scheduler as the executor sees it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "internal.h"

int heapstorm_sched_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int heapstorm_sched_pthread_setspecific(pthread_key_t key, const void *value);

static const struct schedule_options *used;

/* A key of the run, made by the first thread that needs it. */
static pthread_key_t exit_key;
static bool exit_key_made;

static void begin(const struct scheduler *scheduler, const struct scheduler_client *client, struct run_record *record)
{
	(void)scheduler;
	exit_key_made = false;
	schedule_forget();
	schedule_begin(used, client, record);
}

static void spawn(uint32_t thread, void *(*start)(void *), void *argument)
{
	schedule_spawn(thread, start, argument);
}

static void at_exit(void (*destructor)(void *), void *argument)
{
	if (!exit_key_made)
		heapstorm_sched_pthread_key_create(&exit_key, destructor);
	exit_key_made = true;
	heapstorm_sched_pthread_setspecific(exit_key, argument);
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

const struct scheduler *schedule_for_executor(const struct schedule_options *options)
{
	static struct scheduler scheduler = {
		.begin = begin,
		.pause = schedule_pause,
		.end = schedule_end,
		.spawn = spawn,
		.operation = schedule_operation,
		.wait = schedule_wait,
		.release = schedule_release,
		.acquire = schedule_acquire,
		.at_exit = at_exit,
		.fork = fork_child_alone,
		.failed = schedule_stop,
	};

	used = options;
	scheduler.one_processor = threads_in_kernel(options->kernel_switch);
	return &scheduler;
}
