/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: as in msg.c. Strings have a length in front of them, but the last of a message, which
 * is the rest. None may hold a NUL, so that decoded ones are C strings of the very same bytes. One function
 * per message says whether it is in range, and encoder and decoder both ask it.
 */
#include "proto/files.h"

#include "proto/text.h"

#include <errno.h>
#include <string.h>

#define NSEC_LIMIT 1000000000u

/* `len` bytes as a string; `out` has max + 1. */
static void read_string(struct reader *r, char *out, size_t len, size_t max)
{
    const uint8_t *bytes = len <= max ? read_bytes(r, len) : NULL;
    out[0] = '\0';
    if (!bytes || memchr(bytes, '\0', len)) {
        r->failed = true;
        return;
    }
    memcpy(out, bytes, len);
    out[len] = '\0';
}

static void write_string(struct writer *w, const char *s)
{
    write_bytes(w, s, strlen(s));
}

/* --- PUT, GET --- */

static bool path_absolute(const char *path)
{
    return path[0] == '/' && strlen(path) <= FTREE_PATH_MAX;
}

static bool put_valid(const struct msg_put *m)
{
    if (m->flags & ~(uint32_t)PUT_FLAGS_ALL || !path_absolute(m->path) || strlen(m->owner) > OWNER_MAX)
        return false;
    if (m->owner[0] && m->flags & PUT_ARCHIVE)
        return false;
    if (!m->name[0])
        return m->flags & PUT_CONTENTS;
    return ftree_path_valid(m->name) && !strchr(m->name, '/');
}

size_t msg_put_encode(const struct msg_put *m, void *buf, size_t cap)
{
    if (!put_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, m->flags);
    write_u8(&w, (uint8_t)strlen(m->owner));
    write_u8(&w, (uint8_t)strlen(m->name));
    write_u16(&w, 0);
    write_string(&w, m->owner);
    write_string(&w, m->name);
    write_string(&w, m->path);
    return frame_end(&w, FRAME_PUT);
}

int msg_put_decode(const struct frame *f, struct msg_put *m)
{
    struct reader r = frame_body(f);
    m->flags = read_u32(&r);
    uint8_t owner = read_u8(&r), name = read_u8(&r);
    uint16_t reserved = read_u16(&r);
    read_string(&r, m->owner, owner, OWNER_MAX);
    read_string(&r, m->name, name, FTREE_NAME_MAX);
    read_string(&r, m->path, reader_left(&r), FTREE_PATH_MAX);
    return reader_done(&r) && reserved == 0 && put_valid(m) ? 0 : -EPROTO;
}

static bool get_valid(const struct msg_get *m)
{
    return !(m->flags & ~(uint32_t)GET_FLAGS_ALL) && path_absolute(m->path);
}

size_t msg_get_encode(const struct msg_get *m, void *buf, size_t cap)
{
    if (!get_valid(m))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u32(&w, m->flags);
    write_string(&w, m->path);
    return frame_end(&w, FRAME_GET);
}

int msg_get_decode(const struct frame *f, struct msg_get *m)
{
    struct reader r = frame_body(f);
    m->flags = read_u32(&r);
    read_string(&r, m->path, reader_left(&r), FTREE_PATH_MAX);
    return reader_done(&r) && get_valid(m) ? 0 : -EPROTO;
}

/* --- ENTRY --- */

static bool entry_valid(const struct ftree_entry *en)
{
    bool device = en->type == FTREE_CHAR || en->type == FTREE_BLOCK;
    if (en->type < FTREE_FILE || en->type >= FTREE_TYPES || en->mode > 07777 || en->mtime_ns >= NSEC_LIMIT)
        return false;
    if (en->type != FTREE_FILE && (en->size || en->linked))
        return false;
    if (en->size > INT64_MAX || (!device && (en->dev_major || en->dev_minor)))
        return false;
    if (en->path[0] && !ftree_path_valid(en->path))
        return false;
    if (en->type == FTREE_LINK)
        return ftree_path_valid(en->target);
    return (en->type == FTREE_SYMLINK) == (en->target[0] != '\0');
}

