/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every read first claims its bytes; a claim beyond the end sets the sticky flag and
 * yields nothing, so no caller can run off the buffer however long the wire says a field is.
 */
#include "base/cursor.h"

#include <endian.h>
#include <string.h>

uint16_t load_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

uint32_t load_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

uint64_t load_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

void store_le16(void *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof(v));
}

void store_le32(void *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

void store_le64(void *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

struct reader reader_of(const void *data, size_t len)
{
    const uint8_t *p = data;
    return (struct reader){.p = p, .end = len ? p + len : p};
}

size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

const uint8_t *read_bytes(struct reader *r, size_t len)
{
    if (r->failed || len > reader_left(r)) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    if (len)
        r->p += len;
    return at;
}

uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p ? *p : 0;
}

uint16_t read_u16(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 2);
    return p ? load_le16(p) : 0;
}

uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 4);
    return p ? load_le32(p) : 0;
}

uint64_t read_u64(struct reader *r)
{
    const uint8_t *p = read_bytes(r, 8);
    return p ? load_le64(p) : 0;
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->p == r->end;
}

struct writer writer_of(void *buf, size_t cap)
{
    uint8_t *p = buf;
    return (struct writer){.start = p, .p = p, .end = cap ? p + cap : p};
}

size_t writer_len(const struct writer *w)
{
    return (size_t)(w->p - w->start);
}

/* Room for `len` bytes, or NULL and the sticky flag. */
static uint8_t *claim(struct writer *w, size_t len)
{
    if (w->failed || len > (size_t)(w->end - w->p)) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->p;
    w->p += len;
    return at;
}

void write_bytes(struct writer *w, const void *data, size_t len)
{
    if (!len)
        return;
    uint8_t *p = claim(w, len);
    if (p)
        memcpy(p, data, len);
}

void write_u8(struct writer *w, uint8_t v)
{
    write_bytes(w, &v, sizeof(v));
}

void write_u16(struct writer *w, uint16_t v)
{
    uint8_t *p = claim(w, sizeof(v));
    if (p)
        store_le16(p, v);
}

void write_u32(struct writer *w, uint32_t v)
{
    uint8_t *p = claim(w, sizeof(v));
    if (p)
        store_le32(p, v);
}

void write_u64(struct writer *w, uint64_t v)
{
    uint8_t *p = claim(w, sizeof(v));
    if (p)
        store_le64(p, v);
}
