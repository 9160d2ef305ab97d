/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last bytes of an output stream, for clients that come later or cannot keep up. Offsets count the bytes
 * of the stream from its first one; what was pushed out is gone for everybody.
 */
#ifndef CUBBY_GUEST_INIT_KEEP_H
#define CUBBY_GUEST_INIT_KEEP_H

#include "base/ring.h"

struct keep {
    struct ring ring;
    uint64_t end; /* offset behind the last byte */
};

/* Room for `cap` bytes, which may be 0. 0 or -ENOMEM. */
int keep_init(struct keep *k, size_t cap);
/* Safe on a zeroed one and twice; the offsets stay. */
void keep_fini(struct keep *k);

void keep_put(struct keep *k, const void *data, size_t len);
/* Offset of the oldest byte that is still there. */
uint64_t keep_start(const struct keep *k);
/* Copies up to `len` bytes that begin at offset `from`, which lies between start and end. */
size_t keep_read(const struct keep *k, uint64_t from, void *out, size_t len);
/* Nothing more comes: gives back the memory that it does not need. Without memory to do so nothing changes.
 */
void keep_trim(struct keep *k);

#endif
