/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a table says which frames a phase takes and who handles them; all others are the
 * client's fault and end the connection with ERROR. A client that breaks the protocol, or is gone, loses its
 * execution with all its processes. The end is always the same: the last frame, a half close, and a wait for
 * the client's close, so that nothing sent is lost on the way. Only after ERROR that wait is short: a client
 * may read its output and result as late as it likes, as long as there are places for others.
 */
#include "guest-init/session.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "guest-init/detached.h"
#include "guest-init/exec.h"
#include "guest-init/transfer.h"
#include "proto/exec.h"
#include "proto/ports.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* docs/protocol.md states both. */
#define REQUEST_DEADLINE_MS 10000u /* from the connection to a whole request */
#define CLOSING_DEADLINE_MS 5000u  /* for the client to close after ERROR */

/* What the client had started ends with it; what is detached goes on. */
static void let_go(struct session *s)
{
    if (s->exec)
        exec_abandon(STEAL(s->exec));
    viewer_close(&s->viewer);
}

static void session_over(struct session *s)
{
    loop_timer_disarm(&s->deadline);
    let_go(s);
    conn_close(&s->conn);
    s->phase = SESSION_OVER;
    s->agent->sweep = true;
}

static void closing_overdue(struct loop_timer *t)
{
    session_over(CONTAINER_OF(t, struct session, deadline));
}

void session_finish(struct session *s, const void *frame, size_t len)
{
    s->exec = NULL;
    conn_send(&s->conn, frame, len);
    conn_ignore_input(&s->conn);
    s->phase = SESSION_CLOSING;
    s->closing_ns = now_ns();
    conn_finish(&s->conn);
}

void session_error(struct session *s, const struct msg_error *m)
{
    uint8_t frame[MSG_FRAME_MAX];
    let_go(s);
    session_finish(s, frame, msg_error_encode(m, frame, sizeof(frame)));
    agent_arm(s->agent, &s->deadline, CLOSING_DEADLINE_MS, closing_overdue);
}

void session_fail(struct session *s, enum error_stage stage, int errnum, const char *fmt, ...)
{
    struct msg_error m = {.stage = (uint16_t)stage, .errnum = (uint32_t)errnum};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m.text, sizeof(m.text), fmt, ap);
    va_end(ap);
    session_error(s, &m);
}

static void request_overdue(struct loop_timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, deadline);
    session_fail(s, STAGE_PROTOCOL, ETIMEDOUT, "no request within %u seconds", REQUEST_DEADLINE_MS / 1000);
}

/* --- frames; each handler returns 0, or -EPROTO when the frame breaks the protocol. --- */

static int on_hello(struct session *s, const struct frame *f)
{
    struct msg_hello m;
    if (msg_hello_decode(f, &m) < 0)
        return -EPROTO;
    uint16_t version = msg_hello_choose(&m);
    if (!version) {
        session_fail(s, STAGE_VERSION, EPROTONOSUPPORT,
                     "the client speaks versions %u to %u, this agent %u to %u", m.version_min, m.version_max,
                     PROTO_VERSION_MIN, PROTO_VERSION_MAX);
        return 0;
    }
    uint8_t frame[FRAME_HEADER + 8];
    m = (struct msg_hello){version, version};
    conn_send(&s->conn, frame, msg_hello_encode(&m, frame, sizeof(frame)));
    s->phase = SESSION_REQUEST;
    return 0;
}

static int on_exec(struct session *s, const struct frame *f)
{
    struct exec_request q;
    struct err e = {0};
    int ret = exec_request_decode(&q, f->payload, f->len, &e);
    if (ret < 0) {
        session_fail(s, ret == -ENOMEM ? STAGE_RESOURCE : STAGE_PROTOCOL, -ret, "%s", e.text);
        return 0;
    }
    struct msg_error why = {.stage = STAGE_STATE, .errnum = ESHUTDOWN, .text = "the box is shutting down"};
    loop_timer_disarm(&s->deadline);
    s->phase = SESSION_EXEC;
    ret = s->agent->stopping ? -ESHUTDOWN : exec_start(&s->exec, s->agent, s, &q, &why);
    exec_request_fini(&q);
    if (ret < 0)
        session_error(s, &why);
    return 0;
}

