/* bench-worker WORKLOAD SHARE [ARGUMENT]: runs one workload and writes what it cost to descriptor 4. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "record.h"
#include "worker.h"

#define THREADS_MAX 64

void die(const char *format, ...)
{
	va_list arguments;
	char line[256];

	/* No stdio streams: they allocate. */
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof line - 2)
		length = (int)sizeof line - 2;
	line[length] = '\n';
	if (write(STDERR_FILENO, line, (size_t)length + 1) < 0)
		_exit(4);
	_exit(3);
}

void *touch_block(void *block, size_t size)
{
	volatile char *const bytes = block;

	if (block == NULL)
		die("no memory for %zu bytes", size);
	if (size > 0) {
		for (size_t i = 0; i < size; i += 4096)
			bytes[i] = (char)i;
		bytes[size - 1] = 1;
	}
	return block;
}

void *make_block(size_t size)
{
	return touch_block(malloc(size), size);
}

void *table_map(size_t bytes)
{
	void *const table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (table == MAP_FAILED)
		die("no memory for a table of %zu bytes", bytes);
	return table;
}

void table_unmap(void *table, size_t bytes)
{
	munmap(table, bytes);
}

struct thread_call {
	pthread_t thread;
	unsigned number;
	uint64_t (*work)(unsigned number);
	uint64_t result;
};

static void *thread_main(void *argument)
{
	struct thread_call *const call = argument;

	call->result = call->work(call->number);
	return NULL;
}

uint64_t run_threads(unsigned count, uint64_t (*work)(unsigned number))
{
	struct thread_call calls[THREADS_MAX];
	uint64_t sum = 0;

	if (count > THREADS_MAX)
		die("too many threads");
	for (unsigned i = 0; i < count; i++) {
		calls[i] = (struct thread_call){.number = i, .work = work};
		if (pthread_create(&calls[i].thread, NULL, thread_main, &calls[i]) != 0)
			die("a thread cannot be started");
	}
	for (unsigned i = 0; i < count; i++) {
		pthread_join(calls[i].thread, NULL);
		sum += calls[i].result;
	}
	return sum;
}

/* A figure in KiB of a file in /proc/self. The counters of statm and status lag behind by some pages a processor; smaps_rollup is exact. */
static uint64_t proc_kib(const char *file, const char *field)
{
	char text[4096];
	const int descriptor = open(file, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got;
	const char *place;

	if (descriptor < 0)
		die("%s: %s", file, strerror(errno));
	while (length < sizeof text - 1 && (got = read(descriptor, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	close(descriptor);
	text[length] = '\0';
	place = strstr(text, field);
	return place == NULL ? 0 : strtoull(place + strlen(field), NULL, 10);
}

static uint64_t resident_kib(void)
{
	return proc_kib("/proc/self/smaps_rollup", "\nRss:");
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

static struct bench_worker record = {.magic = BENCH_MAGIC};
static uint64_t pause_wall_ns, pause_cpu_ns; /* taken by figures in between */

void measure_after(void)
{
	const uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	record.after_kib = resident_kib();
	pause_wall_ns += clock_ns(CLOCK_MONOTONIC) - wall;
	pause_cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

static const struct workload *find(const char *name, const char **argument)
{
	static const struct workload *const lists[] = {workloads_single, workloads_threads, workloads_memory,
						       workloads_replay, workloads_steps};

	for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
		for (const struct workload *w = lists[list]; w->name != NULL; w++) {
			const size_t length = strlen(w->name);

			if (strcmp(name, w->name) == 0)
				return w;
			if (w->name[length - 1] == '-' && strncmp(name, w->name, length) == 0) {
				if (*argument == NULL)
					*argument = name + length;
				return w;
			}
		}
	}
	return NULL;
}

int main(int count, char **arguments)
{
	const char *argument = count > 3 ? arguments[3] : NULL;
	const struct workload *const workload = count >= 3 ? find(arguments[1], &argument) : NULL;
	uint64_t wall, cpu, fault_count;

	if (workload == NULL)
		die("usage: bench-worker WORKLOAD SHARE [ARGUMENT]");
	record.base_kib = resident_kib();
	fault_count = faults();
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	wall = clock_ns(CLOCK_MONOTONIC);
	record.operations = workload->run(strtod(arguments[2], NULL), argument);
	record.wall_ns = clock_ns(CLOCK_MONOTONIC) - wall - pause_wall_ns;
	record.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu - pause_cpu_ns;
	record.faults = faults() - fault_count;
	if (record.after_kib == 0)
		measure_after();
	record.peak_kib = proc_kib("/proc/self/status", "\nVmHWM:");
	malloc_trim(0);
	record.trimmed_kib = resident_kib();
	if (write(BENCH_WORKER_FD, &record, sizeof record) != sizeof record)
		die("no descriptor %d to write to", BENCH_WORKER_FD);
	return 0;
}
