/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detached executions (docs/protocol.md sections 5.8 to 5.10): how a host lists them, attaches to one, hears
 * of what it missed, and removes one. Encoders and decoders as in proto/msg.h.
 */
#ifndef CUBBY_PROTO_DETACHED_H
#define CUBBY_PROTO_DETACHED_H

#include "proto/msg.h"

/* Bytes that are kept of each output stream when EXEC does not say how many. */
#define BACKLOG_DEFAULT 65536u

/* What an execution is, in ATTACHED and ITEM. */
enum item_flags {
    ITEM_DETACHED = 1 << 0,
    ITEM_TTY = 1 << 1,
    ITEM_STDIN = 1 << 2,      /* its stdin still takes bytes of a client */
    ITEM_STDIN_HELD = 1 << 3, /* and a client holds it */
    ITEM_STDOUT = 1 << 4,     /* this stream was asked for */
    ITEM_STDERR = 1 << 5,
    ITEM_FLAGS_ALL = (1 << 6) - 1,
};

enum item_state {
    ITEM_RUNNING = 1,
    ITEM_ENDED, /* its result is known */
};

/* --- ATTACH --- */
enum attach_flags {
    ATTACH_STDIN = 1 << 0,  /* the client will write stdin */
    ATTACH_STDOUT = 1 << 1, /* it wants this stream */
    ATTACH_STDERR = 1 << 2,
    ATTACH_TAKE_STDIN = 1 << 3, /* with STDIN: from the client that holds it, if need be */
    ATTACH_FLAGS_ALL = (1 << 4) - 1,
};
#define ATTACH_FROM_NOW UINT64_MAX
struct msg_attach {
    uint64_t exec_id; /* ≥ 1 */
    uint64_t
        from[2]; /* stdout, stderr: offset of the first byte wanted; beyond the last one means what comes */
    uint32_t flags;     /* enum attach_flags */
    uint32_t window[2]; /* initial credit, at most STREAM_WINDOW_MAX */
};
size_t msg_attach_encode(const struct msg_attach *m, void *buf, size_t cap);
int msg_attach_decode(const struct frame *f, struct msg_attach *m);

/* --- ATTACHED --- */
struct msg_attached {
    uint64_t exec_id;
    uint64_t from[2];      /* offsets at which the client's streams begin */
    uint32_t pid;          /* of the leader */
    uint32_t stdin_credit; /* at most STDIN_WINDOW */
    uint32_t flags;        /* enum item_flags */
    uint8_t state;         /* enum item_state */
};
size_t msg_attached_encode(const struct msg_attached *m, void *buf, size_t cap);
int msg_attached_decode(const struct frame *f, struct msg_attached *m);

/* --- SKIPPED --- */
struct msg_skipped {
    uint8_t stream; /* STREAM_STDOUT or STREAM_STDERR */
    uint64_t bytes; /* ≥ 1: lost to this client, at this place of the stream */
};
size_t msg_skipped_encode(const struct msg_skipped *m, void *buf, size_t cap);
int msg_skipped_decode(const struct frame *f, struct msg_skipped *m);

/* --- REMOVE --- */
enum remove_flags {
    REMOVE_KILL = 1 << 0, /* a running one is killed first; else it is an error */
    REMOVE_FLAGS_ALL = (1 << 1) - 1,
};
struct msg_remove {
    uint64_t exec_id;
    uint32_t flags; /* enum remove_flags */
};
size_t msg_remove_encode(const struct msg_remove *m, void *buf, size_t cap);
int msg_remove_decode(const struct frame *f, struct msg_remove *m);

/* --- LIST, ITEM, LIST_END --- */
#define ITEM_COMMAND_MAX 256u
struct msg_item {
    uint64_t exec_id;
    uint64_t age_ns; /* since STARTED */
    uint32_t pid;
    uint32_t flags;                     /* enum item_flags */
    uint8_t state;                      /* enum item_state */
    struct msg_exited result;           /* of an ended one; else zeroes */
    char command[ITEM_COMMAND_MAX + 1]; /* the arguments with blanks between them, cut */
};
size_t msg_list_encode(void *buf, size_t cap);
size_t msg_item_encode(const struct msg_item *m, void *buf, size_t cap);
int msg_item_decode(const struct frame *f, struct msg_item *m);
size_t msg_list_end_encode(uint32_t count, void *buf, size_t cap);
int msg_list_end_decode(const struct frame *f, uint32_t *count);

#endif
