/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a layout in a folder may be changed by others while we read it, and its links may lead
 * anywhere. So each file is opened once, must be a regular one, and is copied into the store, which checks
 * it.
 */
#include "oci/source_internal.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define COPY_CHUNK (256 * 1024)

struct folder {
    struct load *load;
    int dir;
};

static int open_inside(int dir, const char *name, uint64_t *size, struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, OCI_E_NOT_FOUND, "'%s' is missing in it", name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "cannot open '%s' in it", name);
    if (!S_ISREG(st.st_mode))
        return err_set(e, OCI_E_FORMAT, "'%s' in it is no regular file", name);
    *size = (uint64_t)st.st_size;
    return STEAL_FD(fd);
}

static int copy_bytes(const struct load *l, int fd, struct blob_writer *w, const char *name, struct err *e)
{
    CLEANUP(mem_freep) char *buf = malloc(COPY_CHUNK);
    if (!buf)
        return err_set(e, -ENOMEM, "no memory to copy '%s'", name);
    for (;;) {
        int ret = load_check_cancelled(l, e);
        if (ret < 0)
            return ret;
        ssize_t n = read(fd, buf, COPY_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : err_sys(e, "cannot read '%s' in it", name);
        ret = blob_writer_write(w, buf, (size_t)n, e);
        if (ret < 0)
            return ret;
    }
}

static int bring_file(void *context, const struct descriptor *d, struct err *e)
{
    const struct folder *f = context;
    char name[DIGEST_HEX_LEN + 16];
    uint64_t size = 0;
    struct blob_writer *w;
    snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(&d->digest));
    CLEANUP(fd_closep) int fd = open_inside(f->dir, name, &size, e);
    if (fd < 0)
        return fd;
    if (size != d->size)
        return err_set(e, OCI_E_DIGEST, "'%s' in it has %llu bytes where %llu were promised", name,
                       (unsigned long long)size, (unsigned long long)d->size);
    int ret = store_blob_begin(f->load->lease, &d->digest, d->size, f->load->opt->cancel_fd, &w, e);
    if (ret != 0)
        return ret < 0 ? ret : 0;
    ret = blob_writer_restart(w, e);
    if (ret == 0)
        ret = copy_bytes(f->load, fd, w, name, e);
    if (ret == 0)
        return blob_writer_commit(w, e);
    blob_writer_abort(w);
    return ret;
}

/* A small file of the layout's top. */
static int read_inside(int dir, const char *name, uint64_t max, char **out, size_t *len, struct err *e)
{
    uint64_t size = 0;
    CLEANUP(fd_closep) int fd = open_inside(dir, name, &size, e);
    if (fd < 0)
        return fd;
    if (size > max)
        return err_set(e, OCI_E_LIMIT, "'%s' in it has %llu bytes, more than %llu (limit manifest_bytes)",
                       name, (unsigned long long)size, (unsigned long long)max);
    CLEANUP(mem_freep) char *text = malloc(size + 1);
    if (!text)
        return err_set(e, -ENOMEM, "no memory for '%s'", name);
    ssize_t n = pread(fd, text, size, 0);
    if (n < 0)
        return err_sys(e, "cannot read '%s' in it", name);
    *len = (size_t)n;
    *out = STEAL(text);
    return 0;
}

int layout_load_folder(struct load *l, int dir, struct err *e)
{
    CLEANUP(mem_freep) char *layout = NULL;
    CLEANUP(mem_freep) char *index = NULL;
    size_t layout_len = 0, index_len = 0;
    struct folder f = {.load = l, .dir = dir};
    const struct blob_supply supply = {.bring = bring_file, .context = &f};
    int ret = read_inside(dir, "oci-layout", 4096, &layout, &layout_len, e);
    if (ret == 0)
        ret = layout_check_version(layout, layout_len, e);
    if (ret == 0)
        ret = read_inside(dir, "index.json", l->limits.manifest_bytes, &index, &index_len, e);
    return ret < 0 ? ret : layout_load(l, index, index_len, &supply, e);
}
