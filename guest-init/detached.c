/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the output of a detached execution goes into its keeps from the beginning, and its
 * pipes never wait for a client. Ended, it stays in the agent's table with its result and its last output
 * until somebody removes it or a bound does: there is one on their number and one on the bytes of all keeps
 * together, because PID 1 lives outside the workloads' memory limit and must not grow with what they leave.
 *
 * A client that removes one is a viewer without streams, which is told the result when there is one. From
 * then on no other client is waited for, neither its credit nor its socket.
 */
#include "guest-init/detached.h"

#include "base/io.h"
#include "guest-init/agent.h"
#include "guest-init/exec.h"
#include "guest-init/session.h"

#include <errno.h>
#include <string.h>

/* --- bounds --- */

bool detached_is_kept(const struct exec *x)
{
    return x->detached && !x->forgotten && !x->agent->stopping;
}

static bool is_ended(const struct exec *x)
{
    return x->state == EXEC_LINGERING && detached_is_kept(x);
}

struct exec *detached_oldest(struct agent *a)
{
    struct exec *oldest = NULL;
    for (uint32_t i = 0; i < a->exec_count; i++) {
        struct exec *x = a->execs[i];
        if (is_ended(x) && !x->viewers && (!oldest || x->ended_ns < oldest->ended_ns))
            oldest = x;
    }
    return oldest;
}

static void forget(struct exec *x)
{
    x->forgotten = true;
    exec_advance(x);
}

static size_t keep_bytes(const struct exec *x)
{
    return x->keep[0].ring.cap + x->keep[1].ring.cap;
}

void detached_fini(struct exec *x)
{
    x->agent->kept_bytes -= keep_bytes(x);
    keep_fini(&x->keep[0]);
    keep_fini(&x->keep[1]);
}

static bool make_room(struct agent *a, size_t bytes)
{
    size_t most = a->config.keep_max ? a->config.keep_max : DETACHED_KEEP_MAX;
    while (a->kept_bytes + bytes > most) {
        struct exec *oldest = detached_oldest(a);
        if (!oldest)
            return false;
        forget(oldest);
    }
    return true;
}

int detached_prepare(struct exec *x, const struct exec_request *q)
{
    static const uint32_t wish[2] = {EXEC_STDOUT, EXEC_STDERR};
    size_t cap = q->backlog ? q->backlog : BACKLOG_DEFAULT;
    for (int i = 0; i < 2; i++) {
        if (!(q->flags & wish[i]))
            continue;
        if (!make_room(x->agent, cap) || keep_init(&x->keep[i], cap) < 0)
            return -ENOMEM;
        x->agent->kept_bytes += cap;
    }
    return 0;
}

void detached_trim(struct exec *x)
{
    x->agent->kept_bytes -= keep_bytes(x);
    keep_trim(&x->keep[0]);
    keep_trim(&x->keep[1]);
    x->agent->kept_bytes += keep_bytes(x);
}

void detached_hold_bound(struct agent *a)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < a->exec_count; i++)
        ended += is_ended(a->execs[i]) && !a->execs[i]->viewers;
    struct exec *oldest = ended > DETACHED_ENDED_MAX ? detached_oldest(a) : NULL;
    if (oldest)
        forget(oldest);
}

/* --- clients --- */

void detached_started(struct exec *x)
{
    static const uint32_t wish[2] = {EXEC_STDOUT, EXEC_STDERR};
    struct session *s = x->session;
    struct viewer *v = &s->viewer;
    x->session = NULL;
    s->exec = NULL;
    s->phase = SESSION_ATTACHED;
    viewer_open(v, x, s);
    v->hasty |= (x->flags & EXIT_KILLED) != 0;
    for (int i = 0; i < 2; i++)
        if (x->wishes & wish[i])
            viewer_want(v, i, 0, x->out[i].credit);
    if (x->wishes & EXEC_STDIN) {
        x->typist = v;
        v->holds_stdin = true;
        v->stdin_eof = x->in.eof;
        in_stream_start(&x->in, &s->conn);
    }
    viewer_go(v);
}

/* The one that the client means, or NULL, and the client knows. */
static struct exec *find(struct session *s, uint64_t id)
{
    struct agent *a = s->agent;
    for (uint32_t i = 0; i < a->exec_count; i++) {
        struct exec *x = a->execs[i];
        if (x->id == id && x->detached && !x->forgotten && x->state != EXEC_SPAWNING && x->state != EXEC_OVER)
            return x;
    }
    session_fail(s, STAGE_NOT_FOUND, ENOENT, "there is no detached execution %llu", (unsigned long long)id);
    return NULL;
}

