/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File transfers (docs/protocol.md section 8): each is a process of its own, a child of PID 1 in a control
 * group below the box's. It takes the client's connection over and may block on disks, be killed for want of
 * memory, or be led astray by what it reads; PID 1 only waits for its end.
 */
#ifndef CUBBY_GUEST_INIT_TRANSFER_H
#define CUBBY_GUEST_INIT_TRANSFER_H

#include "guest-init/conn.h"
#include "guest-init/tree.h"
#include "proto/files.h"
#include "proto/msg.h"

struct agent;

struct transfer {
    struct tree tree;
    int fd; /* the connection, which the child has too: to end it, or to say how the child ended. Owned */
    bool put;
};

/*
 * Starts what the frame PUT or GET asks for. 0: the connection is the transfer's and `c` has none any more.
 * -EPROTO for a malformed frame; another negative errno with stage and reason for ERROR in *why.
 */
int transfer_start(struct agent *a, struct conn *c, const struct frame *f, struct msg_error *why);

/* The process `pid` was waited for; when it was a transfer's, that is over and freed. */
void transfer_ended(struct agent *a, pid_t pid, int status);

/* The box stops: cuts the connection, at which the child clears up and ends; `kill` does not wait for that.
 */
void transfer_stop(struct transfer *t, bool kill);

/* Frees it, in whatever state; the process ends when its client leaves, if no file system holds it up. */
void transfer_destroy(struct transfer *t);

/* --- transfer_child.c: the process --- */

struct transfer_plan {
    int fd;                 /* the connection */
    struct frame_reader in; /* bytes that have arrived already */
    struct tree *tree;
    bool reset_oom_score; /* as in child.h */
    bool put;
    union {
        struct msg_put put;
        struct msg_get get;
    } request;
};

_Noreturn void transfer_child_run(struct transfer_plan *plan);

#endif
