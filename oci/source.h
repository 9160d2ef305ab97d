/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images from local files into the store:
 *
 *   - an OCI image layout (image-spec image-layout.md), as a folder or a tar;
 *   - what `docker save` writes: the old form (manifest.json and a tar per layer) and the new one, which is
 * an OCI layout;
 *   - a plain root file system, as a tar or a folder: it becomes an image of one layer.
 *
 * Tars may be compressed with gzip or zstd. They are read once, front to back, nothing is unpacked: a tar may
 * come from a pipe. Every blob goes into the store under the digest that its bytes have.
 *
 * Names: an image is stored under the name that the archive gives it. Where that is a bare tag, or nothing,
 * it is localhost/<the file's name without ending>:<tag or latest>.
 */
#ifndef CUBBY_OCI_SOURCE_H
#define CUBBY_OCI_SOURCE_H

#include "base/err.h"
#include "oci/limits.h"
#include "oci/platform.h"
#include "oci/store.h"

enum source_kind {
    SOURCE_AUTO, /* a folder with a file oci-layout, or a tar whose first entry is one of an archive's, is of
                    images; other folders and tars are root file systems */
    SOURCE_IMAGES, /* layout or docker save */
    SOURCE_ROOTFS,
};

/* Zeroed: everything by default, but for `cancel_fd`, which is -1 for never. */
struct source_options {
    enum source_kind kind;
    const struct platform
        *platform; /* wanted; NULL: the host's where there is a choice, else what there is */
    const struct oci_limits *limits; /* NULL: the defaults */
    const char *name;                /* store the image under this reference; there must be one image only */
    const char *select;              /* of several images the one that the archive calls so, in full or in
                                        short ("app" for docker.io/library/app:latest); NULL: all */
    int cancel_fd;                   /* readable: give up with -ECANCELED */
    void (*loaded)(void *context, const struct image_ref *r); /* told of each image; may be NULL */
    void *context;
};

/*
 * Loads the images of the file or folder `path` ("-" is standard input; what comes from a pipe cannot be
 * looked at twice, SOURCE_AUTO takes it for images). 0, or OCI_E_FORMAT, OCI_E_DIGEST, OCI_E_LIMIT,
 * OCI_E_UNSUPPORTED, OCI_E_NOT_FOUND (something is missing inside, or nothing is called `select`),
 * OCI_E_AMBIGUOUS, OCI_E_PLATFORM, OCI_E_REFERENCE, or a negative errno; the text begins with the path.
 * Images that were told of before a failure stay.
 */
int source_load(struct store_lease *l, const char *path, const struct source_options *o, struct err *e);

#endif
