/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: everything that the child needs is made before the fork, so that what fails there is
 * answered without one. The child reports through a close-on-exec pipe: bytes are the reason why it could not
 * execute, the end of file means that it did (exec.c reads it).
 */
#include "base/io.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "guest-init/child.h"
#include "guest-init/detached.h"
#include "guest-init/exec.h"
#include "guest-init/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The child's ends, closed in the parent after the fork; and ours, until the streams take them over. */
struct ends {
    int child[STREAMS], ours[STREAMS];
    int slave, report;
};

static void ends_close(struct ends *n)
{
    for (int i = 0; i < STREAMS; i++) {
        fd_closep(&n->child[i]);
        fd_closep(&n->ours[i]);
    }
    fd_closep(&n->slave);
    fd_closep(&n->report);
}

static int fail(struct msg_error *why, enum error_stage stage, const struct err *e)
{
    *why = (struct msg_error){.stage = (uint16_t)stage, .errnum = (uint32_t)-e->code};
    snprintf(why->text, sizeof(why->text), "%s", e->text);
    return e->code;
}

/* One pipe; the end that we keep does not block. */
static int open_pipe(struct ends *n, enum stream stream, struct err *e)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) < 0)
        return err_sys(e, "cannot make a pipe");
    n->child[stream] = fd[stream == STREAM_STDIN ? 0 : 1];
    n->ours[stream] = fd[stream == STREAM_STDIN ? 1 : 0];
    int ret = fd_set_nonblock(n->ours[stream], 1);
    return ret < 0 ? err_set(e, ret, "cannot set up a pipe: %s", strerror(-ret)) : 0;
}

static int open_pipes(struct ends *n, uint32_t flags, struct err *e)
{
    static const uint32_t wish[STREAMS] = {EXEC_STDIN, EXEC_STDOUT, EXEC_STDERR};
    int ret = 0;
    for (int i = 0; i < STREAMS && ret == 0; i++)
        if (flags & wish[i])
            ret = open_pipe(n, (enum stream)i, e);
    return ret;
}

/* A terminal: one master, with a descriptor of its own for each direction, as epoll wants it. */
static int open_terminal(struct exec *x, struct ends *n, const struct exec_request *q, struct err *e)
{
    int ret = tty_open(&x->tty, &n->slave, q->rows, q->cols, e);
    if (ret < 0)
        return ret;
    n->ours[STREAM_STDOUT] = fcntl(x->tty, F_DUPFD_CLOEXEC, 3);
    if (q->flags & EXEC_STDIN)
        n->ours[STREAM_STDIN] = fcntl(x->tty, F_DUPFD_CLOEXEC, 3);
    if (n->ours[STREAM_STDOUT] < 0 || (q->flags & EXEC_STDIN && n->ours[STREAM_STDIN] < 0))
        return err_sys(e, "cannot duplicate the terminal");
    return 0;
}

static int open_report(struct exec *x, struct ends *n, struct err *e)
{
    int fd[2];
    if (pipe2(fd, O_CLOEXEC) < 0)
        return err_sys(e, "cannot make a pipe");
    x->report_fd = fd[0];
    n->report = fd[1];
    int ret = fd_set_nonblock(x->report_fd, 1);
    return ret < 0 ? err_set(e, ret, "cannot set up a pipe: %s", strerror(-ret)) : 0;
}

static int fork_leader(struct exec *x, const struct exec_request *q, const struct ends *n, struct err *e)
{
    struct child_plan plan = {
        .request = q,
        .tree = &x->tree,
        .tty = n->slave,
        .report = n->report,
        .reset_oom_score = x->agent->config.reset_oom_score,
    };
    for (int i = 0; i < STREAMS; i++)
        plan.stdio[i] = q->tty ? n->slave : n->child[i];
    pid_t pid = tree_fork(&x->tree);
    if (pid == 0)
        child_run(&plan);
    return pid < 0 ? err_set(e, pid, "cannot start a process: %s", strerror(-pid)) : 0;
}

