#include "interpose.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "arena.h"

#define KEYS_MAX 64
#define HANDLERS_MAX 16

struct fork_handler {
	void (*prepare)(void);
	void (*parent)(void);
	void (*child)(void);
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t keys[KEYS_MAX];
static size_t key_count;
static struct fork_handler handlers[HANDLERS_MAX];
static size_t handler_count;
static size_t kept_keys, kept_handlers; /* the first of them */

/* Under these names the bundle calls them: see cmake/bundle_allocator.sh. */
int heapstorm_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int heapstorm_pthread_key_delete(pthread_key_t key);
int heapstorm_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

int heapstorm_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	const int error = pthread_key_create(key, destructor);

	if (error == 0) {
		pthread_mutex_lock(&lock);
		if (key_count < KEYS_MAX)
			keys[key_count++] = *key;
		pthread_mutex_unlock(&lock);
	}
	return error;
}

int heapstorm_pthread_key_delete(pthread_key_t key)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < key_count; i++)
		if (keys[i] == key) {
			keys[i] = keys[--key_count];
			break;
		}
	pthread_mutex_unlock(&lock);
	return pthread_key_delete(key);
}

static void run_prepare(void)
{
	for (size_t i = handler_count; i > 0; i--)
		if (handlers[i - 1].prepare != NULL)
			handlers[i - 1].prepare();
	arena_fork_prepare();
}

static void run_parent(void)
{
	arena_fork_done();
	for (size_t i = 0; i < handler_count; i++)
		if (handlers[i].parent != NULL)
			handlers[i].parent();
}

static void run_child(void)
{
	arena_fork_done();
	for (size_t i = 0; i < handler_count; i++)
		if (handlers[i].child != NULL)
			handlers[i].child();
}

/* libc cannot forget handlers: ours stay, and call whatever is registered at the time. */
static int register_once(void)
{
	static bool registered;
	int error = 0;

	if (!registered) {
		error = pthread_atfork(run_prepare, run_parent, run_child);
		registered = error == 0;
	}
	return error;
}

int heapstorm_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	int error;

	pthread_mutex_lock(&lock);
	error = register_once();
	if (error == 0 && handler_count < HANDLERS_MAX)
		handlers[handler_count++] = (struct fork_handler){prepare, parent, child};
	pthread_mutex_unlock(&lock);
	return error;
}

void interpose_keep(void)
{
	register_once(); /* also for an allocator without handlers: the arena has some */
	kept_keys = key_count;
	kept_handlers = handler_count;
}

void interpose_reset(void)
{
	while (key_count > kept_keys)
		pthread_key_delete(keys[--key_count]);
	for (size_t i = 0; i < kept_keys; i++)
		pthread_setspecific(keys[i], NULL);
	handler_count = kept_handlers;
}
