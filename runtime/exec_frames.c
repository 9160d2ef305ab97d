/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each frame is allowed in certain phases only, and each number in it is checked against
 * what we granted. The agent runs beside a hostile workload, so a frame out of its place ends the execution
 * with an error of the protocol, and nothing else.
 */
#include "runtime/exec.h"

#include "base/io.h"
#include "base/log.h"
#include "proto/ports.h"
#include "runtime/box.h"
#include "runtime/errors.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* Whether the command was not found, or found and not executable, decides between 127 and 126 in every shell.
 */
static int code_of_error(const struct msg_error *m)
{
    switch (m->stage) {
    case STAGE_PROTOCOL:
    case STAGE_VERSION:
        return CUBBY_EPROTOCOL;
    case STAGE_UNSUPPORTED:
        return CUBBY_EUNSUPPORTED;
    case STAGE_STATE:
        return m->errnum == EBUSY ? CUBBY_ESTATE : CUBBY_ESTOPPED;
    case STAGE_NOT_FOUND:
        return CUBBY_ENOTFOUND;
    case STAGE_RESOURCE:
        return CUBBY_ERESOURCE;
    case STAGE_LOOKUP:
        return m->errnum == ENOENT || m->errnum == ENOTDIR ? CUBBY_ENOTFOUND_CMD : CUBBY_ENOTEXEC_CMD;
    case STAGE_EXECVE:
        return m->errnum == ENOMEM || m->errnum == EAGAIN ? CUBBY_ERESOURCE : CUBBY_ENOTEXEC_CMD;
    default:
        return CUBBY_ESPAWN;
    }
}

static int on_error(struct cubby_exec *x, const struct frame *f)
{
    struct msg_error m;
    if (x->phase == EXEC_RUNS || msg_error_decode(f, &m) < 0)
        return -EPROTO;
    fail(&x->failure, code_of_error(&m), "%s", m.text[0] ? m.text : error_stage_name(m.stage));
    exec_finish(x);
    return 0;
}

static int on_hello(struct cubby_exec *x, const struct frame *f)
{
    struct msg_hello m;
    if (x->phase != EXEC_GREETING || msg_hello_decode(f, &m) < 0)
        return -EPROTO;
    if (m.version_min != m.version_max || m.version_min < PROTO_VERSION_MIN ||
        m.version_max > PROTO_VERSION_MAX)
        return -EPROTONOSUPPORT;
    x->phase = EXEC_STARTING;
    return 0;
}

static int runs(struct cubby_exec *x, uint64_t id)
{
    x->id = id;
    x->phase = EXEC_RUNS;
    x->started = true;
    log_debug(LOG_EXEC, "box %s, execution %llu has started", cubby_box_id(x->box), (unsigned long long)id);
    /* The guest's timer is the one that counts; ours ends what a stuck guest does not. */
    x->deadline_ns = WAITER_NEVER;
    if (x->timeout_ms)
        x->deadline_ns = now_ns() + (x->timeout_ms + x->grace_ms + EXEC_DEATH_MS) * NSEC_PER_MSEC;
    return x->kill_asked ? exec_ask_kill(x) : 0;
}

static int on_started(struct cubby_exec *x, const struct frame *f)
{
    struct msg_started m;
    if (x->kind != EXEC_RUN || x->phase != EXEC_STARTING || msg_started_decode(f, &m) < 0)
        return -EPROTO;
    box_stamp(x->box, MARK_EXEC_STARTED);
    return runs(x, m.exec_id);
}

static int on_attached(struct cubby_exec *x, const struct frame *f)
{
    struct msg_attached m;
    if (x->kind != EXEC_ATTACH || x->phase != EXEC_STARTING || msg_attached_decode(f, &m) < 0 ||
        m.exec_id != x->id)
        return -EPROTO;
    x->tty = m.flags & ITEM_TTY;
    x->stdin_credit = m.stdin_credit;
    return runs(x, m.exec_id);
}

static int on_skipped(struct cubby_exec *x, const struct frame *f)
{
    struct msg_skipped m;
    if (x->phase != EXEC_RUNS || !x->detached || msg_skipped_decode(f, &m) < 0)
        return -EPROTO;
    struct exec_output *o = &x->output[m.stream == STREAM_STDERR];
    if (o->eof || o->skipped)
        return -EPROTO; /* it needs no credit: a row of them would have no end */
    o->skipped = true;
    o->lost += m.bytes;
    return 0;
}

