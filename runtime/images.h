/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images of a home from the inside: the store, and how registries are reached.
 *
 * Locking: what is here does not change after cubby_images_open(); the store has its own locks.
 */
#ifndef CUBBY_RUNTIME_IMAGES_H
#define CUBBY_RUNTIME_IMAGES_H

#include "cubby.h"
#include "oci/oci_config.h"
#include "oci/platform.h"
#include "oci/pull.h"
#include "oci/store.h"

struct cubby_images {
    struct store *store;
    struct oci_config config;
};

/* The platform that a caller named; NULL: the host's. CUBBY_EARGUMENT. */
int images_platform(const char *text, struct platform *out, struct cubby_error *error);

/* Looks for an image that is there: by reference, else by the beginning of its id. Fills *out for
 * image_ref_fini(). CUBBY_EIMAGE_NOT_FOUND, CUBBY_EARGUMENT, …. */
int images_find(struct cubby_images *images, const char *text, const struct platform *platform,
                struct image_ref *out, struct cubby_error *error);

/*
 * Brings the image as cubby_images_pull() does; `options` were copied. An id of an image that is there will
 * do, unless the registry is to be asked. Fills *result for pull_result_fini().
 */
int images_bring(struct cubby_images *images, const char *text, const struct cubby_pull_options *options,
                 struct pull_result *result, struct cubby_error *error);

/* image_info.c: all that is known of an image, in *out. `info` of store_list(), or NULL: then the image is
 * inspected. */
int image_describe(struct cubby_images *images, const struct image_ref *ref, const struct image_info *info,
                   struct cubby_image **out, struct cubby_error *error);

#endif
