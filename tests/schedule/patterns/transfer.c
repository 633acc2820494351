/* Transfers between accounts: the balance is read in one section of the lock and written in another. */
#include "pattern.h"

#define ACCOUNTS 3

static struct account {
	pthread_mutex_t lock;
	int balance;
} accounts[ACCOUNTS];

static void add(struct account *account, int amount)
{
	int balance;

	pthread_mutex_lock(&account->lock);
	balance = account->balance;
#ifndef CORRECT
	pthread_mutex_unlock(&account->lock);
	pthread_mutex_lock(&account->lock);
#endif
	account->balance = balance + amount;
	pthread_mutex_unlock(&account->lock);
}

static void *transfer(void *argument)
{
	const unsigned from = (unsigned)(uintptr_t)argument;

	add(&accounts[from], -10);
	add(&accounts[(from + 1) % ACCOUNTS], 10);
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[ACCOUNTS];
	int sum = 0;

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		pthread_mutex_init(&accounts[i].lock, NULL);
		accounts[i].balance = 100;
	}
	for (unsigned i = 0; i < ACCOUNTS; i++)
		pattern_start(&threads[i], transfer, i);
	pattern_join(threads, ACCOUNTS);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		sum += accounts[i].balance;
	PATTERN_CHECK(sum == 100 * ACCOUNTS);
}
