/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: all that the host has to say before the command runs is known at once, so it becomes
 * one block of bytes: the vsock socket's CONNECT line, HELLO and EXEC. Sent in one go, an execution costs one
 * round trip.
 */
#include "runtime/exec.h"

#include "base/log.h"
#include "proto/ports.h"
#include "runtime/errors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MAX      32
#define BUFFER_MIN       4096u
#define ROWS_DEFAULT     24
#define COLS_DEFAULT     80
#define STREAM_FLAGS     (CUBBY_EXEC_STDIN | CUBBY_EXEC_NO_STDOUT | CUBBY_EXEC_NO_STDERR)
#define ALL_EXEC_FLAGS   (STREAM_FLAGS | CUBBY_EXEC_TTY | CUBBY_EXEC_DETACHED)
#define ALL_ATTACH_FLAGS (STREAM_FLAGS | CUBBY_ATTACH_TAKE_STDIN)

static int check_buffer(unsigned buffer, struct cubby_error *error)
{
    if (buffer && (buffer < BUFFER_MIN || buffer > STREAM_WINDOW_MAX))
        return fail(error, CUBBY_EARGUMENT, "a buffer of %u bytes is not possible; choose %u to %u", buffer,
                    BUFFER_MIN, STREAM_WINDOW_MAX);
    return 0;
}

_Static_assert(CUBBY_RLIMITS_MAX == EXEC_RLIMITS_MAX && CUBBY_RLIM_INFINITY == EXEC_RLIM_INFINITY &&
                   CUBBY_CPU_LIMIT_MILLI_MAX <= EXEC_CPU_MAX_MILLIS,
               "the protocol can say what the library takes");

/* 0, which is no limit, or from `least` to `most`. */
static int check_limit(const char *what, unsigned value, unsigned least, unsigned most,
                       struct cubby_error *error)
{
    if (value && (value < least || value > most))
        return fail(error, CUBBY_EARGUMENT, "%s of %u is not possible; choose %u to %u, or 0 for none", what,
                    value, least, most);
    return 0;
}

static int check_rlimits(const struct cubby_exec_options *o, struct cubby_error *error)
{
    if (o->rlimit_count > EXEC_RLIMITS_MAX)
        return fail(error, CUBBY_EARGUMENT, "%u resource limits are too many; there are %u resources",
                    o->rlimit_count, EXEC_RLIMITS_MAX);
    if (o->rlimit_count && !o->rlimits)
        return fail(error, CUBBY_EARGUMENT, "rlimit_count is %u, and rlimits is NULL", o->rlimit_count);
    for (unsigned i = 0; i < o->rlimit_count; i++) {
        const struct cubby_rlimit *l = &o->rlimits[i];
        if (l->resource < 0 || l->reserved)
            return fail(error, CUBBY_EARGUMENT, "resource limit %u: resource %d, reserved %d", i, l->resource,
                        l->reserved);
    }
    return 0; /* the encoder checks the rest */
}

static int check_limits(const struct cubby_exec_options *o, struct cubby_error *error)
{
    int ret = check_limit("a memory limit (in MiB)", o->memory_limit_mib, 1, CUBBY_MEMORY_MIB_MAX, error);
    if (ret == 0)
        ret = check_limit("a limit of processes", o->pids_limit, 1, CUBBY_PIDS_LIMIT_MAX, error);
    if (ret == 0)
        ret = check_limit("a CPU limit (in thousandths)", o->cpu_limit_milli, CUBBY_CPU_LIMIT_MILLI_MIN,
                          CUBBY_CPU_LIMIT_MILLI_MAX, error);
    return ret < 0 ? ret : check_rlimits(o, error);
}

