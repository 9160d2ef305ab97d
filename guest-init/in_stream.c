/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: bytes go straight into the pipe; what it does not take is kept, which is never more
 * than the credit that the client was given. Credit is handed back in halves of the window when the workload
 * has taken the bytes, so a workload that does not read stops the client, and costs one window of memory.
 *
 * When the last reader closes the pipe, epoll reports EPOLLERR on our end, asked for or not; the client is
 * told by STREAM_EOF and what it sent meanwhile is dropped. PID 1 ignores SIGPIPE.
 */
#include "base/own.h"
#include "guest-init/conn.h"
#include "guest-init/stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

static void in_event(struct loop_source *src, uint32_t events);

void in_stream_init(struct in_stream *s, struct loop *l, int fd, bool tty)
{
    *s = (struct in_stream){.loop = l, .fd = fd, .tty = tty};
    s->credit = fd < 0 ? 0 : STDIN_WINDOW;
}

/* Says "no more" to the client, once, and not before STARTED. */
static void refuse(struct in_stream *s)
{
    s->refused = true;
    if (s->told || s->eof || !s->conn)
        return;
    s->told = true;
    uint8_t frame[FRAME_HEADER + 1];
    conn_send(s->conn, frame, msg_stream_eof_encode(STREAM_STDIN, frame, sizeof(frame)));
}

void in_stream_close(struct in_stream *s)
{
    loop_remove(&s->src);
    ring_fini(&s->buf);
    if (s->fd < 0)
        return;
    fd_closep(&s->fd);
    refuse(s);
}

/* Gives credit back when half a window is owed, or all of it when the client has nothing left. */
static void pay(struct in_stream *s)
{
    if (s->eof || s->refused || !s->conn || s->owed == 0)
        return;
    if (s->owed < STDIN_WINDOW / 2 && s->credit > 0)
        return;
    uint8_t frame[FRAME_HEADER + 8];
    struct msg_window m = {.stream = STREAM_STDIN, .credit = s->owed};
    conn_send(s->conn, frame, msg_window_encode(&m, frame, sizeof(frame)));
    s->credit += s->owed;
    s->owed = 0;
}

static void watch(struct in_stream *s)
{
    if (s->fd < 0)
        return;
    bool waiting = ring_len(&s->buf) > 0;
    /* A terminal's other end may be closed and opened again: its EPOLLHUP is no reason to stop, nor a thing
     * to be told of all the time. */
    if (s->tty && !waiting) {
        loop_remove(&s->src);
        return;
    }
    uint32_t events = waiting ? (uint32_t)EPOLLOUT : 0u;
    int ret =
        s->src.loop ? loop_modify(&s->src, events) : loop_add(s->loop, &s->src, s->fd, events, in_event);
    if (ret < 0)
        in_stream_close(s);
}

void in_stream_start(struct in_stream *s, struct conn *conn)
{
    s->conn = conn;
    if (s->refused)
        refuse(s);
    pay(s);
    watch(s);
}

bool in_stream_is_open(const struct in_stream *s)
{
    return s->fd >= 0 && !s->eof;
}

uint32_t in_stream_hand_over(struct in_stream *s)
{
    s->conn = NULL;
    s->owed = 0;
    /* What the workload has not taken yet counts against the window of whoever comes. */
    s->credit = STDIN_WINDOW - (uint32_t)ring_len(&s->buf);
    return s->credit;
}

/* All that was sent is passed on, and the client has ended: so does the workload's stdin. */
static void close_at_end(struct in_stream *s)
{
    if (!s->eof || ring_len(&s->buf) > 0 || s->fd < 0 || s->tty)
        return;
    in_stream_close(s);
}

static void in_event(struct loop_source *src, uint32_t events)
{
    struct in_stream *s = CONTAINER_OF(src, struct in_stream, src);
    size_t before = ring_len(&s->buf);
    ssize_t n = ring_drain_to(&s->buf, s->fd);
    if ((n < 0 && n != -EAGAIN) || (n <= 0 && events & EPOLLERR)) {
        in_stream_close(s);
        return;
    }
    s->owed += (uint32_t)(before - ring_len(&s->buf));
    if (ring_len(&s->buf) == 0)
        ring_fini(&s->buf);
    pay(s);
    watch(s);
    close_at_end(s);
}

/* Writes at once if nothing waits; keeps the rest. */
static void pass_on(struct in_stream *s, const void *data, size_t len)
{
    size_t done = 0;
    if (ring_len(&s->buf) == 0) {
        ssize_t n = write(s->fd, data, len);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            in_stream_close(s);
            return;
        }
        done = n > 0 ? (size_t)n : 0;
    }
    /* One byte more than the window: a terminal's end-of-file character follows the client's bytes. */
    if (done < len && !s->buf.data && ring_init(&s->buf, STDIN_WINDOW + 1) < 0) {
        in_stream_close(s);
        return;
    }
    ring_put(&s->buf, (const uint8_t *)data + done, len - done);
    s->owed += (uint32_t)done;
    watch(s);
}

int in_stream_put(struct in_stream *s, const void *data, size_t len)
{
    if (s->eof || len > s->credit)
        return -EPROTO;
    s->credit -= (uint32_t)len;
    if (s->fd < 0)
        return 0; /* was on its way when the workload closed its end */
    pass_on(s, data, len);
    pay(s);
    return 0;
}

int in_stream_eof(struct in_stream *s)
{
    if (s->eof)
        return -EPROTO;
    s->eof = true;
    struct termios t;
    if (s->fd >= 0 && s->tty && tcgetattr(s->fd, &t) == 0)
        pass_on(s, &t.c_cc[VEOF], 1);
    close_at_end(s);
    return 0;
}

void in_stream_fini(struct in_stream *s)
{
    s->conn = NULL;
    in_stream_close(s);
}
