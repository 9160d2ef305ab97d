/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One execution, from the EXEC frame to its EXITED (docs/protocol.md section 5):
 *
 *     SPAWNING ──► RUNNING ──► ENDING ──► LINGERING ──► over
 *         └─────────(could not start)────────────────────┘
 *
 * SPAWNING: forked, on its way to execve(). RUNNING: STARTED was sent. ENDING: the leader was waited for; its
 * last output, and the death of a killed tree, are outstanding. LINGERING: the result is told; processes that
 * the leader left behind go on. An execution without processes is over and freed by the agent's next sweep.
 *
 * A detached execution has viewers in place of a session from STARTED on, any number of them. LINGERING, it
 * keeps its result and last output until it is forgotten (guest-init/detached.h).
 */
#ifndef CUBBY_GUEST_INIT_EXEC_H
#define CUBBY_GUEST_INIT_EXEC_H

#include "base/loop.h"
#include "guest-init/keep.h"
#include "guest-init/stream.h"
#include "guest-init/tree.h"
#include "proto/detached.h"
#include "proto/exec.h"

#include <sys/resource.h>

struct agent;
struct session;
struct viewer;

enum exec_state {
    EXEC_SPAWNING,
    EXEC_RUNNING,
    EXEC_ENDING,
    EXEC_LINGERING,
    EXEC_OVER,
};

struct exec {
    struct agent *agent;
    struct session *session; /* who waits for the result; NULL when it has left, or has it */
    uint64_t id;
    enum exec_state state;
    struct tree tree;
    struct in_stream in;
    struct out_stream out[2];   /* stdout, stderr */
    struct loop_source report;  /* the child's pipe, while SPAWNING */
    int report_fd, tty;         /* owned; -1 */
    struct loop_timer deadline; /* of the state: spawn, timeout, end of a killed tree */
    struct loop_timer drain;    /* after the leader's end */
    uint64_t timeout_ms;
    uint32_t grace_ms;
    uint8_t stop_signal;
    bool stopping, killed, timed_out; /* stop signal sent; SIGKILL sent; by its own timeout */
    bool reaped, tree_given_up;
    uint64_t started_ns, ended_ns;
    int status; /* of wait(2) */
    struct rusage usage;
    struct cgroup_stats stats;
    uint32_t flags;           /* enum exit_flags */
    struct msg_exited result; /* once LINGERING */
    uint32_t wishes;          /* enum exec_flags of the request */
    bool terminal;
    char command[ITEM_COMMAND_MAX + 1];

    /* Of a detached one. */
    bool detached, forgotten; /* forgotten: asked to be removed, gone when its last viewer is */
    struct keep keep[2];      /* stdout, stderr */
    struct viewer *viewers;   /* its clients, once STARTED */
    struct viewer *typist;    /* the one that holds stdin */
};

/* Starts what `q` asks for and answers `s` in the end by STARTED or ERROR. 0 with the new execution in *out,
 * or a negative errno with stage and reason for ERROR. */
int exec_start(struct exec **out, struct agent *a, struct session *s, const struct exec_request *q,
               struct msg_error *why);

/* The client's wishes. 0, or -EPROTO for what it may not do. */
int exec_stdin(struct exec *x, const void *data, size_t len);
int exec_stdin_eof(struct exec *x);
int exec_credit(struct exec *x, const struct msg_window *m);
int exec_resize(struct exec *x, const struct msg_resize *m);
void exec_signal(struct exec *x, const struct msg_signal *m);
/* SIGKILL to the whole tree; the result follows as ever. Once it is there: to what is left of the tree. */
void exec_kill(struct exec *x);
/* The client has left: nobody takes the result, and the tree is killed. */
void exec_abandon(struct exec *x);
/* The stop signal to the tree, SIGKILL after `grace_ms`. */
void exec_stop(struct exec *x, uint32_t grace_ms);

/* The client's socket takes bytes again. */
void exec_conn_drained(struct exec *x);
/* The leader was waited for. */
void exec_leader_ended(struct exec *x, int status, const struct rusage *usage);
/* Some process of this machine was reaped: is the tree gone? */
void exec_check_tree(struct exec *x);
/* A viewer has left, or the execution is forgotten: is it over? */
void exec_advance(struct exec *x);

/* Inside exec*.c: watches the child's report, and takes it (started, or not, or not said yet). */
int exec_watch_report(struct exec *x, struct err *e);
void exec_read_report(struct exec *x);

/* Frees an execution, in whatever state; its processes are not touched. */
void exec_destroy(struct exec *x);

#endif