static int check(const struct cubby_exec_options *o, struct cubby_error *error)
{
    if (!o->argv || !o->argv[0])
        return fail(error, CUBBY_EARGUMENT, "there is no command to execute");
    if (!o->argv[0][0])
        return fail(error, CUBBY_EARGUMENT, "the command is an empty word");
    if (o->flags & ~ALL_EXEC_FLAGS)
        return fail(error, CUBBY_EARGUMENT, "unknown flags 0x%x for an execution", o->flags);
    if (o->rows > UINT16_MAX || o->cols > UINT16_MAX)
        return fail(error, CUBBY_EARGUMENT, "a terminal of %u rows and %u columns is not possible", o->rows,
                    o->cols);
    for (const char *const *v = o->env; v && *v; v++) {
        if ((*v)[0] == '=' || !strchr(*v, '='))
            return fail(error, CUBBY_EARGUMENT, "environment '%.80s' is not of the form NAME=value", *v);
    }
    int ret = check_buffer(o->buffer, error);
    return ret < 0 ? ret : check_limits(o, error);
}

static void set_limits(struct exec_request *q, const struct cubby_exec_options *o)
{
    q->memory_max = (uint64_t)o->memory_limit_mib << 20;
    q->pids_max = o->pids_limit;
    q->cpu_millis = o->cpu_limit_milli;
    q->rlimit_count = o->rlimit_count;
    for (unsigned i = 0; i < o->rlimit_count; i++) {
        const struct cubby_rlimit *l = &o->rlimits[i];
        q->rlimit[i] = (struct exec_rlimit){(uint32_t)l->resource, l->soft, l->hard};
    }
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
        .stop_signal = x->stop_signal,
        .window_out = x->output[0].window,
        .window_err = x->output[1].window,
        .backlog = o->backlog,
    };
    set_limits(&q, o);
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
    if (x->make_workdir)
        q.flags |= EXEC_MAKE_CWD;
    if (o->flags & CUBBY_EXEC_DETACHED)
        q.flags |= EXEC_DETACHED;
    return q;
}

/* A stream that is not wanted has window 0 and has ended. */
static int choose_streams(struct cubby_exec *x, unsigned flags, unsigned buffer, struct cubby_error *error)
{
    uint32_t window = buffer ? buffer : CUBBY_STREAM_DEFAULT;
    x->tty = flags & CUBBY_EXEC_TTY;
    x->wants_stdin = flags & CUBBY_EXEC_STDIN;
    x->output[0].window = flags & CUBBY_EXEC_NO_STDOUT ? 0 : window;
    x->output[1].window = flags & CUBBY_EXEC_NO_STDERR || x->tty ? 0 : window;
    for (int i = 0; i < 2; i++) {
        x->output[i].granted = x->output[i].window;
        x->output[i].eof = x->output[i].window == 0;
        if (x->output[i].window && ring_init(&x->output[i].held, x->output[i].window) < 0)
            return fail(error, CUBBY_ERESOURCE, "no memory for output streams");
    }
    return 0;
}

/* Makes room for a request of `size` bytes and for small frames after it, and puts CONNECT and HELLO in
 * front. */
static int begin_request(struct cubby_exec *x, size_t size, struct cubby_error *error)
{
    const struct msg_hello hello = {.version_min = PROTO_VERSION_MIN, .version_max = PROTO_VERSION_MAX};
    size_t cap = CONNECT_MAX + MSG_FRAME_MAX + size;
    x->request = malloc(cap);
    if (!x->request || ring_init(&x->out, FRAME_HEADER + STREAM_CHUNK_MAX + EXEC_SMALL_FRAMES) < 0)
        return fail(error, CUBBY_ERESOURCE, "no memory for a request of %zu bytes", cap);
    x->request_len = (size_t)snprintf((char *)x->request, CONNECT_MAX, "CONNECT %d\n", PROTO_PORT_AGENT);
    x->request_len += msg_hello_encode(&hello, x->request + x->request_len, cap - x->request_len);
    return 0;
}

