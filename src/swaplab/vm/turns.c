/*
 * Loaded into QEMU (LD_PRELOAD), so that what a guest does is the same from run to run.
 *
 * With -icount a guest's time is the number of instructions that it has executed, and what it waits for. While its
 * processor is halted, QEMU's main loop moves the time on to the next timer. The main loop is a thread of its own. Where
 * it sees the halt before the processor's thread has counted its last instructions, the time goes too far, by them. So
 * the two take turns here: one waits, or the other does.
 *
 * The main loop's turn ends where it polls, the processor's where it waits for something to do. A poll with QEMU's lock
 * held is part of some work, and no end of a turn.
 *
 * Read: util/main-loop.c, accel/tcg/tcg-accel-ops-rr.c, softmmu/icount.c of QEMU 7.2.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef int poller(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
typedef int waiter(pthread_cond_t *, pthread_mutex_t *);

enum role { UNKNOWN, OTHER, MAIN, PROCESSOR };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static __thread int has_turn;
static _Bool (*has_lock)(void);
static poller *real_ppoll;
static waiter *real_cond_wait;

static void *must_find(const char *name, void *found)
{
	if (!found) {
		fprintf(stderr, "turns: QEMU has no %s\n", name);
		_exit(1);
	}
	return found;
}

/* While it builds the machine, the main thread has the turn. */
static void __attribute__((constructor)) begin(void)
{
	void *lock = dlsym(RTLD_DEFAULT, "bql_locked"); /* since QEMU 9.0 */

	if (!lock)
		lock = dlsym(RTLD_DEFAULT, "qemu_mutex_iothread_locked");
	has_lock = must_find("bql_locked() or qemu_mutex_iothread_locked()", lock);
	real_ppoll = must_find("ppoll()", dlsym(RTLD_NEXT, "ppoll"));
	/* Without the version glibc would give the one from before NPTL. */
	real_cond_wait = must_find("pthread_cond_wait()", dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2"));
	pthread_mutex_lock(&turn);
	has_turn = 1;
}

/* Threads have names with -name debug-threads=on. */
static enum role own_role(void)
{
	static __thread enum role known;
	char name[16];

	if (!known && gettid() == getpid())
		known = MAIN;
	if (!known && !pthread_getname_np(pthread_self(), name, sizeof(name)))
		known = strstr(name, "CPU") ? PROCESSOR : OTHER;
	return known;
}

static void begin_turn(void)
{
	if (!has_turn)
		pthread_mutex_lock(&turn);
	has_turn = 1;
}

static void end_turn(void)
{
	if (has_turn)
		pthread_mutex_unlock(&turn);
	has_turn = 0;
}

int ppoll(struct pollfd *polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int found;

	if (own_role() != MAIN || has_lock())
		return real_ppoll(polled, count, timeout, mask);
	end_turn();
	found = real_ppoll(polled, count, timeout, mask);
	begin_turn();
	return found;
}

/* What ppoll() is with _FORTIFY_SOURCE. */
int __ppoll_chk(struct pollfd *polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
	(void)size;
	return ppoll(polled, count, timeout, mask);
}

/* The main thread waits like this for the processor, when it starts and when it stops it. */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	int error;

	if (own_role() != PROCESSOR && !(own_role() == MAIN && has_turn))
		return real_cond_wait(condition, mutex);
	end_turn();
	error = real_cond_wait(condition, mutex);
	/* Who has the turn may want the lock: so the turn comes first. */
	pthread_mutex_unlock(mutex);
	begin_turn();
	pthread_mutex_lock(mutex);
	return error;
}
