/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a reference is a small JSON file. Names are of any length and hold slashes, so the
 * file is named by a hash of name and platform, and the name is inside. Its modification time is when the
 * image was last used: an access time would follow every look at it.
 */
#include "oci/store_internal.h"

#include "base/log.h"
#include "base/own.h"
#include "oci/descriptor.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define SUFFIX        ".json"
#define REF_BYTES_MAX 65536 /* of a reference's file */
#define ID_DIGITS_MIN 4

void image_ref_fini(struct image_ref *r)
{
    free(r->name);
    *r = (struct image_ref){0};
}

int image_ref_copy(struct image_ref *out, const struct image_ref *r, struct err *e)
{
    char *name = strdup(r->name);
    if (!name)
        return err_set(e, -ENOMEM, "no memory for a reference");
    *out = *r;
    out->name = name;
    return 0;
}

static int file_of(char *buf, const char *name, const struct platform *p, struct err *e)
{
    char platform[PLATFORM_TEXT_MAX];
    CLEANUP(hasher_destroyp) struct hasher *h = NULL;
    struct digest d;
    int ret = hasher_create(&h, e);
    if (ret < 0)
        return ret;
    platform_text(p, platform);
    hasher_update(h, name, strlen(name) + 1);
    hasher_update(h, platform, strlen(platform));
    ret = hasher_finish(h, &d, e);
    if (ret == 0)
        store_object_name(buf, &d, SUFFIX);
    return ret;
}

static json_t *format_ref(const struct image_ref *r, time_t now)
{
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:s, s:I}", "name", r->name, "platform", "os",
                     r->platform.os, "architecture", r->platform.arch, "variant", r->platform.variant,
                     "manifest", descriptor_format(&r->manifest), "source", r->source.text, "stored_at",
                     (json_int_t)now);
}

static int parse_ref(struct image_ref *out, const json_t *doc, struct err *e)
{
    const char *name = NULL, *source = NULL;
    json_t *platform = NULL;
    uint64_t stored_at = 0;
    struct image_ref r = {0};
    int ret = json_need_string(doc, "", "name", &name, e);
    if (ret == 0)
        ret = json_need_string(doc, "", "source", &source, e);
    if (ret == 0)
        ret = json_get_object(doc, "", "platform", &platform, e);
    if (ret == 0)
        ret = json_need_size(doc, "", "stored_at", &stored_at, e);
    if (ret == 0)
        ret = platform_from_json(&r.platform, platform, "platform", e);
    if (ret == 0)
        ret = descriptor_parse(&r.manifest, json_object_get(doc, "manifest"), "manifest", INT64_MAX,
                               "manifest_bytes", e);
    if (ret == 0 && *source)
        ret = digest_parse(&r.source, source, e);
    if (ret < 0)
        return ret;
    r.stored_at = (time_t)stored_at;
    r.name = (char *)name; /* borrowed until it is copied */
    return image_ref_copy(out, &r, e);
}

