/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the pipe is the buffer. Bytes are read only when the client has given credit and its
 * socket has taken all before; then one read, one frame. A stream that may not read is taken out of the epoll
 * set altogether, because a pipe whose writers are gone would report EPOLLHUP for ever. So a client that
 * takes nothing costs no memory here: the pipe fills, and the writer blocks. A detached execution's stream
 * has no client but a keep, which takes all at once.
 *
 * The end: when the leader is gone, its bytes are all in the pipe (FIONREAD counts them). Usually the end of
 * file follows at once; when left-over processes hold the pipe, out_stream_end() ends the stream after
 * those bytes at the least.
 */
#include "base/own.h"
#include "guest-init/conn.h"
#include "guest-init/keep.h"
#include "guest-init/stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void out_event(struct loop_source *src, uint32_t events);

void out_stream_init(struct out_stream *s, struct loop *l, int fd, enum stream id, struct conn *conn,
                     struct stream_scratch *scratch)
{
    *s = (struct out_stream){.loop = l, .scratch = scratch, .conn = conn, .fd = fd, .id = id};
    s->done = fd < 0;
}

static void tell_done(struct out_stream *s)
{
    if (s->done)
        return;
    s->done = true;
    uint8_t frame[FRAME_HEADER + 1];
    if (s->conn)
        conn_send(s->conn, frame, msg_stream_eof_encode(s->id, frame, sizeof(frame)));
    s->conn = NULL;
    if (s->on_done)
        s->on_done(s);
}

static void end_of_pipe(struct out_stream *s)
{
    loop_remove(&s->src);
    fd_closep(&s->fd);
    tell_done(s);
}

/* An empty pipe without writers needs no credit to end. */
static bool at_end(const struct out_stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && p.revents & POLLHUP && !(p.revents & POLLIN);
}

void out_stream_go(struct out_stream *s)
{
    if (s->fd < 0)
        return;
    if (s->conn && s->credit == 0 && s->left && at_end(s)) {
        end_of_pipe(s);
        return;
    }
    if (s->ending && !s->done && (s->must_send == 0 || (!s->patient && s->credit == 0))) {
        s->cut = true;
        tell_done(s);
    }
    bool may_read = !s->conn || (s->credit > 0 && conn_idle(s->conn));
    if (!may_read)
        loop_remove(&s->src);
    else if (!s->src.loop && loop_add(s->loop, &s->src, s->fd, EPOLLIN, out_event) < 0)
        end_of_pipe(s);
}

static void send_bytes(struct out_stream *s, size_t n)
{
    frame_header_put(s->scratch->frame, s->id == STREAM_STDOUT ? FRAME_STDOUT : FRAME_STDERR, (uint32_t)n);
    conn_send(s->conn, s->scratch->frame, FRAME_HEADER + n);
    s->credit -= n;
}

static void keep_bytes(struct out_stream *s, size_t n)
{
    keep_put(s->keep, s->scratch->frame + FRAME_HEADER, n);
    s->on_kept(s);
}

static void out_event(struct loop_source *src, uint32_t events)
{
    (void)events;
    struct out_stream *s = CONTAINER_OF(src, struct out_stream, src);
    size_t want = s->conn ? conn_room(s->conn) : STREAM_CHUNK_MAX;
    if (s->conn && !conn_idle(s->conn))
        want = 0; /* another stream of this batch filled the socket */
    else if (s->conn && s->credit < want)
        want = (size_t)s->credit;
    if (want > 0) {
        ssize_t n = read(s->fd, s->scratch->frame + FRAME_HEADER, want);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) { /* a terminal that is closed on the other side says EIO */
            end_of_pipe(s);
            return;
        }
        if (s->conn)
            send_bytes(s, (size_t)n);
        else if (s->keep && !s->done)
            keep_bytes(s, (size_t)n);
        s->must_send -= (size_t)n < s->must_send ? (size_t)n : s->must_send;
    }
    out_stream_go(s);
}

bool out_stream_credit(struct out_stream *s, uint32_t bytes)
{
    if (bytes > STREAM_WINDOW_MAX - s->credit)
        return false;
    s->credit += bytes;
    return true;
}

void out_stream_leader_gone(struct out_stream *s)
{
    s->left = true;
    int held = 0;
    if (s->fd >= 0 && ioctl(s->fd, FIONREAD, &held) == 0 && held > 0)
        s->must_send = (size_t)held;
    out_stream_go(s);
}

void out_stream_end(struct out_stream *s, bool patient)
{
    s->ending = true;
    s->patient = patient;
    out_stream_go(s);
}

void out_stream_discard(struct out_stream *s)
{
    s->conn = NULL;
    tell_done(s);
    out_stream_go(s);
}

void out_stream_fini(struct out_stream *s)
{
    loop_remove(&s->src);
    fd_closep(&s->fd);
    s->conn = NULL;
}
