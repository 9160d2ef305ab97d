/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of virtio-console share: console.c (the device), console_port.c (bytes between a port's
 * queues and its descriptors) and console_control.c (the multiport control queues). Nobody else includes it.
 */
#ifndef CUBBY_VIRTIO_CONSOLE_PRIV_H
#define CUBBY_VIRTIO_CONSOLE_PRIV_H

#include "virtio/console.h"

#include "base/ring.h"

#include <linux/virtio_console.h>

#define BIT64(n) (UINT64_C(1) << (n))

/* Queues (virtio 1.2 §5.3.2): port 0 has 0 and 1, control 2 and 3, port n ≥ 1 has 2n + 2 and 2n + 3. */
enum { CONTROL_RX = 2, CONTROL_TX = 3 };

/* Control messages that wait for a buffer of the guest's, in the order in which they are sent. A set instead
 * of a queue: whatever the guest asks for and however often, there is nothing to overflow. */
enum {
    WANT_ADD = 1,
    WANT_CONSOLE = 2,
    WANT_NAME = 4,
    WANT_RESIZE = 8,
    WANT_OPEN = 16,
};

/* All under the device's lock; sources and timer are the loop's. */
struct port {
    struct console *con;
    unsigned id;
    char name[CONSOLE_NAME_MAX + 1];
    bool guest_open; /* control: a process of the guest has the port open */
    unsigned wants;  /* WANT_* */

    /* From the guest. */
    int out_fd;      /* our copy; -1: output is taken and forgotten */
    struct ring out; /* bytes on their way to out_fd */
    bool tx_busy;    /* `tx` is half taken: tx_done of its bytes */
    uint64_t tx_done;
    struct virtq_chain tx;
    struct loop_source out_source; /* not added where the descriptor is always ready (a file) */
    struct loop_timer stall;
    bool dropping; /* port 0: the sink takes nothing, its oldest bytes make room */
    uint64_t dropped;

    /* To the guest. */
    int in_fd; /* our copy; -1: none, or it has ended */
    struct loop_source in_source;
};

struct console {
    struct vdev dev;
    struct virtio_console_config config;
    unsigned nports;
    uint64_t stall_ms;
    struct ring tail; /* port 0's newest output */
    struct port port[CONSOLE_PORTS_MAX];
};

static inline unsigned port_rx_queue(const struct port *p)
{
    return p->id ? 2 * p->id + 2 : 0;
}
static inline unsigned port_tx_queue(const struct port *p)
{
    return port_rx_queue(p) + 1;
}
/* Does the guest's driver speak the control protocol? */
static inline bool multiport(const struct console *con)
{
    return con->dev.acked & BIT64(VIRTIO_CONSOLE_F_MULTIPORT);
}

/* Set-up: `p` is zeroed but for con and id. port_close() is safe on a half-opened port, and waits for a slow
 * sink as console.h says. */
int port_open(struct port *p, const struct console_port_config *cfg, struct err *e);
void port_close(struct port *p);
/* Forgets what the guest said. Output that was taken is still delivered. */
void port_reset(struct port *p);
/* Serve a queue, as vdev_ops.kick: 0, or a negative errno for the guest's fault. */
int port_serve_rx(struct port *p);
int port_serve_tx(struct port *p);

int control_serve_rx(struct console *con);
int control_serve_tx(struct console *con);
/* Sends the messages `wants` for the port when there is a buffer. */
void control_want(struct port *p, unsigned wants);

#endif