int store_ref_read(const struct store *s, const char *name, struct image_ref *out, time_t *used_at,
                   struct err *e)
{
    char text[REF_BYTES_MAX];
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(s->dir[DIR_REFS], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 || fstat(fd, &st) < 0 ? -1 : read(fd, text, sizeof(text));
    if (n < 0)
        return store_sys(s, "read", DIR_REFS, name, e);
    if (used_at)
        *used_at = st.st_mtime;
    CLEANUP(json_decrefpp) json_t *doc = NULL;
    int ret = json_parse(&doc, text, (size_t)n, sizeof(text) - 1, "of the store", "the reference", e);
    if (ret == 0)
        ret = parse_ref(out, doc, e);
    if (ret < 0)
        err_prefix(e, "'%s/%s/%s'", s->path, store_dir_name(DIR_REFS), name);
    return ret;
}

/* That all of the image is in the store. */
static int check_complete(struct store *s, const struct image_ref *r, struct err *e)
{
    struct manifest m;
    int ret = store_manifest_load(s, &r->manifest.digest, NULL, &m, e);
    if (ret == -ENOENT)
        return err_set(e, OCI_E_NOT_FOUND, "its manifest %s is not in the store", r->manifest.digest.text);
    if (ret < 0)
        return ret;
    const struct descriptor *lacking = NULL;
    if (!store_blob_exists(s, &m.config.digest, m.config.size))
        lacking = &m.config;
    for (size_t i = 0; i < m.nlayers && !lacking; i++) {
        if (!store_blob_exists(s, &m.layer[i].digest, m.layer[i].size))
            lacking = &m.layer[i];
    }
    if (lacking)
        ret = err_set(e, OCI_E_NOT_FOUND, "blob %s is not in the store", lacking->digest.text);
    manifest_fini(&m);
    return ret;
}

int store_ref_put(struct store_lease *l, const struct image_ref *r, struct err *e)
{
    struct store *s = l->store;
    char file[STORE_NAME_MAX];
    int ret = file_of(file, r->name, &r->platform, e);
    /* Leased, the manifest and all that it needs cannot be collected any more. */
    if (ret == 0)
        ret = store_lease_add(l, &r->manifest.digest, e);
    if (ret == 0)
        ret = check_complete(s, r, e);
    if (ret < 0) {
        err_prefix(e, "cannot store image '%s'", r->name);
        return ret;
    }
    CLEANUP(json_decrefpp) json_t *doc = format_ref(r, time(NULL));
    CLEANUP(mem_freep) char *text = doc ? json_dumps(doc, JSON_INDENT(1)) : NULL;
    if (!text)
        return err_set(e, -ENOMEM, "no memory for the reference '%s'", r->name);
    if (strlen(text) >= REF_BYTES_MAX)
        return err_set(e, -ENAMETOOLONG, "the reference '%.60s…' is too long", r->name);
    CLEANUP(fd_closep) int lock = store_lock(s, LOCK_EX, e);
    return lock < 0 ? lock : store_put_file(s, DIR_REFS, file, text, strlen(text), e);
}

static int not_found(const struct store *s, const char *name, struct err *e)
{
    return err_set(e, OCI_E_NOT_FOUND, "there is no image '%s' in the store '%s'", name, s->path);
}

int store_ref_get(struct store *s, const char *name, const struct platform *p, struct image_ref *out,
                  struct err *e)
{
    char file[STORE_NAME_MAX];
    int ret = file_of(file, name, p, e);
    if (ret == 0)
        ret = store_ref_read(s, file, out, NULL, e);
    return ret == -ENOENT ? not_found(s, name, e) : ret;
}

void store_ref_touch(struct store *s, const struct image_ref *r)
{
    char file[STORE_NAME_MAX];
    if (file_of(file, r->name, &r->platform, NULL) < 0 || utimensat(s->dir[DIR_REFS], file, NULL, 0) < 0)
        log_debug(LOG_IMAGE, "cannot note that '%s' was used", r->name);
}

struct find {
    const struct store *store;
    const char *digits;
    size_t len;
    struct image_ref found; /* no name: nothing yet */
    bool ambiguous;
};

static int find_step(void *context, const char *file, struct err *e)
{
    struct find *f = context;
    struct image_ref r = {0};
    (void)e;
    /* A reference that another process takes away, or that the disk has damaged, is none. */
    if (store_ref_read(f->store, file, &r, NULL, NULL) < 0 || !r.name)
        return 0;
    if (strncmp(digest_hex(&r.manifest.digest), f->digits, f->len) == 0) {
        if (f->found.name && !digest_equal(&f->found.manifest.digest, &r.manifest.digest))
            f->ambiguous = true;
        /* The first by name, whatever the order of the folder. */
        if (!f->found.name || strcmp(r.name, f->found.name) < 0) {
            struct image_ref last = f->found;
            f->found = r;
            r = last;
        }
    }
    image_ref_fini(&r);
    return 0;
}

int store_ref_find(struct store *s, const char *id, struct image_ref *out, struct err *e)
{
    const char *digits = id;
    if (strncmp(id, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) == 0)
        digits += strlen(DIGEST_PREFIX);
    struct find f = {.store = s, .digits = digits, .len = strlen(digits)};
    if (f.len < ID_DIGITS_MIN || f.len > DIGEST_HEX_LEN || strspn(digits, "0123456789abcdef") != f.len)
        return not_found(s, id, e);
    int ret = store_each(s, DIR_REFS, find_step, &f, e);
    if (ret == 0 && f.ambiguous)
        ret = err_set(e, OCI_E_AMBIGUOUS, "'%s' begins the ids of several images: give more digits", id);
    else if (ret == 0 && !f.found.name)
        ret = not_found(s, id, e);
    if (ret == 0)
        *out = f.found;
    else
        image_ref_fini(&f.found);
    return ret;
}

struct removal {
    const struct store *store;
    const char *name;
    size_t count;
};

static int remove_step(void *context, const char *file, struct err *e)
{
    struct removal *x = context;
    struct image_ref r = {0};
    if (store_ref_read(x->store, file, &r, NULL, NULL) < 0 || !r.name)
        return 0;
    bool same = strcmp(r.name, x->name) == 0;
    image_ref_fini(&r);
    if (!same)
        return 0;
    if (unlinkat(x->store->dir[DIR_REFS], file, 0) < 0)
        return store_sys(x->store, "remove", DIR_REFS, file, e);
    x->count++;
    return 0;
}

static int remove_one(struct store *s, const char *name, const struct platform *p, struct err *e)
{
    char file[STORE_NAME_MAX];
    int ret = file_of(file, name, p, e);
    if (ret < 0)
        return ret;
    if (unlinkat(s->dir[DIR_REFS], file, 0) < 0)
        return errno == ENOENT ? not_found(s, name, e) : store_sys(s, "remove", DIR_REFS, file, e);
    return 0;
}

int store_ref_remove(struct store *s, const char *name, const struct platform *p, struct err *e)
{
    CLEANUP(fd_closep) int lock = store_lock(s, LOCK_EX, e);
    if (lock < 0)
        return lock;
    struct removal x = {.store = s, .name = name};
    int ret = p ? remove_one(s, name, p, e) : store_each(s, DIR_REFS, remove_step, &x, e);
    if (ret == 0 && !p && x.count == 0)
        ret = not_found(s, name, e);
    return ret < 0 ? ret : store_sync_dir(s, DIR_REFS, e);
}
