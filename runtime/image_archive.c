/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what is loaded gets its reference first and its root file system next, by the same
 * steps as a pull that finds everything there; so an image whose layers cannot be merged is told when it is
 * loaded, not when it is run. Saving writes to a descriptor of the caller's, which may be a pipe: the signal
 * of one that nobody reads is taken by us, so that the caller gets the error instead.
 */
#include "runtime/images.h"

#include "base/own.h"
#include "oci/export.h"
#include "oci/sigpipe.h"
#include "oci/source.h"
#include "runtime/errors.h"
#include "runtime/libraries.h"
#include "runtime/options.h"

#include <errno.h>
#include <stdlib.h>

/* ---- load
 * ------------------------------------------------------------------------------------------------*/

/* References to images, in the order in which they came. */
struct ref_list {
    struct image_ref *ref;
    size_t count;
    bool failed; /* no memory for one */
};

static void ref_list_add(void *context, const struct image_ref *r)
{
    struct ref_list *l = context;
    struct image_ref *bigger = realloc(l->ref, (l->count + 1) * sizeof(*bigger));
    if (bigger)
        l->ref = bigger;
    if (bigger && image_ref_copy(&l->ref[l->count], r, NULL) == 0)
        l->count++;
    else
        l->failed = true;
}

static void ref_list_fini(struct ref_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        image_ref_fini(&l->ref[i]);
    free(l->ref);
}

/* Makes the root file system, and tells of the image. */
static int complete(struct cubby_images *images, const struct image_ref *ref,
                    const struct cubby_load_options *o, struct cubby_error *error)
{
    char platform[PLATFORM_TEXT_MAX];
    struct pull_result r;
    struct cubby_image *image;
    const struct cubby_pull_options never = {.size = sizeof(never),
                                             .policy = CUBBY_PULL_NEVER,
                                             .platform = platform_text(&ref->platform, platform),
                                             .cancel_fd = o->cancel_fd};
    int ret = images_bring(images, ref->name, &never, &r, error);
    if (ret < 0)
        return ret;
    ret = o->loaded ? image_describe(images, &r.image, NULL, &image, error) : 0;
    if (ret == 0 && o->loaded) {
        o->loaded(o->context, image);
        cubby_image_free(image);
    }
    pull_result_fini(&r);
    return ret;
}

/* The lease keeps what was loaded until all of it is complete. */
static int load(struct cubby_images *images, const char *path, const struct cubby_load_options *o,
                const struct platform *platform, struct cubby_error *error)
{
    struct err e;
    struct ref_list list = {0};
    struct store_lease *lease;
    const struct source_options how = {
        .kind = o->kind == CUBBY_LOAD_IMAGES   ? SOURCE_IMAGES
                : o->kind == CUBBY_LOAD_ROOTFS ? SOURCE_ROOTFS
                                               : SOURCE_AUTO,
        .platform = platform,
        .limits = &images->config.limits,
        .name = o->name,
        .select = o->select,
        .cancel_fd = o->cancel_fd > 0 ? o->cancel_fd : -1,
        .loaded = ref_list_add,
        .context = &list,
    };
    if (store_lease_begin(images->store, &lease, &e) < 0)
        return fail_err(error, CUBBY_ESTORAGE, &e);
    int ret = source_load(lease, path, &how, &e);
    if (ret < 0)
        ret = fail_err(error, ret == -ENOENT || ret == -ENOTDIR ? CUBBY_EIMAGE_NOT_FOUND : CUBBY_EIMAGE, &e);
    else if (list.failed)
        ret = fail(error, CUBBY_ERESOURCE, "no memory for the images of '%s'", path);
    for (size_t i = 0; i < list.count && ret == 0; i++)
        ret = complete(images, &list.ref[i], o, error);
    store_lease_end(lease);
    if (ret == 0)
        ret = (int)list.count;
    ref_list_fini(&list);
    return ret;
}

int cubby_images_load(struct cubby_images *images, const char *path, const struct cubby_load_options *options,
                      struct cubby_error *error)
{
    struct cubby_load_options o;
    struct platform platform;
    if (!images || !path)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_load: an argument is NULL");
    int ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret == 0 && o.kind > CUBBY_LOAD_ROOTFS)
        ret = fail(error, CUBBY_EARGUMENT, "there is no kind %u of files to load", o.kind);
    if (ret == 0 && o.platform)
        ret = images_platform(o.platform, &platform, error);
    if (ret == 0)
        ret = libraries_load(error);
    return ret < 0 ? ret : load(images, path, &o, o.platform ? &platform : NULL, error);
}

/* ---- save
 * ------------------------------------------------------------------------------------------------*/

int cubby_images_save(struct cubby_images *images, const char *const *references, const char *platform,
                      int fd, int cancel_fd, struct cubby_error *error)
{
    struct err e;
    struct platform p;
    struct ref_list list = {0};
    if (!images || !references || !references[0] || fd < 0)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_save: an argument is missing");
    int ret = images_platform(platform, &p, error);
    for (const char *const *r = references; *r && ret == 0; r++) {
        struct image_ref found;
        ret = images_find(images, *r, &p, &found, error);
        if (ret < 0)
            break;
        ref_list_add(&list, &found);
        image_ref_fini(&found);
    }
    if (ret == 0 && list.failed)
        ret = fail(error, CUBBY_ERESOURCE, "no memory for a list of images");
    if (ret == 0)
        ret = libraries_load(error);
    if (ret == 0) {
        struct sigpipe quiet;
        sigpipe_hold(&quiet);
        ret = store_export(images->store, list.ref, list.count, fd, cancel_fd > 0 ? cancel_fd : -1, &e);
        sigpipe_release(&quiet);
        if (ret < 0)
            ret = fail_err(error, ret == -EPIPE ? CUBBY_ECLOSED : CUBBY_ESTORAGE, &e);
    }
    ref_list_fini(&list);
    return ret;
}
