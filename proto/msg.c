/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a message is read field by field in the order of docs/protocol.md; reader_done() then
 * says at once whether bytes were missing or left over, and a range check follows.
 */
#include "proto/msg.h"

#include "proto/ports.h"
#include "proto/text.h"

#include <errno.h>

#define SIGNAL_MAX 64

/* --- HELLO --- */

size_t msg_hello_encode(const struct msg_hello *m, void *buf, size_t cap)
{
    if (m->version_min < 1 || m->version_min > m->version_max)
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, PROTO_MAGIC);
    write_u16(&w, m->version_min);
    write_u16(&w, m->version_max);
    return frame_end(&w, FRAME_HELLO);
}

int msg_hello_decode(const struct frame *f, struct msg_hello *m)
{
    struct reader r = frame_body(f);
    uint32_t magic = read_u32(&r);
    m->version_min = read_u16(&r);
    m->version_max = read_u16(&r);
    bool good =
        reader_done(&r) && magic == PROTO_MAGIC && m->version_min >= 1 && m->version_min <= m->version_max;
    return good ? 0 : -EPROTO;
}

uint16_t msg_hello_choose(const struct msg_hello *peer)
{
    uint16_t best = peer->version_max < PROTO_VERSION_MAX ? peer->version_max : PROTO_VERSION_MAX;
    return best >= peer->version_min && best >= PROTO_VERSION_MIN ? best : 0;
}

/* --- ERROR --- */

const char *error_stage_name(uint16_t stage)
{
    static const char *const names[STAGE_END] = {
        [STAGE_PROTOCOL] = "protocol",
        [STAGE_VERSION] = "version",
        [STAGE_UNSUPPORTED] = "unsupported",
        [STAGE_STATE] = "state",
        [STAGE_RESOURCE] = "resource",
        [STAGE_CGROUP] = "cgroup",
        [STAGE_TTY] = "tty",
        [STAGE_RLIMIT] = "rlimit",
        [STAGE_USER] = "user",
        [STAGE_CWD] = "cwd",
        [STAGE_LOOKUP] = "lookup",
        [STAGE_EXECVE] = "execve",
        [STAGE_NOT_FOUND] = "not-found",
        [STAGE_FILE] = "file",
    };
    return stage < STAGE_END && names[stage] ? names[stage] : "unknown";
}

size_t msg_error_encode(const struct msg_error *m, void *buf, size_t cap)
{
    if (m->stage < 1 || m->stage > UINT8_MAX)
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u16(&w, m->stage);
    write_u16(&w, 0);
    write_u32(&w, m->errnum);
    write_text(&w, m->text, MSG_TEXT_MAX);
    return frame_end(&w, FRAME_ERROR);
}

int msg_error_decode(const struct frame *f, struct msg_error *m)
{
    struct reader r = frame_body(f);
    m->stage = read_u16(&r);
    uint16_t reserved = read_u16(&r);
    m->errnum = read_u32(&r);
    read_text(&r, m->text, MSG_TEXT_MAX);
    bool good = reader_done(&r) && reserved == 0 && m->stage >= 1 && m->stage <= UINT8_MAX;
    return good ? 0 : -EPROTO;
}

/* --- STARTED, EXITED --- */

size_t msg_started_encode(const struct msg_started *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->exec_id);
    write_u32(&w, m->pid);
    return m->exec_id ? frame_end(&w, FRAME_STARTED) : 0;
}

int msg_started_decode(const struct frame *f, struct msg_started *m)
{
    struct reader r = frame_body(f);
    m->exec_id = read_u64(&r);
    m->pid = read_u32(&r);
    return reader_done(&r) && m->exec_id ? 0 : -EPROTO;
}

bool exited_valid(const struct msg_exited *m)
{
    if (m->how < HOW_EXITED || m->how > HOW_OOM_KILLED || m->signo > SIGNAL_MAX)
        return false;
    if (m->flags & ~(uint32_t)EXIT_FLAGS_ALL || (m->signo && m->code))
        return false;
    if (m->flags & EXIT_MEMORY_LIMIT && !(m->flags & EXIT_OOM))
        return false;
    if (m->how == HOW_EXITED)
        return m->signo == 0;
    return m->how == HOW_TIMED_OUT || m->signo != 0;
}

