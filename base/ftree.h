/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of files as a sequence of entries, for copies between host and guest: a reader that walks a tree and
 * hands the entries out, and a writer that makes a tree of them. Both sides run both, so what protects the
 * host from a hostile guest protects the guest's files from its own users as well. (In base/, because host
 * and guest share it and no wire format is in it; proto/transfer.h turns entries into frames and back.)
 *
 * The order: the first entry is the root, with the empty path. A folder comes before what is in it, and
 * FTREE_LEAVE, which carries its mode, owner, time and xattrs, after; so neither side has to remember
 * folders. A file's data follows its entry, then its xattrs. A file is in place, under its name, when the
 * next entry comes.
 */
#ifndef CUBBY_BASE_FTREE_H
#define CUBBY_BASE_FTREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FTREE_PATH_MAX  4095u   /* bytes of a path below the root, and of a symlink's target */
#define FTREE_NAME_MAX  255u    /* bytes of one component, and of an xattr's name */
#define FTREE_CHUNK     65536u  /* bytes of data handed over at once */
#define FTREE_XATTR_MAX 65536u  /* bytes of an xattr's value: Linux's XATTR_SIZE_MAX */
#define FTREE_LINKS_MAX 262144u /* files with several names that one copy keeps in mind */

enum ftree_type {
    FTREE_FILE = 1,
    FTREE_DIR,     /* begins: what is in it follows */
    FTREE_LEAVE,   /* the same folder ends: its mode, owner, time */
    FTREE_SYMLINK, /* target: its text, any bytes */
    FTREE_LINK,    /* one more name of a file that this copy made: target is that file's path */
    FTREE_CHAR,
    FTREE_BLOCK,
    FTREE_FIFO,
    FTREE_TYPES
};

struct ftree_entry {
    uint8_t type;  /* enum ftree_type */
    bool linked;   /* FTREE_FILE: it has other names, FTREE_LINK may follow */
    uint16_t mode; /* the low 12 bits of st_mode */
    uint32_t uid, gid;
    int64_t mtime_s;
    uint32_t mtime_ns;             /* below 10^9 */
    uint64_t size;                 /* FTREE_FILE: bytes, holes included */
    uint32_t dev_major, dev_minor; /* of the two devices */
    char path[FTREE_PATH_MAX + 1]; /* relative to the root: "" or as ftree_path_valid() wants it */
    char target[FTREE_PATH_MAX + 1];
};

struct ftree_totals {
    uint64_t entries;     /* files, folders, links, … */
    uint64_t bytes;       /* of data; holes do not count */
    uint64_t skipped;     /* what was left out: sockets; devices and what is in /proc and its like */
    uint64_t xattrs_lost; /* that the file system cannot hold */
};

/* True for a relative path of non-empty components, none of them "." or "..", all within their bounds. */
bool ftree_path_valid(const char *path);

/*
 * Opens `path` (valid, or "" for `root` itself) below the folder `root`, following no symbolic link and
 * leaving `root` by no way. A descriptor, close-on-exec, or a negative errno; -ELOOP or -ENOTDIR where a link
 * is in the way. The second does the same one component at a time, for kernels without openat2(2), to which
 * the first resorts.
 */
int ftree_open_below(int root, const char *path, int flags);
int ftree_open_stepwise(int root, const char *path, int flags);

/*
 * Which xattrs are copied at all: "user."; with `archive` also capabilities, ACLs and "trusted." but
 * overlayfs's own, whose meaning is the machine's. Labels of security modules belong to a machine, too.
 */
bool ftree_xattr_wanted(const char *name, bool archive);

/* --- reading --- */

struct ftree_source {
    const char *path;
    bool follow;  /* if the path's last component is a symbolic link: what it points to */
    bool archive; /* devices and privileged xattrs, too */
};

/* Who takes what is read. Each returns 0, or a negative errno that ends the walk. */
struct ftree_sink {
    int (*entry)(struct ftree_sink *s, const struct ftree_entry *en);
    int (*data)(struct ftree_sink *s, uint64_t offset, const void *data, size_t len);
    int (*xattr)(struct ftree_sink *s, const char *name, const void *value, size_t len);
};

/*
 * Reads a file or a tree. 0, or a negative errno: of the sink, which *e says nothing about, or of the source
 * with the path in *e. Adds up *totals. Opens three descriptors at most, at any depth.
 *
 * Sockets are skipped, and what vanishes while it is read. A file that shrinks is an error (-ESTALE), and one
 * that grows is read as long as it was. A folder that is renamed meanwhile is read on under its old name; one
 * that is moved out of its parent is read, and then an error (-ESTALE) if the parent moved as well. Of file
 * systems that the kernel makes up (/proc, /sys, …) a folder is read as empty and a file is skipped; as the
 * source itself they are refused (-EOPNOTSUPP).
 */
int ftree_read(const struct ftree_source *src, struct ftree_sink *sink, struct ftree_totals *totals,
               struct err *e);

/* --- writing --- */

/*
 * Where a tree is written to, by the rules of cp(1): an existing folder takes the root under `name`, or with
 * `contents` takes what is in the root; else the last component of `path` is the root's name, in a folder
 * that exists. Symbolic links of `path` are followed, but the last component only to a folder, and with
 * `nofollow` not at all unless a '/' is behind it; below it none is.
 */
struct ftree_target {
    const char *path; /* not empty */
    const char *name; /* one component; may be "" with `contents` */
    bool contents;    /* then a root that is no folder is an error (-ENOTDIR) */
    bool nofollow;    /* a link to a folder at the end of `path` is an error (-ENOTDIR) */
    bool no_replace;  /* whatever exists and is no folder is an error (-EEXIST) */
    bool archive;     /* owners, set-id bits, devices, privileged xattrs; else devices are skipped */
    bool owned;       /* without `archive`: everything belongs to uid and gid */
    uid_t uid;
    gid_t gid;
};

struct ftree_writer;

/*
 * Regular files, links and devices are made under a temporary name beside their own, and renamed when they
 * are whole: a copy that is cut off leaves the old file or the new one. What `target` points to must outlive
 * the writer. Nothing is opened or made before the first entry. 0 or -ENOMEM.
 */
int ftree_writer_create(struct ftree_writer **out, const struct ftree_target *target, struct err *e);

/*
 * In the order that the top of this header demands. 0, or a negative errno with the path in *e; nothing but
 * ftree_writer_destroy() may follow that. -EPROTO: the sequence is wrong, or a path leads out of the tree.
 */
int ftree_writer_entry(struct ftree_writer *w, const struct ftree_entry *en, struct err *e);
int ftree_writer_data(struct ftree_writer *w, uint64_t offset, const void *data, size_t len, struct err *e);
int ftree_writer_xattr(struct ftree_writer *w, const char *name, const void *value, size_t len,
                       struct err *e);
/* All entries came. */
int ftree_writer_finish(struct ftree_writer *w, struct err *e);

const struct ftree_totals *ftree_writer_totals(const struct ftree_writer *w);

/* Removes what is not whole; what is in place stays. Safe on NULL. */
void ftree_writer_destroy(struct ftree_writer *w);

#endif
