/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: as with blobs, but what is made is written by others, through a path, and cannot be
 * taken up again: what an interrupted attempt left is removed before the next one starts.
 *
 * fsync(2) of an image of gigabytes sleeps until the last of them is on disk, and nothing ends it but the end
 * of the process. So the bytes are sent there piece by piece before, with a look at the cancellation between
 * two; what is left for fsync(2), and must not be interrupted, is little.
 */
#include "oci/store_internal.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX     ".ext4"
#define SYNC_PIECE ((off_t)32 << 20)

struct rootfs_writer {
    struct store *store;
    int lock;
    char *path;
    char name[STORE_NAME_MAX]; /* in partial/, locks/ and, at last, rootfs/ */
};

int store_rootfs_open(struct store *s, const struct digest *manifest, uint64_t *size, struct err *e)
{
    char name[STORE_NAME_MAX];
    return store_open_object(s, DIR_ROOTFS, store_object_name(name, manifest, SUFFIX), size, e);
}

static char *path_of(const struct store *s, enum store_dir d, const struct digest *manifest)
{
    char *path;
    int n = asprintf(&path, "%s/%s/%s" SUFFIX, s->path, store_dir_name(d), digest_hex(manifest));
    return n < 0 ? NULL : path;
}

char *store_rootfs_path(const struct store *s, const struct digest *manifest)
{
    return path_of(s, DIR_ROOTFS, manifest);
}

static void writer_free(struct rootfs_writer *w)
{
    if (w->lock >= 0)
        object_unlock(w->store, w->name, w->lock);
    free(w->path);
    free(w);
}

static void writer_freep(struct rootfs_writer **w)
{
    if (*w)
        writer_free(*w);
}

static bool is_complete(const struct store *s, const char *name)
{
    struct stat st;
    return fstatat(s->dir[DIR_ROOTFS], name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* 0, 1 when it is there, -EAGAIN when another one makes it. */
static int try_begin(struct rootfs_writer *w, struct err *e)
{
    if (is_complete(w->store, w->name))
        return 1;
    w->lock = object_lock(w->store, w->name, e);
    if (w->lock < 0)
        return w->lock;
    if (is_complete(w->store, w->name))
        return 1;
    if (unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0) < 0 && errno != ENOENT)
        return store_sys(w->store, "remove", DIR_PARTIAL, w->name, e);
    return 0;
}

int store_rootfs_begin(struct store_lease *l, const struct digest *manifest, int cancel_fd,
                       struct rootfs_writer **out, struct err *e)
{
    CLEANUP(writer_freep) struct rootfs_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return err_set(e, -ENOMEM, "no memory for a root image");
    w->store = l->store;
    w->lock = -1;
    store_object_name(w->name, manifest, SUFFIX);
    w->path = path_of(l->store, DIR_PARTIAL, manifest);
    if (!w->path)
        return err_set(e, -ENOMEM, "no memory for a root image");
    int ret = store_lease_add(l, manifest, e);
    if (ret < 0)
        return ret;
    unsigned round = 0;
    while ((ret = try_begin(w, e)) == -EAGAIN) {
        ret = object_wait(cancel_fd, &round, e);
        if (ret < 0)
            return ret;
    }
    if (ret != 0)
        return ret;
    *out = STEAL(w);
    return 0;
}

const char *rootfs_writer_path(const struct rootfs_writer *w)
{
    return w->path;
}

/* What the kernel tells of a failed write it tells once: here, or to fsync(2). Other failures only say that
 * there are no pieces on this file system. */
static bool is_of_disk(int error)
{
    return error == EIO || error == ENOSPC || error == EDQUOT;
}

static int sync_pieces(const struct rootfs_writer *w, int fd, int cancel_fd, struct err *e)
{
    struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
    struct stat st;
    if (fstat(fd, &st) < 0)
        return store_sys(w->store, "look at", DIR_PARTIAL, w->name, e);
    for (off_t at = 0; at < st.st_size; at += SYNC_PIECE) {
        if (poll(&cancel, 1, 0) > 0)
            return err_set(e, -ECANCELED, "interrupted");
        if (sync_file_range(fd, at, SYNC_PIECE,
                            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                SYNC_FILE_RANGE_WAIT_AFTER) < 0 &&
            is_of_disk(errno))
            return store_sys(w->store, "write", DIR_PARTIAL, w->name, e);
    }
    return 0;
}

int rootfs_writer_commit(struct rootfs_writer *w, int cancel_fd, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int ret =
        fd < 0 ? store_sys(w->store, "open", DIR_PARTIAL, w->name, e) : sync_pieces(w, fd, cancel_fd, e);
    if (ret == 0)
        ret = store_publish(w->store, fd, w->name, DIR_ROOTFS, w->name, e);
    if (ret < 0)
        unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0);
    writer_free(w);
    return ret;
}

void rootfs_writer_abort(struct rootfs_writer *w)
{
    if (!w)
        return;
    unlinkat(w->store->dir[DIR_PARTIAL], w->name, 0);
    writer_free(w);
}
