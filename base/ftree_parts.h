/* SPDX-License-Identifier: Apache-2.0 */
/* Inside base/ftree_*.c: what reader and writer share. */
#ifndef CUBBY_BASE_FTREE_PARTS_H
#define CUBBY_BASE_FTREE_PARTS_H

#include "base/ftree.h"

#include <sys/stat.h>

#define FTREE_PROC_MAX  32
#define FTREE_SHOWN_MAX 400 /* of a path in an error: longer ones lose their beginning */

/* A path of /proc that stands for the object itself, whatever it is: also for one that was opened with O_PATH
 * alone, and for a symbolic link, which is not followed. */
void ftree_proc_path(int fd, char path[FTREE_PROC_MAX]);

/* "root/path" for an error, in at most FTREE_SHOWN_MAX - 1 bytes. Returns `shown`. */
const char *ftree_show(char shown[FTREE_SHOWN_MAX], const char *root, const char *path);

/* Whether the object is of a file system whose files are made up as they are read: their sizes are not true,
 * some of them never end. */
bool ftree_made_up(int fd);

/* The names in a folder but "." and "..", sorted by their bytes. Zero-initialised is empty. */
struct ftree_names {
    char **list;
    size_t count;
};

/* Reads them into the empty *n, whatever it returns to be given back. 0 or a negative errno. */
int ftree_names_read(struct ftree_names *n, int dir);
void ftree_names_fini(struct ftree_names *n);

/*
 * Files by device and inode number, each with a text of its own (or none). At most FTREE_LINKS_MAX.
 * Zero-initialised is empty.
 */
struct ftree_links {
    struct ftree_link *slots;
    size_t cap, count;
};

struct ftree_link {
    dev_t dev;
    ino_t ino; /* 0: a free slot */
    char *path;
};

/* NULL when it is not there. */
const struct ftree_link *ftree_links_find(const struct ftree_links *l, const struct stat *st);
/* Adds one that is not there yet; copies `path`, which may be NULL. 0, -ENOMEM, or -E2BIG when full
 * (or the file has no inode number). */
int ftree_links_add(struct ftree_links *l, const struct stat *st, const char *path);
void ftree_links_fini(struct ftree_links *l);

#endif