void session_attached(struct session *s, struct exec *x)
{
    loop_timer_disarm(&s->deadline);
    s->phase = SESSION_ATTACHED;
    viewer_open(&s->viewer, x, s);
}

void session_listing(struct session *s)
{
    loop_timer_disarm(&s->deadline);
    s->phase = SESSION_LISTING;
}

/* PUT or GET: the connection goes to a process of its own. */
static int on_transfer(struct session *s, const struct frame *f)
{
    struct msg_error why = {.stage = STAGE_STATE, .errnum = ESHUTDOWN, .text = "the box is shutting down"};
    loop_timer_disarm(&s->deadline);
    int ret = s->agent->stopping ? -ESHUTDOWN : transfer_start(s->agent, &s->conn, f, &why);
    if (ret == 0)
        session_over(s);
    else if (ret != -EPROTO)
        session_error(s, &why);
    return ret == -EPROTO ? ret : 0;
}

static int on_ping(struct session *s, const struct frame *f)
{
    uint64_t cookie;
    uint8_t frame[FRAME_HEADER + 8];
    if (msg_ping_decode(f, &cookie) < 0)
        return -EPROTO;
    conn_send(&s->conn, frame, msg_ping_encode(FRAME_PONG, cookie, frame, sizeof(frame)));
    return 0;
}

static int on_shutdown(struct session *s, const struct frame *f)
{
    struct msg_shutdown m;
    if (msg_shutdown_decode(f, &m) < 0)
        return -EPROTO;
    loop_timer_disarm(&s->deadline);
    s->phase = SESSION_CONTROL; /* BYE will come this way */
    agent_stop(s->agent, BYE_SHUTDOWN, m.grace_ms);
    return 0;
}

static int on_viewer(struct session *s, const struct frame *f)
{
    return viewer_frame(&s->viewer, f);
}

static int on_stdin(struct session *s, const struct frame *f)
{
    return exec_stdin(s->exec, f->payload, f->len);
}

static int on_stream_eof(struct session *s, const struct frame *f)
{
    enum stream stream;
    if (msg_stream_eof_decode(f, &stream) < 0 || stream != STREAM_STDIN)
        return -EPROTO;
    return exec_stdin_eof(s->exec);
}

static int on_window(struct session *s, const struct frame *f)
{
    struct msg_window m;
    return msg_window_decode(f, &m) < 0 ? -EPROTO : exec_credit(s->exec, &m);
}

static int on_signal(struct session *s, const struct frame *f)
{
    struct msg_signal m;
    if (msg_signal_decode(f, &m) < 0)
        return -EPROTO;
    exec_signal(s->exec, &m);
    return 0;
}

static int on_kill(struct session *s, const struct frame *f)
{
    (void)f; /* has no payload */
    exec_kill(s->exec);
    return 0;
}

static int on_resize(struct session *s, const struct frame *f)
{
    struct msg_resize m;
    return msg_resize_decode(f, &m) < 0 ? -EPROTO : exec_resize(s->exec, &m);
}

#define IN(phase) (1u << SESSION_##phase)

static const struct rule {
    unsigned phases;
    int (*handle)(struct session *s, const struct frame *f);
} rules[] = {
    [FRAME_HELLO] = {IN(HELLO), on_hello},
    [FRAME_EXEC] = {IN(REQUEST), on_exec},
    [FRAME_LIST] = {IN(REQUEST), detached_on_list},
    [FRAME_ATTACH] = {IN(REQUEST), detached_on_attach},
    [FRAME_REMOVE] = {IN(REQUEST), detached_on_remove},
    [FRAME_STDIN] = {IN(EXEC), on_stdin},
    [FRAME_SIGNAL] = {IN(EXEC), on_signal},
    [FRAME_KILL] = {IN(EXEC), on_kill},
    [FRAME_RESIZE] = {IN(EXEC), on_resize},
    [FRAME_STREAM_EOF] = {IN(EXEC), on_stream_eof},
    [FRAME_WINDOW] = {IN(EXEC), on_window},
    [FRAME_PUT] = {IN(REQUEST), on_transfer},
    [FRAME_GET] = {IN(REQUEST), on_transfer},
    [FRAME_SHUTDOWN] = {IN(REQUEST) | IN(CONTROL), on_shutdown},
    [FRAME_PING] = {IN(REQUEST) | IN(EXEC) | IN(ATTACHED) | IN(LISTING) | IN(CONTROL), on_ping},
};

