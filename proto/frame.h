/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: the unit of everything that host and guest say to each other (docs/protocol.md section 3).
 *
 *     offset 0  u32  length of the payload in bytes, little-endian
 *            4  u8   type (enum frame_type)
 *            5  u8   flags, 0 in version 1
 *            6  u16  reserved, 0
 *            8  …    payload
 *
 * Each type has bounds for its payload and a direction; both are checked as soon as the header is there, so
 * a peer cannot make the other side wait for, or store, what it would refuse anyway.
 */
#ifndef CUBBY_PROTO_FRAME_H
#define CUBBY_PROTO_FRAME_H

#include "base/cursor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER 8

#define STREAM_CHUNK_MAX  65536u           /* payload bytes of one STDIN, STDOUT or STDERR frame */
#define EXEC_PAYLOAD_MAX  (2u << 20)       /* payload bytes of an EXEC frame */
#define FRAME_PAYLOAD_MAX EXEC_PAYLOAD_MAX /* no type allows more */
#define MSG_TEXT_MAX      1024u            /* bytes of a sentence for people, in ERROR, BYE and EVENT */

enum frame_type {
    /* every connection */
    FRAME_HELLO = 0x01, /* both: magic and versions; the first frame of each side */
    FRAME_ERROR = 0x02, /* guest → host: the operation failed; the connection ends */

    /* an execution */
    FRAME_EXEC = 0x10,       /* host → guest: what to run */
    FRAME_STDIN = 0x11,      /* host → guest: bytes */
    FRAME_SIGNAL = 0x12,     /* host → guest */
    FRAME_KILL = 0x13,       /* host → guest: SIGKILL to the whole tree */
    FRAME_RESIZE = 0x14,     /* host → guest: the terminal's new size */
    FRAME_STREAM_EOF = 0x18, /* both: no more bytes follow on this stream */
    FRAME_WINDOW = 0x19,     /* both: credit for a stream */
    FRAME_STARTED = 0x20,    /* guest → host: execve() succeeded */
    FRAME_STDOUT = 0x21,     /* guest → host: bytes */
    FRAME_STDERR = 0x22,     /* guest → host: bytes */
    FRAME_EXITED = 0x23,     /* guest → host: how it ended; the last frame */

    /* detached executions */
    FRAME_LIST = 0x30,     /* host → guest: which executions are there? */
    FRAME_ATTACH = 0x31,   /* host → guest: become a client of one */
    FRAME_REMOVE = 0x32,   /* host → guest: forget one, answered by EXITED */
    FRAME_ITEM = 0x38,     /* guest → host: one execution */
    FRAME_LIST_END = 0x39, /* guest → host: those were all; the last frame */
    FRAME_ATTACHED = 0x3a, /* guest → host: answers ATTACH */
    FRAME_SKIPPED = 0x3b,  /* guest → host: bytes of a stream that are lost to this client */

    /* 0x40-0x4f: files. Not in use yet: refused. */

    /* the control connection */
    FRAME_READY = 0x60,    /* guest → host: executions can be served */
    FRAME_SHUTDOWN = 0x61, /* host → guest: end everything, sync, power off */
    FRAME_PING = 0x62,     /* host → guest */
    FRAME_PONG = 0x63,     /* guest → host */
    FRAME_BYE = 0x64,      /* guest → host: the last word before the machine goes */
    FRAME_EVENT = 0x65,    /* guest → host: something that no execution's result tells */
};

/* Which side sent a frame. Bits, because some types go both ways. */
enum frame_from {
    FRAME_FROM_HOST = 1,
    FRAME_FROM_GUEST = 2,
};

struct frame {
    uint8_t type;
    uint32_t len;
    const uint8_t *payload; /* len bytes, inside the reader's buffer */
};

/* "EXEC", "STDOUT"…, "?" for a type that is not known. Never NULL. */
const char *frame_name(uint8_t type);

/*
 * Checks a header that arrived from `from`. 0; -EPROTO for an unknown type, one of the wrong direction, a set
 * flag or reserved bit; -EMSGSIZE for a payload outside the type's bounds. On success fills type and len.
 */
int frame_header_check(const uint8_t header[FRAME_HEADER], enum frame_from from, struct frame *f);

/*
 * The incremental reader over a byte stream. Its buffer starts small and grows only when it is full of bytes
 * that did arrive, up to one largest frame; it is given back when a large frame is done with. One owner, not
 * thread-safe.
 *
 *     frame_reader_space(&r, &p, &room);  n = read(fd, p, room);  frame_reader_filled(&r, n);
 *     while ((ret = frame_reader_next(&r, &f)) > 0) handle(&f);
 */
struct frame_reader {
    uint8_t *buf;
    size_t cap, start, end; /* unread bytes are buf[start, end) */
    enum frame_from from;
};

void frame_reader_init(struct frame_reader *r, enum frame_from from);
/* Frees the buffer; safe on a zeroed one and twice. */
void frame_reader_fini(struct frame_reader *r);

/* Where to put the next bytes (at least one fits). Invalidates frames handed out before. 0 or -ENOMEM. To be
 * called only after frame_reader_next() has returned 0. */
int frame_reader_space(struct frame_reader *r, uint8_t **at, size_t *room);
void frame_reader_filled(struct frame_reader *r, size_t len);

/*
 * 1 with the next whole frame in *f (valid until the next call of frame_reader_space() or _fini()), 0 when
 * more bytes are needed, or what frame_header_check() returns: the stream cannot be followed any further.
 */
int frame_reader_next(struct frame_reader *r, struct frame *f);

/* True while the stream ends inside a frame: an end of file here is the peer's fault. */
bool frame_reader_partial(const struct frame_reader *r);

/* Writes a header for `len` payload bytes. The length is the caller's to keep in bounds. */
void frame_header_put(uint8_t header[FRAME_HEADER], enum frame_type type, uint32_t len);

/*
 * Writing a whole frame into a buffer: frame_begin() leaves room for the header, frame_end() fills it in.
 * frame_end() returns the frame's length, or 0 when the writer failed (the buffer was too small).
 */
struct writer frame_begin(void *buf, size_t cap);
size_t frame_end(struct writer *w, enum frame_type type);

#endif
