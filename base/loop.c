/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: epoll keeps a pointer to each source. One epoll_wait() fetches a batch of events;
 * while the batch is delivered, a source that is removed is struck out of the rest of the batch, so its owner
 * may be freed at once. Timers are a binary heap of pointers ordered by due time, each knowing its slot, so
 * arming and disarming are O(log n); the earliest gives epoll_wait() its timeout. loop_stop() writes to an
 * eventfd, the only thing that another thread or a signal handler touches.
 */
#include "base/loop.h"

#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH 64

struct loop {
    int epoll_fd, stop_fd;
    atomic_bool stop;
    struct epoll_event batch[BATCH];
    int batch_len, batch_at;
    struct loop_timer **heap; /* heap[0] is due first */
    uint32_t heap_len, heap_cap;
    struct loop_source stop_source;
};

static void stop_woken(struct loop_source *s, uint32_t events)
{
    (void)events;
    uint64_t count;
    ssize_t ignored = read(s->fd, &count, sizeof(count));
    (void)ignored;
}

int loop_create(struct loop **out, struct err *e)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (!l)
        return err_set(e, -ENOMEM, "cannot allocate an event loop");
    l->stop_fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd >= 0)
        l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->stop_fd < 0 || loop_add(l, &l->stop_source, l->stop_fd, EPOLLIN, stop_woken) < 0) {
        int ret = err_sys(e, "cannot create an event loop");
        loop_destroy(l);
        return ret;
    }
    *out = l;
    return 0;
}

void loop_destroy(struct loop *l)
{
    if (!l)
        return;
    fd_closep(&l->stop_fd);
    fd_closep(&l->epoll_fd);
    free(l->heap);
    free(l);
}

int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events, loop_fn *fn)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return -errno;
    *s = (struct loop_source){.loop = l, .fd = fd, .events = events, .fn = fn};
    return 0;
}

int loop_modify(struct loop_source *s, uint32_t events)
{
    if (s->events == events)
        return 0;
    struct epoll_event ev = {.events = events, .data.ptr = s};
    if (epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
        return -errno;
    s->events = events;
    return 0;
}

void loop_remove(struct loop_source *s)
{
    struct loop *l = s->loop;
    if (!l)
        return;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    for (int i = l->batch_at; i < l->batch_len; i++)
        if (l->batch[i].data.ptr == s)
            l->batch[i].data.ptr = NULL;
    s->loop = NULL;
}

static void heap_set(struct loop *l, uint32_t slot, struct loop_timer *t)
{
    l->heap[slot] = t;
    t->slot = slot;
}

static void heap_up(struct loop *l, uint32_t slot)
{
    struct loop_timer *t = l->heap[slot];
    while (slot > 0) {
        uint32_t parent = (slot - 1) / 2;
        if (l->heap[parent]->when_ns <= t->when_ns)
            break;
        heap_set(l, slot, l->heap[parent]);
        slot = parent;
    }
    heap_set(l, slot, t);
}

static void heap_down(struct loop *l, uint32_t slot)
{
    struct loop_timer *t = l->heap[slot];
    for (;;) {
        uint32_t child = 2 * slot + 1;
        if (child >= l->heap_len)
            break;
        if (child + 1 < l->heap_len && l->heap[child + 1]->when_ns < l->heap[child]->when_ns)
            child++;
        if (t->when_ns <= l->heap[child]->when_ns)
            break;
        heap_set(l, slot, l->heap[child]);
        slot = child;
    }
    heap_set(l, slot, t);
}

int loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t delay_ns, loop_timer_fn *fn)
{
    loop_timer_disarm(t);
    if (l->heap_len == l->heap_cap) {
        uint32_t cap = l->heap_cap ? 2 * l->heap_cap : 16;
        struct loop_timer **heap = realloc(l->heap, cap * sizeof(struct loop_timer *));
        if (!heap)
            return -ENOMEM;
        l->heap = heap;
        l->heap_cap = cap;
    }
    uint64_t now = now_ns();
    t->loop = l;
    t->fn = fn;
    t->when_ns = delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns;
    l->heap[l->heap_len++] = t;
    heap_up(l, l->heap_len - 1);
    return 0;
}

void loop_timer_disarm(struct loop_timer *t)
{
    struct loop *l = t->loop;
    if (!l)
        return;
    uint32_t slot = t->slot;
    struct loop_timer *last = l->heap[--l->heap_len];
    if (last != t) {
        heap_set(l, slot, last);
        heap_up(l, slot);
        heap_down(l, last->slot);
    }
    t->loop = NULL;
}

/* Milliseconds until the next timer, rounded up so that it is due when we wake, and at most `limit_ms`. */
static int wait_ms(const struct loop *l, int limit_ms)
{
    if (!l->heap_len)
        return limit_ms;
    uint64_t now = now_ns(), due = l->heap[0]->when_ns;
    uint64_t left = due <= now ? 0 : (due - now - 1) / NSEC_PER_MSEC + 1;
    uint64_t limit = limit_ms < 0 ? INT_MAX : (uint64_t)limit_ms;
    return (int)(left < limit ? left : limit);
}

static void run_timers(struct loop *l)
{
    uint64_t now = now_ns();
    /* A timer armed by a callback is due later than `now`, or next time round: this ends. */
    while (l->heap_len && l->heap[0]->when_ns <= now) {
        struct loop_timer *t = l->heap[0];
        loop_timer_disarm(t);
        t->fn(t);
    }
}

int loop_once(struct loop *l, int timeout_ms)
{
    int n = epoll_wait(l->epoll_fd, l->batch, BATCH, wait_ms(l, timeout_ms));
    if (n < 0 && errno != EINTR)
        return -errno;
    l->batch_len = n > 0 ? n : 0;
    for (l->batch_at = 0; l->batch_at < l->batch_len;) {
        struct epoll_event *ev = &l->batch[l->batch_at++];
        struct loop_source *s = ev->data.ptr;
        if (s)
            s->fn(s, ev->events);
    }
    l->batch_len = 0;
    run_timers(l);
    return 0;
}

int loop_run(struct loop *l)
{
    int ret = 0;
    while (!atomic_load_explicit(&l->stop, memory_order_acquire) && ret == 0)
        ret = loop_once(l, -1);
    /* May be run again: the stop is used up. */
    atomic_store_explicit(&l->stop, false, memory_order_relaxed);
    return ret;
}

void loop_stop(struct loop *l)
{
    int saved = errno;
    /* Pairs with the acquire in loop_run(). */
    atomic_store_explicit(&l->stop, true, memory_order_release);
    uint64_t one = 1;
    ssize_t ignored = write(l->stop_fd, &one, sizeof(one));
    (void)ignored;
    errno = saved;
}
