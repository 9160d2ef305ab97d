/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the calls of cubby.h on executions. Each takes the execution's lock, lets
 * exec_process() take note of what happened, and reads or changes the state; what that put in the queue is
 * sent at once. The execution watches its box beside its own socket, so the death of the VM wakes whoever
 * waits for the command. Until the box runs it moves the boot on, and learns of its end also when others did.
 */
#include "runtime/exec.h"

#include "base/own.h"
#include "runtime/box.h"
#include "runtime/errors.h"
#include "runtime/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static void free_exec(struct cubby_exec *x)
{
    fd_closep(&x->fd);
    fd_closep(&x->boot_fd);
    free(x->request);
    frame_reader_fini(&x->in);
    ring_fini(&x->out);
    ring_fini(&x->output[0].held);
    ring_fini(&x->output[1].held);
    free(x->items);
    waiter_fini(&x->waiter);
    if (x->box)
        box_unref(x->box);
    free(x);
}

int exec_new(struct cubby_exec **out, enum exec_kind kind, struct cubby_box *box, struct cubby_error *error)
{
    struct cubby_error why;
    unsigned life = box_life(box);
    int ret = box_check(box, life, &why);
    if (ret < 0 && ret != CUBBY_EAGAIN) {
        fail_copy(error, &why);
        return ret;
    }
    struct cubby_exec *x = calloc(1, sizeof(*x));
    if (!x) {
        fail(error, CUBBY_ERESOURCE, "no memory for an execution");
        return CUBBY_ERESOURCE;
    }
    x->kind = kind;
    x->life = life;
    x->fd = x->boot_fd = -1;
    x->deadline_ns = WAITER_NEVER;
    frame_reader_init(&x->in, FRAME_FROM_GUEST);
    *out = x;
    return 0;
}

static int watch_boot(struct cubby_exec *x, struct cubby_box *box)
{
    int ret = box_watch_boot(box, x->life, &x->boot_fd);
    return ret < 0 || x->boot_fd < 0 ? ret : waiter_add(&x->waiter, x->boot_fd, EPOLLIN, EXEC_TAG_BOX);
}

int exec_launch(struct cubby_exec *x, struct cubby_box *box, struct cubby_error *error)
{
    struct err e;
    if (waiter_init(&x->waiter, &e) < 0)
        return fail_err(error, CUBBY_ERESOURCE, &e);
    if (waiter_add(&x->waiter, box->waiter.epoll_fd, EPOLLIN, EXEC_TAG_BOX) < 0 || watch_boot(x, box) < 0)
        return fail(error, CUBBY_ERESOURCE, "cannot watch the box");
    x->box_watched = true;
    x->box = box_ref(box);
    waiter_lock(&x->waiter);
    exec_process(x); /* a box that runs gets the request now */
    waiter_unlock(&x->waiter);
    return 0;
}

int cubby_exec_start(struct cubby_exec **out, struct cubby_box *box, const struct cubby_exec_options *options,
                     struct cubby_error *error)
{
    struct cubby_exec_options o;
    if (!out || !box || !options)
        return fail(error, CUBBY_EARGUMENT, "cubby_exec_start: an argument is NULL");
    *out = NULL;
    int ret = options_copy(&o, sizeof(o), EXEC_OPTIONS_LEAST, options, error);
    if (ret < 0)
        return ret;
    struct cubby_exec *x = NULL;
    struct box_words words = {0};
    ret = exec_new(&x, EXEC_RUN, box, error);
    if (ret == 0)
        ret = box_image_apply(&box->setup.image, &o, &words, error);
    if (ret == 0) {
        x->stop_signal = (uint8_t)words.stop_signal;
        x->make_workdir = words.of_image;
        ret = exec_prepare(x, &o, error);
    }
    box_words_fini(&words);
    if (ret == 0)
        ret = exec_launch(x, box, error);
    if (ret < 0)
        cubby_exec_free(x);
    else
        *out = x;
    return ret;
}

void cubby_exec_free(struct cubby_exec *x)
{
    if (x)
        free_exec(x); /* the agent kills what its client leaves */
}

int cubby_exec_fd(const struct cubby_exec *x)
{
    return x ? x->waiter.epoll_fd : CUBBY_EARGUMENT;
}

/* ---- waiting
 * ---------------------------------------------------------------------------------------------*/

