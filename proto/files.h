/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a file transfer (docs/protocol.md section 8): one PUT or GET per connection, then the entries
 * of a tree (base/ftree.h) in one direction. Encoders and decoders as in proto/msg.h; FILES_FRAME_MAX always
 * fits. Names and paths are bytes: anything but NUL, and '/' between components.
 */
#ifndef CUBBY_PROTO_FILES_H
#define CUBBY_PROTO_FILES_H

#include "base/ftree.h"
#include "proto/frame.h"

#define PUT_FIXED   8u  /* payload bytes in front of the strings */
#define ENTRY_FIXED 42u /* likewise */
#define TOTALS_SIZE 32u
#define OWNER_MAX   255u

#define FILES_FRAME_MAX (FRAME_HEADER + 1u + FTREE_NAME_MAX + FTREE_XATTR_MAX)

enum put_flags {
    PUT_ARCHIVE = 1 << 0,    /* owners, set-id bits, devices and privileged xattrs as sent */
    PUT_CONTENTS = 1 << 1,   /* an existing folder takes what is in the root, not the root */
    PUT_NO_REPLACE = 1 << 2, /* whatever exists and is no folder is an error */
    PUT_FLAGS_ALL = (1 << 3) - 1,
};
struct msg_put {
    uint32_t flags;            /* enum put_flags */
    char owner[OWNER_MAX + 1]; /* "name|uid[:group|gid]" for all; "": root. Not with PUT_ARCHIVE */
    char name[FTREE_NAME_MAX +
              1]; /* one component: the root's, in an existing folder; "" only with CONTENTS */
    char path[FTREE_PATH_MAX + 1]; /* absolute */
};
size_t msg_put_encode(const struct msg_put *m, void *buf, size_t cap);
int msg_put_decode(const struct frame *f, struct msg_put *m);

enum get_flags {
    GET_ARCHIVE = 1 << 0, /* devices and privileged xattrs, too */
    GET_FOLLOW = 1 << 1,  /* a symbolic link at the end of the path is followed */
    GET_FLAGS_ALL = (1 << 2) - 1,
};
struct msg_get {
    uint32_t flags;
    char path[FTREE_PATH_MAX + 1]; /* absolute */
};
size_t msg_get_encode(const struct msg_get *m, void *buf, size_t cap);
int msg_get_decode(const struct frame *f, struct msg_get *m);

/* Whether an entry may come where it does, and whether a hard link's target is there, is the writer's to say.
 */
size_t msg_entry_encode(const struct ftree_entry *en, void *buf, size_t cap);
int msg_entry_decode(const struct frame *f, struct ftree_entry *en);

struct msg_data {
    uint64_t offset;
    const uint8_t *bytes; /* inside the frame; 1 to FTREE_CHUNK */
    size_t len;
};
size_t msg_data_encode(const struct msg_data *m, void *buf, size_t cap);
int msg_data_decode(const struct frame *f, struct msg_data *m);

struct msg_xattr {
    char name[FTREE_NAME_MAX + 1];
    const uint8_t *value; /* inside the frame; may have no byte */
    size_t len;
};
size_t msg_xattr_encode(const struct msg_xattr *m, void *buf, size_t cap);
int msg_xattr_decode(const struct frame *f, struct msg_xattr *m);

/* END and DONE: `type` says which. */
size_t msg_totals_encode(enum frame_type type, const struct ftree_totals *m, void *buf, size_t cap);
int msg_totals_decode(const struct frame *f, struct ftree_totals *m);

#endif
