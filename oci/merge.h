/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers become one file system (OCI image-spec layer.md): the layers of an image are read once, bottom layer
 * first, straight into one read-only ext4 image. A later entry replaces an earlier one of the same path, a
 * whiteout takes away what lower layers have there, and the blocks of what is gone serve what comes next.
 * Nothing is ever extracted to the host: paths, links and symbolic links mean only the tree inside the image.
 *
 * The image depends on the layers and the parameters alone: the same input gives the same bytes.
 *
 * Where the specification leaves something open, the rule is that of `umoci unpack` as root, and the tests
 * compare with it:
 *   - names are cleaned as if the image's root were the world: "/x", "./x" and "../x" are "x";
 *   - symbolic links in the folders of a name are followed inside the image (at most 255), the last part
 *     never is;
 *   - a folder's entry over a folder replaces owner, mode, times and attributes and keeps the content; any
 *     other entry replaces what was there, a folder with all its content;
 *   - folders that no entry made are 0755, root's, dated 1970;
 *   - a whiteout takes away what lower layers put there, never what its own layer did, before or after it;
 *   - a hard link needs a target that is there and no folder;
 *   - sockets are left out, as tar does.
 * Refused instead of followed: a whiteout of the root, of "." or of "..", a path through a file.
 */
#ifndef CUBBY_OCI_MERGE_H
#define CUBBY_OCI_MERGE_H

#include "base/err.h"
#include "oci/inflate.h"
#include "oci/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct merge;

struct merge_params {
    const struct oci_limits *limits; /* NULL: the defaults; copied */
    uint8_t uuid[16];                /* of the file system: from the manifest's digest, say */
    char label[17];                  /* at most 16 bytes; "": "cubby-root" */
    time_t created;                  /* date of the file system itself, seconds since 1970 */
    /* Asked from the thread of merge_layer() between the pieces of a layer, and of merge_finish() between
     * folders; true ends them with -ECANCELED. */
    bool (*cancelled)(void *ctx);
    void *ctx;
};

struct merge_stats {
    uint64_t entries;  /* tar entries of all layers */
    uint64_t bytes_in; /* as they came, compressed */
    uint64_t bytes;    /* inflated */
};

/* Creates (or truncates) the file at `path`. */
int merge_create(struct merge **out, const char *path, const struct merge_params *p, struct err *e);

/*
 * Takes in one layer, to its end; the bottom one first. Reads `source` from a thread that ends with the call.
 * Besides what inflate_read() reports: OCI_E_FORMAT for a damaged tar or an entry that cannot be (named by
 * layer and path, unprintable bytes as \ooo), OCI_E_LIMIT, -ENOSPC, -ECANCELED, … After a failure the only
 * useful call is merge_abort().
 */
int merge_layer(struct merge *m, const struct layer_info *info, const struct byte_source *source,
                struct err *e);

void merge_get_stats(const struct merge *m, struct merge_stats *out);

/* Writes folders, tables and bitmaps and closes the file (without fsync). Frees `m` in any case; on failure
 * the file is removed. */
int merge_finish(struct merge *m, struct err *e);

/* Gives up and removes the file. Safe on NULL. */
void merge_abort(struct merge *m);

#endif
