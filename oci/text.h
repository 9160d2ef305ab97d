/* SPDX-License-Identifier: Apache-2.0 */
/* A text that is put together piece by piece on the heap. A piece for which there is no memory is remembered
 * and told at the end, so that pieces are added without a check each. */
#ifndef CUBBY_OCI_TEXT_H
#define CUBBY_OCI_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *at; /* NUL-terminated; NULL while empty */
    size_t len, cap;
    bool failed;
};

void text_add(struct text *t, const char *piece);
void text_add_bytes(struct text *t, const void *piece, size_t len);
/* With what has a meaning in a URL's query as %XX (RFC 3986 §2.3). */
void text_add_escaped(struct text *t, const char *piece, size_t len);
/* The text, which is the caller's to free now, or NULL when there was no memory. Wipes and frees what there
 * was then. Never NULL for an empty text. */
char *text_take(struct text *t);

#endif
