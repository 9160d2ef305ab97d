/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: level-triggered reading, one recv(2) per event so that no peer can keep the others
 * waiting. Output goes straight to the socket; what it does not take is kept, EPOLLOUT is asked for, and data
 * streams pause (conn_idle() is false) until the rest is gone, so at most one data frame and a few small ones
 * are ever kept. A thousand peers that do not read would be a thousand of these: beyond a budget of the agent
 * frames become small. Nobody waits for it, and who reads is served as before, in smaller pieces.
 */
#include "guest-init/conn.h"

#include "base/own.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Room for small frames beside one of data: a peer that makes us answer more than this without reading is not
 * worth keeping. */
#define SMALL_FRAMES 8192u

static void conn_event(struct loop_source *src, uint32_t events);

/* The buffer exists from the first byte that is kept to the last. */
static int hold(struct conn *c)
{
    int ret = ring_init(&c->out, FRAME_HEADER + conn_room(c) + SMALL_FRAMES);
    c->budget->held += c->out.cap;
    return ret;
}

static void let_go(struct conn *c)
{
    c->budget->held -= c->out.cap;
    ring_fini(&c->out);
}

int conn_open(struct conn *c, struct loop *l, struct conn_budget *budget, int fd, const struct conn_ops *ops)
{
    *c = (struct conn){.loop = l, .budget = budget, .fd = fd, .ops = ops};
    frame_reader_init(&c->in, FRAME_FROM_HOST);
    int ret = loop_add(l, &c->src, fd, EPOLLIN, conn_event);
    if (ret < 0)
        conn_close(c);
    return ret;
}

void conn_close(struct conn *c)
{
    loop_remove(&c->src);
    fd_closep(&c->fd);
    frame_reader_fini(&c->in);
    if (c->budget)
        let_go(c);
}

int conn_detach(struct conn *c)
{
    loop_remove(&c->src);
    int fd = STEAL_FD(c->fd);
    conn_close(c);
    return fd;
}

bool conn_idle(const struct conn *c)
{
    return ring_len(&c->out) == 0;
}

size_t conn_room(const struct conn *c)
{
    return c->budget->held < CONN_BUDGET ? STREAM_CHUNK_MAX : CONN_LEAST;
}

/* The loop sees the shutdown as end of file and tells the owner. */
static void conn_break(struct conn *c)
{
    let_go(c);
    shutdown(c->fd, SHUT_RDWR);
}

static void watch(struct conn *c)
{
    uint32_t events = EPOLLIN | (conn_idle(c) ? 0u : (uint32_t)EPOLLOUT);
    if (loop_modify(&c->src, events) < 0)
        conn_break(c);
}

void conn_send(struct conn *c, const void *frame, size_t len)
{
    size_t sent = 0;
    if (c->fd < 0)
        return;
    if (conn_idle(c)) {
        ssize_t n;
        do
            n = send(c->fd, frame, len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN) {
            conn_break(c);
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
        if (sent == len)
            return;
        if (!c->out.data && hold(c) < 0) {
            conn_break(c);
            return;
        }
    }
    if (ring_space(&c->out) < len - sent) {
        conn_break(c);
        return;
    }
    ring_put(&c->out, (const uint8_t *)frame + sent, len - sent);
    watch(c);
}

void conn_ignore_input(struct conn *c)
{
    c->deaf = true;
}

void conn_finish(struct conn *c)
{
    if (c->fd >= 0 && conn_idle(c))
        shutdown(c->fd, SHUT_WR);
}

static void flush(struct conn *c)
{
    ssize_t n = ring_drain_to(&c->out, c->fd);
    if (n < 0 && n != -EAGAIN) {
        conn_break(c);
        return;
    }
    if (!conn_idle(c))
        return;
    let_go(c);
    watch(c);
    c->ops->drained(c);
}

/* Hands out the frames that are whole. False when the connection is of no more use to the reader. */
static void deliver(struct conn *c)
{
    struct frame f;
    int ret = 0;
    while (c->fd >= 0 && !c->deaf && (ret = frame_reader_next(&c->in, &f)) > 0)
        c->ops->frame(c, &f);
    if (c->fd >= 0 && !c->deaf && ret < 0)
        c->ops->ended(c, ret);
}

static void receive(struct conn *c)
{
    uint8_t waste[4096], *at = waste;
    size_t room = sizeof(waste);
    if (c->deaf)
        frame_reader_fini(&c->in);
    else if (frame_reader_space(&c->in, &at, &room) < 0) {
        c->ops->ended(c, -ENOMEM);
        return;
    }
    ssize_t n;
    do
        n = recv(c->fd, at, room, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        c->ops->ended(c, n == 0 ? 0 : -errno);
    } else if (!c->deaf) {
        frame_reader_filled(&c->in, (size_t)n);
        deliver(c);
    }
}

static void conn_event(struct loop_source *src, uint32_t events)
{
    struct conn *c = CONTAINER_OF(src, struct conn, src);
    if (events & EPOLLOUT)
        flush(c);
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(c);
}
