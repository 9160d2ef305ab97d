/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the request is decoded here, so that a malformed one costs no process. After the fork
 * the connection leaves the event loop; PID 1 keeps its descriptor for two purposes. When the box stops,
 * shutting the connection down makes the child end as if its client had left, which removes temporary files.
 * And a child that was killed (the OOM killer) cannot tell its client: PID 1 does.
 */
#include "guest-init/transfer.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "guest-init/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int refuse(struct msg_error *why, enum error_stage stage, int code, const char *text)
{
    *why = (struct msg_error){.stage = (uint16_t)stage, .errnum = (uint32_t)-code};
    snprintf(why->text, sizeof(why->text), "%s", text);
    return code;
}

static int decode(struct transfer_plan *plan, const struct frame *f)
{
    plan->put = f->type == FRAME_PUT;
    return plan->put ? msg_put_decode(f, &plan->request.put) : msg_get_decode(f, &plan->request.get);
}

static int start_child(struct agent *a, struct transfer *t, struct transfer_plan *plan, struct msg_error *why)
{
    static const struct cgroup_limits none;
    struct err e = {0};
    int ret = tree_create(&t->tree, a->config.box_group, ++a->last_id, &none, &e);
    if (ret < 0)
        return refuse(why, STAGE_CGROUP, ret, e.text);
    plan->tree = &t->tree;
    plan->reset_oom_score = a->config.reset_oom_score;
    pid_t pid = tree_fork(&t->tree);
    if (pid == 0)
        transfer_child_run(plan);
    return pid < 0 ? refuse(why, STAGE_RESOURCE, pid, "cannot start a process for the transfer") : 0;
}

int transfer_start(struct agent *a, struct conn *c, const struct frame *f, struct msg_error *why)
{
    CLEANUP(mem_freep) struct transfer_plan *plan = calloc(1, sizeof(*plan));
    CLEANUP(mem_freep) struct transfer *t = calloc(1, sizeof(*t));
    if (!plan || !t)
        return refuse(why, STAGE_RESOURCE, -ENOMEM, "no memory for a transfer");
    if (decode(plan, f) < 0)
        return -EPROTO;
    if (a->transfer_count == AGENT_TRANSFERS_MAX || !conn_idle(c))
        return refuse(why, STAGE_RESOURCE, -EAGAIN, "too many transfers at once, or answers not read");
    plan->fd = c->fd;
    plan->in = c->in;
    t->put = plan->put;
    int ret = start_child(a, t, plan, why);
    if (ret < 0) {
        tree_fini(&t->tree);
        return ret;
    }
    t->fd = conn_detach(c);
    a->transfers[a->transfer_count++] = STEAL(t);
    return 0;
}

/* What the child had no time to say; to a client that is in the middle of a GET nothing can be said. */
static void tell_end(struct agent *a, struct transfer *t, int status)
{
    struct msg_error m = {.stage = STAGE_RESOURCE, .errnum = ENOMEM};
    if (!WIFSIGNALED(status) || !t->put || a->stopping || fd_set_nonblock(t->fd, 1) < 0)
        return;
    snprintf(m.text, sizeof(m.text), "the transfer was ended by signal %d%s", WTERMSIG(status),
             WTERMSIG(status) == SIGKILL ? ": the box's memory ran out?" : "");
    struct session *s = session_accept(a, STEAL_FD(t->fd));
    if (s)
        session_error(s, &m);
}

void transfer_ended(struct agent *a, pid_t pid, int status)
{
    for (uint32_t i = 0; i < a->transfer_count; i++) {
        struct transfer *t = a->transfers[i];
        if (t->tree.leader != pid)
            continue;
        log_debug(LOG_INIT, "transfer %d ended with status 0x%x", pid, (unsigned)status);
        a->transfers[i] = a->transfers[--a->transfer_count];
        t->tree.reaped = true;
        tell_end(a, t, status);
        transfer_destroy(t);
        return;
    }
}

void transfer_stop(struct transfer *t, bool kill)
{
    shutdown(t->fd, SHUT_RDWR);
    if (kill)
        tree_kill(&t->tree);
}

void transfer_destroy(struct transfer *t)
{
    tree_fini(&t->tree);
    fd_closep(&t->fd);
    free(t);
}