static size_t stdin_room(const struct cubby_exec *x)
{
    size_t space = ring_space(&x->out);
    if (x->phase < EXEC_CONNECTING || x->phase > EXEC_RUNS || space <= EXEC_SMALL_FRAMES + FRAME_HEADER)
        return 0;
    space -= EXEC_SMALL_FRAMES + FRAME_HEADER;
    size_t room = space < x->stdin_credit ? space : x->stdin_credit;
    return room < STREAM_CHUNK_MAX ? room : STREAM_CHUNK_MAX;
}

static bool can_read(const struct exec_output *o)
{
    return ring_len(&o->held) > 0 || (o->eof && !o->eof_told);
}

static int bits_of(const struct cubby_exec *x)
{
    int bits = 0;
    if (can_read(&x->output[0]))
        bits |= CUBBY_CAN_READ_STDOUT;
    if (can_read(&x->output[1]))
        bits |= CUBBY_CAN_READ_STDERR;
    if (x->wants_stdin && !x->stdin_closed && (x->stdin_refused || stdin_room(x) > 0))
        bits |= CUBBY_CAN_WRITE;
    if (x->started)
        bits |= CUBBY_IS_STARTED;
    if (x->phase == EXEC_OVER)
        bits |= CUBBY_IS_ENDED;
    return bits;
}

/* With the lock held. */
static int wait_for(struct cubby_exec *x, int wanted, int timeout_ms)
{
    uint64_t until = waiter_deadline(timeout_ms);
    for (;;) {
        exec_process(x);
        int bits = bits_of(x);
        if (bits & wanted || timeout_ms == 0 || !waiter_wait(&x->waiter, until))
            return bits;
    }
}

int cubby_exec_poll(struct cubby_exec *x, int wanted, int timeout_ms)
{
    if (!x)
        return CUBBY_EARGUMENT;
    waiter_lock(&x->waiter);
    int bits = wait_for(x, wanted, timeout_ms);
    waiter_unlock(&x->waiter);
    return bits;
}

int exec_check_result(const struct cubby_result *result, struct cubby_error *error)
{
    if (result && (result->size < sizeof(result->size) || result->size > 65536))
        return fail(error, CUBBY_EARGUMENT, "set result.size to sizeof(struct cubby_result)");
    return 0;
}

int cubby_exec_wait(struct cubby_exec *x, int timeout_ms, struct cubby_result *result,
                    struct cubby_error *error)
{
    struct cubby_result ours;
    if (!x)
        return fail(error, CUBBY_EARGUMENT, "cubby_exec_wait: x is NULL");
    int ret = exec_check_result(result, error);
    if (ret < 0)
        return ret;
    waiter_lock(&x->waiter);
    bool over = wait_for(x, CUBBY_IS_ENDED, timeout_ms) & CUBBY_IS_ENDED;
    ret = over ? x->failure.code : CUBBY_ETIMEOUT;
    if (ret == CUBBY_ETIMEOUT)
        fail(error, ret, "the command has not ended after %d ms", timeout_ms);
    else if (ret < 0)
        fail_copy(error, &x->failure);
    ours = x->result;
    waiter_unlock(&x->waiter);
    if (ret == 0 && result) {
        size_t size = result->size;
        ours.size = size;
        memset(result, 0, size);
        memcpy(result, &ours, size < sizeof(ours) ? size : sizeof(ours));
    }
    return ret;
}

/* ---- streams
 * ---------------------------------------------------------------------------------------------*/

static struct exec_output *output_of(struct cubby_exec *x, int stream)
{
    if (!x || (stream != CUBBY_STDOUT && stream != CUBBY_STDERR))
        return NULL;
    return &x->output[stream == CUBBY_STDERR];
}

ssize_t cubby_exec_read(struct cubby_exec *x, int stream, void *data, size_t len)
{
    struct exec_output *o = output_of(x, stream);
    if (!o || (!data && len > 0))
        return CUBBY_EARGUMENT;
    waiter_lock(&x->waiter);
    if (ring_len(&o->held) == 0 && !o->eof)
        exec_process(x);
    ssize_t n = (ssize_t)ring_get(&o->held, data, len);
    if (n == 0 && len > 0) {
        if (o->eof)
            o->eof_told = true;
        else
            n = CUBBY_EAGAIN;
    }
    if (n > 0) {
        exec_grant(x);
        exec_flush(x);
    }
    waiter_unlock(&x->waiter);
    return n;
}

