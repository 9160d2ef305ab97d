/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop on epoll(7): descriptors with a callback, one-shot timers, and a way to be woken by other
 * threads. Level-triggered. All functions but loop_stop() belong to the thread that runs the
 * loop (or to the one that sets it up before any thread runs it).
 *
 * Sources and timers are embedded in their owner's struct, so nothing is allocated per event. A callback may
 * remove any source or timer, its own included, and free their owner: an event that is already fetched for a
 * removed source is not delivered.
 */
#ifndef CUBBY_BASE_LOOP_H
#define CUBBY_BASE_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;
struct loop_timer;

typedef void loop_fn(struct loop_source *s, uint32_t events);
typedef void loop_timer_fn(struct loop_timer *t);

struct loop_source {
    struct loop *loop; /* NULL while not added */
    int fd;            /* not owned */
    uint32_t events;   /* EPOLLIN…; 0 keeps it registered and silent but for EPOLLHUP and EPOLLERR */
    loop_fn *fn;
};

struct loop_timer {
    struct loop *loop; /* NULL while not armed */
    uint64_t when_ns;  /* CLOCK_MONOTONIC */
    uint32_t slot;     /* place in the loop's heap */
    loop_timer_fn *fn;
};

int loop_create(struct loop **out, struct err *e);
/* Safe on NULL. Sources and timers that are still there are forgotten, not closed. */
void loop_destroy(struct loop *l);

/* 0 or a negative errno. `s` must be zeroed or removed. */
int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events, loop_fn *fn);
/* Changes the events; nothing is done when they are the same. */
int loop_modify(struct loop_source *s, uint32_t events);
/* Safe on a source that is not added. Call it before the descriptor is closed. */
void loop_remove(struct loop_source *s);

/* (Re-)arms: `fn` is called once, `delay_ns` from now. 0 or -ENOMEM. */
int loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t delay_ns, loop_timer_fn *fn);
/* Safe on a timer that is not armed. */
void loop_timer_disarm(struct loop_timer *t);

/* Waits for at most `timeout_ms` (-1: until something happens) and delivers what is there, once. 0, or a
 * negative errno of epoll_wait (never -EINTR). */
int loop_once(struct loop *l, int timeout_ms);
/* Runs until loop_stop(). 0, or a negative errno. */
int loop_run(struct loop *l);
/* Ends loop_run() after the callbacks at hand. Any thread, and async-signal-safe. */
void loop_stop(struct loop *l);

#endif
