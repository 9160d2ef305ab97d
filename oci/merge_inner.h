/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the merge, shared by its own files only (oci/merge*.c). */
#ifndef CUBBY_OCI_MERGE_INNER_H
#define CUBBY_OCI_MERGE_INNER_H

#include "oci/ext4.h"
#include "oci/merge.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#define LINKS_MAX 255u /* symbolic links followed for one path */

struct merge {
    struct ext4_image *img;
    struct tree *tree; /* the image's */
    struct oci_limits limits;
    struct merge_params params;
    struct merge_stats stats;
    locale_t locale;       /* "C": libarchive must not convert names */
    uint16_t layer;        /* the number of the present one, from 1; the stamp of nodes that it touched */
    uint64_t folders_made; /* that no entry names; they count as entries do */
    uint64_t steps;        /* of looking up and pruning, by all entries: bounded, see merge_step() */

    /* Buffers for one path (oci/merge_path.c). */
    char *clean, *target, *walk, *missing;
    size_t walk_size;
};

/* The layer that is being read. */
struct layer {
    struct merge *m;
    struct inflate *in;
    struct archive *tar;
    const struct layer_info *info;
    struct err err;       /* why read_piece() gave up */
    bool in_header;       /* libarchive is reading headers */
    bool padded;          /* read_piece() has filled the last record up */
    uint64_t header_left; /* bytes it may still ask for */
};

/* A cleaned path with its last part apart. */
struct place {
    const char *folders; /* "a/b", folders_len bytes, or "" */
    size_t folders_len;
    const char *name; /* NUL-terminated; "" for the root itself */
    uint32_t folder;  /* what path_resolve() found; TREE_NONE: it is not there, and was not made */
};

/* Counts a step; OCI_E_LIMIT when all entries together have taken more than honest layers do. */
int merge_step(struct merge *m, struct err *e);

/* OCI_E_LIMIT when there are more entries, and folders made on their way, than are allowed. */
int merge_count(const struct merge *m, struct err *e);

/* --- oci/merge_path.c --- */

int path_buffers_create(struct merge *m, struct err *e);
void path_buffers_destroy(struct merge *m);
/* Cleans `path` into `buf` (m->clean or m->target), where the place's strings are from then on. */
int path_clean(const struct merge *m, const char *path, char *buf, struct place *out, struct err *e);
/* Finds the folder of the place inside the image. With `make`, folders that are missing are made. */
int path_resolve(struct merge *m, struct place *at, bool make, struct err *e);
/* --- oci/merge_entry.c --- */

/* Takes in the entry that libarchive has just read the header of. */
int merge_entry(struct layer *l, struct archive_entry *entry, struct err *e);

/* --- oci/merge_attr.c --- */

/* Sets the extended attributes and access control lists of an object that has none. */
int merge_attributes(struct merge *m, struct archive_entry *entry, uint32_t node, struct err *e);

#endif
