/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root file system image from a folder: what `cubby run --rootfs DIR` boots, and how the default image is
 * made.
 */
#ifndef CUBBY_OCI_ROOTFS_H
#define CUBBY_OCI_ROOTFS_H

#include "base/err.h"

#include <stdbool.h>
#include <time.h>

struct rootfs_options {
    bool all_root; /* everything belongs to root:root in the image, as with fakeroot; for callers who are not
                      root */
    bool fixed_times;  /* every object is dated `date`, so that the same files give the same bytes */
    time_t date;       /* seconds since 1970 */
    const char *label; /* of the file system, at most 16 bytes; NULL: "cubby-root" */
    bool (*cancelled)(void *context); /* asked now and then; true gives up with -ECANCELED; NULL: never */
    void *context;
};

/*
 * Writes the tree below `dir` to a new ext4 image at `image_path`: types, modes, owners, times, symbolic and
 * hard links, devices, extended attributes, holes. Other file systems mounted below are included; sockets are
 * left out. The tree must not change meanwhile: a file that shrinks or vanishes is an error. `opt` may be
 * NULL.
 *
 * 0, or a negative errno: -ENOTDIR when `dir` is not a folder, -EACCES for an unreadable file (named),
 * -ENOSPC, … On failure no image is left behind.
 */
int rootfs_image_from_dir(const char *dir, const char *image_path, const struct rootfs_options *opt,
                          struct err *e);

#endif