void write_exited(struct writer *w, const struct msg_exited *m)
{
    write_u8(w, m->how);
    write_u8(w, m->code);
    write_u8(w, m->signo);
    write_u8(w, 0);
    write_u32(w, m->flags);
    write_u64(w, m->wall_ns);
    write_u64(w, m->utime_us);
    write_u64(w, m->stime_us);
    write_u64(w, m->max_rss);
    write_u64(w, m->mem_peak);
}

bool read_exited(struct reader *r, struct msg_exited *m)
{
    m->how = read_u8(r);
    m->code = read_u8(r);
    m->signo = read_u8(r);
    uint8_t reserved = read_u8(r);
    m->flags = read_u32(r);
    m->wall_ns = read_u64(r);
    m->utime_us = read_u64(r);
    m->stime_us = read_u64(r);
    m->max_rss = read_u64(r);
    m->mem_peak = read_u64(r);
    return reserved == 0;
}

size_t msg_exited_encode(const struct msg_exited *m, void *buf, size_t cap)
{
    if (!exited_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_exited(&w, m);
    return frame_end(&w, FRAME_EXITED);
}

int msg_exited_decode(const struct frame *f, struct msg_exited *m)
{
    struct reader r = frame_body(f);
    bool padded = read_exited(&r, m);
    return reader_done(&r) && padded && exited_valid(m) ? 0 : -EPROTO;
}

/* --- STREAM_EOF, WINDOW --- */

static bool window_valid(const struct msg_window *m)
{
    return m->stream < STREAMS && m->credit >= 1 && m->credit <= STREAM_WINDOW_MAX;
}

size_t msg_window_encode(const struct msg_window *m, void *buf, size_t cap)
{
    static const uint8_t reserved[3];
    if (!window_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u8(&w, m->stream);
    write_bytes(&w, reserved, sizeof(reserved));
    write_u32(&w, m->credit);
    return frame_end(&w, FRAME_WINDOW);
}

int msg_window_decode(const struct frame *f, struct msg_window *m)
{
    struct reader r = frame_body(f);
    m->stream = read_u8(&r);
    unsigned reserved = read_u8(&r);
    reserved |= read_u16(&r);
    m->credit = read_u32(&r);
    return reader_done(&r) && reserved == 0 && window_valid(m) ? 0 : -EPROTO;
}

size_t msg_stream_eof_encode(enum stream stream, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u8(&w, (uint8_t)stream);
    return stream < STREAMS ? frame_end(&w, FRAME_STREAM_EOF) : 0;
}

int msg_stream_eof_decode(const struct frame *f, enum stream *stream)
{
    struct reader r = frame_body(f);
    uint8_t value = read_u8(&r);
    if (!reader_done(&r) || value >= STREAMS)
        return -EPROTO;
    *stream = value;
    return 0;
}

/* --- SIGNAL, KILL, RESIZE --- */

static bool signal_valid(const struct msg_signal *m)
{
    return m->signo >= 1 && m->signo <= SIGNAL_MAX && m->scope <= SCOPE_TREE;
}

size_t msg_signal_encode(const struct msg_signal *m, void *buf, size_t cap)
{
    if (!signal_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u8(&w, m->signo);
    write_u8(&w, m->scope);
    return frame_end(&w, FRAME_SIGNAL);
}

int msg_signal_decode(const struct frame *f, struct msg_signal *m)
{
    struct reader r = frame_body(f);
    m->signo = read_u8(&r);
    m->scope = read_u8(&r);
    return reader_done(&r) && signal_valid(m) ? 0 : -EPROTO;
}

size_t msg_kill_encode(void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    return frame_end(&w, FRAME_KILL);
}

size_t msg_resize_encode(const struct msg_resize *m, void *buf, size_t cap)
{
    if (!m->rows || !m->cols)
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u16(&w, m->rows);
    write_u16(&w, m->cols);
    return frame_end(&w, FRAME_RESIZE);
}

int msg_resize_decode(const struct frame *f, struct msg_resize *m)
{
    struct reader r = frame_body(f);
    m->rows = read_u16(&r);
    m->cols = read_u16(&r);
    return reader_done(&r) && m->rows && m->cols ? 0 : -EPROTO;
}
