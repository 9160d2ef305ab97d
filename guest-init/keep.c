/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a ring that drops its oldest bytes, and a count of all bytes that ever went in. */
#include "guest-init/keep.h"

#include <string.h>

int keep_init(struct keep *k, size_t cap)
{
    *k = (struct keep){.end = 0};
    return ring_init(&k->ring, cap);
}

void keep_fini(struct keep *k)
{
    ring_fini(&k->ring);
}

void keep_put(struct keep *k, const void *data, size_t len)
{
    ring_put_drop_oldest(&k->ring, data, len);
    k->end += len;
}

uint64_t keep_start(const struct keep *k)
{
    return k->end - ring_len(&k->ring);
}

size_t keep_read(const struct keep *k, uint64_t from, void *out, size_t len)
{
    struct ring rest = k->ring; /* a second view of the same bytes, to walk on without taking them */
    ring_drop(&rest, (size_t)(from - keep_start(k)));
    return ring_peek(&rest, out, len);
}

void keep_trim(struct keep *k)
{
    struct ring small;
    size_t len = ring_len(&k->ring);
    if (len == k->ring.cap || ring_init(&small, len) < 0)
        return;
    small.len = ring_peek(&k->ring, small.data, len);
    ring_fini(&k->ring);
    k->ring = small;
}
