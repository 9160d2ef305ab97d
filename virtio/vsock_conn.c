/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a connection begins with a host client's CONNECT (OPENING) or with the guest's REQUEST
 * (DIALING), and its host descriptor with everything that belongs to it goes as soon as nothing can flow any
 * more. If the guest still thinks that there is a connection, a small remainder (DEAD) stays in the table
 * until its RST is sent; so a guest that takes no packets makes us keep no descriptors.
 *
 * Events of the host's socket and the timer change flags, and vsock_conn_settle() draws the conclusions.
 */
#include "virtio/vsock_conn_priv.h"

#include "base/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define REDIAL_MS 20 /* between attempts at a listener whose backlog is full */

static void on_timer(struct loop_timer *t);
static void on_event(struct loop_source *s, uint32_t events);

static struct vsock_conn *conn_new(struct vsock_mux *m, enum vsock_state state, uint32_t guest_port,
                                   uint32_t host_port)
{
    struct vsock_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->mux = m;
    c->state = state;
    c->type = VIRTIO_VSOCK_TYPE_STREAM;
    c->fd = -1;
    c->node.guest_port = guest_port;
    c->node.host_port = host_port;
    vsock_table_insert(&m->table, &c->node);
    TAILQ_INSERT_TAIL(&m->all, c, all);
    return c;
}

void vsock_conn_unqueue(struct vsock_conn *c)
{
    if (c->queued)
        TAILQ_REMOVE(&c->mux->ready, c, ready);
    c->queued = false;
}

/* Everything of the host goes: socket, buffer, timer, slot. */
static void release_host(struct vsock_conn *c)
{
    loop_timer_disarm(&c->timer);
    vsock_stream_close(c);
    if (c->state != VSOCK_DEAD)
        vsock_mux_give_slot(c->mux);
}

void vsock_conn_free(struct vsock_conn *c)
{
    struct vsock_mux *m = c->mux;
    release_host(c);
    vsock_conn_unqueue(c);
    if (c->state == VSOCK_DEAD)
        m->dead--;
    if (c->state != VSOCK_LINGER)
        vsock_table_remove(&m->table, &c->node);
    TAILQ_REMOVE(&m->all, c, all);
    free(c);
}

/* A guest that takes no packets and yet makes more and more RSTs necessary loses some: else it would decide
 * how much memory we use. */
static bool may_owe_rst(struct vsock_mux *m)
{
    if (m->dead < m->limits.conns)
        return true;
    log_warn_limited(&m->dev->faults, LOG_VSOCK, "the guest takes no RST packets: some are dropped");
    return false;
}

static void owe_rst(struct vsock_conn *c)
{
    c->mux->dead++;
    c->owed = VSOCK_BIT(VIRTIO_VSOCK_OP_RST);
    vsock_mux_queue(c->mux, c);
}

void vsock_conn_bury(struct vsock_conn *c)
{
    if (!may_owe_rst(c->mux)) {
        vsock_conn_free(c);
        return;
    }
    release_host(c);
    c->state = VSOCK_DEAD;
    owe_rst(c);
}

bool vsock_conn_unborn(const struct vsock_conn *c)
{
    return c->state == VSOCK_OPENING && (c->owed & VSOCK_BIT(VIRTIO_VSOCK_OP_REQUEST));
}

void vsock_conn_abort(struct vsock_conn *c)
{
    if (c->state == VSOCK_LINGER || vsock_conn_unborn(c))
        vsock_conn_free(c);
    else if (c->state != VSOCK_DEAD)
        vsock_conn_bury(c);
}

bool vsock_conn_arm(struct vsock_conn *c, uint32_t ms)
{
    if (loop_timer_arm(c->mux->dev->loop, &c->timer, ms * NSEC_PER_MSEC, on_timer) == 0)
        return true;
    vsock_conn_abort(c);
    return false;
}

/* --- Beginning --- */

int vsock_conn_open(struct vsock_mux *m, int fd, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_conn *c = conn_new(m, VSOCK_OPENING, guest_port, host_port);
    if (!c) {
        fd_closep(&fd);
        vsock_mux_give_slot(m);
        return -ENOMEM;
    }
    c->fd = fd;
    c->owed = VSOCK_BIT(VIRTIO_VSOCK_OP_REQUEST);
    int ret = loop_add(m->dev->loop, &c->source, fd, 0, on_event);
    if (ret < 0) {
        vsock_conn_free(c);
        return ret;
    }
    if (!vsock_conn_arm(c, m->limits.open_ms))
        return -ENOMEM;
    vsock_conn_settle(c);
    return 0;
}

int vsock_conn_refuse(struct vsock_mux *m, const struct vsock_header *h)
{
    if (!may_owe_rst(m))
        return -ENOMEM;
    struct vsock_conn *c = conn_new(m, VSOCK_DEAD, h->src_port, h->dst_port);
    if (!c)
        return -ENOMEM;
    c->type = h->type;
    owe_rst(c);
    return 0;
}

