/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of a client, from HELLO to its end, and the control connection to the host. */
#ifndef CUBBY_GUEST_INIT_SESSION_H
#define CUBBY_GUEST_INIT_SESSION_H

#include "guest-init/conn.h"
#include "guest-init/viewer.h"
#include "proto/msg.h"

struct agent;
struct exec;

enum session_phase {
    SESSION_HELLO,      /* nothing understood yet */
    SESSION_REQUEST,    /* versions agreed, waiting for what to do */
    SESSION_EXEC,       /* an execution is its subject */
    SESSION_ATTACHED,   /* a detached one is, with `viewer` */
    SESSION_LISTING,    /* the list of executions is being sent */
    SESSION_CONTROL,    /* PING and SHUTDOWN; gets BYE and EVENT */
    SESSION_CONNECTING, /* the connection out to the host is being made: then CONTROL */
    SESSION_CLOSING,    /* all is said; waiting for the peer to close */
    SESSION_OVER,       /* freed by the agent's next sweep */
};

struct session {
    struct agent *agent;
    struct conn conn;
    enum session_phase phase;
    struct loop_timer deadline; /* of HELLO and REQUEST, and of CLOSING after ERROR */
    uint64_t closing_ns;        /* since when it is CLOSING */
    struct exec *exec;
    struct viewer viewer;
    uint64_t listed; /* id of the last execution in the list so far */
    uint32_t listed_count;
};

/* Takes the accepted descriptor over. NULL when out of memory. */
struct session *session_accept(struct agent *a, int fd);
/* The connection to the host: `fd` is connecting or connected; READY is sent as soon as it is. NULL as above.
 */
struct session *session_control(struct agent *a, int fd);

/* The execution is through with its client: `frame` (EXITED or ERROR) is the last one. */
void session_finish(struct session *s, const void *frame, size_t len);
/* ERROR, then the end. */
void session_error(struct session *s, const struct msg_error *m);
void session_fail(struct session *s, enum error_stage stage, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The request was understood: the session is a viewer of x, or sends the list, from now on. */
void session_attached(struct session *s, struct exec *x);
void session_listing(struct session *s);

void session_destroy(struct session *s);

#endif
