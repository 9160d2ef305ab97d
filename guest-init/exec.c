/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: events (the child's report, its death, the end of a stream, a timer, a frame) note
 * what they know and call exec_advance(), the one place that decides whether the result can be told. It is
 * told when the leader was waited for, both output streams are through, and, if the tree was told to die,
 * nothing of it is left. All by callbacks of one loop, so there are no locks; nothing is freed in a callback,
 * but marked EXEC_OVER for the agent's sweep.
 */
#include "guest-init/exec.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "guest-init/child.h"
#include "guest-init/detached.h"
#include "guest-init/session.h"
#include "guest-init/tty.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

/* docs/protocol.md states these three. */
#define SPAWN_DEADLINE_MS 30000u /* from fork to execve: an image on a slow disk, not a FIFO named passwd */
#define DRAIN_GRACE_MS    100u   /* for output of processes that outlive their leader */
#define DEATH_DEADLINE_MS 5000u  /* for a killed tree to be gone; longer only in uninterruptible sleep */

/* --- the end --- */

static void exec_over(struct exec *x)
{
    x->state = EXEC_OVER;
    x->agent->sweep = true;
}

static void fill_result(struct exec *x, struct msg_exited *m)
{
    const struct rusage *u = &x->usage;
    *m = (struct msg_exited){
        .code = WIFEXITED(x->status) ? (uint8_t)WEXITSTATUS(x->status) : 0,
        .signo = WIFSIGNALED(x->status) ? (uint8_t)WTERMSIG(x->status) : 0,
        .flags = x->flags,
        .wall_ns = x->ended_ns - x->started_ns,
        .utime_us = (uint64_t)u->ru_utime.tv_sec * 1000000 + (uint64_t)u->ru_utime.tv_usec,
        .stime_us = (uint64_t)u->ru_stime.tv_sec * 1000000 + (uint64_t)u->ru_stime.tv_usec,
        .max_rss = (uint64_t)u->ru_maxrss * 1024,
        .mem_peak = x->stats.mem_peak,
    };
    m->how = m->signo ? HOW_SIGNALED : HOW_EXITED;
    if (x->timed_out)
        m->how = HOW_TIMED_OUT;
    else if (m->signo == SIGKILL && x->stats.oom_kills && !x->killed)
        m->how = HOW_OOM_KILLED;
    if (m->signo && WCOREDUMP(x->status))
        m->flags |= EXIT_CORE_DUMPED;
    if (x->stats.oom_kills)
        m->flags |= x->stats.own_ooms ? EXIT_OOM | EXIT_MEMORY_LIMIT : EXIT_OOM;
    if (x->stats.pids_denied)
        m->flags |= EXIT_PIDS_LIMIT;
    for (int i = 0; i < 2; i++)
        if (x->out[i].cut)
            m->flags |= EXIT_OUTPUT_CUT;
    if (!x->tree.gone)
        m->flags |= EXIT_LEFTOVER;
}

static void tell_result(struct exec *x)
{
    struct session *s = x->session;
    x->session = NULL;
    x->in.conn = NULL;
    if (!s)
        return;
    uint8_t frame[FRAME_HEADER + 48];
    session_finish(s, frame, msg_exited_encode(&x->result, frame, sizeof(frame)));
}

void exec_advance(struct exec *x)
{
    if (!x->reaped || x->state == EXEC_OVER)
        return;
    bool gone = tree_gone(&x->tree);
    if (x->state == EXEC_ENDING) {
        if ((x->stopping || x->killed) && !gone && !x->tree_given_up)
            return;
        loop_timer_disarm(&x->deadline);
        if ((x->session || x->detached) && !(x->out[0].done && x->out[1].done))
            return;
        loop_timer_disarm(&x->drain);
        fill_result(x, &x->result);
        x->state = EXEC_LINGERING;
        tell_result(x);
        viewers_go(x);
        if (detached_is_kept(x))
            detached_trim(x);
    }
    if (x->state != EXEC_LINGERING || x->viewers)
        return;
    if (detached_is_kept(x)) {
        detached_hold_bound(x->agent);
        return;
    }
    detached_fini(x);
    if (gone)
        exec_over(x);
}

/* Who sends KILL wants the end: output that it has no credit for is dropped then. */
static void end_streams(struct exec *x)
{
    bool patient = x->detached || !(x->flags & EXIT_KILLED); /* a keep has room for all */
    out_stream_end(&x->out[0], patient);
    out_stream_end(&x->out[1], patient);
}

static void drain_over(struct loop_timer *t)
{
    struct exec *x = CONTAINER_OF(t, struct exec, drain);
    end_streams(x);
}

static struct exec *exec_of(struct out_stream *s)
{
    struct out_stream *first = s - (s->id - STREAM_STDOUT);
    return CONTAINER_OF(first, struct exec, out[0]);
}

static void stream_done(struct out_stream *s)
{
    struct exec *x = exec_of(s);
    viewers_go(x);
    exec_advance(x);
}

static void stream_kept(struct out_stream *s)
{
    viewers_go(exec_of(s));
}

void exec_leader_ended(struct exec *x, int status, const struct rusage *usage)
{
    x->status = status;
    x->usage = *usage;
    x->reaped = x->tree.reaped = true;
    tree_stats(&x->tree, &x->stats);
    if (x->state == EXEC_SPAWNING)
        exec_read_report(x); /* the child is dead: its pipe has said all */
    if (x->state == EXEC_LINGERING || x->state == EXEC_OVER)
        return; /* it could not be started */
    x->ended_ns = now_ns();
    if (!x->stopping && !x->killed)
        loop_timer_disarm(&x->deadline);
    x->state = EXEC_ENDING;
    in_stream_close(&x->in);
    out_stream_leader_gone(&x->out[0]);
    out_stream_leader_gone(&x->out[1]);
    exec_advance(x);
    if (x->state == EXEC_ENDING)
        agent_arm(x->agent, &x->drain, DRAIN_GRACE_MS, drain_over);
}

void exec_check_tree(struct exec *x)
{
    if ((x->state == EXEC_LINGERING && !x->tree.gone) ||
        (x->state == EXEC_ENDING && (x->stopping || x->killed)))
        exec_advance(x);
}

/* --- ending it --- */

static void death_overdue(struct loop_timer *t)
{
    struct exec *x = CONTAINER_OF(t, struct exec, deadline);
    log_warn(LOG_EXEC, "execution %llu: processes survive SIGKILL (uninterruptible?)",
             (unsigned long long)x->id);
    x->tree_given_up = true;
    exec_advance(x);
}

static void kill_tree(struct exec *x)
{
    if (x->state == EXEC_LINGERING || x->state == EXEC_OVER)
        return;
    tree_kill(&x->tree); /* again, if need be: processes may have come since */
    if (!x->killed)
        agent_arm(x->agent, &x->deadline, DEATH_DEADLINE_MS, death_overdue);
    x->killed = true;
}

static void grace_over(struct loop_timer *t)
{
    struct exec *x = CONTAINER_OF(t, struct exec, deadline);
    x->flags |= EXIT_GRACE_EXPIRED;
    kill_tree(x);
}

void exec_stop(struct exec *x, uint32_t grace_ms)
{
    if (x->stopping || x->killed || x->state == EXEC_OVER)
        return;
    /* Left-over processes of a told execution are stopped too, when the whole box is. */
    x->stopping = true;
    tree_signal(&x->tree, x->stop_signal);
    tree_signal(&x->tree, SIGCONT); /* a stopped process cannot see it otherwise */
    if (x->state != EXEC_LINGERING)
        agent_arm(x->agent, &x->deadline, grace_ms, grace_over);
}

static void time_is_up(struct loop_timer *t)
{
    struct exec *x = CONTAINER_OF(t, struct exec, deadline);
    x->timed_out = true;
    exec_stop(x, x->grace_ms);
}

void exec_kill(struct exec *x)
{
    if (x->state == EXEC_LINGERING)
        tree_kill(&x->tree); /* what it has left behind */
    if (x->state == EXEC_LINGERING || x->state == EXEC_OVER)
        return;
    x->flags |= EXIT_KILLED;
    kill_tree(x);
    if (x->state == EXEC_ENDING && !x->drain.loop)
        end_streams(x);
}

void exec_abandon(struct exec *x)
{
    x->session = NULL;
    x->detached = false; /* nobody knows its id yet */
    x->in.conn = NULL;
    in_stream_close(&x->in);
    kill_tree(x);
    out_stream_discard(&x->out[0]);
    out_stream_discard(&x->out[1]);
    exec_advance(x);
}

/* --- the beginning --- */

static void started(struct exec *x)
{
    struct msg_started m = {.exec_id = x->id, .pid = (uint32_t)x->tree.leader};
    uint8_t frame[FRAME_HEADER + 12];
    x->state = EXEC_RUNNING;
    x->started_ns = now_ns();
    if (!x->session)
        return;
    struct conn *conn = &x->session->conn;
    conn_send(conn, frame, msg_started_encode(&m, frame, sizeof(frame)));
    if (!x->killed)
        loop_timer_disarm(&x->deadline);
    if (!x->killed && x->timeout_ms)
        agent_arm(x->agent, &x->deadline, x->timeout_ms, time_is_up);
    for (int i = 0; i < 2; i++) {
        if (x->detached)
            x->out[i].keep = &x->keep[i];
        else if (!x->out[i].done)
            x->out[i].conn = conn;
        x->out[i].on_done = stream_done;
        x->out[i].on_kept = stream_kept;
    }
    if (x->detached)
        detached_started(x);
    else
        in_stream_start(&x->in, conn);
    out_stream_go(&x->out[0]);
    out_stream_go(&x->out[1]);
}

/* Not started: the client is told why, and what there is of the execution is cleared away. */
static void refused(struct exec *x, const struct msg_error *m)
{
    struct session *s = x->session;
    x->session = NULL;
    x->detached = false;
    x->state = EXEC_ENDING;
    if (s)
        session_error(s, m);
    kill_tree(x);
    exec_advance(x);
}

void exec_read_report(struct exec *x)
{
    struct child_report r;
    ssize_t n = read(x->report_fd, &r, sizeof(r));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    loop_remove(&x->report);
    fd_closep(&x->report_fd);
    if (n <= 0) {
        started(x);
        return;
    }
    struct msg_error m = {.stage = (uint16_t)r.stage, .errnum = (uint32_t)r.errnum};
    if (n != sizeof(r))
        m.stage = STAGE_RESOURCE; /* cannot be: a report is one write */
    else
        snprintf(m.text, sizeof(m.text), "%.*s", (int)sizeof(r.text) - 1, r.text);
    refused(x, &m);
}

static void report_event(struct loop_source *src, uint32_t events)
{
    (void)events;
    exec_read_report(CONTAINER_OF(src, struct exec, report));
}

static void spawn_overdue(struct loop_timer *t)
{
    struct exec *x = CONTAINER_OF(t, struct exec, deadline);
    struct msg_error m = {.stage = STAGE_RESOURCE,
                          .errnum = ETIMEDOUT,
                          .text = "the command could not be started in 30 seconds"};
    loop_remove(&x->report);
    fd_closep(&x->report_fd);
    refused(x, &m);
}

int exec_watch_report(struct exec *x, struct err *e)
{
    int ret = loop_add(x->agent->loop, &x->report, x->report_fd, EPOLLIN, report_event);
    if (ret == 0)
        ret = loop_timer_arm(x->agent->loop, &x->deadline, SPAWN_DEADLINE_MS * NSEC_PER_MSEC, spawn_overdue);
    return ret < 0 ? err_set(e, ret, "cannot watch a pipe: %s", strerror(-ret)) : 0;
}

/* --- the client's wishes --- */

int exec_stdin(struct exec *x, const void *data, size_t len)
{
    return in_stream_put(&x->in, data, len);
}

int exec_stdin_eof(struct exec *x)
{
    return in_stream_eof(&x->in);
}

int exec_credit(struct exec *x, const struct msg_window *m)
{
    if (m->stream == STREAM_STDIN)
        return -EPROTO;
    struct out_stream *s = &x->out[m->stream - STREAM_STDOUT];
    if (s->done)
        return 0; /* crossed our STREAM_EOF on the way */
    if (!out_stream_credit(s, m->credit))
        return -EPROTO;
    if (x->state != EXEC_SPAWNING)
        out_stream_go(s);
    return 0;
}

int exec_resize(struct exec *x, const struct msg_resize *m)
{
    if (!x->terminal)
        return -EPROTO;
    tty_resize(x->tty, m->rows, m->cols);
    return 0;
}

void exec_signal(struct exec *x, const struct msg_signal *m)
{
    if (m->scope == SCOPE_TREE)
        tree_signal(&x->tree, m->signo);
    else if (!x->reaped)
        kill(x->tree.leader, m->signo);
}

void exec_conn_drained(struct exec *x)
{
    if (x->state == EXEC_SPAWNING)
        return;
    out_stream_go(&x->out[0]);
    out_stream_go(&x->out[1]);
}

void exec_destroy(struct exec *x)
{
    loop_timer_disarm(&x->deadline);
    loop_timer_disarm(&x->drain);
    loop_remove(&x->report);
    fd_closep(&x->report_fd);
    in_stream_fini(&x->in);
    out_stream_fini(&x->out[0]);
    out_stream_fini(&x->out[1]);
    fd_closep(&x->tty);
    detached_fini(x);
    tree_fini(&x->tree);
    free(x);
}
