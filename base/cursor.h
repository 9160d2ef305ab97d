/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds-checked cursors for wire formats: little-endian reads and writes with one sticky failure flag, so
 * that a decoder reads all its fields and asks once at the end. A failed read yields 0 (or NULL) and does not
 * move on.
 */
#ifndef CUBBY_BASE_CURSOR_H
#define CUBBY_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *p, *end;
    bool failed;
};

struct reader reader_of(const void *data, size_t len);
size_t reader_left(const struct reader *r);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* The next `len` bytes in place, or NULL. */
const uint8_t *read_bytes(struct reader *r, size_t len);
/* True when nothing failed and nothing is left. */
bool reader_done(const struct reader *r);

struct writer {
    uint8_t *start, *p, *end;
    bool failed;
};

struct writer writer_of(void *buf, size_t cap);
size_t writer_len(const struct writer *w);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bytes(struct writer *w, const void *data, size_t len);

/* Little-endian loads and stores at any alignment, for fields whose bounds were checked already. */
uint16_t load_le16(const void *p);
uint32_t load_le32(const void *p);
uint64_t load_le64(const void *p);
void store_le16(void *p, uint16_t v);
void store_le32(void *p, uint32_t v);
void store_le64(void *p, uint64_t v);

#endif
