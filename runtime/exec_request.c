/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: all that the host has to say before the command runs is known at once, so it becomes
 * one block of bytes: the vsock socket's CONNECT line, HELLO and EXEC. Sent in one go, an execution costs one
 * round trip.
 */
#include "runtime/exec.h"

#include "proto/ports.h"
#include "runtime/errors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MAX    32
#define BUFFER_MIN     4096u
#define ROWS_DEFAULT   24
#define COLS_DEFAULT   80
#define ALL_EXEC_FLAGS (CUBBY_EXEC_STDIN | CUBBY_EXEC_NO_STDOUT | CUBBY_EXEC_NO_STDERR | CUBBY_EXEC_TTY)

static int check(const struct cubby_exec_options *o, struct cubby_error *error)
{
    if (!o->argv || !o->argv[0])
        return fail(error, CUBBY_EARGUMENT, "there is no command to execute");
    if (!o->argv[0][0])
        return fail(error, CUBBY_EARGUMENT, "the command is an empty word");
    if (o->flags & ~ALL_EXEC_FLAGS)
        return fail(error, CUBBY_EARGUMENT, "unknown flags 0x%x for an execution", o->flags);
    if (o->buffer && (o->buffer < BUFFER_MIN || o->buffer > STREAM_WINDOW_MAX))
        return fail(error, CUBBY_EARGUMENT, "a buffer of %u bytes is not possible; choose %u to %u",
                    o->buffer, BUFFER_MIN, STREAM_WINDOW_MAX);
    if (o->rows > UINT16_MAX || o->cols > UINT16_MAX)
        return fail(error, CUBBY_EARGUMENT, "a terminal of %u rows and %u columns is not possible", o->rows,
                    o->cols);
    for (const char *const *v = o->env; v && *v; v++) {
        if ((*v)[0] == '=' || !strchr(*v, '='))
            return fail(error, CUBBY_EARGUMENT, "environment '%.80s' is not of the form NAME=value", *v);
    }
    return 0;
}

static struct exec_request request_of(const struct cubby_exec *x, const struct cubby_exec_options *o)
{
    struct exec_request q = {
        .argv = o->argv,
        .envp = o->env,
        .cwd = o->workdir,
        .user = o->user,
        .tty = x->tty,
        .timeout_ms = o->timeout_ms,
        .grace_ms = o->grace_ms ? o->grace_ms : CUBBY_GRACE_MS,
        .window_out = x->output[0].window,
        .window_err = x->output[1].window,
    };
    if (x->tty) {
        q.rows = (uint16_t)(o->rows ? o->rows : ROWS_DEFAULT);
        q.cols = (uint16_t)(o->cols ? o->cols : COLS_DEFAULT);
    }
    if (x->wants_stdin)
        q.flags |= EXEC_STDIN;
    if (x->output[0].window)
        q.flags |= EXEC_STDOUT;
    if (x->output[1].window)
        q.flags |= EXEC_STDERR;
    return q;
}

/* A stream that is not wanted has window 0 and has ended. */
static void choose_streams(struct cubby_exec *x, const struct cubby_exec_options *o)
{
    uint32_t window = o->buffer ? o->buffer : CUBBY_STREAM_DEFAULT;
    x->tty = o->flags & CUBBY_EXEC_TTY;
    x->wants_stdin = o->flags & CUBBY_EXEC_STDIN;
    x->stdin_credit = STDIN_WINDOW;
    x->output[0].window = o->flags & CUBBY_EXEC_NO_STDOUT ? 0 : window;
    x->output[1].window = o->flags & CUBBY_EXEC_NO_STDERR || x->tty ? 0 : window;
    for (int i = 0; i < 2; i++) {
        x->output[i].granted = x->output[i].window;
        x->output[i].eof = x->output[i].window == 0;
    }
}

static int encode(struct cubby_exec *x, const struct exec_request *q, struct cubby_error *error)
{
    struct err e;
    const struct msg_hello hello = {.version_min = PROTO_VERSION_MIN, .version_max = PROTO_VERSION_MAX};
    size_t cap = CONNECT_MAX + MSG_FRAME_MAX + exec_request_size(q);
    x->request = malloc(cap);
    if (!x->request)
        return fail(error, CUBBY_ERESOURCE, "no memory for a request of %zu bytes", cap);
    size_t len = (size_t)snprintf((char *)x->request, CONNECT_MAX, "CONNECT %d\n", PROTO_PORT_AGENT);
    len += msg_hello_encode(&hello, x->request + len, cap - len);
    int ret = exec_request_encode(q, x->request + len, cap - len, &e);
    if (ret < 0)
        return fail_err(error, CUBBY_EARGUMENT, &e);
    x->request_len = len + exec_request_size(q);
    return 0;
}

int exec_prepare(struct cubby_exec *x, const struct cubby_exec_options *o, struct cubby_error *error)
{
    int ret = check(o, error);
    if (ret < 0)
        return ret;
    choose_streams(x, o);
    x->timeout_ms = o->timeout_ms;
    x->grace_ms = o->grace_ms ? o->grace_ms : CUBBY_GRACE_MS;
    struct exec_request q = request_of(x, o);
    ret = encode(x, &q, error);
    if (ret < 0)
        return ret;
    for (int i = 0; i < 2; i++) {
        if (x->output[i].window && ring_init(&x->output[i].held, x->output[i].window) < 0)
            return fail(error, CUBBY_ERESOURCE, "no memory for output streams");
    }
    if (ring_init(&x->out, FRAME_HEADER + STREAM_CHUNK_MAX + EXEC_SMALL_FRAMES) < 0)
        return fail(error, CUBBY_ERESOURCE, "no memory for an execution");
    return 0;
}