size_t msg_entry_encode(const struct ftree_entry *en, void *buf, size_t cap)
{
    if (!entry_valid(en))
        return 0;
    struct writer w = frame_begin(buf, cap);
    write_u8(&w, en->type);
    write_u8(&w, en->linked);
    write_u16(&w, en->mode);
    write_u32(&w, en->uid);
    write_u32(&w, en->gid);
    write_u64(&w, (uint64_t)en->mtime_s);
    write_u32(&w, en->mtime_ns);
    write_u64(&w, en->size);
    write_u32(&w, en->dev_major);
    write_u32(&w, en->dev_minor);
    write_u16(&w, (uint16_t)strlen(en->path));
    write_string(&w, en->path);
    write_string(&w, en->target);
    return frame_end(&w, FRAME_ENTRY);
}

int msg_entry_decode(const struct frame *f, struct ftree_entry *en)
{
    struct reader r = frame_body(f);
    en->type = read_u8(&r);
    uint8_t linked = read_u8(&r);
    en->linked = linked;
    en->mode = read_u16(&r);
    en->uid = read_u32(&r);
    en->gid = read_u32(&r);
    en->mtime_s = (int64_t)read_u64(&r);
    en->mtime_ns = read_u32(&r);
    en->size = read_u64(&r);
    en->dev_major = read_u32(&r);
    en->dev_minor = read_u32(&r);
    read_string(&r, en->path, read_u16(&r), FTREE_PATH_MAX);
    read_string(&r, en->target, reader_left(&r), FTREE_PATH_MAX);
    return reader_done(&r) && linked <= 1 && entry_valid(en) ? 0 : -EPROTO;
}

/* --- DATA, XATTR --- */

size_t msg_data_encode(const struct msg_data *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->offset);
    write_bytes(&w, m->bytes, m->len);
    return m->len >= 1 && m->len <= FTREE_CHUNK ? frame_end(&w, FRAME_DATA) : 0;
}

int msg_data_decode(const struct frame *f, struct msg_data *m)
{
    struct reader r = frame_body(f);
    m->offset = read_u64(&r);
    m->len = reader_left(&r);
    m->bytes = read_bytes(&r, m->len);
    return reader_done(&r) && m->len >= 1 ? 0 : -EPROTO;
}

size_t msg_xattr_encode(const struct msg_xattr *m, void *buf, size_t cap)
{
    size_t name = strlen(m->name);
    struct writer w = frame_begin(buf, cap);
    write_u8(&w, (uint8_t)name);
    write_string(&w, m->name);
    if (m->len)
        write_bytes(&w, m->value, m->len);
    return name >= 1 && m->len <= FTREE_XATTR_MAX ? frame_end(&w, FRAME_XATTR) : 0;
}

int msg_xattr_decode(const struct frame *f, struct msg_xattr *m)
{
    struct reader r = frame_body(f);
    read_string(&r, m->name, read_u8(&r), FTREE_NAME_MAX);
    m->len = reader_left(&r);
    m->value = read_bytes(&r, m->len);
    return reader_done(&r) && m->name[0] && m->len <= FTREE_XATTR_MAX ? 0 : -EPROTO;
}

/* --- END, DONE --- */

size_t msg_totals_encode(enum frame_type type, const struct ftree_totals *m, void *buf, size_t cap)
{
    struct writer w = frame_begin(buf, cap);
    write_u64(&w, m->entries);
    write_u64(&w, m->bytes);
    write_u64(&w, m->skipped);
    write_u64(&w, m->xattrs_lost);
    return frame_end(&w, type);
}

int msg_totals_decode(const struct frame *f, struct ftree_totals *m)
{
    struct reader r = frame_body(f);
    m->entries = read_u64(&r);
    m->bytes = read_u64(&r);
    m->skipped = read_u64(&r);
    m->xattrs_lost = read_u64(&r);
    return reader_done(&r) ? 0 : -EPROTO;
}
