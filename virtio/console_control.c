/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: with MULTIPORT two more queues carry short messages about ports (virtio 1.2
 * §5.3.6.2). The driver says DEVICE_READY; we announce every port (PORT_ADD); it answers PORT_READY for each;
 * we say which one is a console, what the others are called, and which are open on our side. It says
 * PORT_OPEN when a process opens or closes one.
 *
 * What we want to say is a set of bits per port, so a guest that asks a million times and never gives a
 * buffer costs nothing. What makes no sense is logged and ignored.
 */
#include "virtio/console_priv.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MESSAGES_PER_TURN 64

struct message {
    struct virtio_console_control head;
    uint8_t more[CONSOLE_NAME_MAX];
};

_Static_assert(sizeof(struct virtio_console_control) == 8, "virtio 1.2 §5.3.6.2");

/* Fills *m with the message for the lowest bit of `want`; returns its length. */
static size_t compose(const struct port *p, unsigned want, struct message *m)
{
    uint16_t event = 0, value = 1;
    size_t more = 0;
    switch (want) {
    case WANT_ADD:
        event = VIRTIO_CONSOLE_PORT_ADD;
        break;
    case WANT_CONSOLE:
        event = VIRTIO_CONSOLE_CONSOLE_PORT;
        break;
    case WANT_NAME:
        event = VIRTIO_CONSOLE_PORT_NAME;
        more = strlen(p->name);
        memcpy(m->more, p->name, more);
        break;
    case WANT_RESIZE: {
        event = VIRTIO_CONSOLE_RESIZE;
        /* Rows first: what Linux has always read, whatever the specification's struct says. */
        uint16_t size[2] = {p->con->config.rows, p->con->config.cols};
        more = sizeof(size);
        memcpy(m->more, size, more);
        break;
    }
    case WANT_OPEN:
        event = VIRTIO_CONSOLE_PORT_OPEN;
        value = p->id == 0 || p->in_fd >= 0 || p->out_fd >= 0;
        break;
    }
    m->head = (struct virtio_console_control){
        .id = htole32(p->id), .event = htole16(event), .value = htole16(value)};
    return sizeof(m->head) + more;
}

static struct port *next_wanting(struct console *con)
{
    for (unsigned i = 0; i < con->nports; i++)
        if (con->port[i].wants)
            return &con->port[i];
    return NULL;
}

/* One message into the guest's next buffer: 1, 0 when there is none, or a negative errno. */
static int send_one(struct console *con, struct port *p)
{
    struct virtq *q = &con->dev.vq[CONTROL_RX];
    struct virtq_chain c;
    int ret = virtq_pop(q, &c);
    if (ret <= 0)
        return ret;
    unsigned want = p->wants & -p->wants;
    struct message m;
    size_t len = compose(p, want, &m);
    if (c.in_len < len)
        return -EPROTO;
    virtq_write_in(&c, 0, &m, len);
    virtq_push(q, c.head, (uint32_t)len);
    p->wants &= ~want;
    return 1;
}

int control_serve_rx(struct console *con)
{
    struct virtq *q = &con->dev.vq[CONTROL_RX];
    struct port *p;
    int ret = 1;
    do {
        virtq_disable_kicks(q);
        while ((p = next_wanting(con)) && (ret = send_one(con, p)) > 0)
            ;
        /* No buffer is left and something is still to be said: then a kick is wanted. */
    } while (p && ret == 0 && virtq_enable_kicks(q));
    con->dev.notify_queue(&con->dev, CONTROL_RX);
    return ret < 0 ? ret : 0;
}

void control_want(struct port *p, unsigned wants)
{
    struct vdev *d = &p->con->dev;
    if (!d->active || !multiport(p->con))
        return;
    p->wants |= wants;
    d->kick_later(d, CONTROL_RX);
}

static void port_ready(struct port *p)
{
    if (p->id == 0)
        control_want(p, WANT_CONSOLE | WANT_OPEN |
                            (p->con->dev.acked & BIT64(VIRTIO_CONSOLE_F_SIZE) ? WANT_RESIZE : 0));
    else
        control_want(p, WANT_OPEN | (p->name[0] ? WANT_NAME : 0));
}

/* `m` is our copy of what the guest wrote. */
static void handle(struct console *con, const struct virtio_console_control *m)
{
    struct vdev *d = &con->dev;
    uint32_t id = le32toh(m->id);
    uint16_t event = le16toh(m->event), value = le16toh(m->value);
    if (event == VIRTIO_CONSOLE_DEVICE_READY && value == 1) {
        for (unsigned i = 0; i < con->nports; i++)
            control_want(&con->port[i], WANT_ADD);
        return;
    }
    struct port *p = id < con->nports ? &con->port[id] : NULL;
    if (p && event == VIRTIO_CONSOLE_PORT_READY && value == 1) {
        port_ready(p);
    } else if (p && event == VIRTIO_CONSOLE_PORT_OPEN) {
        p->guest_open = value;
        d->kick_later(d, port_rx_queue(p));
    } else {
        log_warn_limited(&d->faults, LOG_CONSOLE, "control message %u with value %u for port %u is ignored",
                         event, value, id);
    }
}

int control_serve_tx(struct console *con)
{
    struct vdev *d = &con->dev;
    struct virtq *q = &d->vq[CONTROL_TX];
    int left = MESSAGES_PER_TURN, ret = 0;
    do {
        virtq_disable_kicks(q);
        struct virtq_chain c;
        while (left > 0 && (ret = virtq_pop(q, &c)) > 0) {
            struct virtio_console_control m;
            if (virtq_read_out(&c, 0, &m, sizeof(m)) == sizeof(m))
                handle(con, &m);
            else
                log_warn_limited(&d->faults, LOG_CONSOLE, "a control message of %u bytes is ignored",
                                 (unsigned)c.out_len);
            virtq_push(q, c.head, 0);
            left--;
        }
        if (left == 0)
            d->kick_later(d, CONTROL_TX);
    } while (left > 0 && ret == 0 && virtq_enable_kicks(q));
    d->notify_queue(d, CONTROL_TX);
    return ret < 0 ? ret : 0;
}
