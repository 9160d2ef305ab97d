/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An execution from the inside: one connection to the guest's agent, and what it carries (docs/protocol.md
 * section 5).
 *
 * Locking: all members are guarded by waiter.lock, but `box`, which never changes.
 */
#ifndef CUBBY_RUNTIME_EXEC_H
#define CUBBY_RUNTIME_EXEC_H

#include "base/ring.h"
#include "cubby.h"
#include "proto/detached.h"
#include "proto/exec.h"
#include "runtime/waiter.h"

#include <stdbool.h>
#include <stdint.h>

/* What the connection asks the agent for. All go through the same phases. */
enum exec_kind {
    EXEC_RUN,    /* an execution of its own */
    EXEC_ATTACH, /* to be a client of a detached one */
    EXEC_REMOVE, /* of a detached one: its result */
    EXEC_LIST,   /* which there are */
};

enum exec_phase {
    EXEC_WAITS_BOX,  /* the box boots */
    EXEC_CONNECTING, /* CONNECT, HELLO and the request are on their way; no "OK <port>" yet */
    EXEC_GREETING,   /* the agent's HELLO is awaited */
    EXEC_STARTING,   /* its STARTED, ATTACHED, … or ERROR is */
    EXEC_RUNS,
    EXEC_LOST, /* the connection broke; the box may soon say why */
    EXEC_OVER, /* `failure` or `result` holds */
};

/* stdout or stderr. What the guest may still send (granted) and what waits for the reader never exceed the
 * window together, so memory is bounded and what arrives always fits. */
struct exec_output {
    struct ring held;
    uint32_t window, granted;
    bool eof;      /* nothing more comes */
    bool eof_told; /* the reader knows */
    bool closed;   /* nobody reads: throw away, and SIGPIPE if the command is only ours */
    uint64_t lost; /* bytes that the agent could not keep for us */
    bool skipped;  /* its last frame said so */
};

struct cubby_exec {
    struct waiter waiter;
    struct cubby_box *box; /* a reference */
    unsigned life;         /* which of the box's; never changes */
    enum exec_kind kind;
    bool detached; /* what runs is not only ours: it may have other clients, and outlives this handle */
    enum exec_phase phase;
    int fd; /* of the connection; -1 */
    bool box_watched;
    int boot_fd;          /* while it waits for a box that boots: box_watch_boot(); -1 */
    uint64_t deadline_ns; /* of the phase; WAITER_NEVER */

    uint8_t *request; /* CONNECT, HELLO and the request, sent first; NULL when it is */
    size_t request_len, request_sent;
    struct ring out; /* frames that the socket has not taken yet */
    bool out_watched;
    struct frame_reader in;

    bool wants_stdin, stdin_closed, stdin_refused;
    uint32_t stdin_credit;
    struct exec_output output[2]; /* stdout, stderr */

    uint64_t id; /* of the execution, once it is known */
    bool tty, started, kill_asked;
    uint64_t timeout_ms;
    unsigned grace_ms;
    uint8_t stop_signal; /* 0: SIGTERM */
    bool make_workdir;   /* when it is missing */

    struct cubby_error failure; /* code 0: there is a result */
    struct cubby_result result;
    struct msg_item *items; /* of EXEC_LIST */
    uint32_t item_count;
};

/* From SIGKILL until EXITED: the guest itself waits 5 s for processes that do not die (protocol.md 5.6), and
 * has the first word. */
#define EXEC_DEATH_MS 10000u

/* More executions than any agent has: a list that goes on is a fault of it. */
#define EXEC_ITEMS_MAX 4096u

/* The size of the options in their first release. */
#define EXEC_OPTIONS_LEAST offsetof(struct cubby_exec_options, entrypoint)

/* What the waiter watches. */
enum { EXEC_TAG_SOCKET = 1, EXEC_TAG_BOX = 2 };

/* Room kept free in `out` for small frames beside stdin's. */
#define EXEC_SMALL_FRAMES 4096u

/* exec.c */

/* A new one for a box that runs or boots; to be prepared, then launched or freed. */
int exec_new(struct cubby_exec **out, enum exec_kind kind, struct cubby_box *box, struct cubby_error *error);
/* CUBBY_EARGUMENT when the caller's result (may be NULL) does not say how large it is. */
int exec_check_result(const struct cubby_result *result, struct cubby_error *error);
/* Sends the request as soon as the box takes it. */
int exec_launch(struct cubby_exec *x, struct cubby_box *box, struct cubby_error *error);

/* exec_request.c: each checks the options and makes x->request. */
int exec_prepare(struct cubby_exec *x, const struct cubby_exec_options *o, struct cubby_error *error);
int exec_prepare_attach(struct cubby_exec *x, uint64_t id, const struct cubby_attach_options *o,
                        struct cubby_error *error);
int exec_prepare_remove(struct cubby_exec *x, uint64_t id, bool kill, struct cubby_error *error);
int exec_prepare_list(struct cubby_exec *x, struct cubby_error *error);

/* exec_wire.c; with the lock held. */

/* Takes note of all that happened: connects, sends, receives, times out. */
void exec_process(struct cubby_exec *x);
/* Sends what waits, as far as the socket takes it. */
void exec_flush(struct cubby_exec *x);
/* Queues a whole frame. CUBBY_ERESOURCE when there is no room. */
int exec_queue(struct cubby_exec *x, const void *frame, size_t len);
/* Gives the guest credit for what the reader has taken. */
void exec_grant(struct cubby_exec *x);
/* SIGKILL to the tree; the guest has to confirm within a deadline. */
int exec_ask_kill(struct cubby_exec *x);
/* Ends it: closes the connection, lets readers have what is held. */
void exec_finish(struct cubby_exec *x);

/* exec_frames.c: handles one frame. 0, or a negative errno: the agent broke the protocol, *e says how. */
int exec_frame(struct cubby_exec *x, const struct frame *f, struct err *e);
struct cubby_result exec_result_of(const struct msg_exited *m);

#endif
