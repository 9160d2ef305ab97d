/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a folder of its own for each test, and small images to put into it. */
#ifndef CUBBY_TESTS_OCI_STORE_PLACE_H
#define CUBBY_TESTS_OCI_STORE_PLACE_H

#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64];   /* removed at the end */
    char path[128]; /* of the store, inside */
    struct store *store;
    struct store_lease *lease;
};

static inline int place_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

static inline int place_set_up(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    if (!p)
        return -1;
    /* In memory where that is possible: what is tested does not depend on the disk, but syncing does. */
    strcpy(p->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/cubby-test-XXXXXX" : "/tmp/cubby-test-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    snprintf(p->path, sizeof(p->path), "%s/home/images", p->dir);
    *state = p;
    return store_open(&p->store, p->path, NULL) || store_lease_begin(p->store, &p->lease, NULL);
}

static inline int place_tear_down(void **state)
{
    struct place *p = *state;
    store_lease_end(p->lease);
    store_close(p->store);
    int ret = nftw(p->dir, place_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return ret;
}

/* What was gathered has a reference now, or is given up. */
static inline void place_new_lease(struct place *p)
{
    store_lease_end(p->lease);
    p->lease = NULL;
    assert_int_equal(store_lease_begin(p->store, &p->lease, NULL), 0);
}

/* How many files the folder below the store holds. */
static inline int place_count(const struct place *p, const char *folder)
{
    char path[256], name[300];
    int count = 0;
    snprintf(path, sizeof(path), "ls %s/%s", p->path, folder);
    FILE *f = popen(path, "r");
    assert_non_null(f);
    while (fgets(name, sizeof(name), f))
        count++;
    pclose(f);
    return count;
}

static inline void place_file(const struct place *p, char out[512], const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(out, 512, "%s/", p->path);
    va_start(ap, fmt);
    vsnprintf(out + n, 512 - (size_t)n, fmt, ap);
    va_end(ap);
}

static inline void place_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static inline struct digest digest_of_text(const char *text)
{
    struct digest d;
    assert_int_equal(digest_of(&d, text, strlen(text), NULL), 0);
    return d;
}

/* Puts a text as a blob and describes it. */
static inline struct descriptor put_text(struct store_lease *l, const char *type, const char *text)
{
    struct descriptor d = {.digest = digest_of_text(text), .size = strlen(text)};
    strcpy(d.media_type, type);
    assert_int_equal(store_blob_put(l, &d.digest, text, strlen(text), NULL), 0);
    return d;
}

#define PLACE_LAYERS_MAX 501 /* one more than the default limit */

/* An image of `nlayers` (at most PLACE_LAYERS_MAX) layers named after `layer`, its reference not yet stored.
 * Free with image_ref_fini(). */
static inline struct image_ref put_image(struct store_lease *l, const char *name, const char *layer,
                                         int nlayers)
{
    char text[64], config[2048 + PLACE_LAYERS_MAX * sizeof(struct digest)];
    int used =
        snprintf(config, sizeof(config),
                 "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[\"NAME=%.1000s\"]},"
                 "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
                 name);
    struct descriptor layers[PLACE_LAYERS_MAX];
    for (int i = 0; i < nlayers; i++) {
        snprintf(text, sizeof(text), "layer %s %d", layer, i);
        layers[i] = put_text(l, MEDIA_OCI_LAYER, text);
        used += snprintf(config + used, sizeof(config) - (size_t)used, "%s\"%s\"", i ? "," : "",
                         layers[i].digest.text);
    }
    strcpy(config + used, "]}}");
    struct manifest m = {.media_type = MEDIA_OCI_MANIFEST,
                         .config = put_text(l, MEDIA_OCI_CONFIG, config),
                         .layer = layers,
                         .nlayers = (size_t)nlayers};
    CLEANUP(mem_freep) char *json = NULL;
    size_t len;
    assert_int_equal(manifest_format(&m, &json, &len, NULL), 0);
    struct image_ref r = {.name = strdup(name), .manifest = put_text(l, MEDIA_OCI_MANIFEST, json)};
    r.source = r.manifest.digest;
    assert_int_equal(platform_parse(&r.platform, "linux/amd64", NULL), 0);
    return r;
}

/* An image with a reference; the manifest's digest. */
static inline struct digest store_image(struct store_lease *l, const char *name, const char *layer,
                                        int nlayers)
{
    struct image_ref r = put_image(l, name, layer, nlayers);
    struct digest d = r.manifest.digest;
    assert_int_equal(store_ref_put(l, &r, NULL), 0);
    image_ref_fini(&r);
    return d;
}

/* "Merges" the manifest's image: the store does not look into the file. */
static inline void store_rootfs(struct store_lease *l, const struct digest *manifest)
{
    struct rootfs_writer *w;
    assert_int_equal(store_rootfs_begin(l, manifest, -1, &w, NULL), 0);
    place_write(rootfs_writer_path(w), "a file system");
    assert_int_equal(rootfs_writer_commit(w, -1, NULL), 0);
}

#endif
