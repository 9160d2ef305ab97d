/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table knows every type, who may send it and how long its payload may be. The
 * reader looks at a header as soon as its eight bytes are there and refuses before it stores a byte of the
 * payload. Its buffer doubles when it is full of received bytes, never because of what a length field says.
 */
#include "proto/frame.h"

#include "proto/detached.h"
#include "proto/exec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READER_FIRST 4096u
/* A buffer larger than this is given back once it is empty: STDIN and STDOUT frames keep theirs. */
#define READER_KEEP (4 * STREAM_CHUNK_MAX)
#define READER_MAX  (FRAME_HEADER + FRAME_PAYLOAD_MAX)

#define HOST  FRAME_FROM_HOST
#define GUEST FRAME_FROM_GUEST

struct rule {
    const char *name;
    uint8_t from; /* enum frame_from, or both */
    uint32_t min, max;
};

static const struct rule rules[] = {
    [FRAME_HELLO] = {"HELLO", HOST | GUEST, 8, 8},
    [FRAME_ERROR] = {"ERROR", GUEST, 8, 8 + MSG_TEXT_MAX},
    [FRAME_EXEC] = {"EXEC", HOST, 8, EXEC_PAYLOAD_MAX}, /* at least one ARG: tag, length, "x" and NUL */
    [FRAME_STDIN] = {"STDIN", HOST, 1, STREAM_CHUNK_MAX},
    [FRAME_SIGNAL] = {"SIGNAL", HOST, 2, 2},
    [FRAME_KILL] = {"KILL", HOST, 0, 0},
    [FRAME_RESIZE] = {"RESIZE", HOST, 4, 4},
    [FRAME_STREAM_EOF] = {"STREAM_EOF", HOST | GUEST, 1, 1},
    [FRAME_WINDOW] = {"WINDOW", HOST | GUEST, 8, 8},
    [FRAME_STARTED] = {"STARTED", GUEST, 12, 12},
    [FRAME_STDOUT] = {"STDOUT", GUEST, 1, STREAM_CHUNK_MAX},
    [FRAME_STDERR] = {"STDERR", GUEST, 1, STREAM_CHUNK_MAX},
    [FRAME_EXITED] = {"EXITED", GUEST, 48, 48},
    [FRAME_LIST] = {"LIST", HOST, 0, 0},
    [FRAME_ATTACH] = {"ATTACH", HOST, 36, 36},
    [FRAME_REMOVE] = {"REMOVE", HOST, 12, 12},
    [FRAME_ITEM] = {"ITEM", GUEST, 76, 76 + ITEM_COMMAND_MAX},
    [FRAME_LIST_END] = {"LIST_END", GUEST, 4, 4},
    [FRAME_ATTACHED] = {"ATTACHED", GUEST, 40, 40},
    [FRAME_SKIPPED] = {"SKIPPED", GUEST, 12, 12},
    [FRAME_READY] = {"READY", GUEST, 40, 40 + READY_RELEASE_MAX},
    [FRAME_SHUTDOWN] = {"SHUTDOWN", HOST, 4, 4},
    [FRAME_PING] = {"PING", HOST, 8, 8},
    [FRAME_PONG] = {"PONG", GUEST, 8, 8},
    [FRAME_BYE] = {"BYE", GUEST, 4, 4 + MSG_TEXT_MAX},
    [FRAME_EVENT] = {"EVENT", GUEST, 12, 12 + MSG_TEXT_MAX},
};

static const struct rule *rule_of(uint8_t type)
{
    return type < sizeof(rules) / sizeof(rules[0]) && rules[type].name ? &rules[type] : NULL;
}

const char *frame_name(uint8_t type)
{
    const struct rule *rule = rule_of(type);
    return rule ? rule->name : "?";
}

int frame_header_check(const uint8_t header[FRAME_HEADER], enum frame_from from, struct frame *f)
{
    uint32_t len = load_le32(header);
    const struct rule *rule = rule_of(header[4]);
    if (!rule || !(rule->from & from) || header[5] != 0 || load_le16(header + 6) != 0)
        return -EPROTO;
    if (len < rule->min || len > rule->max)
        return -EMSGSIZE;
    *f = (struct frame){.type = header[4], .len = len};
    return 0;
}

void frame_reader_init(struct frame_reader *r, enum frame_from from)
{
    *r = (struct frame_reader){.from = from};
}

void frame_reader_fini(struct frame_reader *r)
{
    free(r->buf);
    r->buf = NULL;
    r->cap = r->start = r->end = 0;
}

int frame_reader_space(struct frame_reader *r, uint8_t **at, size_t *room)
{
    size_t held = r->end - r->start;
    if (held == 0 && r->cap > READER_KEEP)
        frame_reader_fini(r);
    if (r->start > 0) {
        memmove(r->buf, r->buf + r->start, held);
        r->start = 0;
        r->end = held;
    }
    if (r->end == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : READER_FIRST;
        if (cap > READER_MAX)
            cap = READER_MAX; /* larger than cap was: a full buffer of that size holds a whole frame */
        uint8_t *bigger = realloc(r->buf, cap);
        if (!bigger)
            return -ENOMEM;
        r->buf = bigger;
        r->cap = cap;
    }
    *at = r->buf + r->end;
    *room = r->cap - r->end;
    return 0;
}

void frame_reader_filled(struct frame_reader *r, size_t len)
{
    size_t room = r->cap - r->end;
    r->end += len < room ? len : room;
}

int frame_reader_next(struct frame_reader *r, struct frame *f)
{
    size_t held = r->end - r->start;
    if (held < FRAME_HEADER)
        return 0;
    const uint8_t *at = r->buf + r->start;
    int ret = frame_header_check(at, r->from, f);
    if (ret < 0)
        return ret;
    if (held - FRAME_HEADER < f->len)
        return 0;
    f->payload = at + FRAME_HEADER;
    r->start += FRAME_HEADER + f->len;
    return 1;
}

bool frame_reader_partial(const struct frame_reader *r)
{
    return r->end > r->start;
}

void frame_header_put(uint8_t header[FRAME_HEADER], enum frame_type type, uint32_t len)
{
    store_le32(header, len);
    header[4] = (uint8_t)type;
    header[5] = 0;
    store_le16(header + 6, 0);
}

struct writer frame_begin(void *buf, size_t cap)
{
    static const uint8_t room[FRAME_HEADER];
    struct writer w = writer_of(buf, cap);
    write_bytes(&w, room, sizeof(room));
    return w;
}

size_t frame_end(struct writer *w, enum frame_type type)
{
    if (w->failed)
        return 0;
    frame_header_put(w->start, type, (uint32_t)(writer_len(w) - FRAME_HEADER));
    return writer_len(w);
}
