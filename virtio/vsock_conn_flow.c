/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a packet, an event of the host's socket or a timer changes flags of the connection;
 * then vsock_conn_settle() looks at all flags anew and does what follows from them: which packets are owed,
 * whether the connection is over, whether it waits for its turn, and what epoll and the timer are asked for.
 * Because there is one such place, no path can forget a wake-up.
 *
 * Each direction ends by itself. The host's end of file becomes SHUTDOWN(SEND); a host that reads no more
 * becomes SHUTDOWN(RCV); the guest's flags become shutdown(2). When both directions are over, the side that
 * was told answers with RST (virtio 1.2 §5.10.6.6): we do at once when the guest has sent a SHUTDOWN, and
 * wait for the guest's, for a limited time, when only the host's program went away.
 */
#include "virtio/vsock_conn_priv.h"

#include <errno.h>
#include <inttypes.h>

/* --- What follows from the flags --- */

/* Flags of SHUTDOWN that the guest should have been sent by now. What it closed itself need not be repeated:
 * its RCV says that it will not miss our SEND, and the other way round. */
static uint32_t shut_wanted(const struct vsock_conn *c)
{
    uint32_t flags = 0;
    if (c->in_ended && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV))
        flags |= VIRTIO_VSOCK_SHUTDOWN_SEND;
    if (c->out_ended && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
        flags |= VIRTIO_VSOCK_SHUTDOWN_RCV;
    return flags;
}

bool vsock_conn_lingers(const struct vsock_conn *c)
{
    return c->state == VSOCK_LINGER ||
           (c->state == VSOCK_OPEN && c->guest_shut == VSOCK_SHUTDOWN_BOTH && ring_len(&c->to_host) > 0);
}

/* Both directions are over and the guest has heard so. False when the connection is gone. */
static bool end_of_both(struct vsock_conn *c)
{
    if (c->guest_shut) {
        vsock_conn_bury(c);
        return false;
    }
    vsock_stream_close(c);
    c->state = VSOCK_CLOSING;
    c->owed = 0;
    return vsock_conn_arm(c, c->mux->limits.close_ms);
}

/* False when the connection is gone. */
static bool settle_timer(struct vsock_conn *c)
{
    bool ask = c->readable && vsock_credit_gated(&c->credit);
    if (c->asking && !ask)
        loop_timer_disarm(&c->timer);
    c->asking = ask;
    if (!ask)
        c->timer_ms = VSOCK_ASK_MS;
    if (c->timer.loop || !(ask || vsock_conn_lingers(c)))
        return true;
    return vsock_conn_arm(c, ask ? c->timer_ms : c->mux->limits.linger_ms);
}

static bool settle_open(struct vsock_conn *c)
{
    vsock_stream_shut(c);
    if (shut_wanted(c) & ~c->told_shut)
        c->owed |= VSOCK_BIT(VIRTIO_VSOCK_OP_SHUTDOWN);
    else
        c->owed &= ~VSOCK_BIT(VIRTIO_VSOCK_OP_SHUTDOWN);
    if (vsock_credit_update_due(&c->credit) && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
        c->owed |= VSOCK_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    if (c->in_ended && c->out_ended && !(c->owed & ~VSOCK_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE)))
        return end_of_both(c);
    return settle_timer(c);
}

static bool has_output(const struct vsock_conn *c)
{
    return c->owed || (c->state == VSOCK_OPEN && c->readable && vsock_credit_room(&c->credit) > 0);
}

void vsock_conn_settle(struct vsock_conn *c)
{
    if (c->state == VSOCK_OPEN && !settle_open(c))
        return;
    if (c->state == VSOCK_LINGER && ring_len(&c->to_host) == 0) {
        vsock_conn_free(c);
        return;
    }
    if (c->state == VSOCK_LINGER && !c->timer.loop && !vsock_conn_arm(c, c->mux->limits.linger_ms))
        return;
    if (has_output(c))
        vsock_mux_queue(c->mux, c);
    vsock_stream_watch(c);
}

/* --- Packets of the guest --- */

/* Ends the connection because of the guest. */
static void guest_fault(struct vsock_conn *c, const struct vsock_header *h, const char *what)
{
    log_warn_limited(&c->mux->dev->faults, LOG_VSOCK, "guest port %" PRIu32 ", host port %" PRIu32 ": %s %s",
                     c->node.guest_port, c->node.host_port, vsock_op_name(h->op), what);
    vsock_conn_abort(c);
}

/* The guest knows this connection no more, so its ports are free. What it sent before still reaches the host.
 */
