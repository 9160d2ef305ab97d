/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a blob grows in partial/ under the lock of its name and is hashed while it does. It is
 * moved to blobs/ once its size and digest are right and its bytes are on disk. What an interrupted attempt
 * left is read and hashed again before going on: after a crash it may hold anything, and the digest at the
 * end covers it all.
 */
#include "oci/store_internal.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define READ_CHUNK (256 * 1024)

struct blob_writer {
    struct store *store;
    struct digest digest; /* unset: it gets the name that its bytes give it */
    uint64_t size, offset;
    struct hasher *hasher;
    int fd, lock;
    char name[STORE_NAME_MAX]; /* in partial/ and locks/ */
};

int store_blob_open(struct store *s, const struct digest *d, uint64_t *size, struct err *e)
{
    return store_open_object(s, DIR_BLOBS, digest_hex(d), size, e);
}

bool store_blob_exists(struct store *s, const struct digest *d, uint64_t size)
{
    struct stat st;
    return fstatat(s->dir[DIR_BLOBS], digest_hex(d), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t)st.st_size == size;
}

int store_blob_load(struct store *s, const struct digest *d, uint64_t max, char **out, size_t *len,
                    struct err *e)
{
    uint64_t size;
    CLEANUP(fd_closep) int fd = store_blob_open(s, d, &size, e);
    if (fd < 0)
        return fd;
    if (size > max)
        return err_set(e, OCI_E_LIMIT, "blob %s has %llu bytes, more than %llu", d->text,
                       (unsigned long long)size, (unsigned long long)max);
    CLEANUP(mem_freep) char *text = malloc(size + 1);
    if (!text)
        return err_set(e, -ENOMEM, "no memory for blob %s", d->text);
    int ret = pread_full(fd, text, size, 0);
    if (ret < 0) {
        errno = -ret;
        return store_sys(s, "read", DIR_BLOBS, digest_hex(d), e);
    }
    ret = digest_check(d, size, text, size, "a blob in the store", e);
    if (ret == OCI_E_DIGEST)
        err_prefix(e, "'%s' is damaged, pull the image again", s->path);
    if (ret < 0)
        return ret;
    text[size] = '\0';
    *out = STEAL(text);
    *len = size;
    return 0;
}

