/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the calls of cubby.h on images. The work is done in oci/; here the caller's words
 * become its structs, and its failures our codes. A word that may be a reference or an id is a reference
 * first, as with Docker: an image called "beef" is found under its name, and an id that begins so only when
 * there is none.
 */
#include "runtime/images.h"

#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/ref.h"
#include "runtime/errors.h"
#include "runtime/home.h"
#include "runtime/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- open and close
 * --------------------------------------------------------------------------------------*/

static int read_configuration(struct cubby_images *images, const struct cubby_images_options *o,
                              struct cubby_error *error)
{
    struct err e;
    if (oci_config_load(&images->config, o->config, &e) < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    for (const char *const *r = o->insecure_registries; r && *r; r++) {
        if (oci_config_add_insecure(&images->config, *r, &e) < 0)
            return fail_err(error, CUBBY_EARGUMENT, &e);
    }
    return 0;
}

static int open_store(struct cubby_images *images, const struct cubby_images_options *o,
                      struct cubby_error *error)
{
    struct err e;
    char path[PATH_MAX];
    int ret = 0;
    if (!o->home)
        ret = home_path("images", path, &e);
    else if ((size_t)snprintf(path, sizeof(path), "%s/images", o->home) >= sizeof(path))
        ret = err_set(&e, -ENAMETOOLONG, "the path of cubby's home is too long");
    if (ret < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    return store_open(&images->store, path, &e) < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : 0;
}

int cubby_images_open(struct cubby_images **out, const struct cubby_images_options *options,
                      struct cubby_error *error)
{
    struct cubby_images_options o;
    if (!out)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_open: out is NULL");
    *out = NULL;
    int ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret < 0)
        return ret;
    struct cubby_images *images = calloc(1, sizeof(*images));
    if (!images)
        return fail(error, CUBBY_ERESOURCE, "no memory for the images of a home");
    oci_config_init(&images->config);
    ret = read_configuration(images, &o, error);
    if (ret == 0)
        ret = open_store(images, &o, error);
    if (ret < 0) {
        cubby_images_close(images);
        return ret;
    }
    *out = images;
    return 0;
}

void cubby_images_close(struct cubby_images *images)
{
    if (!images)
        return;
    store_close(images->store);
    oci_config_fini(&images->config);
    free(images);
}

/* ---- look-up
 * ---------------------------------------------------------------------------------------------*/

int images_platform(const char *text, struct platform *out, struct cubby_error *error)
{
    struct err e;
    if (!text)
        platform_host(out);
    else if (platform_parse(out, text, &e) < 0)
        return fail_err(error, CUBBY_EARGUMENT, &e);
    return 0;
}

/* Four to 64 hex digits, "sha256:" before them or not. */
static bool may_be_id(const char *text)
{
    if (strncmp(text, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0)
        text += strlen(DIGEST_PREFIX);
    size_t len = strspn(text, "0123456789abcdef");
    return len >= 4 && len <= DIGEST_HEX_LEN && text[len] == '\0';
}

int images_find(struct cubby_images *images, const char *text, const struct platform *platform,
                struct image_ref *out, struct cubby_error *error)
{
    struct err e;
    struct oci_ref ref;
    char name[REF_TEXT_MAX];
    int ret = oci_ref_parse(&ref, text, &e);
    if (ret == 0) {
        oci_ref_canonical(&ref, name);
        ret = store_ref_get(images->store, name, platform, out, &e);
    }
    /* "sha256:…" is no reference, and still an id. */
    if ((ret == OCI_E_NOT_FOUND || ret == OCI_E_REFERENCE) && may_be_id(text))
        ret = store_ref_find(images->store, text, out, &e);
    return ret < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : 0;
}

int cubby_images_inspect(struct cubby_images *images, const char *reference, const char *platform,
                         struct cubby_image **out, struct cubby_error *error)
{
    struct platform p;
    struct image_ref ref = {0};
    if (!images || !reference || !out)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_inspect: an argument is NULL");
    *out = NULL;
    int ret = images_platform(platform, &p, error);
    if (ret == 0)
        ret = images_find(images, reference, &p, &ref, error);
    if (ret < 0)
        return ret;
    ret = image_describe(images, &ref, NULL, out, error);
    image_ref_fini(&ref);
    return ret;
}

int cubby_images_list(struct cubby_images *images, struct cubby_image ***out, struct cubby_error *error)
{
    struct err e;
    struct image_list list;
    if (!images || !out)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_list: an argument is NULL");
    *out = NULL;
    if (store_list(images->store, &list, &e) < 0)
        return fail_err(error, CUBBY_ESTORAGE, &e);
    struct cubby_image **array = calloc(list.count + 1, sizeof(struct cubby_image *));
    int ret = array ? 0 : fail(error, CUBBY_ERESOURCE, "no memory for a list of images");
    for (size_t i = 0; i < list.count && ret == 0; i++)
        ret = image_describe(images, &list.item[i].ref, &list.item[i], &array[i], error);
    int count = (int)list.count;
    image_list_fini(&list);
    if (ret < 0) {
        cubby_images_list_free(array);
        return ret;
    }
    *out = array;
    return count;
}

void cubby_images_list_free(struct cubby_image **list)
{
    for (struct cubby_image **i = list; i && *i; i++)
        cubby_image_free(*i);
    free(list);
}

/* ---- remove and prune
 * ------------------------------------------------------------------------------------*/

int cubby_images_remove(struct cubby_images *images, const char *reference, const char *platform,
                        struct cubby_error *error)
{
    struct err e;
    struct platform p;
    struct oci_ref ref;
    struct image_ref found = {0};
    char name[REF_TEXT_MAX];
    if (!images || !reference)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_remove: an argument is NULL");
    int ret = images_platform(platform, &p, error);
    if (ret < 0)
        return ret;
    /* Of all platforms: by name, whatever platform there is. */
    if (!platform && oci_ref_parse(&ref, reference, &e) == 0) {
        oci_ref_canonical(&ref, name);
        ret = store_ref_remove(images->store, name, NULL, &e);
        if (ret != OCI_E_NOT_FOUND || !may_be_id(reference))
            return ret < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : 0;
    }
    ret = images_find(images, reference, &p, &found, error);
    if (ret < 0)
        return ret;
    ret = store_ref_remove(images->store, found.name, &found.platform, &e);
    image_ref_fini(&found);
    return ret < 0 ? fail_err(error, CUBBY_ESTORAGE, &e) : 0;
}

int cubby_images_prune(struct cubby_images *images, const struct cubby_prune_options *options,
                       struct cubby_prune_counts *counts, struct cubby_error *error)
{
    struct err e;
    struct cubby_prune_options o = {0};
    struct gc_result r;
    if (!images)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_prune: images is NULL");
    int ret = options_check_return(counts, error); /* not when it is removed already */
    if (ret == 0)
        ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret < 0)
        return ret;
    if (o.flags & ~(CUBBY_PRUNE_ALL | CUBBY_PRUNE_DRY_RUN | CUBBY_PRUNE_KEEP_PARTIAL))
        return fail(error, CUBBY_EARGUMENT, "unknown flags 0x%x for pruning", o.flags);
    const struct gc_options gc = {.all = o.flags & CUBBY_PRUNE_ALL,
                                  .dry_run = o.flags & CUBBY_PRUNE_DRY_RUN,
                                  .keep_partials = o.flags & CUBBY_PRUNE_KEEP_PARTIAL,
                                  .older_than_s = o.older_than_s};
    if (store_gc(images->store, &gc, &r, &e) < 0)
        return fail_err(error, CUBBY_ESTORAGE, &e);
    const struct cubby_prune_counts ours = {.images = r.refs,
                                            .blobs = r.blobs,
                                            .roots = r.rootfs,
                                            .partial = r.partials,
                                            .in_use = r.in_use,
                                            .bytes = r.bytes};
    return options_return(counts, &ours, sizeof(ours), error);
}
