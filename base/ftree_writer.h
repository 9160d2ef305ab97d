/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of files that is being written, from the inside: for base/ftree_write.c and base/ftree_make.c. */
#ifndef CUBBY_BASE_FTREE_WRITER_H
#define CUBBY_BASE_FTREE_WRITER_H

#include "base/ftree_parts.h"
#include "base/ftree_place.h"

#include <stdbool.h>
#include <stdint.h>

#define FTREE_TEMP_MAX 32

/* What the present entry still waits for. */
enum ftree_phase {
    FTREE_PHASE_NONE,  /* nothing: it was a folder, a link, or skipped */
    FTREE_PHASE_DATA,  /* a file: data, then xattrs */
    FTREE_PHASE_ATTRS, /* xattrs; owner and mode are set */
};

struct ftree_writer {
    const struct ftree_target *to;
    struct ftree_place place;
    bool placed;
    int root;                           /* the root, when it is a folder that was not left yet; -1 */
    int open_fd;                        /* the folder that was entered last and not left; -1: by its path */
    char open_path[FTREE_PATH_MAX + 1]; /* its path: what all entries but FTREE_LEAVE are in */

    struct ftree_entry entry; /* the present one */
    enum ftree_phase phase;
    bool skip;                 /* its xattrs are thrown away */
    int fd;                    /* the object */
    char temp[FTREE_TEMP_MAX]; /* its temporary name in its folder; "" when there is none */
    uint64_t data_end;         /* where the next data may begin */
    struct ftree_links made;   /* files that FTREE_LINK may name */
    struct ftree_totals totals;
};

/* "cannot <what> '<path>': <why>", the path of the present entry as the user knows it; `why` NULL: the errno.
 * Return `code`, and -EPROTO. */
int ftree_fail(const struct ftree_writer *w, int code, const char *what, const char *why, struct err *e);
int ftree_violation(const struct ftree_writer *w, const char *why, struct err *e);

/* Its name in its folder. */
const char *ftree_entry_name(const struct ftree_writer *w);

/* Makes the present entry in the folder `dir`, where it belongs: a folder under its own name, which becomes
 * the open one, anything else under a temporary name, with its phase set. 0 or a negative errno. */
int ftree_make_folder(struct ftree_writer *w, int dir, struct err *e);
int ftree_make_object(struct ftree_writer *w, int dir, struct err *e);

/* Of the object that is open. */
int ftree_set_owner_and_mode(struct ftree_writer *w, struct err *e);

#endif