static int encode(struct cubby_exec *x, const struct exec_request *q, struct cubby_error *error)
{
    struct err e;
    size_t size = exec_request_size(q);
    int ret = begin_request(x, size, error);
    if (ret < 0)
        return ret;
    if (exec_request_encode(q, x->request + x->request_len, size, &e) < 0)
        return fail_err(error, CUBBY_EARGUMENT, &e);
    x->request_len += size;
    return 0;
}

/* The same for a request that is one small frame. */
static int send_frame(struct cubby_exec *x, const void *frame, size_t len, struct cubby_error *error)
{
    if (len == 0)
        return fail(error, CUBBY_EARGUMENT, "there is no execution with the id 0");
    int ret = begin_request(x, len, error);
    if (ret < 0)
        return ret;
    memcpy(x->request + x->request_len, frame, len);
    x->request_len += len;
    return 0;
}

int exec_prepare(struct cubby_exec *x, const struct cubby_exec_options *o, struct cubby_error *error)
{
    int ret = check(o, error);
    if (ret < 0)
        return ret;
    log_debug(LOG_EXEC, "'%s' is to be executed", o->argv[0]);
    ret = choose_streams(x, o->flags, o->buffer, error);
    if (ret < 0)
        return ret;
    x->detached = o->flags & CUBBY_EXEC_DETACHED;
    x->stdin_credit = STDIN_WINDOW;
    x->timeout_ms = o->timeout_ms;
    x->grace_ms = o->grace_ms ? o->grace_ms : CUBBY_GRACE_MS;
    struct exec_request q = request_of(x, o);
    return encode(x, &q, error);
}

int exec_prepare_attach(struct cubby_exec *x, uint64_t id, const struct cubby_attach_options *o,
                        struct cubby_error *error)
{
    uint8_t frame[MSG_FRAME_MAX];
    if (o->flags & ~ALL_ATTACH_FLAGS)
        return fail(error, CUBBY_EARGUMENT, "unknown flags 0x%x for attaching to an execution", o->flags);
    if (o->flags & CUBBY_ATTACH_TAKE_STDIN && !(o->flags & CUBBY_EXEC_STDIN))
        return fail(error, CUBBY_EARGUMENT, "CUBBY_ATTACH_TAKE_STDIN goes with CUBBY_EXEC_STDIN");
    int ret = check_buffer(o->buffer, error);
    if (ret == 0)
        ret = choose_streams(x, o->flags, o->buffer, error);
    if (ret < 0)
        return ret;
    struct msg_attach m = {.exec_id = id,
                           .from = {o->stdout_from, o->stderr_from},
                           .window = {x->output[0].window, x->output[1].window}};
    if (x->wants_stdin)
        m.flags |= o->flags & CUBBY_ATTACH_TAKE_STDIN ? ATTACH_STDIN | ATTACH_TAKE_STDIN : ATTACH_STDIN;
    if (x->output[0].window)
        m.flags |= ATTACH_STDOUT;
    if (x->output[1].window)
        m.flags |= ATTACH_STDERR;
    x->id = id;
    x->detached = true;
    return send_frame(x, frame, msg_attach_encode(&m, frame, sizeof(frame)), error);
}

static void without_streams(struct cubby_exec *x)
{
    x->output[0].eof = x->output[1].eof = true;
}

int exec_prepare_remove(struct cubby_exec *x, uint64_t id, bool kill, struct cubby_error *error)
{
    uint8_t frame[MSG_FRAME_MAX];
    const struct msg_remove m = {.exec_id = id, .flags = kill ? REMOVE_KILL : 0};
    without_streams(x);
    return send_frame(x, frame, msg_remove_encode(&m, frame, sizeof(frame)), error);
}

int exec_prepare_list(struct cubby_exec *x, struct cubby_error *error)
{
    uint8_t frame[MSG_FRAME_MAX];
    without_streams(x);
    return send_frame(x, frame, msg_list_encode(frame, sizeof(frame)), error);
}
