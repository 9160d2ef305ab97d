/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of a detached execution: where it is in each output stream, and its credit. Any number of them may
 * watch one execution, each at its own pace; at most one holds stdin. Embedded in its session.
 */
#ifndef CUBBY_GUEST_INIT_VIEWER_H
#define CUBBY_GUEST_INIT_VIEWER_H

#include "proto/detached.h"

struct exec;
struct session;

struct view {
    bool told;       /* STREAM_EOF was sent, or the stream is not wanted */
    uint64_t at;     /* offset of the next byte to send */
    uint64_t credit; /* bytes that the client still takes */
};

struct viewer {
    struct viewer *next;
    struct session *session;
    struct exec *exec;   /* NULL: not attached */
    struct view view[2]; /* stdout, stderr */
    bool holds_stdin;
    bool lost_stdin; /* to another client, or it had ended: what is on its way is dropped */
    bool stdin_eof;  /* the client has sent STREAM_EOF */
    bool hasty;      /* once the output has ended, what there is no credit for is skipped */
};

/* Becomes a client of x that wants nothing yet. */
void viewer_open(struct viewer *v, struct exec *x, struct session *s);
/* Leaves; the execution goes on. Safe on one that is not attached. */
void viewer_close(struct viewer *v);

/* Wants stream `i` (0: stdout) from offset `at` on. */
void viewer_want(struct viewer *v, int i, uint64_t at, uint64_t credit);
/* Takes stdin, from another client if need be, unless stdin has ended. Returns the credit that the client
 * has; viewer_type_start() follows when it was told of it. */
uint32_t viewer_type(struct viewer *v);
void viewer_type_start(struct viewer *v);

/* A frame of the client. 0, or -EPROTO when it breaks the protocol. */
int viewer_frame(struct viewer *v, const struct frame *f);
/* Sends what the client may have; after the last byte the result, which ends the session. */
void viewer_go(struct viewer *v);
/* All clients of x, which itself is left to the caller. */
void viewers_go(struct exec *x);
/* No client of x is waited for any longer than its credit lasts. */
void viewers_hurry(struct exec *x);

#endif
