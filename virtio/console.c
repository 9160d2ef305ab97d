/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the device is a set of ports, each with a receive and a transmit queue. A kick says
 * which queue; console_port.c moves bytes, console_control.c talks about ports. This file is the rest: the
 * queues' numbers, configuration, life, and the tail of port 0's output that error reports quote.
 */
#include "virtio/console_priv.h"

#include "base/own.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <string.h>

#define QUEUE_MAX 64 /* a console's chains are short-lived */

static struct console *of(struct vdev *d)
{
    return CONTAINER_OF(d, struct console, dev);
}

static int console_kick(struct vdev *d, unsigned q)
{
    struct console *con = of(d);
    if (q > 1 && !multiport(con))
        return 0; /* a queue that this driver said it does not know */
    if (q == CONTROL_RX)
        return control_serve_rx(con);
    if (q == CONTROL_TX)
        return control_serve_tx(con);
    struct port *p = &con->port[q < CONTROL_RX ? 0 : q / 2 - 1];
    return q == port_tx_queue(p) ? port_serve_tx(p) : port_serve_rx(p);
}

static void console_config_read(struct vdev *d, uint32_t offset, void *out, uint32_t len)
{
    memcpy(out, (const uint8_t *)&of(d)->config + offset, len);
}

static int console_activate(struct vdev *d)
{
    (void)d; /* everything is there since console_create(); the first kicks follow */
    return 0;
}

static void console_reset(struct vdev *d)
{
    struct console *con = of(d);
    for (unsigned i = 0; i < con->nports; i++)
        port_reset(&con->port[i]);
}

static void console_destroy(struct vdev *d)
{
    struct console *con = of(d);
    for (unsigned i = 0; i < con->nports; i++)
        port_close(&con->port[i]);
    ring_fini(&con->tail);
    free(con);
}

static const struct vdev_ops console_ops = {
    .name = "console",
    .topic = LOG_CONSOLE,
    .device_id = VIRTIO_ID_CONSOLE,
    .queue_max = QUEUE_MAX,
    .config_read = console_config_read,
    .activate = console_activate,
    .reset = console_reset,
    .kick = console_kick,
    .destroy = console_destroy,
};

static void fill_device(struct console *con, const struct console_config *cfg)
{
    bool control = cfg->nports > 1 || cfg->port[0].in_fd >= 0;
    con->stall_ms = cfg->stall_ms ? cfg->stall_ms : CONSOLE_STALL_MS;
    con->config.cols = htole16(cfg->cols);
    con->config.rows = htole16(cfg->rows);
    con->config.max_nr_ports = htole32(cfg->nports);
    con->dev.ops = &console_ops;
    con->dev.features = (cfg->cols || cfg->rows ? BIT64(VIRTIO_CONSOLE_F_SIZE) : 0) |
                        (control ? BIT64(VIRTIO_CONSOLE_F_MULTIPORT) : 0);
    con->dev.config_size = offsetof(struct virtio_console_config, emerg_wr);
    con->dev.nqueues = control ? 2 * cfg->nports + 2 : 2;
}

int console_create(struct vdev **out, const struct console_config *cfg, struct gmem *mem, struct loop *loop,
                   struct err *e)
{
    if (cfg->nports < 1 || cfg->nports > CONSOLE_PORTS_MAX)
        return err_set(e, -EINVAL, "a console has 1 to %d ports, not %u", CONSOLE_PORTS_MAX, cfg->nports);
    struct console *con = calloc(1, sizeof(*con));
    if (!con || ring_init(&con->tail, CONSOLE_TAIL) < 0) {
        free(con);
        return err_set(e, -ENOMEM, "cannot allocate a console");
    }
    con->dev.mem = mem;
    con->dev.loop = loop;
    fill_device(con, cfg);
    while (con->nports < cfg->nports) {
        struct port *p = &con->port[con->nports];
        p->con = con;
        p->id = con->nports++;
        int ret = port_open(p, &cfg->port[p->id], e);
        if (ret < 0) {
            console_destroy(&con->dev);
            return ret;
        }
    }
    *out = &con->dev;
    return 0;
}

size_t console_tail(struct vdev *d, char *buf, size_t cap)
{
    struct ring *tail = &of(d)->tail;
    if (cap == 0)
        return 0;
    vdev_lock(d);
    struct iovec iov[2];
    int n = ring_data_iov(tail, iov);
    size_t skip = ring_len(tail) > cap - 1 ? ring_len(tail) - (cap - 1) : 0, len = 0;
    for (int i = 0; i < n; i++) {
        size_t part = skip < iov[i].iov_len ? iov[i].iov_len - skip : 0;
        memcpy(buf + len, (uint8_t *)iov[i].iov_base + iov[i].iov_len - part, part);
        len += part;
        skip -= iov[i].iov_len - part;
    }
    vdev_unlock(d);
    buf[len] = '\0';
    return len;
}

void console_resize(struct vdev *d, uint16_t cols, uint16_t rows)
{
    struct console *con = of(d);
    vdev_lock(d);
    if (d->features & BIT64(VIRTIO_CONSOLE_F_SIZE)) {
        con->config.cols = htole16(cols);
        con->config.rows = htole16(rows);
        d->notify_config(d);
        if (d->acked & BIT64(VIRTIO_CONSOLE_F_SIZE))
            control_want(&con->port[0], WANT_RESIZE);
    }
    vdev_unlock(d);
}
