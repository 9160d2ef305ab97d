/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one non-blocking connection, served by whoever calls. Everything before STARTED goes
 * out in one block and the answers come back in order: "OK <port>", HELLO, STARTED. Received bytes always fit
 * (see struct exec_output), so the socket is read whenever there is something, and a reader of one stream
 * cannot stall the other.
 *
 * When the connection ends before the result, the box knows better than we why: it gets a second to say so.
 * When the box ends first, what the socket still holds is read before the execution is declared lost.
 */
#include "runtime/exec.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/box.h"
#include "runtime/dial.h"
#include "runtime/errors.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CONNECT_MS 15000 /* the VMM itself gives up after 10 s */
#define START_MS   60000 /* from OK until STARTED: users, groups and commands are looked up on a disk */
#define LOST_MS    1000

/* Reads at a time: a guest that never pauses holds up no caller's timeout, nor whoever waits for the lock.
 * The descriptor stays readable. */
#define RECEIVE_MAX 16

/* ---- the end
 * ---------------------------------------------------------------------------------------------*/

static void disconnect(struct cubby_exec *x)
{
    waiter_remove(&x->waiter, x->fd);
    fd_closep(&x->fd);
    free(x->request);
    x->request = NULL;
    ring_drop(&x->out, ring_len(&x->out));
}

static void log_end(const struct cubby_exec *x)
{
    unsigned long long id = x->id;
    if (x->failure.code)
        log_info(LOG_EXEC, "box %s, execution %llu: %s", cubby_box_id(x->box), id, x->failure.message);
    else if (x->kind == EXEC_RUN || x->kind == EXEC_ATTACH)
        log_info(LOG_EXEC, "box %s, execution %llu has ended: how %d, exit code %d, after %llu ms",
                 cubby_box_id(x->box), id, x->result.how, x->result.exit_code,
                 (unsigned long long)(x->result.wall_ns / NSEC_PER_MSEC));
}

void exec_finish(struct cubby_exec *x)
{
    log_end(x);
    x->phase = EXEC_OVER;
    x->output[0].eof = x->output[1].eof = true;
    x->stdin_refused = true;
    x->deadline_ns = WAITER_NEVER;
    disconnect(x);
    if (x->box_watched)
        waiter_remove(&x->waiter, x->box->waiter.epoll_fd);
    x->box_watched = false;
    waiter_set_timer(&x->waiter, WAITER_NEVER);
    waiter_finish(&x->waiter);
}

static void finish_with(struct cubby_exec *x, int code, const char *why)
{
    fail(&x->failure, code, "%s", why);
    exec_finish(x);
}

static void lose(struct cubby_exec *x, const char *why)
{
    disconnect(x);
    fail(&x->failure, CUBBY_EGUEST_LOST, "%s", why);
    x->phase = EXEC_LOST;
    x->deadline_ns = now_ns() + LOST_MS * NSEC_PER_MSEC;
}

/* ---- sending
 * ---------------------------------------------------------------------------------------------*/

int exec_queue(struct cubby_exec *x, const void *frame, size_t len)
{
    if (len == 0 || ring_space(&x->out) < len)
        return CUBBY_ERESOURCE;
    ring_put(&x->out, frame, len);
    return 0;
}

static void grant(struct cubby_exec *x, enum stream stream, struct exec_output *o)
{
    uint32_t room = o->window - o->granted - (uint32_t)ring_len(&o->held);
    if (o->eof || room == 0 || room < o->window / 2)
        return;
    uint8_t frame[MSG_FRAME_MAX];
    const struct msg_window m = {.stream = (uint8_t)stream, .credit = room};
    if (exec_queue(x, frame, msg_window_encode(&m, frame, sizeof(frame))) == 0)
        o->granted += room;
}

void exec_grant(struct cubby_exec *x)
{
    if (x->phase != EXEC_RUNS)
        return;
    grant(x, STREAM_STDOUT, &x->output[0]);
    grant(x, STREAM_STDERR, &x->output[1]);
}

/* The request first, then what was queued. 1 when the socket is full, 0 when all is sent, or a negative
 * errno. */