static void dial(struct vsock_conn *c)
{
    struct vsock_mux *m = c->mux;
    int fd = m->ops->dial(m, c->node.host_port);
    if (fd == -EAGAIN && c->timer_ms > 0) {
        uint32_t wait = c->timer_ms < REDIAL_MS ? c->timer_ms : REDIAL_MS;
        c->timer_ms -= wait;
        vsock_conn_arm(c, wait);
        return;
    }
    c->fd = fd < 0 ? -1 : fd;
    if (fd < 0 || loop_add(m->dev->loop, &c->source, fd, 0, on_event) < 0) {
        log_debug(LOG_VSOCK, "guest port %" PRIu32 ": no one at host port %" PRIu32, c->node.guest_port,
                  c->node.host_port);
        vsock_conn_bury(c);
        return;
    }
    c->state = VSOCK_OPEN;
    c->timer_ms = VSOCK_ASK_MS;
    c->owed = VSOCK_BIT(VIRTIO_VSOCK_OP_RESPONSE);
    vsock_conn_settle(c);
}

int vsock_conn_accept(struct vsock_mux *m, const struct vsock_header *h)
{
    if (!vsock_mux_take_slot(m)) {
        log_warn_limited(&m->dev->faults, LOG_VSOCK, "%" PRIu32 " connections: the guest gets no more",
                         m->limits.conns);
        return vsock_conn_refuse(m, h);
    }
    struct vsock_conn *c = conn_new(m, VSOCK_DIALING, h->src_port, h->dst_port);
    if (!c) {
        vsock_mux_give_slot(m);
        return -ENOMEM;
    }
    vsock_credit_learn(&c->credit, h->buf_alloc, h->fwd_cnt);
    c->timer_ms = m->limits.dial_ms;
    dial(c);
    return 0;
}

void vsock_conn_opened(struct vsock_conn *c)
{
    char ok[32];
    int len = snprintf(ok, sizeof(ok), "OK %" PRIu32 "\n", c->node.host_port);
    /* The socket is fresh, so a line fits, or the client is gone. */
    if (send(c->fd, ok, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len) {
        vsock_conn_abort(c);
        return;
    }
    loop_timer_disarm(&c->timer);
    c->state = VSOCK_OPEN;
    c->timer_ms = VSOCK_ASK_MS;
    vsock_conn_settle(c);
}

/* --- Events of the host --- */

static void host_event(struct vsock_conn *c, uint32_t events)
{
    size_t before = ring_len(&c->to_host);
    if (events & EPOLLOUT)
        vsock_stream_drain(c);
    if (vsock_conn_lingers(c) && ring_len(&c->to_host) < before)
        loop_timer_disarm(&c->timer); /* progress: settle() begins a new wait */
    vsock_stream_event(c, events & ~(uint32_t)EPOLLOUT);
    if (c->state == VSOCK_OPENING && c->hung_up)
        vsock_conn_abort(c); /* the client did not wait for its OK */
    else
        vsock_conn_settle(c);
}

static void timed_out(struct vsock_conn *c)
{
    switch (c->state) {
    case VSOCK_DIALING:
        dial(c);
        return;
    case VSOCK_OPEN:
        if (c->asking) {
            c->owed |= VSOCK_BIT(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
            c->timer_ms = 2 * c->timer_ms < VSOCK_ASK_MS_MAX ? 2 * c->timer_ms : VSOCK_ASK_MS_MAX;
            vsock_conn_settle(c);
            return;
        }
        /* fall through */
    case VSOCK_LINGER:
        log_warn_limited(&c->mux->dev->faults, LOG_VSOCK,
                         "guest port %" PRIu32 ", host port %" PRIu32
                         ": the host did not read the last %zu bytes",
                         c->node.guest_port, c->node.host_port, ring_len(&c->to_host));
        break;
    case VSOCK_OPENING:
        log_debug(LOG_VSOCK, "guest port %" PRIu32 " did not answer in time", c->node.guest_port);
        break;
    case VSOCK_CLOSING:
    case VSOCK_DEAD:
        break;
    }
    vsock_conn_abort(c);
}

static void on_event(struct loop_source *s, uint32_t events)
{
    struct vsock_conn *c = CONTAINER_OF(s, struct vsock_conn, source);
    struct vsock_mux *m = c->mux;
    if (vsock_mux_enter(m, c))
        host_event(c, events);
    vsock_mux_leave(m);
}

static void on_timer(struct loop_timer *t)
{
    struct vsock_conn *c = CONTAINER_OF(t, struct vsock_conn, timer);
    struct vsock_mux *m = c->mux;
    if (vsock_mux_enter(m, c))
        timed_out(c);
    vsock_mux_leave(m);
}
