/* SPDX-License-Identifier: Apache-2.0 */
/* Inside proto/: parts that several messages have. */
#ifndef CUBBY_PROTO_TEXT_H
#define CUBBY_PROTO_TEXT_H

#include "proto/msg.h"

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

/* The 48 bytes of an EXITED, which ITEM has too. read_exited() returns whether its reserved byte is 0;
 * exited_valid() whether the end of a process makes sense: exited means no signal, killed means one. */
void write_exited(struct writer *w, const struct msg_exited *m);
bool read_exited(struct reader *r, struct msg_exited *m);
bool exited_valid(const struct msg_exited *m);

#endif
