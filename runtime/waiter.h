/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a public handle waits with: a lock, one epoll descriptor that holds all that can happen to the handle,
 * and one timer in it. The descriptor is given to callers who have an event loop of their own; callers
 * without one wait in waiter_wait(), any number of threads at once.
 */
#ifndef CUBBY_RUNTIME_WAITER_H
#define CUBBY_RUNTIME_WAITER_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define WAITER_NEVER UINT64_MAX

struct waiter {
    pthread_mutex_t lock; /* guards the handle that embeds this, and the fields below */
    pthread_cond_t changed;
    bool polling; /* one of the waiting threads polls for all */
    bool woken;   /* and is being told to look again */
    bool made;
    int epoll_fd, timer_fd, done_fd, wake_fd;
    uint64_t timer_ns; /* CLOCK_MONOTONIC; WAITER_NEVER when not armed */
};

/* Tags of the timer, of waiter_finish() and of waiter_announce() in waiter_ready(); sources use bits 0 to 28.
 */
#define WAITER_TIMER (1u << 31)
#define WAITER_DONE  (1u << 30)
#define WAITER_WAKE  (1u << 29)

int waiter_init(struct waiter *w, struct err *e);
/* Safe on a zeroed one. */
void waiter_fini(struct waiter *w);

void waiter_lock(struct waiter *w);
void waiter_unlock(struct waiter *w);

/* Watches `fd` for `events` (EPOLLIN…); `tag` is one bit. 0 or a negative errno. */
int waiter_add(struct waiter *w, int fd, uint32_t events, uint32_t tag);
int waiter_modify(struct waiter *w, int fd, uint32_t events, uint32_t tag);
/* Safe on -1 and on a descriptor that is not watched. */
void waiter_remove(struct waiter *w, int fd);
/* Sets the one timer to a point of CLOCK_MONOTONIC; WAITER_NEVER disarms it. */
void waiter_set_timer(struct waiter *w, uint64_t when_ns);

/* Tags of what is ready now, without waiting. With the lock held. */
uint32_t waiter_ready(struct waiter *w);

/*
 * Waits, with the lock held but released meanwhile, until the descriptor is ready, another thread has called
 * waiter_announce(), or CLOCK_MONOTONIC reaches `until_ns`. The caller looks at its handle's state again, in
 * a loop: returns may be spurious. False when time is up.
 */
bool waiter_wait(struct waiter *w, uint64_t until_ns);
/* The state of the handle has changed: wakes all who wait. With the lock held. */
void waiter_announce(struct waiter *w);

/* Nothing more will happen to the handle: its descriptor is readable from now on. Announces, too. */
void waiter_finish(struct waiter *w);
/* Takes that back: the handle begins anew. */
void waiter_resume(struct waiter *w);

/* The point of CLOCK_MONOTONIC that is `timeout_ms` from now; WAITER_NEVER for negative ones. */
uint64_t waiter_deadline(int timeout_ms);

#endif