/* The digest of all bytes behind `fd`. */
static int digest_of_file(int fd, struct digest *out)
{
    CLEANUP(hasher_destroyp) struct hasher *h = NULL;
    CLEANUP(mem_freep) char *buf = malloc(READ_CHUNK);
    int ret = buf ? hasher_create(&h, NULL) : -ENOMEM;
    if (ret < 0)
        return ret;
    for (;;) {
        ssize_t n = read(fd, buf, READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : hasher_finish(h, out, NULL);
        hasher_update(h, buf, (size_t)n);
    }
}

bool store_blob_remove_damaged(struct store *s, const struct digest *d)
{
    struct digest is;
    struct stat read, named;
    CLEANUP(fd_closep) int fd = store_blob_open(s, d, NULL, NULL);
    if (fd < 0 || digest_of_file(fd, &is) < 0 || digest_equal(&is, d))
        return false;
    /* While we read, another one may have found the same and put good bytes in its place. */
    if (fstat(fd, &read) < 0 || fstatat(s->dir[DIR_BLOBS], digest_hex(d), &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        read.st_ino != named.st_ino)
        return true;
    log_warn(LOG_IMAGE, "blob %s in '%s' is damaged: it is removed, and will be downloaded again", d->text,
             s->path);
    return unlinkat(s->dir[DIR_BLOBS], digest_hex(d), 0) == 0;
}

static void writer_free(struct blob_writer *w)
{
    if (w->lock >= 0)
        object_unlock(w->store, w->name, w->lock);
    fd_closep(&w->fd);
    hasher_destroy(w->hasher);
    free(w);
}

static void writer_freep(struct blob_writer **w)
{
    if (*w)
        writer_free(*w);
}

static int writer_sys(const struct blob_writer *w, const char *what, struct err *e)
{
    return store_sys(w->store, what, DIR_PARTIAL, w->name, e);
}

/* Hashes what is there already and puts the position behind it. */
static int take_up(struct blob_writer *w, struct err *e)
{
    struct stat st;
    if (fstat(w->fd, &st) < 0)
        return writer_sys(w, "look at", e);
    if ((uint64_t)st.st_size > w->size)
        return blob_writer_restart(w, e);
    CLEANUP(mem_freep) char *buf = malloc(READ_CHUNK);
    if (!buf)
        return err_set(e, -ENOMEM, "no memory for a blob");
    while (w->offset < (uint64_t)st.st_size) {
        ssize_t n = read(w->fd, buf, READ_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? err_set(e, -EIO, "'%s' became shorter", w->name) : writer_sys(w, "read", e);
        hasher_update(w->hasher, buf, (size_t)n);
        w->offset += (uint64_t)n;
    }
    return 0;
}

/* A writer for partial/<name>; -EAGAIN when another one has it. */
static int writer_create(struct store *s, const char *name, struct blob_writer **out, struct err *e)
{
    CLEANUP(writer_freep) struct blob_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return err_set(e, -ENOMEM, "no memory for a blob");
    w->store = s;
    w->fd = w->lock = -1;
    strcpy(w->name, name);
    int ret = hasher_create(&w->hasher, e);
    if (ret < 0)
        return ret;
    w->lock = object_lock(s, name, e);
    if (w->lock < 0)
        return w->lock;
    *out = STEAL(w);
    return 0;
}

static int writer_open(struct blob_writer *w, struct err *e)
{
    w->fd = openat(w->store->dir[DIR_PARTIAL], w->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return w->fd < 0 ? writer_sys(w, "create", e) : 0;
}

/* 1 when it is there, 0 when not; a blob of that name and another size is an error, unless it is that of a
 * file which the disk has cut. */
static int is_complete(struct store *s, const struct digest *d, uint64_t size, struct err *e)
{
    struct stat st;
    if (fstatat(s->dir[DIR_BLOBS], digest_hex(d), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : store_sys(s, "look at", DIR_BLOBS, digest_hex(d), e);
    if ((uint64_t)st.st_size != size && store_blob_remove_damaged(s, d))
        return 0;
    if ((uint64_t)st.st_size != size)
        return err_set(e, OCI_E_DIGEST, "blob %s has %lld bytes where %llu were promised", d->text,
                       (long long)st.st_size, (unsigned long long)size);
    return 1;
}

/* 0, 1 when it is there, -EAGAIN when another one writes it. The digest is leased. */
static int try_begin(struct store *s, const struct digest *d, uint64_t size, struct blob_writer **out,
                     struct err *e)
{
    CLEANUP(writer_freep) struct blob_writer *w = NULL;
    int ret = is_complete(s, d, size, e);
    if (ret == 0)
        ret = writer_create(s, digest_hex(d), &w, e);
    /* The one who had the lock before may have completed it. */
    if (ret == 0)
        ret = is_complete(s, d, size, e);
    if (ret != 0 || !w)
        return ret;
    w->digest = *d;
    w->size = size;
    ret = writer_open(w, e);
    if (ret == 0)
        ret = take_up(w, e);
    if (ret < 0)
        return ret;
    *out = STEAL(w);
    return 0;
}

int store_blob_try_begin(struct store_lease *l, const struct digest *d, uint64_t size,
                         struct blob_writer **out, struct err *e)
{
    int ret = store_lease_add(l, d, e);
    return ret < 0 ? ret : try_begin(l->store, d, size, out, e);
}

int store_blob_begin(struct store_lease *l, const struct digest *d, uint64_t size, int cancel_fd,
                     struct blob_writer **out, struct err *e)
{
    unsigned round = 0;
    int ret = store_lease_add(l, d, e);
    if (ret < 0)
        return ret;
    while ((ret = try_begin(l->store, d, size, out, e)) == -EAGAIN) {
        ret = object_wait(cancel_fd, &round, e);
        if (ret < 0)
            return ret;
    }
    return ret;
}

int store_blob_create(struct store_lease *l, uint64_t max, struct blob_writer **out, struct err *e)
{
    CLEANUP(writer_freep) struct blob_writer *w = NULL;
    char name[STORE_NAME_MAX];
    store_random_name(name, "new.");
    int ret = writer_create(l->store, name, &w, e);
    if (!w)
        return ret;
    ret = writer_open(w, e);
    if (ret < 0)
        return ret;
    w->size = max;
    *out = STEAL(w);
    return 0;
}

uint64_t blob_writer_offset(const struct blob_writer *w)
{
    return w->offset;
}

int blob_writer_write(struct blob_writer *w, const void *data, size_t len, struct err *e)
{
    if (len > w->size - w->offset) {
        if (!digest_is_set(&w->digest))
            return err_set(e, OCI_E_LIMIT, "a layer becomes larger than %llu bytes (limit layer_bytes)",
                           (unsigned long long)w->size);
        return err_set(e, OCI_E_DIGEST, "blob %s is longer than the %llu bytes that were promised",
                       w->digest.text, (unsigned long long)w->size);
    }
    int ret = write_full(w->fd, data, len);
    if (ret < 0) {
        errno = -ret;
        return writer_sys(w, "write", e);
    }
    hasher_update(w->hasher, data, len);
    w->offset += len;
    return 0;
}

int blob_writer_restart(struct blob_writer *w, struct err *e)
{
    hasher_reset(w->hasher);
    w->offset = 0;
    if (ftruncate(w->fd, 0) < 0 || lseek(w->fd, 0, SEEK_SET) < 0)
        return writer_sys(w, "empty", e);
    return 0;
}

/* Checks what was written against what was promised. */
static int check_written(const struct blob_writer *w, const struct digest *is, struct err *e)
{
    if (w->offset != w->size)
        return err_set(e, OCI_E_DIGEST, "blob %s has %llu bytes where %llu were promised", w->digest.text,
                       (unsigned long long)w->offset, (unsigned long long)w->size);
    if (!digest_equal(is, &w->digest))
        return err_set(e, OCI_E_DIGEST, "the bytes of blob %s are those of %s", w->digest.text, is->text);
    return 0;
}

int blob_writer_commit(struct blob_writer *w, struct err *e)
{
    struct digest is;
    int ret = hasher_finish(w->hasher, &is, e);
    if (ret == 0)
        ret = check_written(w, &is, e);
    if (ret == 0)
        ret = store_publish(w->store, w->fd, w->name, DIR_BLOBS, digest_hex(&w->digest), e);
    if (ret < 0)
        unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0);
    writer_free(w);
    return ret;
}

int blob_writer_commit_new(struct blob_writer *w, struct store_lease *l, struct digest *d, uint64_t *size,
                           struct err *e)
{
    int ret = hasher_finish(w->hasher, &w->digest, e);
    if (ret == 0)
        ret = store_lease_add(l, &w->digest, e);
    if (ret == 0)
        ret = store_publish(w->store, w->fd, w->name, DIR_BLOBS, digest_hex(&w->digest), e);
    if (ret < 0)
        unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0);
    *d = w->digest;
    *size = w->offset;
    writer_free(w);
    return ret;
}

void blob_writer_abort(struct blob_writer *w)
{
    if (!w)
        return;
    /* Nobody will ask for these bytes by name. */
    if (!digest_is_set(&w->digest) || w->offset == 0)
        unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0);
    writer_free(w);
}

int store_blob_put(struct store_lease *l, const struct digest *d, const void *data, size_t len, struct err *e)
{
    struct blob_writer *w = NULL;
    int ret = store_blob_begin(l, d, len, -1, &w, e);
    if (ret == 1 && store_blob_remove_damaged(l->store, d))
        ret = store_blob_begin(l, d, len, -1, &w, e);
    if (ret != 0 || !w)
        return ret < 0 ? ret : 0;
    ret = blob_writer_restart(w, e);
    if (ret == 0)
        ret = blob_writer_write(w, data, len, e);
    if (ret == 0)
        return blob_writer_commit(w, e);
    blob_writer_abort(w);
    return ret;
}