static int send_all(struct cubby_exec *x)
{
    while (x->request) {
        ssize_t n = send(x->fd, x->request + x->request_sent, x->request_len - x->request_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EINTR)
            return errno == EAGAIN ? 1 : -errno;
        x->request_sent += n > 0 ? (size_t)n : 0;
        if (x->request_sent == x->request_len) {
            free(x->request);
            x->request = NULL;
        }
    }
    while (ring_len(&x->out) > 0) {
        ssize_t n = ring_drain_to(&x->out, x->fd);
        if (n < 0 && n != -EINTR)
            return n == -EAGAIN ? 1 : (int)n;
    }
    return 0;
}

void exec_flush(struct cubby_exec *x)
{
    if (x->fd < 0)
        return;
    int ret = send_all(x);
    /* A broken socket is found by reading it: there may be a result in it. */
    bool full = ret == 1;
    if (full != x->out_watched)
        waiter_modify(&x->waiter, x->fd, EPOLLIN | (full ? (uint32_t)EPOLLOUT : 0), EXEC_TAG_SOCKET);
    x->out_watched = full;
}

int exec_ask_kill(struct cubby_exec *x)
{
    uint8_t frame[MSG_FRAME_MAX];
    x->kill_asked = true;
    if (x->phase != EXEC_RUNS)
        return 0; /* sent as soon as there is something to kill */
    uint64_t until = now_ns() + EXEC_DEATH_MS * NSEC_PER_MSEC;
    if (until < x->deadline_ns)
        x->deadline_ns = until;
    int ret = exec_queue(x, frame, msg_kill_encode(frame, sizeof(frame)));
    waiter_set_timer(&x->waiter, x->deadline_ns);
    return ret;
}

/* ---- receiving
 * -------------------------------------------------------------------------------------------*/

/* All whole frames of the buffer. False when the execution is over or the agent broke the protocol. */
static bool handle_frames(struct cubby_exec *x)
{
    struct frame f;
    struct err e = {0};
    int ret;
    while ((ret = frame_reader_next(&x->in, &f)) > 0) {
        ret = exec_frame(x, &f, &e);
        if (x->phase == EXEC_OVER)
            return false;
        if (ret < 0)
            break;
    }
    if (ret == 0)
        return true;
    if (ret == -EMSGSIZE)
        err_set(&e, ret, "a frame of it is too long or too short");
    else if (!e.text[0])
        err_set(&e, ret, "its bytes are not a frame");
    if (ret == -ENOMEM)
        fail(&x->failure, CUBBY_ERESOURCE, "the guest's agent was not understood: %s", e.text);
    else
        fail(&x->failure, CUBBY_EPROTOCOL, "the guest's agent broke the protocol: %s", e.text);
    exec_finish(x);
    return false;
}

/* One read. True when there may be more. */
static bool receive_once(struct cubby_exec *x)
{
    uint8_t *at;
    size_t room;
    if (frame_reader_space(&x->in, &at, &room) < 0) {
        finish_with(x, CUBBY_ERESOURCE, "no memory for a frame of the guest's agent");
        return false;
    }
    ssize_t n = recv(x->fd, at, room, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        lose(x, "the guest's agent closed the connection without a result");
        return false;
    }
    frame_reader_filled(&x->in, (size_t)n);
    return handle_frames(x);
}

/* True when there may be more. */
static bool receive(struct cubby_exec *x)
{
    if (x->phase == EXEC_CONNECTING) {
        int ret = dial_take_ok(x->fd);
        if (ret == -EPROTO)
            finish_with(x, CUBBY_EPROTOCOL, "the VMM answered the connection with something else than OK");
        else if (ret < 0)
            lose(x, "the guest's agent does not take connections");
        if (ret <= 0)
            return false;
        x->phase = EXEC_GREETING;
        x->deadline_ns = now_ns() + START_MS * NSEC_PER_MSEC;
    }
    for (int i = 0; i < RECEIVE_MAX; i++) {
        if (!receive_once(x))
            return false;
    }
    return true;
}

/* ---- what can happen
 * -------------------------------------------------------------------------------------*/