/* The streams take our ends; they rest until STARTED. */
static void init_streams(struct exec *x, struct ends *n, const struct exec_request *q)
{
    struct agent *a = x->agent;
    in_stream_init(&x->in, a->loop, STEAL_FD(n->ours[STREAM_STDIN]), q->tty);
    for (int i = 0; i < 2; i++)
        out_stream_init(&x->out[i], a->loop, STEAL_FD(n->ours[STREAM_STDOUT + i]),
                        (enum stream)(STREAM_STDOUT + i), NULL, &a->scratch);
    x->out[0].credit = q->window_out;
    x->out[1].credit = q->window_err;
    /* A terminal whose output nobody wants is read all the same, or it would block its writers. */
    if (q->tty && !(q->flags & EXEC_STDOUT))
        x->out[0].done = true;
}

/* All before the fork, each with the stage of its failure. */
static int prepare(struct exec *x, struct ends *n, const struct exec_request *q, struct msg_error *why)
{
    struct err e = {0};
    if (x->detached && detached_prepare(x, q) < 0) {
        err_set(&e, -ENOMEM, "no memory to keep the output of another detached execution");
        return fail(why, STAGE_RESOURCE, &e);
    }
    struct cgroup_limits limits = {q->memory_max, q->pids_max, q->cpu_millis};
    int ret = tree_create(&x->tree, x->agent->config.box_group, x->id, &limits, &e);
    if (ret < 0)
        return fail(why, ret == -ENOTSUP ? STAGE_UNSUPPORTED : STAGE_CGROUP, &e);
    if (q->tty ? open_terminal(x, n, q, &e) < 0 : open_pipes(n, q->flags, &e) < 0)
        return fail(why, q->tty ? STAGE_TTY : STAGE_RESOURCE, &e);
    if (open_report(x, n, &e) < 0)
        return fail(why, STAGE_RESOURCE, &e);
    return 0;
}

/* The arguments with blanks between them, as far as there is room; for people who read lists. */
static void note_command(struct exec *x, const char *const *argv)
{
    size_t len = 0;
    for (; *argv && len < ITEM_COMMAND_MAX; argv++) {
        int n = snprintf(x->command + len, sizeof(x->command) - len, "%s%s", len ? " " : "", *argv);
        len += n < 0 ? 0 : (size_t)n;
    }
}

int exec_start(struct exec **out, struct agent *a, struct session *s, const struct exec_request *q,
               struct msg_error *why)
{
    struct err e = {.code = -ENOMEM, .text = "no memory, or too many executions at once"};
    struct exec *x = calloc(1, sizeof(*x));
    if (!x)
        return fail(why, STAGE_RESOURCE, &e);
    *x = (struct exec){.agent = a, .session = s, .report_fd = -1, .tty = -1, .in.fd = -1};
    x->tree = (struct tree){.parent = -1, .group = -1};
    x->out[0].fd = x->out[1].fd = -1;
    x->id = ++a->last_id;
    x->timeout_ms = q->timeout_ms;
    x->grace_ms = q->grace_ms;
    x->stop_signal = q->stop_signal;
    x->wishes = q->flags;
    x->detached = q->flags & EXEC_DETACHED;
    x->terminal = q->tty;
    note_command(x, q->argv);

    CLEANUP(ends_close) struct ends n = {{-1, -1, -1}, {-1, -1, -1}, -1, -1};
    int ret = prepare(x, &n, q, why);
    if (ret == 0 && !agent_add_exec(a, x))
        ret = fail(why, STAGE_RESOURCE, &e);
    else if (ret == 0) {
        ret = exec_watch_report(x, &e);
        if (ret == 0)
            ret = fork_leader(x, q, &n, &e);
        if (ret < 0) {
            fail(why, STAGE_RESOURCE, &e);
            agent_drop_exec(a, x);
        }
    }
    if (ret < 0) {
        exec_destroy(x);
        return ret;
    }
    init_streams(x, &n, q);
    *out = x;
    return 0;
}