static void guest_reset(struct vsock_conn *c)
{
    if (c->state != VSOCK_OPEN || ring_len(&c->to_host) == 0) {
        vsock_conn_free(c);
        return;
    }
    loop_timer_disarm(&c->timer);
    vsock_conn_unqueue(c);
    vsock_table_remove(&c->mux->table, &c->node);
    c->state = VSOCK_LINGER;
    c->owed = 0;
    vsock_conn_settle(c);
}

static void input_open(struct vsock_conn *c, const struct vsock_header *h, const struct vsock_pieces *data)
{
    vsock_credit_learn(&c->credit, h->buf_alloc, h->fwd_cnt);
    switch (h->op) {
    case VIRTIO_VSOCK_OP_RW:
        if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
            guest_fault(c, h, "after SHUTDOWN(SEND)");
            return;
        }
        int ret = vsock_stream_write(c, data);
        if (ret < 0) {
            guest_fault(c, h, ret == -ENOBUFS ? "without credit" : "cannot be buffered: no memory");
            return;
        }
        break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        c->owed |= VSOCK_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        break;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        c->guest_shut |= h->flags & VSOCK_SHUTDOWN_BOTH;
        break;
    default:
        guest_fault(c, h, "on an open connection");
        return;
    }
    vsock_conn_settle(c);
}

void vsock_conn_input(struct vsock_conn *c, const struct vsock_header *h, const struct vsock_pieces *data)
{
    if (h->op == VIRTIO_VSOCK_OP_RST) {
        guest_reset(c);
        return;
    }
    switch (c->state) {
    case VSOCK_OPEN:
        input_open(c, h, data);
        break;
    case VSOCK_OPENING:
        if (h->op != VIRTIO_VSOCK_OP_RESPONSE || vsock_conn_unborn(c)) {
            guest_fault(c, h, "instead of an answer to REQUEST");
            break;
        }
        vsock_credit_learn(&c->credit, h->buf_alloc, h->fwd_cnt);
        vsock_conn_opened(c);
        break;
    case VSOCK_DIALING:
        guest_fault(c, h, "before our answer to REQUEST");
        break;
    case VSOCK_CLOSING:
        /* Packets that crossed our SHUTDOWN are void. A guest that answers with its own waits for RST. */
        if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN)
            c->guest_shut |= h->flags & VSOCK_SHUTDOWN_BOTH;
        if (c->guest_shut == VSOCK_SHUTDOWN_BOTH)
            vsock_conn_bury(c);
        break;
    case VSOCK_LINGER: /* not in the table: no packet finds it */
    case VSOCK_DEAD:   /* its RST is on the way */
        break;
    }
}

bool vsock_conn_stays(const struct vsock_conn *c)
{
    return c->state == VSOCK_LINGER || vsock_conn_unborn(c);
}

void vsock_conn_forget(struct vsock_conn *c)
{
    if (!vsock_conn_stays(c))
        guest_reset(c);
}

/* --- Packets to the guest --- */

/* An owed packet without payload, in the order in which they must come; 0 when there is none. */
static uint16_t next_control(const struct vsock_conn *c)
{
    static const uint16_t order[] = {VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,
                                     VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST};
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (c->owed & VSOCK_BIT(order[i]))
            return order[i];
    return 0;
}

/* Chooses the packet; false when there is none after all. SHUTDOWN comes after the last byte. */
static bool next_packet(struct vsock_conn *c, struct vsock_header *h, const struct vsock_pieces *room)
{
    h->op = next_control(c);
    if (!h->op && c->readable) {
        h->len = vsock_stream_read(c, room);
        h->op = h->len ? VIRTIO_VSOCK_OP_RW : 0;
    }
    if (!h->op && (c->owed & VSOCK_BIT(VIRTIO_VSOCK_OP_SHUTDOWN))) {
        h->op = VIRTIO_VSOCK_OP_SHUTDOWN;
        h->flags = c->told_shut |= shut_wanted(c);
    }
    c->owed &= ~VSOCK_BIT(h->op);
    return h->op != 0;
}

bool vsock_conn_output(struct vsock_conn *c, struct vsock_header *h, const struct vsock_pieces *room)
{
    h->len = h->flags = 0;
    bool made = next_packet(c, h, room);
    h->buf_alloc = VSOCK_BUF_ALLOC;
    h->fwd_cnt = c->credit.forwarded;
    if (made)
        vsock_credit_told(&c->credit);
    if (made && c->state == VSOCK_DEAD)
        vsock_conn_free(c);
    else
        vsock_conn_settle(c);
    return made;
}
