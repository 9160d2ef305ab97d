/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded byte queue: what came in first goes out first, never more than its capacity. The buffer for
 * stream data on its way between a descriptor and a frame, a packet or a virtqueue. Not thread-safe: one
 * owner.
 */
#ifndef CUBBY_BASE_RING_H
#define CUBBY_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ring {
    uint8_t *data;
    size_t cap, head, len; /* head: offset of the oldest byte; len: bytes held */
};

/* Allocates `cap` bytes. 0, or -ENOMEM: the ring is then zeroed, with no capacity. */
int ring_init(struct ring *r, size_t cap);
/* Frees the buffer; safe on a zeroed ring and twice. */
void ring_fini(struct ring *r);

static inline size_t ring_len(const struct ring *r)
{
    return r->len;
}
static inline size_t ring_space(const struct ring *r)
{
    return r->cap - r->len;
}

/* Appends up to `len` bytes; returns how many fitted. */
size_t ring_put(struct ring *r, const void *data, size_t len);
/* Appends all, dropping the oldest bytes when they do not fit; returns how many were dropped. */
size_t ring_put_drop_oldest(struct ring *r, const void *data, size_t len);
/* Takes up to `len` bytes out; returns how many. */
size_t ring_get(struct ring *r, void *out, size_t len);
/* Copies up to `len` bytes without taking them. */
size_t ring_peek(const struct ring *r, void *out, size_t len);
/* Forgets the oldest `len` bytes (at most all). */
void ring_drop(struct ring *r, size_t len);

/* The held bytes, or the free space, as up to two pieces (returns how many pieces). After filling the space
 * from outside (readv), ring_filled() takes note of the bytes. */
int ring_data_iov(const struct ring *r, struct iovec iov[2]);
int ring_space_iov(const struct ring *r, struct iovec iov[2]);
void ring_filled(struct ring *r, size_t len);

/* One readv(2) into the free space, one writev(2) (MSG_NOSIGNAL where `fd` is a socket) of the held bytes.
 * Return bytes moved, 0 for end of file (fill) or an empty ring (drain), or a negative errno; -ENOBUFS when
 * full. */
ssize_t ring_fill_from(struct ring *r, int fd);
ssize_t ring_drain_to(struct ring *r, int fd);

#endif
