/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a list is made by reading the references and, for each, its manifest. What vanishes
 * meanwhile is left out; nothing is locked for longer than a look. */
#include "oci/store_internal.h"

#include "base/log.h"
#include "base/own.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

/* `limits`, or those of the store, for which there is room in *wide. */
static const struct oci_limits *limits_or(const struct oci_limits *limits, struct oci_limits *wide)
{
    if (limits)
        return limits;
    oci_limits_of_store(wide);
    return wide;
}

int store_manifest_load(struct store *s, const struct digest *manifest, const struct oci_limits *limits,
                        struct manifest *out, struct err *e)
{
    struct oci_limits wide;
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    limits = limits_or(limits, &wide);
    int ret = store_blob_load(s, manifest, limits->manifest_bytes, &text, &len, e);
    return ret < 0 ? ret : manifest_parse(out, text, len, limits, e);
}

int store_config_load(struct store *s, const struct manifest *m, const struct oci_limits *limits,
                      struct image_config *out, struct err *e)
{
    struct oci_limits wide;
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    limits = limits_or(limits, &wide);
    int ret = store_blob_load(s, &m->config.digest, limits->config_bytes, &text, &len, e);
    if (ret == 0)
        ret = image_config_parse(out, text, len, limits, e);
    if (ret < 0 || out->ndiff_ids == m->nlayers)
        return ret;
    ret = err_set(e, OCI_E_FORMAT, "the image has %zu layers, its configuration speaks of %zu", m->nlayers,
                  out->ndiff_ids);
    image_config_fini(out);
    return ret;
}

int store_image_check(struct store *s, const struct digest *manifest, struct err *e)
{
    struct manifest m;
    struct image_config c = {0};
    int ret = store_manifest_load(s, manifest, NULL, &m, e);
    if (ret == 0) {
        ret = store_config_load(s, &m, NULL, &c, e);
        if (ret == 0)
            image_config_fini(&c);
        manifest_fini(&m);
    }
    return ret == -ENOENT ? OCI_E_NOT_FOUND : ret;
}

int store_image_is_ready(struct store *s, const struct image_ref *r, struct err *e)
{
    CLEANUP(fd_closep) int fd = store_rootfs_open(s, &r->manifest.digest, NULL, e);
    int ret = fd < 0 ? fd : store_image_check(s, &r->manifest.digest, e);
    if (ret == 0) {
        store_ref_touch(s, r);
        return 1;
    }
    return ret == -ENOENT || ret == OCI_E_NOT_FOUND || ret == OCI_E_DIGEST ? 0 : ret;
}

struct listing {
    struct store *store;
    struct image_list *list;
    size_t room;
};

/* What the merged image takes, and whether somebody has it open. That is seen by locking it for a moment,
 * which only one may do at a time, or two who look would take each other for a user. */
static void look_at_rootfs(const struct store *s, struct image_info *info)
{
    char name[STORE_NAME_MAX];
    struct stat st;
    store_object_name(name, &info->ref.manifest.digest, ".ext4");
    CLEANUP(fd_closep) int fd = openat(s->dir[DIR_ROOTFS], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    info->rootfs_size = (uint64_t)st.st_blocks * 512;
    int lock = store_lock(s, LOCK_EX, NULL); /* without it, the look is as good as it can be */
    info->in_use = flock(fd, LOCK_EX | LOCK_NB) < 0;
    flock(fd, LOCK_UN);
    fd_closep(&lock);
}

static int list_step(void *context, const char *file, struct err *e)
{
    struct listing *l = context;
    struct image_info info = {0};
    struct manifest m;
    struct err why = {0};
    if (store_ref_read(l->store, file, &info.ref, &info.used_at, &why) < 0) {
        if (why.code != -ENOENT)
            log_warn(LOG_IMAGE, "a reference is left out: %s", why.text);
        return 0;
    }
    if (store_manifest_load(l->store, &info.ref.manifest.digest, NULL, &m, &why) == 0) {
        info.size = info.ref.manifest.size + manifest_size(&m);
        manifest_fini(&m);
    } else {
        log_warn(LOG_IMAGE, "the size of image '%s' is unknown: %s", info.ref.name, why.text);
    }
    look_at_rootfs(l->store, &info);
    if (l->list->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct image_info *bigger = realloc(l->list->item, room * sizeof(*bigger));
        if (!bigger) {
            image_ref_fini(&info.ref);
            return err_set(e, -ENOMEM, "no memory for a list of images");
        }
        l->list->item = bigger;
        l->room = room;
    }
    l->list->item[l->list->count++] = info;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct image_info *x = a, *y = b;
    char left[PLATFORM_TEXT_MAX], right[PLATFORM_TEXT_MAX];
    int order = strcmp(x->ref.name, y->ref.name);
    return order ? order
                 : strcmp(platform_text(&x->ref.platform, left), platform_text(&y->ref.platform, right));
}

int store_list(struct store *s, struct image_list *out, struct err *e)
{
    *out = (struct image_list){0};
    struct listing l = {.store = s, .list = out};
    int ret = store_each(s, DIR_REFS, list_step, &l, e);
    if (ret < 0)
        image_list_fini(out);
    else if (out->count)
        qsort(out->item, out->count, sizeof(*out->item), by_name);
    return ret;
}

void image_list_fini(struct image_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        image_ref_fini(&l->item[i].ref);
    free(l->item);
    *l = (struct image_list){0};
}
