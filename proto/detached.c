/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: as msg.c does it, for the messages about detached executions (docs/protocol.md
 * sections 5.8 to 5.10).
 */
#include "proto/detached.h"

#include "proto/text.h"

#include <errno.h>
#include <string.h>

/* Three reserved bytes behind a u8. */
static void write_u8_padded(struct writer *w, uint8_t value)
{
    write_u32(w, value);
}

/* Returns whether they are zero. */
static bool read_u8_padded(struct reader *r, uint8_t *value)
{
    uint32_t word = read_u32(r);
    *value = (uint8_t)word;
    return word <= UINT8_MAX;
}

/* --- ATTACH, ATTACHED --- */

static bool attach_valid(const struct msg_attach *m)
{
    if (m->exec_id < 1 || m->flags & ~(uint32_t)ATTACH_FLAGS_ALL)
        return false;
    if (m->flags & ATTACH_TAKE_STDIN && !(m->flags & ATTACH_STDIN))
        return false;
    return m->window[0] <= STREAM_WINDOW_MAX && m->window[1] <= STREAM_WINDOW_MAX;
}

size_t msg_attach_encode(const struct msg_attach *m, void *buf, size_t cap)
{
    if (!attach_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->exec_id);
    write_u64(&w, m->from[0]);
    write_u64(&w, m->from[1]);
    write_u32(&w, m->flags);
    write_u32(&w, m->window[0]);
    write_u32(&w, m->window[1]);
    return frame_end(&w, FRAME_ATTACH);
}

int msg_attach_decode(const struct frame *f, struct msg_attach *m)
{
    struct reader r = frame_body(f);
    m->exec_id = read_u64(&r);
    m->from[0] = read_u64(&r);
    m->from[1] = read_u64(&r);
    m->flags = read_u32(&r);
    m->window[0] = read_u32(&r);
    m->window[1] = read_u32(&r);
    return reader_done(&r) && attach_valid(m) ? 0 : -EPROTO;
}

static bool kind_valid(uint64_t exec_id, uint32_t flags, uint8_t state)
{
    return exec_id >= 1 && !(flags & ~(uint32_t)ITEM_FLAGS_ALL) &&
           (state == ITEM_RUNNING || state == ITEM_ENDED);
}

static bool attached_valid(const struct msg_attached *m)
{
    return kind_valid(m->exec_id, m->flags, m->state) && m->stdin_credit <= STDIN_WINDOW;
}

size_t msg_attached_encode(const struct msg_attached *m, void *buf, size_t cap)
{
    if (!attached_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->exec_id);
    write_u64(&w, m->from[0]);
    write_u64(&w, m->from[1]);
    write_u32(&w, m->pid);
    write_u32(&w, m->stdin_credit);
    write_u32(&w, m->flags);
    write_u8_padded(&w, m->state);
    return frame_end(&w, FRAME_ATTACHED);
}

int msg_attached_decode(const struct frame *f, struct msg_attached *m)
{
    struct reader r = frame_body(f);
    m->exec_id = read_u64(&r);
    m->from[0] = read_u64(&r);
    m->from[1] = read_u64(&r);
    m->pid = read_u32(&r);
    m->stdin_credit = read_u32(&r);
    m->flags = read_u32(&r);
    bool padded = read_u8_padded(&r, &m->state);
    return reader_done(&r) && padded && attached_valid(m) ? 0 : -EPROTO;
}

/* --- SKIPPED --- */

static bool skipped_valid(const struct msg_skipped *m)
{
    return (m->stream == STREAM_STDOUT || m->stream == STREAM_STDERR) && m->bytes >= 1;
}

size_t msg_skipped_encode(const struct msg_skipped *m, void *buf, size_t cap)
{
    if (!skipped_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u8_padded(&w, m->stream);
    write_u64(&w, m->bytes);
    return frame_end(&w, FRAME_SKIPPED);
}

int msg_skipped_decode(const struct frame *f, struct msg_skipped *m)
{
    struct reader r = frame_body(f);
    bool padded = read_u8_padded(&r, &m->stream);
    m->bytes = read_u64(&r);
    return reader_done(&r) && padded && skipped_valid(m) ? 0 : -EPROTO;
}

/* --- REMOVE --- */

static bool remove_valid(const struct msg_remove *m)
{
    return m->exec_id >= 1 && !(m->flags & ~(uint32_t)REMOVE_FLAGS_ALL);
}

size_t msg_remove_encode(const struct msg_remove *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->exec_id);
    write_u32(&w, m->flags);
    return remove_valid(m) ? frame_end(&w, FRAME_REMOVE) : 0;
}

int msg_remove_decode(const struct frame *f, struct msg_remove *m)
{
    struct reader r = frame_body(f);
    m->exec_id = read_u64(&r);
    m->flags = read_u32(&r);
    return reader_done(&r) && remove_valid(m) ? 0 : -EPROTO;
}

/* --- LIST, ITEM, LIST_END --- */

size_t msg_list_encode(void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    return frame_end(&w, FRAME_LIST);
}

/* An execution that runs has no result yet. */
static bool item_valid(const struct msg_item *m)
{
    if (!kind_valid(m->exec_id, m->flags, m->state))
        return false;
    if (m->state == ITEM_ENDED)
        return exited_valid(&m->result);
    const struct msg_exited *x = &m->result;
    return !(x->how | x->code | x->signo) && !x->flags &&
           !(x->wall_ns | x->utime_us | x->stime_us | x->max_rss | x->mem_peak);
}

size_t msg_item_encode(const struct msg_item *m, void *buf, size_t cap)
{
    if (!item_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->exec_id);
    write_u64(&w, m->age_ns);
    write_u32(&w, m->pid);
    write_u32(&w, m->flags);
    write_u8_padded(&w, m->state);
    write_exited(&w, &m->result);
    write_text(&w, m->command, ITEM_COMMAND_MAX);
    return frame_end(&w, FRAME_ITEM);
}

int msg_item_decode(const struct frame *f, struct msg_item *m)
{
    struct reader r = frame_body(f);
    m->exec_id = read_u64(&r);
    m->age_ns = read_u64(&r);
    m->pid = read_u32(&r);
    m->flags = read_u32(&r);
    bool padded = read_u8_padded(&r, &m->state);
    padded &= read_exited(&r, &m->result);
    read_text(&r, m->command, ITEM_COMMAND_MAX);
    return reader_done(&r) && padded && item_valid(m) ? 0 : -EPROTO;
}

size_t msg_list_end_encode(uint32_t count, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, count);
    return frame_end(&w, FRAME_LIST_END);
}

int msg_list_end_decode(const struct frame *f, uint32_t *count)
{
    struct reader r = frame_body(f);
    *count = read_u32(&r);
    return reader_done(&r) ? 0 : -EPROTO;
}
