/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a packet of the guest is looked up by its pair of ports; REQUEST makes a connection,
 * anything else for an unknown pair is answered with RST, but for RST. Connections with something for the
 * guest stand in a queue; each turn makes one packet, then the connection goes to the end, so that a busy one
 * cannot hold up others.
 *
 * A reset of the driver comes on a vCPU's thread, which must not touch the loop. It only sets `stale`, and
 * whoever enters next on the loop's thread ends the connections first; so no callback sees one of a driver
 * that is gone.
 */
#include "virtio/vsock_mux.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int vsock_mux_init(struct vsock_mux *m, const struct vsock_mux_ops *ops, struct vdev *dev,
                   const struct vsock_config *cfg, struct err *e)
{
    *m = (struct vsock_mux){
        .ops = ops,
        .dev = dev,
        .limits = cfg->limits ? *cfg->limits : vsock_limits_default,
        .guest_cid = cfg->guest_cid ? cfg->guest_cid : VSOCK_GUEST_CID_DEFAULT,
        .next_port = VSOCK_HOST_PORT_FIRST,
    };
    TAILQ_INIT(&m->all);
    TAILQ_INIT(&m->ready);
    int ret = vsock_table_init(&m->table, 2 * m->limits.conns);
    return ret < 0 ? err_set(e, ret, "cannot create the table of vsock connections: %s", strerror(-ret)) : 0;
}

void vsock_mux_fini(struct vsock_mux *m)
{
    struct vsock_conn *c;
    while ((c = TAILQ_FIRST(&m->all)))
        vsock_conn_free(c);
    vsock_table_fini(&m->table);
}

bool vsock_mux_take_slot(struct vsock_mux *m)
{
    if (m->slots >= m->limits.conns)
        return false;
    m->slots++;
    return true;
}

void vsock_mux_give_slot(struct vsock_mux *m)
{
    m->slots--;
}

/* --- Reset --- */

void vsock_mux_forget_all(struct vsock_mux *m)
{
    m->stale = true;
}

void vsock_mux_settle(struct vsock_mux *m)
{
    if (!m->stale)
        return;
    m->stale = false;
    struct vsock_conn *c = TAILQ_FIRST(&m->all), *next;
    for (; c; c = next) {
        next = TAILQ_NEXT(c, all);
        vsock_conn_forget(c);
    }
}

bool vsock_mux_enter(struct vsock_mux *m, struct vsock_conn *self)
{
    vdev_lock(m->dev);
    bool stays = !m->stale || !self || vsock_conn_stays(self);
    vsock_mux_settle(m);
    return stays;
}

void vsock_mux_leave(struct vsock_mux *m)
{
    m->ops->run(m);
    vdev_unlock(m->dev);
}

/* --- From the guest --- */

bool vsock_mux_is_ours(const struct vsock_mux *m, const struct vsock_header *h)
{
    return h->src_cid == m->guest_cid && h->dst_cid == VSOCK_HOST_CID;
}

static struct vsock_conn *find(const struct vsock_mux *m, const struct vsock_header *h)
{
    return (struct vsock_conn *)(void *)vsock_table_find(&m->table, h->src_port, h->dst_port);
}

void vsock_mux_reject(struct vsock_mux *m, const struct vsock_header *h, const char *why)
{
    log_warn_limited(&m->dev->faults, LOG_VSOCK,
                     "%s of type %u from guest port %" PRIu32 " to host port %" PRIu32 " with %" PRIu32
                     " bytes: %s",
                     vsock_op_name(h->op), h->type, h->src_port, h->dst_port, h->len, why);
    if (h->op == VIRTIO_VSOCK_OP_RST)
        return;
    struct vsock_conn *c = find(m, h);
    if (c)
        vsock_conn_abort(c);
    else
        vsock_conn_refuse(m, h);
}

void vsock_mux_input(struct vsock_mux *m, const struct vsock_header *h, const struct vsock_pieces *data)
{
    if (h->type != VIRTIO_VSOCK_TYPE_STREAM) {
        vsock_mux_reject(m, h, "only streams are known");
        return;
    }
    struct vsock_conn *c = find(m, h);
    if (c && c->state == VSOCK_DEAD && h->op == VIRTIO_VSOCK_OP_REQUEST) {
        /* The guest has ended the old connection and uses its ports again: our RST would hit the new one. */
        vsock_conn_free(c);
        c = NULL;
    }
    if (c)
        vsock_conn_input(c, h, data);
    else if (h->op == VIRTIO_VSOCK_OP_REQUEST)
        vsock_conn_accept(m, h);
    else if (h->op != VIRTIO_VSOCK_OP_RST)
        vsock_conn_refuse(m, h);
}

/* --- To the guest --- */

void vsock_mux_queue(struct vsock_mux *m, struct vsock_conn *c)
{
    if (c->queued)
        return;
    c->queued = true;
    TAILQ_INSERT_TAIL(&m->ready, c, ready);
}

bool vsock_mux_output(struct vsock_mux *m, struct vsock_header *h, const struct vsock_pieces *room)
{
    struct vsock_conn *c;
    while ((c = TAILQ_FIRST(&m->ready))) {
        TAILQ_REMOVE(&m->ready, c, ready);
        c->queued = false;
        *h = (struct vsock_header){
            .src_cid = VSOCK_HOST_CID,
            .dst_cid = m->guest_cid,
            .src_port = c->node.host_port,
            .dst_port = c->node.guest_port,
            .type = c->type,
        };
        if (vsock_conn_output(c, h, room))
            return true;
    }
    return false;
}

/* --- From the host --- */

static uint32_t take_port(struct vsock_mux *m, uint32_t guest_port)
{
    uint32_t port;
    /* Ends: there are far more ports than connections. */
    do {
        port = m->next_port++;
        if (m->next_port == VSOCK_HOST_PORT_END)
            m->next_port = VSOCK_HOST_PORT_FIRST;
    } while (vsock_table_find(&m->table, guest_port, port));
    return port;
}

int vsock_mux_open(struct vsock_mux *m, int fd, uint32_t guest_port)
{
    return vsock_conn_open(m, fd, guest_port, take_port(m, guest_port));
}