static void connect_to_agent(struct cubby_exec *x)
{
    char path[BOX_PATH_MAX];
    struct err e;
    folder_file(&x->box->folder, "vsock.sock", path);
    x->fd = unix_connect(path, &e);
    if (x->fd < 0) {
        lose(x, e.text);
        return;
    }
    x->phase = EXEC_CONNECTING;
    x->deadline_ns = now_ns() + CONNECT_MS * NSEC_PER_MSEC;
    if (x->kind == EXEC_RUN)
        box_stamp(x->box, MARK_EXEC_SENT);
    if (waiter_add(&x->waiter, x->fd, EPOLLIN, EXEC_TAG_SOCKET) < 0)
        finish_with(x, CUBBY_ERESOURCE, "cannot watch a connection");
}

static void on_boot(struct cubby_exec *x)
{
    struct cubby_error why;
    int ret = box_check(x->box, x->life, &why);
    if (ret == CUBBY_EAGAIN)
        return;
    waiter_remove(&x->waiter, x->boot_fd); /* others have copies of it: closing is not enough */
    fd_closep(&x->boot_fd);
    if (ret == 0) {
        connect_to_agent(x);
    } else {
        x->failure = why;
        exec_finish(x);
    }
}

static void on_box(struct cubby_exec *x)
{
    struct cubby_error why;
    if (!box_is_over(x->box, x->life, &why))
        return;
    if (x->fd >= 0 && receive(x))
        return; /* what came before the end, and it is not all yet */
    if (x->phase != EXEC_OVER) {
        x->failure = why;
        exec_finish(x);
    }
}

/* Whether the guest cannot go on because our reader does not take what it wrote. */
static bool reader_is_slow(const struct cubby_exec *x)
{
    for (int i = 0; i < 2; i++) {
        if (!x->output[i].eof && x->output[i].granted == 0)
            return true;
    }
    return false;
}

static void on_time(struct cubby_exec *x)
{
    if (now_ns() < x->deadline_ns)
        return;
    switch (x->phase) {
    case EXEC_CONNECTING:
        finish_with(x, CUBBY_EGUEST_LOST, "the guest's agent did not answer a connection in time");
        break;
    case EXEC_GREETING:
    case EXEC_STARTING:
        finish_with(x, CUBBY_EGUEST_LOST,
                    x->kind == EXEC_RUN ? "the guest's agent did not start the command in time"
                                        : "the guest's agent did not answer in time");
        break;
    case EXEC_RUNS:
        if (reader_is_slow(x)) {
            x->deadline_ns = now_ns() + NSEC_PER_SEC;
        } else if (x->kill_asked) {
            finish_with(x, CUBBY_EGUEST_LOST,
                        "the guest's agent did not confirm that the command was killed");
        } else if (x->detached) { /* it may run on: that we leave does not end it */
            finish_with(x, CUBBY_EGUEST_LOST,
                        "the guest's agent did not end the command when its time was up");
        } else {
            x->result = (struct cubby_result){.how = CUBBY_TIMED_OUT, .exit_code = -SIGKILL};
            exec_finish(x);
        }
        break;
    default: /* EXEC_LOST: the box had nothing to say; the reason is there already */
        exec_finish(x);
        break;
    }
}

void exec_process(struct cubby_exec *x)
{
    if (x->phase == EXEC_OVER)
        return;
    uint32_t ready = waiter_ready(&x->waiter);
    if (x->phase == EXEC_WAITS_BOX)
        on_boot(x);
    else if (ready & EXEC_TAG_BOX)
        on_box(x);
    if (ready & EXEC_TAG_SOCKET && x->fd >= 0)
        receive(x);
    /* A box that was started again does not tell of its earlier end by its descriptor. */
    if (x->phase == EXEC_LOST)
        on_box(x);
    if (x->phase != EXEC_OVER && x->deadline_ns != WAITER_NEVER)
        on_time(x);
    if (x->phase == EXEC_OVER)
        return;
    exec_grant(x);
    exec_flush(x);
    waiter_set_timer(&x->waiter, x->deadline_ns);
    if (ready)
        waiter_announce(&x->waiter);
}