/* The array doubles: its size is always a power of two. */
static int on_item(struct cubby_exec *x, const struct frame *f)
{
    struct msg_item m;
    uint32_t n = x->item_count;
    if (x->kind != EXEC_LIST || x->phase != EXEC_STARTING || n == EXEC_ITEMS_MAX ||
        msg_item_decode(f, &m) < 0 || (n > 0 && m.exec_id <= x->items[n - 1].exec_id))
        return -EPROTO;
    if ((n & (n - 1)) == 0) {
        struct msg_item *more = realloc(x->items, (n ? 2 * (size_t)n : 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        x->items = more;
    }
    x->items[x->item_count++] = m;
    return 0;
}

static int on_list_end(struct cubby_exec *x, const struct frame *f)
{
    uint32_t count;
    if (x->kind != EXEC_LIST || x->phase != EXEC_STARTING || msg_list_end_decode(f, &count) < 0 ||
        count != x->item_count)
        return -EPROTO;
    exec_finish(x);
    return 0;
}

static int on_output(struct cubby_exec *x, struct exec_output *o, const struct frame *f)
{
    if (x->phase != EXEC_RUNS || o->eof || f->len > o->granted)
        return -EPROTO;
    o->granted -= f->len;
    o->skipped = false;
    if (!o->closed) {
        ring_put(&o->held, f->payload, f->len);
        return 0;
    }
    if (x->detached)
        return 0; /* one reader who leaves is not the end of a pipe */
    uint8_t frame[MSG_FRAME_MAX];
    const struct msg_signal pipe = {.signo = SIGPIPE, .scope = SCOPE_TREE};
    exec_queue(x, frame,
               msg_signal_encode(&pipe, frame, sizeof(frame))); /* without room: with the next bytes */
    return 0;
}

static int on_eof(struct cubby_exec *x, const struct frame *f)
{
    enum stream stream;
    if (x->phase != EXEC_RUNS || msg_stream_eof_decode(f, &stream) < 0)
        return -EPROTO;
    if (stream == STREAM_STDIN) {
        if (x->stdin_refused)
            return -EPROTO;
        x->stdin_refused = true;
        return 0;
    }
    struct exec_output *o = &x->output[stream == STREAM_STDERR];
    if (o->eof)
        return -EPROTO;
    o->eof = true;
    return 0;
}

static int on_window(struct cubby_exec *x, const struct frame *f)
{
    struct msg_window m;
    if (x->phase != EXEC_RUNS || msg_window_decode(f, &m) < 0 || m.stream != STREAM_STDIN ||
        m.credit > STREAM_WINDOW_MAX - x->stdin_credit)
        return -EPROTO;
    x->stdin_credit += m.credit;
    return 0;
}

static unsigned hits(uint32_t flags)
{
    unsigned hit = 0;
    if (flags & EXIT_OOM)
        hit |= CUBBY_HIT_OOM;
    if (flags & EXIT_MEMORY_LIMIT)
        hit |= CUBBY_HIT_MEMORY_LIMIT;
    if (flags & EXIT_PIDS_LIMIT)
        hit |= CUBBY_HIT_PIDS_LIMIT;
    return hit;
}

struct cubby_result exec_result_of(const struct msg_exited *m)
{
    static const int hows[] = {
        [HOW_EXITED] = CUBBY_EXITED,
        [HOW_SIGNALED] = CUBBY_SIGNALED,
        [HOW_TIMED_OUT] = CUBBY_TIMED_OUT,
        [HOW_OOM_KILLED] = CUBBY_OOM_KILLED,
    };
    return (struct cubby_result){
        .how = hows[m->how],
        .exit_code = m->signo ? -(int)m->signo : m->code,
        .leftover = (m->flags & EXIT_OUTPUT_CUT) != 0,
        .flags = hits(m->flags),
        .wall_ns = m->wall_ns,
        .user_us = m->utime_us,
        .system_us = m->stime_us,
        .max_rss_bytes = m->max_rss,
        .memory_peak_bytes = m->mem_peak,
    };
}

static int on_exited(struct cubby_exec *x, const struct frame *f)
{
    struct msg_exited m;
    bool removed = x->kind == EXEC_REMOVE && x->phase == EXEC_STARTING;
    if ((x->phase != EXEC_RUNS && !removed) || msg_exited_decode(f, &m) < 0)
        return -EPROTO;
    x->result = exec_result_of(&m);
    if (x->kind == EXEC_RUN)
        box_stamp(x->box, MARK_EXEC_RESULT);
    exec_finish(x);
    return 0;
}

static int dispatch(struct cubby_exec *x, const struct frame *f)
{
    switch (f->type) {
    case FRAME_HELLO:
        return on_hello(x, f);
    case FRAME_ERROR:
        return on_error(x, f);
    case FRAME_STARTED:
        return on_started(x, f);
    case FRAME_ATTACHED:
        return on_attached(x, f);
    case FRAME_SKIPPED:
        return on_skipped(x, f);
    case FRAME_ITEM:
        return on_item(x, f);
    case FRAME_LIST_END:
        return on_list_end(x, f);
    case FRAME_STDOUT:
        return on_output(x, &x->output[0], f);
    case FRAME_STDERR:
        return on_output(x, &x->output[1], f);
    case FRAME_STREAM_EOF:
        return on_eof(x, f);
    case FRAME_WINDOW:
        return on_window(x, f);
    case FRAME_EXITED:
        return on_exited(x, f);
    default:
        return -EPROTO;
    }
}

int exec_frame(struct cubby_exec *x, const struct frame *f, struct err *e)
{
    int ret = dispatch(x, f);
    if (ret == -ENOMEM)
        return err_set(e, ret, "no memory for its answer");
    if (ret == -EPROTONOSUPPORT)
        return err_set(e, ret, "it chose a version of the protocol that was not offered");
    if (ret < 0)
        return err_set(e, ret, "its frame %s of %u bytes is not allowed here", frame_name(f->type), f->len);
    return 0;
}