static uint32_t flags_of(const struct exec *x)
{
    uint32_t flags = x->detached ? ITEM_DETACHED : 0u;
    if (x->terminal)
        flags |= ITEM_TTY;
    if (in_stream_is_open(&x->in))
        flags |= ITEM_STDIN | (x->typist || x->session ? ITEM_STDIN_HELD : 0u);
    if (x->wishes & EXEC_STDOUT)
        flags |= ITEM_STDOUT;
    if (x->wishes & EXEC_STDERR)
        flags |= ITEM_STDERR;
    return flags;
}

static uint8_t state_of(const struct exec *x)
{
    return x->state == EXEC_LINGERING ? ITEM_ENDED : ITEM_RUNNING;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int detached_on_attach(struct session *s, const struct frame *f)
{
    static const uint32_t wish[2] = {ATTACH_STDOUT, ATTACH_STDERR};
    struct msg_attach m;
    if (msg_attach_decode(f, &m) < 0)
        return -EPROTO;
    struct exec *x = find(s, m.exec_id);
    if (!x)
        return 0;
    if (m.flags & ATTACH_STDIN && !(m.flags & ATTACH_TAKE_STDIN) && x->typist && in_stream_is_open(&x->in)) {
        session_fail(s, STAGE_STATE, EBUSY, "another client holds stdin of execution %llu",
                     (unsigned long long)x->id);
        return 0;
    }
    session_attached(s, x);
    struct msg_attached answer = {
        .exec_id = x->id, .pid = (uint32_t)x->tree.leader, .flags = flags_of(x), .state = state_of(x)};
    for (int i = 0; i < 2; i++) {
        answer.from[i] = smaller(m.from[i], x->keep[i].end);
        if (m.flags & wish[i])
            viewer_want(&s->viewer, i, answer.from[i], m.window[i]);
    }
    if (m.flags & ATTACH_STDIN)
        answer.stdin_credit = viewer_type(&s->viewer);
    uint8_t frame[FRAME_HEADER + 40];
    conn_send(&s->conn, frame, msg_attached_encode(&answer, frame, sizeof(frame)));
    if (m.flags & ATTACH_STDIN)
        viewer_type_start(&s->viewer);
    viewer_go(&s->viewer);
    return 0;
}

int detached_on_remove(struct session *s, const struct frame *f)
{
    struct msg_remove m;
    if (msg_remove_decode(f, &m) < 0)
        return -EPROTO;
    struct exec *x = find(s, m.exec_id);
    if (!x)
        return 0;
    if (x->state != EXEC_LINGERING && !(m.flags & REMOVE_KILL)) {
        session_fail(s, STAGE_STATE, EBUSY, "execution %llu still runs", (unsigned long long)x->id);
        return 0;
    }
    session_attached(s, x);
    x->forgotten = true;
    viewers_hurry(x); /* nobody finds it any more: it must not stay for one of them */
    if (m.flags & REMOVE_KILL)
        exec_kill(x);
    viewers_go(x);
    exec_advance(x);
    return 0;
}

/* --- LIST --- */

/* One that could not be started may still be ENDING. */
static bool is_listed(const struct exec *x)
{
    return x->state == EXEC_RUNNING || (x->state == EXEC_ENDING && x->started_ns) || is_ended(x);
}

/* In the order of their ids, whatever comes and goes while the list is sent. */
static const struct exec *next_listed(const struct agent *a, uint64_t after)
{
    const struct exec *next = NULL;
    for (uint32_t i = 0; i < a->exec_count; i++) {
        const struct exec *x = a->execs[i];
        if (x->id > after && is_listed(x) && (!next || x->id < next->id))
            next = x;
    }
    return next;
}

static void send_item(struct session *s, const struct exec *x)
{
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_item m = {.exec_id = x->id,
                         .age_ns = now_ns() - x->started_ns,
                         .pid = (uint32_t)x->tree.leader,
                         .flags = flags_of(x),
                         .state = state_of(x)};
    if (m.state == ITEM_ENDED)
        m.result = x->result;
    memcpy(m.command, x->command, sizeof(m.command));
    conn_send(&s->conn, frame, msg_item_encode(&m, frame, sizeof(frame)));
    s->listed = x->id;
    s->listed_count++;
}

void detached_list_go(struct session *s)
{
    while (conn_idle(&s->conn)) {
        const struct exec *x = next_listed(s->agent, s->listed);
        if (!x) {
            uint8_t frame[FRAME_HEADER + 4];
            session_finish(s, frame, msg_list_end_encode(s->listed_count, frame, sizeof(frame)));
            return;
        }
        send_item(s, x);
    }
}

int detached_on_list(struct session *s, const struct frame *f)
{
    (void)f; /* has no payload */
    session_listing(s);
    detached_list_go(s);
    return 0;
}
