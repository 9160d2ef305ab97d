/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow control of one connection (virtio 1.2 §5.10.6.3). Pure arithmetic.
 *
 * Each side owns a receive buffer and says in every packet how large it is (buf_alloc) and how many bytes
 * have left it so far (fwd_cnt). All counters are 32 bits wide and wrap; only their differences mean
 * anything. What a peer says may be nonsense: then it gets no credit, and nothing else happens.
 *
 * Newer Linux guests have a second limit that the protocol does not know: they charge each queued packet some
 * hundred bytes against the same buffer and reset the connection when these alone exceed it. So the number of
 * packets in flight is bounded as well.
 */
#ifndef CUBBY_VIRTIO_VSOCK_CREDIT_H
#define CUBBY_VIRTIO_VSOCK_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#define VSOCK_BUF_ALLOC (64u * 1024) /* our receive buffer, bytes per connection */

/* Zero-initialise: no credit in either direction is assumed but ours for the guest. */
struct vsock_credit {
    /* Towards the guest. */
    uint32_t sent;                 /* bytes so far */
    uint32_t peer_alloc, peer_fwd; /* the guest's buf_alloc and fwd_cnt as last heard */
    uint32_t mark;                 /* `sent` when the older half of the packets in flight was complete */
    uint32_t packets, packets_old; /* sent since then; those before, while they may be unread */
    /* From the guest. */
    uint32_t received;  /* bytes so far */
    uint32_t forwarded; /* of these, bytes that have left our buffer: our fwd_cnt */
    uint32_t told;      /* our fwd_cnt as the guest last heard it */
};

/* Takes note of what a packet of the guest says. */
void vsock_credit_learn(struct vsock_credit *c, uint32_t buf_alloc, uint32_t fwd_cnt);
/* Bytes that may be sent to the guest now; 0 also when too many packets are in flight. */
uint32_t vsock_credit_room(const struct vsock_credit *c);
/* Is it (only) the number of packets that forbids sending? The guest may owe no update then: ask for one. */
bool vsock_credit_gated(const struct vsock_credit *c);
/* A data packet of `len` bytes is on its way; len ≤ room. */
void vsock_credit_sent(struct vsock_credit *c, uint32_t len);

/* The guest has sent `len` bytes: 0, or -ENOBUFS when it had no credit for them (nothing is noted then). */
int vsock_credit_receive(struct vsock_credit *c, uint32_t len);
/* `len` of the received bytes have left our buffer. */
void vsock_credit_forward(struct vsock_credit *c, uint32_t len);
/* Should the guest hear of it without waiting for another packet? */
bool vsock_credit_update_due(const struct vsock_credit *c);
/* A packet with our present counters is on its way. */
void vsock_credit_told(struct vsock_credit *c);

#endif
