/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A framed, non-blocking connection on the event loop: whole frames come in through a callback, frames go out
 * at once or, when the socket is full, through a bounded buffer that exists only while it is needed.
 *
 * Embedded in its owner. Callbacks may close the connection, but not free its owner.
 */
#ifndef CUBBY_GUEST_INIT_CONN_H
#define CUBBY_GUEST_INIT_CONN_H

#include "base/loop.h"
#include "base/ring.h"
#include "proto/frame.h"

struct conn;

/* What all connections of an agent may keep in memory for peers that do not read, before each makes do with
 * CONN_LEAST bytes of data at a time. */
#define CONN_BUDGET (4u << 20)
#define CONN_LEAST  4096u

struct conn_budget {
    size_t held; /* bytes of all their buffers */
};

struct conn_ops {
    void (*frame)(struct conn *c, const struct frame *f);
    /* Everything that was queued is sent: streams that waited may go on. */
    void (*drained)(struct conn *c);
    /* Nothing more comes in. 0: end of file; -EPROTO, -EMSGSIZE: a frame that cannot be; other: the socket.
     */
    void (*ended)(struct conn *c, int err);
};

struct conn {
    struct loop *loop;
    struct loop_source src;
    int fd; /* owned; -1 when closed */
    bool deaf;
    struct frame_reader in;
    struct ring out; /* bytes that the socket did not take; no buffer while empty */
    struct conn_budget *budget;
    const struct conn_ops *ops;
};

/* Takes `fd` (a connected, non-blocking stream socket) over, also on failure; `budget` outlives it. 0 or a
 * negative errno. */
int conn_open(struct conn *c, struct loop *l, struct conn_budget *budget, int fd, const struct conn_ops *ops);
/* Safe on a closed one. */
void conn_close(struct conn *c);
/* Gives the descriptor to the caller, in the middle of a frame's callback too; what was received and not
 * handed out yet is forgotten (copy c->in before, or in a child process). */
int conn_detach(struct conn *c);

/* True when nothing waits to be sent; then one data frame of conn_room() bytes may be sent. */
bool conn_idle(const struct conn *c);
/* How many bytes of data the next frame may have: as many as a frame can, or few while peers that do not read
 * cost much memory together. */
size_t conn_room(const struct conn *c);

/*
 * Sends a whole frame. A connection that is broken, or whose peer lets more than a bounded amount pile up, is
 * shut down; its ops->ended() follows from the loop.
 */
void conn_send(struct conn *c, const void *frame, size_t len);

/* From now on input is read and thrown away; ops->ended() still reports its end. */
void conn_ignore_input(struct conn *c);

/* Tells the peer that nothing follows (half close), once everything queued is sent. */
void conn_finish(struct conn *c);

#endif
