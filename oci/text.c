/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a block that is doubled when it is full. It may hold a secret, so a block that is
 * given up is wiped before. */
#include "oci/text.h"

#include "base/own.h"

#include <stdlib.h>
#include <string.h>

static bool grow(struct text *t, size_t need)
{
    size_t cap = t->cap ? 2 * t->cap : 256;
    while (cap < need)
        cap *= 2;
    char *bigger = malloc(cap);
    if (!bigger)
        return false;
    if (t->at) {
        memcpy(bigger, t->at, t->len);
        explicit_bzero(t->at, t->len);
        free(t->at);
    }
    t->at = bigger;
    t->cap = cap;
    return true;
}

void text_add_bytes(struct text *t, const void *piece, size_t len)
{
    if (t->failed)
        return;
    if (t->cap - t->len <= len && !grow(t, t->len + len + 1)) {
        t->failed = true;
        return;
    }
    memcpy(t->at + t->len, piece, len);
    t->len += len;
    t->at[t->len] = '\0';
}

void text_add(struct text *t, const char *piece)
{
    text_add_bytes(t, piece, strlen(piece));
}

void text_add_escaped(struct text *t, const char *piece, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)piece[i];
        char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
        if (c && strchr(plain, c))
            text_add_bytes(t, &piece[i], 1);
        else
            text_add_bytes(t, escaped, sizeof(escaped));
    }
}

char *text_take(struct text *t)
{
    text_add_bytes(t, "", 0);
    char *out = STEAL(t->at);
    if (t->failed && out) {
        explicit_bzero(out, t->len);
        free(out);
        out = NULL;
    }
    *t = (struct text){0};
    return out;
}
