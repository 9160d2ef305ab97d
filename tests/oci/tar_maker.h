/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives made by hand in memory, so that tests can make wrong ones. No error handling: a test that runs
 * out of memory may crash. */
#ifndef CUBBY_TESTS_OCI_TAR_MAKER_H
#define CUBBY_TESTS_OCI_TAR_MAKER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tar_maker {
    uint8_t *data;
    size_t len, cap;
};

static inline void tar_raw(struct tar_maker *t, const void *data, size_t len)
{
    if (t->len + len > t->cap) {
        t->cap = 2 * (t->len + len) + 4096;
        t->data = realloc(t->data, t->cap);
        if (!t->data)
            abort();
    }
    if (len)
        memcpy(t->data + t->len, data, len);
    t->len += len;
}

/* Fills up to a whole record of 512 bytes. */
static inline void tar_pad(struct tar_maker *t)
{
    static const uint8_t zeros[512];
    tar_raw(t, zeros, (512 - t->len % 512) % 512);
}

/* A header alone, which promises `size` bytes. */
static inline void tar_header(struct tar_maker *t, char type, const char *name, const char *link,
                              uint64_t size)
{
    char h[512] = {0};
    size_t name_len = strlen(name), link_len = strlen(link);
    memcpy(h, name, name_len < 100 ? name_len : 100);
    memcpy(h + 100, "0000644", 7);
    memcpy(h + 108, "0000000", 7);
    memcpy(h + 116, "0000000", 7);
    snprintf(h + 124, 12, "%011llo", (unsigned long long)size & 077777777777); /* 11 digits */
    memcpy(h + 136, "00000000100", 11);
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 157, link, link_len < 100 ? link_len : 100);
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    memcpy(h + 329, "0000001", 7);
    memcpy(h + 337, "0000003", 7);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(h); i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    tar_raw(t, h, sizeof(h));
}

static inline void tar_bytes(struct tar_maker *t, const char *name, const void *data, size_t len)
{
    tar_header(t, '0', name, "", len);
    tar_raw(t, data, len);
    tar_pad(t);
}

static inline void tar_file(struct tar_maker *t, const char *name, const char *text)
{
    tar_bytes(t, name, text, strlen(text));
}

static inline void tar_dir(struct tar_maker *t, const char *name)
{
    tar_header(t, '5', name, "", 0);
}

static inline void tar_symlink(struct tar_maker *t, const char *name, const char *target)
{
    tar_header(t, '2', name, target, 0);
}

static inline void tar_link(struct tar_maker *t, const char *name, const char *target)
{
    tar_header(t, '1', name, target, 0);
}

/* A pax header of one record for the entry that follows. */
static inline void tar_pax(struct tar_maker *t, const char *key, const void *value, size_t len)
{
    char digits[24];
    size_t body = 1 + strlen(key) + 1 + len + 1, total = body + 1;
    while (body + (size_t)snprintf(digits, sizeof(digits), "%zu", total) != total)
        total = body + strlen(digits);
    tar_header(t, 'x', "pax", "", total);
    tar_raw(t, digits, strlen(digits));
    tar_raw(t, " ", 1);
    tar_raw(t, key, strlen(key));
    tar_raw(t, "=", 1);
    tar_raw(t, value, len);
    tar_raw(t, "\n", 1);
    tar_pad(t);
}

static inline void tar_pax_text(struct tar_maker *t, const char *key, const char *value)
{
    tar_pax(t, key, value, strlen(value));
}

/* The two empty records at the end. */
static inline void tar_end(struct tar_maker *t)
{
    static const uint8_t zeros[1024];
    tar_raw(t, zeros, sizeof(zeros));
}

static inline void tar_free(struct tar_maker *t)
{
    free(t->data);
    *t = (struct tar_maker){0};
}

#endif
