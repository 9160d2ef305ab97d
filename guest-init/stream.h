/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of an execution: pipes (or a terminal) on one side, frames and credit on the other. Each has
 * credit of its own, so that a client which does not take one stream's bytes stalls only that one.
 * docs/protocol.md section 5.4.
 */
#ifndef CUBBY_GUEST_INIT_STREAM_H
#define CUBBY_GUEST_INIT_STREAM_H

#include "base/loop.h"
#include "base/ring.h"
#include "proto/msg.h"

struct conn;
struct keep;

/* Room for one data frame, header included; shared by all streams of a loop, used within one callback. */
struct stream_scratch {
    uint8_t frame[FRAME_HEADER + STREAM_CHUNK_MAX];
};

/* stdout or stderr: from the workload to the client. */
struct out_stream {
    struct loop *loop;
    struct loop_source src;
    struct stream_scratch *scratch;
    struct conn *conn; /* NULL: read and keep, or throw away */
    struct keep *keep; /* of a detached execution; NULL */
    int fd;            /* owned; -1 when closed */
    enum stream id;
    uint64_t credit;  /* bytes that the client still takes */
    size_t must_send; /* bytes that were in the pipe when the leader ended, not sent (or kept) yet */
    bool left;        /* the leader has ended */
    bool done;        /* STREAM_EOF was sent, or nobody is there to be told */
    bool ending;      /* the grace for those who hold the pipe is over */
    bool patient;     /* …and what must be sent waits for credit, however long */
    bool cut;         /* ended while others still held the pipe, or before all was sent */
    void (*on_done)(struct out_stream *s);
    void (*on_kept)(struct out_stream *s); /* `keep` has more bytes */
};

/* Takes `fd` (non-blocking) over; nothing is read before out_stream_go(). */
void out_stream_init(struct out_stream *s, struct loop *l, int fd, enum stream id, struct conn *conn,
                     struct stream_scratch *scratch);
/* Reads when there is credit and the connection is idle; waits otherwise. Call it when either may have
 * changed.
 */
void out_stream_go(struct out_stream *s);
/* Adds credit; out_stream_go() follows, unless nothing may be read yet. False when the client would hold more
 * than STREAM_WINDOW_MAX: a violation. */
bool out_stream_credit(struct out_stream *s, uint32_t bytes);
/* The leader has ended: what the pipe holds now is the last that is waited for. */
void out_stream_leader_gone(struct out_stream *s);
/*
 * The grace after that is over: ends the stream as soon as those bytes are sent, or, unless `patient`, as far
 * as there is credit. From then on what others write is thrown away, so that they are not killed by SIGPIPE.
 */
void out_stream_end(struct out_stream *s, bool patient);
/* The client is gone: reads on and throws away, until the end of the pipe. */
void out_stream_discard(struct out_stream *s);
void out_stream_fini(struct out_stream *s);

/* stdin: from the client to the workload. */
struct in_stream {
    struct loop *loop;
    struct loop_source src;
    struct conn *conn;
    int fd; /* owned; -1 when closed, or when no stdin was asked for */
    bool tty;
    bool eof;        /* the client sent STREAM_EOF */
    bool refused;    /* nobody reads any more… */
    bool told;       /* …and the client knows */
    uint32_t credit; /* bytes that the client may send now */
    uint32_t owed;   /* bytes passed on that no credit was given back for yet */
    struct ring buf; /* bytes that the workload did not take yet; no buffer while empty */
};

/* Takes `fd` (non-blocking) over, or -1 when no stdin was asked for. Bytes may come at once; the client hears
 * nothing of its stdin before in_stream_start(), which follows STARTED. */
void in_stream_init(struct in_stream *s, struct loop *l, int fd, bool tty);
void in_stream_start(struct in_stream *s, struct conn *conn);
/* True as long as a client can write it. */
bool in_stream_is_open(const struct in_stream *s);
/* While it is open, another client comes, or the first one after a while without: returns the credit that it
 * has. in_stream_start() follows. */
uint32_t in_stream_hand_over(struct in_stream *s);
/* Bytes or the end from the client. 0; -EPROTO when they exceed the credit or follow the end. */
int in_stream_put(struct in_stream *s, const void *data, size_t len);
int in_stream_eof(struct in_stream *s);
/* Nobody will read any more: tells the client (once), drops what is buffered. */
void in_stream_close(struct in_stream *s);
void in_stream_fini(struct in_stream *s);

#endif