/* What a client may send to an execution it may send to a detached one. */
static const struct rule attached = {IN(ATTACHED), on_viewer};

static void session_frame(struct conn *c, const struct frame *f)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    log_debug(LOG_INIT, "session %d: %s", c->fd, frame_name(f->type));
    const struct rule *rule = f->type < ARRAY_LEN(rules) ? &rules[f->type] : NULL;
    if (rule && s->phase == SESSION_ATTACHED && rule->phases & IN(EXEC) && f->type != FRAME_PING)
        rule = &attached;
    if (!rule || !rule->handle || !(rule->phases & 1u << s->phase))
        session_fail(s, STAGE_PROTOCOL, EPROTO, "%s is not expected here", frame_name(f->type));
    else if (rule->handle(s, f) < 0)
        session_fail(s, STAGE_PROTOCOL, EPROTO,
                     "%s breaks the protocol here: a field, credit or the order is wrong",
                     frame_name(f->type));
}

/* --- the connection --- */

/* The connection out is made, or was refused (a VMM that is used without a library: nobody listens). */
static void connected(struct session *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(s->conn.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
        session_over(s);
        return;
    }
    uint8_t frame[MSG_FRAME_MAX];
    s->phase = SESSION_CONTROL;
    conn_send(&s->conn, frame, msg_ready_encode(&s->agent->config.ready, frame, sizeof(frame)));
}

static void session_drained(struct conn *c)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    if (s->phase == SESSION_CONNECTING)
        connected(s);
    else if (s->phase == SESSION_EXEC && s->exec)
        exec_conn_drained(s->exec);
    else if (s->phase == SESSION_ATTACHED)
        viewer_go(&s->viewer);
    else if (s->phase == SESSION_LISTING)
        detached_list_go(s);
    else if (s->phase == SESSION_CLOSING)
        conn_finish(c);
}

static void session_ended(struct conn *c, int err)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    log_debug(LOG_INIT, "session %d: input ends (%d)", c->fd, err);
    if (err == -EPROTO)
        session_fail(s, STAGE_PROTOCOL, EPROTO, "a frame of unknown type, or with flags that are not in use");
    else if (err == -EMSGSIZE)
        session_fail(s, STAGE_PROTOCOL, EMSGSIZE, "a frame is shorter or longer than its type allows");
    else
        session_over(s);
}

static const struct conn_ops session_ops = {
    .frame = session_frame,
    .drained = session_drained,
    .ended = session_ended,
};

static struct session *session_create(struct agent *a, int fd, enum session_phase phase)
{
    struct session *s = calloc(1, sizeof(*s));
    if (!s) {
        fd_closep(&fd);
        return NULL;
    }
    s->agent = a;
    s->phase = phase;
    if (conn_open(&s->conn, a->loop, &a->budget, fd, &session_ops) == 0 && agent_add_session(a, s))
        return s;
    session_destroy(s);
    return NULL;
}

struct session *session_accept(struct agent *a, int fd)
{
    struct session *s = session_create(a, fd, SESSION_HELLO);
    if (s)
        agent_arm(a, &s->deadline, REQUEST_DEADLINE_MS, request_overdue);
    return s;
}

struct session *session_control(struct agent *a, int fd)
{
    struct session *s = session_create(a, fd, SESSION_CONNECTING);
    /* Writable means connected: conn calls session_drained(). */
    if (s && loop_modify(&s->conn.src, EPOLLIN | EPOLLOUT) < 0)
        session_over(s);
    return s;
}

void session_destroy(struct session *s)
{
    loop_timer_disarm(&s->deadline);
    let_go(s);
    conn_close(&s->conn);
    free(s);
}
