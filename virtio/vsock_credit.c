/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: bytes in flight are `sent - peer_fwd`, and what may be sent is the guest's buffer less
 * these.
 *
 * Packets in flight are counted in two halves instead of remembering each packet's end. When a half is full,
 * `mark` notes how many bytes it ended at; when the guest's fwd_cnt has passed the mark, all packets of that
 * half are read, and the next half takes its place. So at most 2 × half packets are unread, for eight bytes
 * of state.
 */
#include "virtio/vsock_credit.h"

#include <errno.h>

/* Bytes that one packet is reckoned to cost the guest: more than the 576 of Linux' SKB_TRUESIZE(0). */
#define PACKET_COST  1024u
#define PACKETS_HALF 128u
/* Bounds the bytes in flight to far less than half the counters' range, so that before and after can be told.
 */
#define PEER_ALLOC_MAX (1u << 30)

static uint32_t half_size(const struct vsock_credit *c)
{
    uint32_t half = c->peer_alloc / PACKET_COST / 2;
    if (half > PACKETS_HALF)
        half = PACKETS_HALF;
    return half ? half : 1;
}

/* Starts a new half when this one is full and the one before is read. */
static void turn_halves(struct vsock_credit *c)
{
    if (c->packets < half_size(c) || c->packets_old)
        return;
    c->packets_old = c->packets;
    c->packets = 0;
    c->mark = c->sent;
}

void vsock_credit_learn(struct vsock_credit *c, uint32_t buf_alloc, uint32_t fwd_cnt)
{
    c->peer_alloc = buf_alloc < PEER_ALLOC_MAX ? buf_alloc : PEER_ALLOC_MAX;
    c->peer_fwd = fwd_cnt;
    if (fwd_cnt == c->sent)
        c->packets = c->packets_old = 0;
    else if ((int32_t)(fwd_cnt - c->mark) >= 0)
        c->packets_old = 0;
    turn_halves(c);
}

static uint32_t byte_room(const struct vsock_credit *c)
{
    uint32_t in_flight = c->sent - c->peer_fwd;
    /* A guest may shrink its buffer below what is in flight, or claim to have read what was never sent (a
     * huge difference): no credit in both cases. */
    return in_flight < c->peer_alloc ? c->peer_alloc - in_flight : 0;
}

static bool packets_full(const struct vsock_credit *c)
{
    return c->packets_old && c->packets >= half_size(c);
}

uint32_t vsock_credit_room(const struct vsock_credit *c)
{
    return packets_full(c) ? 0 : byte_room(c);
}

bool vsock_credit_gated(const struct vsock_credit *c)
{
    return packets_full(c) && byte_room(c) > 0;
}

void vsock_credit_sent(struct vsock_credit *c, uint32_t len)
{
    c->sent += len;
    c->packets++;
    turn_halves(c);
}

int vsock_credit_receive(struct vsock_credit *c, uint32_t len)
{
    if (len > VSOCK_BUF_ALLOC - (c->received - c->forwarded))
        return -ENOBUFS;
    c->received += len;
    return 0;
}

void vsock_credit_forward(struct vsock_credit *c, uint32_t len)
{
    c->forwarded += len;
}

bool vsock_credit_update_due(const struct vsock_credit *c)
{
    /* Linux guests never have more in flight than their own buffer's size, even when ours is larger: a
     * threshold that only our size decides might wait for bytes that the guest may not send. A quarter of the
     * smaller one keeps three quarters for the guest while the news is on its way. */
    uint32_t window = c->peer_alloc < VSOCK_BUF_ALLOC ? c->peer_alloc : VSOCK_BUF_ALLOC;
    uint32_t news = c->forwarded - c->told;
    return news > 0 && news >= window / 4;
}

void vsock_credit_told(struct vsock_credit *c)
{
    c->told = c->forwarded;
}
