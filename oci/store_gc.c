/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: mark and sweep, under the store's exclusive lock, so that no reference is written and
 * no lease grows meanwhile. Roots are the digests of living leases, the manifests that the caller keeps, and
 * the references (after those that are to go have gone). A root that is a manifest marks its configuration
 * and layers, and the merged image of its name.
 *
 * What is not marked is removed, unless it can be locked by nobody but its user: objects that are open carry
 * a shared lock, those in the making an exclusive one. What is new and not leased cannot be anybody's: a
 * writer takes note in its lease before it begins.
 */
#include "oci/store_internal.h"

#include "base/log.h"
#include "base/own.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LEASE_BYTES_MAX (64 << 20)

struct gc {
    struct store *store;
    const struct gc_options *opt;
    struct gc_result *result;
    void *wanted; /* tsearch tree of struct digest: what leases and the caller name */
    void *marked; /* the same: all that is reachable */
    time_t now;
};

static int by_digest(const void *a, const void *b)
{
    const struct digest *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static bool is_marked(const struct gc *g, const struct digest *d)
{
    return tfind(d, &g->marked, by_digest) != NULL;
}

/* 1 when it was not there before. */
static int add(void **tree, const struct digest *d, struct err *e)
{
    struct digest *copy = malloc(sizeof(*copy));
    struct digest **found = NULL;
    if (copy) {
        *copy = *d;
        found = tsearch(copy, tree, by_digest);
    }
    if (!found) {
        free(copy);
        return err_set(e, -ENOMEM, "no memory for garbage collection");
    }
    if (*found == copy)
        return 1;
    free(copy);
    return 0;
}

/* A failure that says what the bytes are, not that they could not be read now. */
static bool is_about_content(int ret)
{
    return ret == OCI_E_FORMAT || ret == OCI_E_UNSUPPORTED || ret == OCI_E_LIMIT || ret == OCI_E_DIGEST;
}

/* Marks a digest and, if it is a manifest's, all that the manifest needs. `limits` NULL: however large it is,
 * and although it is marked, because a lease may have marked it unread. */
static int mark_root(struct gc *g, const struct digest *d, const struct oci_limits *limits, struct err *e)
{
    struct manifest m;
    if (!digest_is_set(d))
        return 0;
    int ret = add(&g->marked, d, e);
    if (ret < 0 || (ret == 0 && limits))
        return ret;
    ret = store_manifest_load(g->store, d, limits, &m, e);
    /* Layers are too large for a manifest or no JSON: then there is nothing more to mark. */
    if (ret == -ENOENT || is_about_content(ret))
        return 0;
    if (ret < 0)
        return ret;
    ret = add(&g->marked, &m.config.digest, e);
    for (size_t i = 0; i < m.nlayers && ret >= 0; i++)
        ret = add(&g->marked, &m.layer[i].digest, e);
    manifest_fini(&m);
    return ret < 0 ? ret : 0;
}

/* Marks what somebody names: his references stay, too. */
static int mark_wanted(struct gc *g, const struct digest *d, const struct oci_limits *limits, struct err *e)
{
    int ret = add(&g->wanted, d, e);
    return ret < 0 ? ret : mark_root(g, d, limits, e);
}

/* Most of what is leased is layers, each named by itself: none is taken for an unusually large manifest. */
static int mark_lines(struct gc *g, char *text, struct err *e)
{
    struct digest d;
    struct oci_limits usual;
    oci_limits_init(&usual);
    for (char *line; (line = strsep(&text, "\n"));) {
        int ret = digest_from_hex(&d, line) ? mark_wanted(g, &d, &usual, e) : 0;
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* A living lease is marked, a dead one removed. */
static int visit_lease(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(g->store->dir[DIR_LEASES], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : store_sys(g->store, "open", DIR_LEASES, name, e);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (!g->opt->dry_run)
            unlinkat(g->store->dir[DIR_LEASES], name, 0);
        return 0;
    }
    if (fstat(fd, &st) < 0)
        return store_sys(g->store, "look at", DIR_LEASES, name, e);
    if (st.st_size > LEASE_BYTES_MAX)
        return err_set(e, -EFBIG, "a lease in '%s' is too long", g->store->path);
    CLEANUP(mem_freep) char *text = calloc((size_t)st.st_size + 1, 1);
    if (!text)
        return err_set(e, -ENOMEM, "no memory for garbage collection");
    if (pread(fd, text, (size_t)st.st_size, 0) < 0)
        return store_sys(g->store, "read", DIR_LEASES, name, e);
    return mark_lines(g, text, e);
}

static bool is_old(const struct gc *g, time_t since)
{
    return g->opt->older_than_s == 0 ||
           (g->now > since && (uint64_t)(g->now - since) >= g->opt->older_than_s);
}

/* Removes the file unless somebody has it open; counts it. */
static int sweep_file(struct gc *g, enum store_dir dir, const char *name, uint64_t *count, struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(g->store->dir[dir], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : store_sys(g->store, "open", dir, name, e);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        g->result->in_use++;
        return 0;
    }
    if (!g->opt->all && !is_old(g, st.st_mtime))
        return 0;
    if (!g->opt->dry_run && unlinkat(g->store->dir[dir], name, 0) < 0)
        return store_sys(g->store, "remove", dir, name, e);
    (*count)++;
    g->result->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

static int visit_blob(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    struct digest d;
    if (digest_from_hex(&d, name) && is_marked(g, &d))
        return 0;
    return sweep_file(g, DIR_BLOBS, name, &g->result->blobs, e);
}

/* The digest in front of a merged image's ".ext4". */
static bool digest_of_rootfs(struct digest *d, const char *name)
{
    char hex[DIGEST_HEX_LEN + 1];
    snprintf(hex, sizeof(hex), "%s", name);
    return strlen(name) > DIGEST_HEX_LEN && digest_from_hex(d, hex) &&
           strcmp(name + DIGEST_HEX_LEN, ".ext4") == 0;
}

static int visit_rootfs(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    struct digest d;
    if (digest_of_rootfs(&d, name) && is_marked(g, &d))
        return 0;
    return sweep_file(g, DIR_ROOTFS, name, &g->result->rootfs, e);
}

/* Something unfinished: to be resumed as long as its digest is wanted, garbage otherwise. */
static int visit_partial(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    struct digest d;
    if (digest_from_hex(&d, name) && (g->opt->keep_partials || is_marked(g, &d)))
        return 0;
    int lock = object_lock(g->store, name, e);
    if (lock == -EAGAIN) {
        g->result->in_use++;
        return 0;
    }
    if (lock < 0)
        return lock;
    int ret = sweep_file(g, DIR_PARTIAL, name, &g->result->partials, e);
    object_unlock(g->store, name, lock);
    return ret;
}

/* What a process that was killed left in locks/. */
static int visit_lock(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    int lock = object_lock(g->store, name, e);
    if (lock >= 0)
        object_unlock(g->store, name, lock);
    return lock == -EAGAIN || lock >= 0 ? 0 : lock;
}

static bool is_open(const struct gc *g, const struct digest *manifest)
{
    char name[STORE_NAME_MAX];
    store_object_name(name, manifest, ".ext4");
    CLEANUP(fd_closep) int fd = openat(g->store->dir[DIR_ROOTFS], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

/* A reference that was not used for long goes with `all`, unless its image is wanted or open. */
static bool is_to_go(const struct gc *g, const struct digest *manifest, time_t used_at)
{
    return g->opt->all && is_old(g, used_at) && !tfind(manifest, &g->wanted, by_digest) &&
           !is_open(g, manifest);
}

/* A reference goes, or marks what it needs. */
static int visit_ref(void *context, const char *name, struct err *e)
{
    struct gc *g = context;
    struct image_ref r;
    struct err why = {0};
    time_t used_at = 0;
    int ret = store_ref_read(g->store, name, &r, &used_at, &why);
    if (ret == -ENOENT)
        return 0;
    if (ret < 0 && !is_about_content(ret))
        return err_set(e, ret, "%s", why.text);
    if (ret < 0) {
        log_warn(LOG_IMAGE, "a reference is of no use: %s", why.text);
        return sweep_file(g, DIR_REFS, name, &g->result->refs, e);
    }
    const struct digest *d = &r.manifest.digest;
    if (is_to_go(g, d, used_at)) {
        ret = sweep_file(g, DIR_REFS, name, &g->result->refs, e);
    } else {
        ret = mark_root(g, d, NULL, e);
        if (ret == 0)
            ret = mark_root(g, &r.source, NULL, e);
    }
    image_ref_fini(&r);
    return ret;
}

static int collect(struct gc *g, struct err *e)
{
    static const struct {
        enum store_dir dir;
        store_name_fn *visit;
    } phase[] = {
        {DIR_LEASES, visit_lease}, /* first: what is leased keeps its references */
        {DIR_REFS, visit_ref},        {DIR_BLOBS, visit_blob}, {DIR_ROOTFS, visit_rootfs},
        {DIR_PARTIAL, visit_partial}, {DIR_LOCKS, visit_lock},
    };
    int ret = 0;
    for (size_t i = 0; i < g->opt->nkeep && ret == 0; i++)
        ret = mark_wanted(g, &g->opt->keep[i], NULL, e);
    for (size_t i = 0; i < ARRAY_LEN(phase) && ret == 0; i++)
        ret = store_each(g->store, phase[i].dir, phase[i].visit, g, e);
    return ret;
}

int store_gc(struct store *s, const struct gc_options *o, struct gc_result *result, struct err *e)
{
    struct gc_result unused = {0};
    CLEANUP(fd_closep) int lock = store_lock(s, LOCK_EX, e);
    if (lock < 0)
        return lock;
    struct gc g = {.store = s, .opt = o, .result = result ? result : &unused, .now = time(NULL)};
    *g.result = (struct gc_result){0};
    int ret = collect(&g, e);
    tdestroy(g.wanted, free);
    tdestroy(g.marked, free);
    return ret;
}
