/* SPDX-License-Identifier: Apache-2.0 */
/* Inside proto/: the bodies of frames, and the texts at their end. */
#ifndef CUBBY_PROTO_TEXT_H
#define CUBBY_PROTO_TEXT_H

#include "proto/frame.h"

/* A cursor over a frame's payload. */
struct reader frame_body(const struct frame *f);

/*
 * The rest of the payload as one line of at most `max` bytes; out has max + 1. Texts come from a side that
 * may be hostile and end in somebody's terminal: control characters are replaced by '?'. Longer ones leave
 * bytes unread, which reader_done() then reports.
 */
void read_text(struct reader *r, char *out, size_t max);

/* At most `max` bytes of the string, without its NUL. */
void write_text(struct writer *w, const char *text, size_t max);

#endif
