/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: as msg.c does it, for the messages of the control connection (docs/protocol.md
 * section 6).
 */
#include "proto/msg.h"

#include "proto/text.h"

#include <errno.h>

size_t msg_ready_encode(const struct msg_ready *m, void *buf, size_t cap)
{
    if (m->version_min < 1 || m->version_min > m->version_max)
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u16(&w, m->version_min);
    write_u16(&w, m->version_max);
    write_u32(&w, m->cpus);
    write_u64(&w, m->memory_bytes);
    write_u64(&w, m->init_ns);
    write_u64(&w, m->root_ns);
    write_u64(&w, m->agent_ns);
    write_text(&w, m->release, READY_RELEASE_MAX);
    return frame_end(&w, FRAME_READY);
}

int msg_ready_decode(const struct frame *f, struct msg_ready *m)
{
    struct reader r = frame_body(f);
    m->version_min = read_u16(&r);
    m->version_max = read_u16(&r);
    m->cpus = read_u32(&r);
    m->memory_bytes = read_u64(&r);
    m->init_ns = read_u64(&r);
    m->root_ns = read_u64(&r);
    m->agent_ns = read_u64(&r);
    read_text(&r, m->release, READY_RELEASE_MAX);
    return reader_done(&r) && m->version_min >= 1 && m->version_min <= m->version_max ? 0 : -EPROTO;
}

size_t msg_shutdown_encode(const struct msg_shutdown *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, m->grace_ms);
    return m->grace_ms <= SHUTDOWN_GRACE_MAX_MS ? frame_end(&w, FRAME_SHUTDOWN) : 0;
}

int msg_shutdown_decode(const struct frame *f, struct msg_shutdown *m)
{
    struct reader r = frame_body(f);
    m->grace_ms = read_u32(&r);
    return reader_done(&r) && m->grace_ms <= SHUTDOWN_GRACE_MAX_MS ? 0 : -EPROTO;
}

size_t msg_ping_encode(enum frame_type type, uint64_t cookie, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, cookie);
    return frame_end(&w, type);
}

int msg_ping_decode(const struct frame *f, uint64_t *cookie)
{
    struct reader r = frame_body(f);
    *cookie = read_u64(&r);
    return reader_done(&r) ? 0 : -EPROTO;
}

static bool bye_valid(const struct msg_bye *m)
{
    return m->reason >= BYE_SHUTDOWN && m->reason <= BYE_FAILED;
}

size_t msg_bye_encode(const struct msg_bye *m, void *buf, size_t cap)
{
    if (!bye_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, m->reason); /* u8 reason, three reserved bytes */
    write_text(&w, m->text, MSG_TEXT_MAX);
    return frame_end(&w, FRAME_BYE);
}

int msg_bye_decode(const struct frame *f, struct msg_bye *m)
{
    struct reader r = frame_body(f);
    m->reason = read_u8(&r);
    unsigned reserved = read_u8(&r);
    reserved |= read_u16(&r);
    read_text(&r, m->text, MSG_TEXT_MAX);
    return reader_done(&r) && reserved == 0 && bye_valid(m) ? 0 : -EPROTO;
}

size_t msg_event_encode(const struct msg_event *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u16(&w, m->kind);
    write_u16(&w, 0);
    write_u64(&w, m->value);
    write_text(&w, m->text, MSG_TEXT_MAX);
    return m->kind ? frame_end(&w, FRAME_EVENT) : 0;
}

int msg_event_decode(const struct frame *f, struct msg_event *m)
{
    struct reader r = frame_body(f);
    m->kind = read_u16(&r);
    uint16_t reserved = read_u16(&r);
    m->value = read_u64(&r);
    read_text(&r, m->text, MSG_TEXT_MAX);
    return reader_done(&r) && reserved == 0 && m->kind ? 0 : -EPROTO;
}
