/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a file copy, from the inside of runtime/copy*.c: blocking for its one caller, who waits
 * for the guest, the end of the box, his own cancel_fd and the clock at once. No lock: it belongs to the
 * calling thread.
 */
#ifndef CUBBY_RUNTIME_COPY_H
#define CUBBY_RUNTIME_COPY_H

#include "cubby.h"
#include "proto/transfer.h"

#include <stdbool.h>

struct copy_conn {
    struct cubby_box *box; /* a reference */
    unsigned life;         /* which of the box's it is part of */
    int fd;                /* non-blocking; -1 */
    int cancel_fd;         /* the caller's; -1 */
    unsigned stall_ms;
    uint64_t deadline_ns; /* moved on by each call and each byte */
    bool answered;        /* the VMM's OK has come */
    bool greeted;         /* the agent's HELLO has */
    bool eof;             /* nothing more comes in */
    struct frame_reader in;
    struct cubby_error failure; /* the first one; its code is 0 until then */
};

/* Waits until the box serves, connects, and sends HELLO and the frame of a request. 0, or a CUBBY_E… code,
 * also in c->failure. Whatever it returns, copy_close() follows. */
int copy_open(struct copy_conn *c, struct cubby_box *box, const struct cubby_copy_options *o,
              const void *request, size_t len);
void copy_close(struct copy_conn *c);

/* Sends all. 0 or a CUBBY_E… code, as above: also for an ERROR that the guest sends meanwhile. */
int copy_send(struct copy_conn *c, const void *data, size_t len);

/* The next frame, valid until the next call. ERROR does not come out, but is the failure. 0 or a code. */
int copy_receive(struct copy_conn *c, struct frame *f);

/* The code for an errno of a file system: of the box's or of this host's. */
int copy_code(int errnum, bool in_box);

#endif
