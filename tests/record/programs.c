/* The programs that record.sh records, by their first argument. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void check(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		_exit(98);
	}
}

/* The compiler must not know that it is never used. */
static void *volatile sink;

static void allocate(int count, size_t size)
{
	for (int i = 0; i < count; i++)
		check((sink = malloc(size)) != NULL, "malloc");
}

static void kinds(void)
{
	volatile size_t huge = SIZE_MAX / 2 + 1;
	void *a, *b, *c, *d = NULL, *unused;

	free(malloc(123457)); /* from here ... */
	a = malloc(10);
	b = calloc(3, 7);
	check(malloc(huge) == NULL && errno == ENOMEM, "malloc of half the address space");
	check(calloc(huge, 4) == NULL, "calloc beyond the address space");
	check(realloc(a, huge) == NULL, "realloc to half the address space");
	check(reallocarray(a, huge, 4) == NULL, "reallocarray beyond the address space");
	errno = 77;
	a = realloc(a, 5000);
	a = reallocarray(a, 30, 400);
	c = realloc(NULL, 33);
	free(NULL);
	check(malloc_usable_size(a) >= 12000, "malloc_usable_size");
	free(a);
	check(errno == 77, "errno is not kept");
	check(realloc(c, 0) == NULL, "realloc to 0");
	c = aligned_alloc(64, 128);
	check(posix_memalign(&d, 4096, 100) == 0, "posix_memalign");
	check(posix_memalign(&unused, 3, 100) == EINVAL, "posix_memalign of alignment 3");
	free(c);
	free(d);
	c = memalign(32, 48);
	free(c);
	c = valloc(49);
	free(c);
	c = pvalloc(50);
	free(c);
	malloc_trim(51);
	free(b);
	free(malloc(123457)); /* ... to here */
}

/* Threads that allocate, free, and hand blocks on to each other. */

enum { HANDS = 64, ROUNDS = 20000, THREADS = 12 };
static void *_Atomic hands[HANDS];
static atomic_int running;

static void *work(void *argument)
{
	uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15 + 1;
	void *block, *mine = NULL;

	for (int i = 0; i < ROUNDS; i++) {
		size_t size;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		size = random >> 20 & 0x3ff;
		switch (random % 8) {
		case 0:
			block = calloc(size + 1, 2);
			break;
		case 1:
			block = aligned_alloc(64, size);
			break;
		case 2:
			check(posix_memalign(&block, 32, size) == 0, "posix_memalign");
			break;
		case 3:
		case 4:
			block = mine = realloc(mine, size + 1);
			continue;
		default:
			block = malloc(size);
		}
		free(atomic_exchange(&hands[random >> 40 & (HANDS - 1)], block));
	}
	free(mine);
	running--;
	return NULL;
}

static void threads(void)
{
	pthread_t joined[THREADS];

	running = THREADS;
	for (intptr_t i = 0; i < THREADS; i++) {
		check(pthread_create(&joined[i], NULL, work, (void *)(i + 1)) == 0, "pthread_create");
		if (i % 2)
			pthread_detach(joined[i]);
	}
	for (int i = 0; i < THREADS; i += 2)
		pthread_join(joined[i], NULL);
	while (running > 0)
		usleep(1000);
	usleep(100000); /* detached threads give their memory back after their last line */
	for (int i = 0; i < HANDS; i++)
		free(hands[i]);
}

static void forks(void)
{
	void *blocks[10];
	int status, good = 1;
	pid_t pid;

	for (int i = 0; i < 10; i++)
		blocks[i] = malloc(1001);
	pid = fork();
	if (pid == 0) {
		free(blocks[0]);
		blocks[1] = realloc(blocks[1], 2003);
		allocate(5, 2002);
		pid = fork();
		if (pid == 0) {
			allocate(2, 3003);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		good = status == 0;
		/* A fork that no library sees. */
		pid = (pid_t)syscall(SYS_fork);
		if (pid == 0) {
			allocate(3, 3004);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		good = good && status == 0;
		/* One that shares all memory: its calls are ours. */
		pid = vfork();
		if (pid == 0)
			_exit(0);
		waitpid(pid, &status, 0);
		exit(good ? 0 : 97);
	}
	allocate(7, 1004);
	waitpid(pid, &status, 0);
	check(status == 0, "child");
	for (int i = 0; i < 10; i++)
		free(blocks[i]);
}

static void execs(char **argv)
{
	char *again[] = {argv[0], "exec2", NULL};

	allocate(3, 1001);
	execv(argv[0], again);
	check(0, "execv");
}

static void execs2(char **argv)
{
	char *last[] = {argv[0], "exec3", NULL};
	pid_t pid;
	int status;

	allocate(4, 1002);
	check(posix_spawn(&pid, argv[0], NULL, NULL, last, environ) == 0, "posix_spawn");
	waitpid(pid, &status, 0);
	check(status == 0, "exec3");
	allocate(1, 1002);
}

static void *kill_soon(void *unused)
{
	usleep(200000);
	kill(getpid(), SIGKILL);
	return unused;
}

static void killed(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, kill_soon, NULL);
	for (size_t i = 0;; i++)
		free(atomic_exchange(&hands[i * 7 % HANDS], malloc(i % 500)));
}

/* Allocates for argv[2] seconds, then says so in the file argv[3]. */
static void endure(char **argv)
{
	struct timespec now, begin;
	FILE *file;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		for (int i = 0; i < 20; i++)
			free(malloc(100));
		usleep(10);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < atoi(argv[2]));
	file = fopen(argv[3], "w");
	check(file && fputs("done\n", file) >= 0 && fclose(file) == 0, "done");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "kinds") == 0)
		kinds();
	else if (strcmp(name, "threads") == 0)
		threads();
	else if (strcmp(name, "fork") == 0)
		forks();
	else if (strcmp(name, "exec") == 0)
		execs(argv);
	else if (strcmp(name, "exec2") == 0)
		execs2(argv);
	else if (strcmp(name, "exec3") == 0)
		allocate(5, 1003);
	else if (strcmp(name, "abort") == 0)
		allocate(70000, 1001), abort();
	else if (strcmp(name, "segv") == 0)
		allocate(100, 1001), *(volatile int *)0 = 0;
	else if (strcmp(name, "exit") == 0)
		allocate(100, 1001), _exit(9);
	else if (strcmp(name, "kill") == 0)
		killed();
	else if (strcmp(name, "closed_files") == 0)
		allocate(10, 1001), closefrom(3), allocate(90000, 1001);
	else if (strcmp(name, "endure") == 0)
		endure(argv);
	else
		return 96;
	return 0;
}
