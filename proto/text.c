/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see text.h; a text is cut or cleaned byte by byte, whatever its encoding. */
#include "proto/text.h"

#include <string.h>

void read_text(struct reader *r, char *out, size_t max)
{
    size_t len = reader_left(r) < max ? reader_left(r) : max;
    const uint8_t *text = read_bytes(r, len);
    if (!text)
        len = 0; /* an earlier field failed */
    for (size_t i = 0; i < len; i++)
        out[i] = text[i] < 0x20 || text[i] == 0x7f ? '?' : (char)text[i];
    out[len] = '\0';
}

void write_text(struct writer *w, const char *text, size_t max)
{
    write_bytes(w, text, strnlen(text, max));
}

struct reader frame_body(const struct frame *f)
{
    return reader_of(f->payload, f->len);
}
