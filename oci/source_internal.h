/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of local sources share. */
#ifndef CUBBY_OCI_SOURCE_INTERNAL_H
#define CUBBY_OCI_SOURCE_INTERNAL_H

#include "oci/source.h"

#include <archive.h>

/* One source_load(). */
struct load {
    struct store_lease *lease;
    struct store *store;
    const struct source_options *opt;
    struct oci_limits limits;
    struct platform want;
    const char *path; /* as the user gave it */
    unsigned loaded;  /* images */
};

/* Where a layout's blobs are: a folder, or a tar whose blobs are in the store already. */
struct blob_supply {
    /* Brings the blob into the store, or sees that the source had it. */
    int (*bring)(void *context, const struct descriptor *d, struct err *e);
    void *context;
};

/* -ECANCELED when the user wants an end. */
int load_check_cancelled(const struct load *l, struct err *e);
/* The complete reference for an image that the source calls `said` (NULL: nothing): heap text in *out. */
int load_name(const struct load *l, const char *said, char **out, struct err *e);
/* False when the user selected another one. */
bool load_is_selected(const struct load *l, const char *name, const char *other_name);
/* Returns `ret`, which is about the blob `d`. A damaged one that the store had before is removed: then the
 * next load brings it. */
int load_told(const struct load *l, const struct digest *d, int ret);
/* Registers a manifest that is in the store, with all its blobs, as `name` (a complete reference). */
int load_register(struct load *l, const struct descriptor *manifest, const struct digest *source,
                  const char *name, struct err *e);
/* Puts a manifest of our own making into the store. */
int load_put_manifest(struct load *l, const struct manifest *m, struct descriptor *out, struct err *e);

int layout_check_version(const char *text, size_t len, struct err *e);
/* The images that a layout's index.json lists. */
int layout_load(struct load *l, const char *index, size_t len, const struct blob_supply *supply,
                struct err *e);
/* A layout in a folder. */
int layout_load_folder(struct load *l, int dir, struct err *e);

/* A reader of what `format` understands (archive_read_support_format_…), plain, gzip or zstd, on `fd`, which
 * may be a pipe that stalls: cancelling ends its reads. NULL without memory. */
struct archive *source_reader(const struct load *l, int fd, int (*format)(struct archive *));
/* The same, of tars. */
struct archive *tar_reader(const struct load *l, int fd);
/* Says what libarchive says, or that the load was cancelled. */
int tar_error(const struct load *l, struct archive *a, struct err *e);
/* For CLEANUP. */
void tar_reader_closep(struct archive **a);
/* The entry's data from now on into the writer. */
int tar_copy(const struct load *l, struct archive *a, struct blob_writer *w, struct err *e);

/* A tar of images. */
int archive_load(struct load *l, int fd, struct err *e);

/* A file of an archive that `docker save` wrote. */
struct archived {
    char *name;
    struct descriptor blob; /* in the store, of no media type yet; or unset, then it is a link: */
    char *target;
};
/* The file of that name, links followed, or NULL. */
typedef const struct archived *archived_find_fn(void *context, const char *name);
/* The images that manifest.json of `docker save` lists. */
int docker_load(struct load *l, const char *list, size_t len, archived_find_fn *find, void *context,
                struct err *e);

/* A root file system, as a tar or a folder, becomes an image of one layer. */
int rootfs_load_tar(struct load *l, int fd, struct err *e);
int rootfs_load_folder(struct load *l, int dir, struct err *e);

#endif
