/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the execution's output is in its keeps, whoever reads it; a viewer walks over them
 * with the credit that its client gives. When the keep has moved on further than the viewer, the client is
 * told how much it missed, at that very place of the stream. That is said only when data follows at once (or
 * the end does), so a client that never reads is not sent an endless row of such frames. The two go into the
 * connection together: it has room for both when it is idle.
 */
#include "guest-init/viewer.h"

#include "guest-init/agent.h"
#include "guest-init/exec.h"
#include "guest-init/session.h"

#include <errno.h>

void viewer_open(struct viewer *v, struct exec *x, struct session *s)
{
    *v = (struct viewer){.next = x->viewers, .session = s, .exec = x, .hasty = x->agent->stopping};
    v->view[0].told = v->view[1].told = true;
    x->viewers = v;
}

/* Takes it out of the list; the execution is left to the caller. */
static struct exec *leave(struct viewer *v)
{
    struct exec *x = v->exec;
    struct viewer **at = &x->viewers;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    if (x->typist == v) {
        x->typist = NULL;
        x->in.conn = NULL;
    }
    v->exec = NULL;
    return x;
}

void viewer_close(struct viewer *v)
{
    if (v->exec)
        exec_advance(leave(v));
}

/* --- output --- */

void viewer_want(struct viewer *v, int i, uint64_t at, uint64_t credit)
{
    v->view[i] = (struct view){.at = at, .credit = credit};
}

static enum stream stream_of(int i)
{
    return i == 0 ? STREAM_STDOUT : STREAM_STDERR;
}

static void skip_to(struct viewer *v, int i, uint64_t at)
{
    struct msg_skipped m = {.stream = (uint8_t)stream_of(i), .bytes = at - v->view[i].at};
    uint8_t frame[FRAME_HEADER + 12];
    v->view[i].at = at;
    conn_send(&v->session->conn, frame, msg_skipped_encode(&m, frame, sizeof(frame)));
}

static void send_some(struct viewer *v, int i)
{
    struct view *w = &v->view[i];
    uint8_t *frame = v->exec->agent->scratch.frame;
    size_t room = conn_room(&v->session->conn), want = w->credit < room ? (size_t)w->credit : room;
    size_t n = keep_read(&v->exec->keep[i], w->at, frame + FRAME_HEADER, want);
    frame_header_put(frame, i == 0 ? FRAME_STDOUT : FRAME_STDERR, (uint32_t)n);
    conn_send(&v->session->conn, frame, FRAME_HEADER + n);
    w->at += n;
    w->credit -= n;
}

static void view_go(struct viewer *v, int i)
{
    struct view *w = &v->view[i];
    const struct keep *k = &v->exec->keep[i];
    if (w->told)
        return;
    while (w->at < k->end) {
        bool hurry = v->hasty && v->exec->out[i].done, full = !conn_idle(&v->session->conn);
        if (hurry && (w->credit == 0 || (full && v->exec->forgotten))) {
            skip_to(v, i, k->end);
            break;
        }
        if (full || w->credit == 0)
            return;
        if (w->at < keep_start(k))
            skip_to(v, i, keep_start(k));
        send_some(v, i);
    }
    if (!v->exec->out[i].done)
        return;
    uint8_t frame[FRAME_HEADER + 1];
    w->told = true;
    conn_send(&v->session->conn, frame, msg_stream_eof_encode(stream_of(i), frame, sizeof(frame)));
}

/* True when the client has had all, the result included, and has left. */
static bool serve(struct viewer *v)
{
    uint8_t frame[FRAME_HEADER + 48];
    view_go(v, 0);
    view_go(v, 1);
    if (v->exec->state != EXEC_LINGERING || !v->view[0].told || !v->view[1].told)
        return false;
    size_t len = msg_exited_encode(&v->exec->result, frame, sizeof(frame));
    leave(v);
    session_finish(v->session, frame, len);
    return true;
}

void viewer_go(struct viewer *v)
{
    struct exec *x = v->exec;
    if (x && serve(v))
        exec_advance(x);
}

void viewers_go(struct exec *x)
{
    for (struct viewer *v = x->viewers, *next; v; v = next) {
        next = v->next;
        serve(v);
    }
}

void viewers_hurry(struct exec *x)
{
    for (struct viewer *v = x->viewers; v; v = v->next)
        v->hasty = true;
}

/* --- stdin --- */

static void say_stdin_ended(struct viewer *v)
{
    uint8_t frame[FRAME_HEADER + 1];
    conn_send(&v->session->conn, frame, msg_stream_eof_encode(STREAM_STDIN, frame, sizeof(frame)));
}

uint32_t viewer_type(struct viewer *v)
{
    struct exec *x = v->exec;
    struct viewer *former = x->typist;
    if (!in_stream_is_open(&x->in)) {
        v->lost_stdin = true;
        return 0;
    }
    if (former) {
        former->holds_stdin = false;
        former->lost_stdin = true;
        say_stdin_ended(former);
    }
    x->typist = v;
    v->holds_stdin = true;
    return in_stream_hand_over(&x->in);
}

void viewer_type_start(struct viewer *v)
{
    if (v->holds_stdin)
        in_stream_start(&v->exec->in, &v->session->conn);
    else /* it was ended by an earlier client or by the workload, or was never there */
        say_stdin_ended(v);
}

static int on_stdin(struct viewer *v, const struct frame *f)
{
    if (v->stdin_eof || !(v->holds_stdin || v->lost_stdin))
        return -EPROTO;
    return v->lost_stdin ? 0 : exec_stdin(v->exec, f->payload, f->len);
}

static int on_stdin_eof(struct viewer *v, const struct frame *f)
{
    enum stream stream;
    if (msg_stream_eof_decode(f, &stream) < 0 || stream != STREAM_STDIN || v->stdin_eof)
        return -EPROTO;
    v->stdin_eof = true;
    if (v->holds_stdin)
        return v->exec->in.eof ? 0 : exec_stdin_eof(v->exec);
    return v->lost_stdin ? 0 : -EPROTO;
}

/* --- the other frames --- */

static int on_window(struct viewer *v, const struct frame *f)
{
    struct msg_window m;
    if (msg_window_decode(f, &m) < 0 || m.stream == STREAM_STDIN)
        return -EPROTO;
    struct view *w = &v->view[m.stream - STREAM_STDOUT];
    if (w->told)
        return 0; /* crossed our STREAM_EOF on the way */
    if (m.credit > STREAM_WINDOW_MAX - w->credit)
        return -EPROTO;
    w->credit += m.credit;
    viewer_go(v);
    return 0;
}

static int on_signal(struct viewer *v, const struct frame *f)
{
    struct msg_signal m;
    if (msg_signal_decode(f, &m) < 0)
        return -EPROTO;
    exec_signal(v->exec, &m);
    return 0;
}

static int on_resize(struct viewer *v, const struct frame *f)
{
    struct msg_resize m;
    return msg_resize_decode(f, &m) < 0 ? -EPROTO : exec_resize(v->exec, &m);
}

int viewer_frame(struct viewer *v, const struct frame *f)
{
    switch (f->type) {
    case FRAME_STDIN:
        return on_stdin(v, f);
    case FRAME_STREAM_EOF:
        return on_stdin_eof(v, f);
    case FRAME_WINDOW:
        return on_window(v, f);
    case FRAME_SIGNAL:
        return on_signal(v, f);
    case FRAME_RESIZE:
        return on_resize(v, f);
    case FRAME_KILL:
        v->hasty = true;
        exec_kill(v->exec);
        viewer_go(v);
        return 0;
    default:
        return -EPROTO;
    }
}
