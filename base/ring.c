/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: `head` and `len` instead of two indices, so that full and empty need no spare byte and
 * every state is one of cap + 1 lengths. Data and space are each at most two pieces, split where the buffer
 * ends.
 */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int ring_init(struct ring *r, size_t cap)
{
    *r = (struct ring){.data = malloc(cap)};
    if (!r->data && cap > 0)
        return -ENOMEM;
    r->cap = cap;
    return 0;
}

void ring_fini(struct ring *r)
{
    free(r->data);
    *r = (struct ring){0};
}

/* Up to two pieces for [start, start+len) of the circle. */
static int circle_iov(const struct ring *r, size_t start, size_t len, struct iovec iov[2])
{
    if (len == 0)
        return 0;
    size_t first = r->cap - start;
    if (first > len)
        first = len;
    iov[0] = (struct iovec){.iov_base = r->data + start, .iov_len = first};
    if (first == len)
        return 1;
    iov[1] = (struct iovec){.iov_base = r->data, .iov_len = len - first};
    return 2;
}

static size_t wrap(const struct ring *r, size_t at)
{
    return at >= r->cap ? at - r->cap : at;
}

int ring_data_iov(const struct ring *r, struct iovec iov[2])
{
    return circle_iov(r, r->head, r->len, iov);
}

int ring_space_iov(const struct ring *r, struct iovec iov[2])
{
    return circle_iov(r, wrap(r, r->head + r->len), ring_space(r), iov);
}

void ring_filled(struct ring *r, size_t len)
{
    size_t space = ring_space(r);
    r->len += len < space ? len : space;
}

size_t ring_put(struct ring *r, const void *data, size_t len)
{
    struct iovec iov[2];
    int n = ring_space_iov(r, iov);
    size_t done = 0;
    for (int i = 0; i < n && done < len; i++) {
        size_t part = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
        memcpy(iov[i].iov_base, (const uint8_t *)data + done, part);
        done += part;
    }
    r->len += done;
    return done;
}

size_t ring_put_drop_oldest(struct ring *r, const void *data, size_t len)
{
    size_t dropped = 0;
    if (len > r->cap) {
        dropped = len - r->cap;
        data = (const uint8_t *)data + dropped;
        len = r->cap;
    }
    if (len > ring_space(r)) {
        size_t old = len - ring_space(r);
        ring_drop(r, old);
        dropped += old;
    }
    ring_put(r, data, len);
    return dropped;
}

size_t ring_peek(const struct ring *r, void *out, size_t len)
{
    struct iovec iov[2];
    int n = ring_data_iov(r, iov);
    size_t done = 0;
    for (int i = 0; i < n && done < len; i++) {
        size_t part = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
        memcpy((uint8_t *)out + done, iov[i].iov_base, part);
        done += part;
    }
    return done;
}

void ring_drop(struct ring *r, size_t len)
{
    if (len > r->len)
        len = r->len;
    r->len -= len;
    /* An empty ring starts over at 0, so that the next piece is as long as it can be. */
    r->head = r->len ? wrap(r, r->head + len) : 0;
}

size_t ring_get(struct ring *r, void *out, size_t len)
{
    size_t n = ring_peek(r, out, len);
    ring_drop(r, n);
    return n;
}

ssize_t ring_fill_from(struct ring *r, int fd)
{
    struct iovec iov[2];
    int n = ring_space_iov(r, iov);
    if (n == 0)
        return -ENOBUFS;
    ssize_t got;
    do
        got = readv(fd, iov, n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    ring_filled(r, (size_t)got);
    return got;
}

ssize_t ring_drain_to(struct ring *r, int fd)
{
    struct iovec iov[2];
    int n = ring_data_iov(r, iov);
    if (n == 0)
        return 0;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    ssize_t put;
    do {
        put = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (put < 0 && errno == ENOTSOCK)
            put = writev(fd, iov, n);
    } while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    ring_drop(r, (size_t)put);
    return put;
}