int cubby_exec_close_output(struct cubby_exec *x, int stream)
{
    struct exec_output *o = output_of(x, stream);
    if (!o)
        return CUBBY_EARGUMENT;
    waiter_lock(&x->waiter);
    o->closed = o->eof_told = true;
    ring_drop(&o->held, ring_len(&o->held));
    exec_grant(x);
    exec_flush(x);
    waiter_unlock(&x->waiter);
    return 0;
}

/* With the lock held, and room for it. */
static void queue_stdin(struct cubby_exec *x, const void *data, size_t n)
{
    uint8_t header[FRAME_HEADER];
    frame_header_put(header, FRAME_STDIN, (uint32_t)n);
    ring_put(&x->out, header, sizeof(header));
    ring_put(&x->out, data, n);
    x->stdin_credit -= (uint32_t)n;
    exec_flush(x);
}

ssize_t cubby_exec_write(struct cubby_exec *x, const void *data, size_t len)
{
    if (!x || (!data && len > 0))
        return CUBBY_EARGUMENT;
    if (!x->wants_stdin)
        return CUBBY_ESTATE;
    waiter_lock(&x->waiter);
    if (stdin_room(x) == 0)
        exec_process(x);
    size_t room = stdin_room(x);
    ssize_t n = CUBBY_EAGAIN;
    if (x->stdin_refused || x->stdin_closed) {
        n = CUBBY_ECLOSED;
    } else if (room > 0 && len > 0) {
        n = (ssize_t)(len < room ? len : room);
        queue_stdin(x, data, (size_t)n);
    } else if (len == 0) {
        n = 0;
    }
    waiter_unlock(&x->waiter);
    return n;
}

int cubby_exec_close_stdin(struct cubby_exec *x)
{
    uint8_t frame[MSG_FRAME_MAX];
    if (!x)
        return CUBBY_EARGUMENT;
    if (!x->wants_stdin)
        return CUBBY_ESTATE;
    waiter_lock(&x->waiter);
    int ret = 0;
    if (!x->stdin_closed && x->phase != EXEC_OVER)
        ret = exec_queue(x, frame, msg_stream_eof_encode(STREAM_STDIN, frame, sizeof(frame)));
    if (ret == 0)
        x->stdin_closed = true;
    exec_flush(x);
    waiter_unlock(&x->waiter);
    return ret;
}

/* ---- control
 * ---------------------------------------------------------------------------------------------*/

/* Sends a frame to a command that runs; before, it waits behind the request; afterwards nobody needs it. */
static int send_control(struct cubby_exec *x, const void *frame, size_t len)
{
    waiter_lock(&x->waiter);
    exec_process(x);
    int ret = x->phase >= EXEC_LOST ? 0 : exec_queue(x, frame, len);
    exec_flush(x);
    waiter_unlock(&x->waiter);
    return ret;
}

int cubby_exec_signal(struct cubby_exec *x, int signo, int tree)
{
    uint8_t frame[MSG_FRAME_MAX];
    if (!x || signo < 1 || signo > 64)
        return CUBBY_EARGUMENT;
    const struct msg_signal m = {.signo = (uint8_t)signo, .scope = tree ? SCOPE_TREE : SCOPE_LEADER};
    return send_control(x, frame, msg_signal_encode(&m, frame, sizeof(frame)));
}

int cubby_exec_resize(struct cubby_exec *x, unsigned rows, unsigned cols)
{
    uint8_t frame[MSG_FRAME_MAX];
    if (!x || rows < 1 || rows > UINT16_MAX || cols < 1 || cols > UINT16_MAX)
        return CUBBY_EARGUMENT;
    if (!x->tty)
        return CUBBY_ESTATE;
    const struct msg_resize m = {.rows = (uint16_t)rows, .cols = (uint16_t)cols};
    return send_control(x, frame, msg_resize_encode(&m, frame, sizeof(frame)));
}

int cubby_exec_kill(struct cubby_exec *x)
{
    if (!x)
        return CUBBY_EARGUMENT;
    waiter_lock(&x->waiter);
    exec_process(x);
    int ret = x->phase >= EXEC_LOST ? 0 : exec_ask_kill(x);
    exec_flush(x);
    waiter_unlock(&x->waiter);
    return ret;
}
