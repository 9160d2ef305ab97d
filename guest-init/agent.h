/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: serves executions over a listening stream socket. In a guest that is vsock port 1025 and the
 * agent is PID 1; in tests it is a Unix socket and an ordinary process. One thread, one loop.
 *
 * agent_create() blocks the signals that it watches, ignores SIGPIPE and, in a process that is not PID 1,
 * makes it a child subreaper: a process that runs an agent is the agent's. It waits for every child.
 * Descriptors 0 to 2 must be open.
 */
#ifndef CUBBY_GUEST_INIT_AGENT_H
#define CUBBY_GUEST_INIT_AGENT_H

#include "base/err.h"
#include "base/loop.h"
#include "guest-init/conn.h"
#include "guest-init/stream.h"
#include "proto/msg.h"

#include <stdbool.h>
#include <stdint.h>

#define AGENT_EXECS_MAX     1024u
#define AGENT_SESSIONS_MAX  1024u
#define AGENT_TRANSFERS_MAX 64u

struct exec;
struct session;
struct transfer;

struct agent_config {
    int listen_fd;        /* listening and non-blocking; the agent's from then on */
    int box_group;        /* cgroup directory that holds the executions' groups; -1: process groups instead */
    bool reset_oom_score; /* this process has an oom_score_adj that children must not inherit */
    size_t keep_max; /* bytes of output kept of detached executions, all together; 0: DETACHED_KEEP_MAX */
    struct msg_ready ready;
};

struct agent {
    struct agent_config config;
    struct loop *loop;
    struct loop_source listener, signals, oom_events;
    int signal_fd, oom_fd;
    struct stream_scratch scratch;
    struct conn_budget budget;
    struct exec *execs[AGENT_EXECS_MAX];
    struct session *sessions[AGENT_SESSIONS_MAX];
    uint32_t exec_count, session_count;
    struct transfer *transfers[AGENT_TRANSFERS_MAX];
    uint32_t transfer_count;
    uint64_t last_id;
    size_t kept_bytes;  /* memory of all keeps */
    uint64_t oom_kills; /* told to the host so far */
    bool sweep;         /* something is OVER and to be freed */
    bool stopping, stopped;
    enum bye_reason why; /* it stops */
    struct loop_timer stop_timer, accept_timer;
    bool stop_killed;
};

/* 0 or a negative errno. config->listen_fd and box_group are the agent's then; on failure still the caller's.
 */
int agent_create(struct agent **out, const struct agent_config *config, struct err *e);
/* Ends all sessions; executions that still run are left to themselves. Safe on NULL. */
void agent_destroy(struct agent *a);

/* Sends READY over `fd`, a non-blocking socket that is connected or connecting to the host; takes it over. */
void agent_connect_control(struct agent *a, int fd);

/* Serves until a stop is complete: every execution ended, or refused to die. 0 or a negative errno of the
 * loop. */
int agent_run(struct agent *a);

/* Begins to stop: no new executions, its stop signal to each, SIGKILL after `grace_ms`. Once is enough. */
void agent_stop(struct agent *a, enum bye_reason why, uint32_t grace_ms);

/* BYE to every control connection, waiting at most `timeout_ms` for the peers to take it. After agent_run().
 */
void agent_say_bye(struct agent *a, const char *text, int timeout_ms);

/* --- for the agent's parts --- */

/* Keeps *s or *x until the sweep after SESSION_OVER or EXEC_OVER. False when the table is full. */
bool agent_add_session(struct agent *a, struct session *s);
bool agent_add_exec(struct agent *a, struct exec *x);
/* Takes one out again that came to nothing; the caller destroys it. */
void agent_drop_exec(struct agent *a, struct exec *x);
/* Arms the timer; when there is no memory for that, its time has come at once. */
void agent_arm(struct agent *a, struct loop_timer *t, uint64_t delay_ms, loop_timer_fn *fn);

#endif
