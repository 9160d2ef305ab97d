/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: leader and followers. The first thread that waits polls the epoll descriptor with the
 * lock released; others that come meanwhile sleep on the condition. Whoever changed the handle announces it,
 * and everyone looks again, the leader by an eventfd in its set: so bytes that thread A took from the socket
 * also wake thread B, for whom they are, whichever of them leads. When the leader leaves, its announcement
 * lets a follower take its place.
 */
#include "runtime/waiter.h"

#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#define EVENTS_MAX 16

int waiter_init(struct waiter *w, struct err *e)
{
    *w = (struct waiter){
        .epoll_fd = -1, .timer_fd = -1, .done_fd = -1, .wake_fd = -1, .timer_ns = WAITER_NEVER, .made = true};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd >= 0)
        w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (w->timer_fd >= 0)
        w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->done_fd >= 0)
        w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0)
        return err_sys(e, "cannot create descriptors to wait with");
    int ret = waiter_add(w, w->timer_fd, EPOLLIN, WAITER_TIMER);
    if (ret == 0)
        ret = waiter_add(w, w->done_fd, EPOLLIN, WAITER_DONE);
    if (ret == 0)
        ret = waiter_add(w, w->wake_fd, EPOLLIN, WAITER_WAKE);
    return ret < 0 ? err_set(e, ret, "cannot watch a timer: %s", strerror(-ret)) : 0;
}

void waiter_fini(struct waiter *w)
{
    if (!w->made)
        return;
    fd_closep(&w->timer_fd);
    fd_closep(&w->done_fd);
    fd_closep(&w->wake_fd);
    fd_closep(&w->epoll_fd);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    w->made = false;
}

void waiter_lock(struct waiter *w)
{
    pthread_mutex_lock(&w->lock);
}

void waiter_unlock(struct waiter *w)
{
    pthread_mutex_unlock(&w->lock);
}

int waiter_add(struct waiter *w, int fd, uint32_t events, uint32_t tag)
{
    struct epoll_event ev = {.events = events, .data.u32 = tag};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int waiter_modify(struct waiter *w, int fd, uint32_t events, uint32_t tag)
{
    struct epoll_event ev = {.events = events, .data.u32 = tag};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
}

void waiter_remove(struct waiter *w, int fd)
{
    if (fd >= 0)
        epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NSEC_PER_SEC), .tv_nsec = (long)(ns % NSEC_PER_SEC)};
}

void waiter_set_timer(struct waiter *w, uint64_t when_ns)
{
    if (when_ns == w->timer_ns)
        return;
    w->timer_ns = when_ns;
    /* All zeros disarm; a point in the past fires at once. */
    struct itimerspec it = {0};
    if (when_ns != WAITER_NEVER)
        it.it_value = timespec_of(when_ns ? when_ns : 1);
    timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &it, NULL);
}

uint32_t waiter_ready(struct waiter *w)
{
    struct epoll_event ev[EVENTS_MAX];
    uint32_t ready = 0;
    int n = epoll_wait(w->epoll_fd, ev, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
        ready |= ev[i].data.u32;
    if (ready & WAITER_TIMER) {
        /* A timer that fired is armed anew by whoever handles it. */
        uint64_t count;
        ssize_t ignored = read(w->timer_fd, &count, sizeof(count));
        (void)ignored;
        w->timer_ns = WAITER_NEVER;
    }
    return ready;
}

void waiter_announce(struct waiter *w)
{
    pthread_cond_broadcast(&w->changed);
    if (w->polling && !w->woken) {
        const uint64_t one = 1;
        w->woken = write(w->wake_fd, &one, sizeof(one)) == sizeof(one);
    }
}

void waiter_finish(struct waiter *w)
{
    const uint64_t one = 1;
    ssize_t ignored = write(w->done_fd, &one, sizeof(one));
    (void)ignored; /* it cannot fail: the counter is far from its end */
    waiter_announce(w);
}

void waiter_resume(struct waiter *w)
{
    uint64_t count;
    ssize_t ignored = read(w->done_fd, &count, sizeof(count));
    (void)ignored; /* nothing to read: it had not finished */
    waiter_announce(w);
}

static void poll_for_all(struct waiter *w, uint64_t until_ns, uint64_t now)
{
    struct timespec left = timespec_of(until_ns == WAITER_NEVER ? 0 : until_ns - now);
    struct pollfd pfd = {.fd = w->epoll_fd, .events = POLLIN};
    w->polling = true;
    pthread_mutex_unlock(&w->lock);
    ppoll(&pfd, 1, until_ns == WAITER_NEVER ? NULL : &left, NULL);
    pthread_mutex_lock(&w->lock);
    w->polling = false;
    if (w->woken) {
        uint64_t count;
        ssize_t ignored = read(w->wake_fd, &count, sizeof(count));
        (void)ignored;
        w->woken = false;
    }
    waiter_announce(w);
}

bool waiter_wait(struct waiter *w, uint64_t until_ns)
{
    uint64_t now = now_ns();
    if (now >= until_ns)
        return false;
    struct timespec until = timespec_of(until_ns);
    if (!w->polling)
        poll_for_all(w, until_ns, now);
    else if (until_ns == WAITER_NEVER)
        pthread_cond_wait(&w->changed, &w->lock);
    else
        pthread_cond_timedwait(&w->changed, &w->lock, &until);
    return true;
}

uint64_t waiter_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? WAITER_NEVER : now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
}
