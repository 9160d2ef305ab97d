/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of files as frames: what host and guest both do in a transfer, the one when it copies in, the other
 * when it copies out (docs/protocol.md section 8). Blocking; how bytes are moved is the owner's business.
 */
#ifndef CUBBY_PROTO_TRANSFER_H
#define CUBBY_PROTO_TRANSFER_H

#include "proto/files.h"

/* Frames wait here until there are enough of them for one large write. */
#define TRANSFER_BUFFER (2u * FILES_FRAME_MAX)

struct transfer_out {
    struct ftree_sink sink; /* for the reader; filled by transfer_send() */
    /* Sends whole frames. 0 or a negative errno, then the transfer ends. Set by the owner. */
    int (*flush)(struct transfer_out *t, const void *frames, size_t len);
    bool broken; /* flush() failed: that, and not the source, is why */
    struct ftree_totals totals;
    size_t len;
    uint8_t buf[TRANSFER_BUFFER];
};

/*
 * Reads `src` and sends it: all its entries and END. 0, or a negative errno: what flush() returned when
 * t->broken is set, else with the reason in *e; what was not sent yet is dropped, and a frame of ERROR may
 * follow. The struct is zeroed but for what its owner sets.
 */
int transfer_send(struct transfer_out *t, const struct ftree_source *src, struct err *e);

/* What has come of a transfer, with the writer that it goes to (not owned). */
struct transfer_in {
    struct ftree_writer *writer;
    bool ended;               /* END has come, and all is in place */
    struct ftree_totals sent; /* then: what the other side says of it */
    struct ftree_entry entry; /* scratch */
};

/* Handles ENTRY, DATA, XATTR or END. 0; -EPROTO for a frame that is malformed or does not belong here; or
 * what the writer returns. The reason is in *e. */
int transfer_frame(struct transfer_in *t, const struct frame *f, struct err *e);

#endif
