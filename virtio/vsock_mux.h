/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All connections of one vsock device: finds the one that a packet is for, and takes turns among those that
 * have something for the guest. Knows neither virtqueues nor paths, so that it can be tested without them.
 *
 * Threads: everything runs on the loop's thread with the device's lock held, but vsock_mux_forget_all(),
 * which a vCPU thread calls, with the lock.
 */
#ifndef CUBBY_VIRTIO_VSOCK_MUX_H
#define CUBBY_VIRTIO_VSOCK_MUX_H

#include "virtio/vdev.h"
#include "virtio/vsock.h"
#include "virtio/vsock_conn.h"

#define VSOCK_HOST_PORT_FIRST (UINT32_C(1) << 30) /* host ports of CONNECT clients: here … 2^31 - 1 */
#define VSOCK_HOST_PORT_END   (UINT32_C(1) << 31)

struct vsock_mux_ops {
    /* Connects to the host's listener for `port`: a non-blocking descriptor for the caller, or a negative
     * errno; -EAGAIN: try again soon. */
    int (*dial)(struct vsock_mux *m, uint32_t port);
    /* Called at the end of each event, still with the lock: packets may be waiting for vsock_mux_output(). */
    void (*run)(struct vsock_mux *m);
};

TAILQ_HEAD(vsock_conns, vsock_conn);

struct vsock_mux {
    const struct vsock_mux_ops *ops;
    struct vdev *dev; /* its lock, its loop, its limit on log lines */
    struct vsock_limits limits;
    uint64_t guest_cid;
    struct vsock_table table;
    struct vsock_conns all;
    struct vsock_conns ready; /* first in, first out: round robin */
    uint32_t slots;           /* in use, ≤ limits.conns */
    uint32_t dead;            /* connections in state DEAD, ≤ limits.conns */
    uint32_t next_port;       /* host port to try next */
    bool stale;               /* the driver was reset; the loop's thread has not cleaned up yet */
};

/* `dev`, `cfg->limits` as of vsock_create(). 0, or a negative errno with a text. */
int vsock_mux_init(struct vsock_mux *m, const struct vsock_mux_ops *ops, struct vdev *dev,
                   const struct vsock_config *cfg, struct err *e);
/* Ends all connections. Safe on a zeroed struct. */
void vsock_mux_fini(struct vsock_mux *m);

/* Around each callback of the loop: locks the device and cleans up after a reset; false when `self` (which
 * may be NULL) went with it. Either way vsock_mux_leave() ends the callback: it runs what is waiting, and
 * unlocks. */
bool vsock_mux_enter(struct vsock_mux *m, struct vsock_conn *self);
void vsock_mux_leave(struct vsock_mux *m);

/* Each host descriptor uses a slot, from accept or dial until it is closed. False when all are taken. */
bool vsock_mux_take_slot(struct vsock_mux *m);
void vsock_mux_give_slot(struct vsock_mux *m);

/* A packet of the guest: `h` decoded from a copy, `data` its payload of exactly h->len bytes. */
void vsock_mux_input(struct vsock_mux *m, const struct vsock_header *h, const struct vsock_pieces *data);
/* A packet with this header cannot be taken, whatever its payload: RST, unless it is one. */
void vsock_mux_reject(struct vsock_mux *m, const struct vsock_header *h, const char *why);
/* Is it addressed by our guest to us? */
bool vsock_mux_is_ours(const struct vsock_mux *m, const struct vsock_header *h);

static inline bool vsock_mux_has_output(const struct vsock_mux *m)
{
    return !TAILQ_EMPTY(&m->ready);
}
/* Makes the next packet for the guest: header in *h, payload in `room` (≥ 1 byte). False when there is none.
 */
bool vsock_mux_output(struct vsock_mux *m, struct vsock_header *h, const struct vsock_pieces *room);

/* A client of the host asks for `guest_port`. Takes `fd` and its slot over, also on failure. 0, or a negative
 * errno. */
int vsock_mux_open(struct vsock_mux *m, int fd, uint32_t guest_port);

/* The driver is gone: its connections end at the next chance of the loop's thread (the caller wakes it). */
void vsock_mux_forget_all(struct vsock_mux *m);
/* The same at once, on the loop's thread. */
void vsock_mux_settle(struct vsock_mux *m);

/* For connections: joins the round robin. Nothing happens when it is there already. */
void vsock_mux_queue(struct vsock_mux *m, struct vsock_conn *c);

#endif
