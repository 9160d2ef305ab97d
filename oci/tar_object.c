/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an object becomes an entry with all that its inode holds, and its content. A hard link
 * is recognised by device and inode number of files with more than one name. A sparse file is handed over
 * with its holes, which libarchive leaves out by the map that the entry carries.
 */
#include "oci/tar_inner.h"

#include "base/own.h"

#include <archive_entry.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HOLES_MAX 10000 /* of a file; one with more is written in full */

/* A file with several names that was met before. */
struct seen {
    dev_t dev;
    ino_t ino;
    char *path;
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void free_seen(void *p)
{
    struct seen *s = p;
    free(s->path);
    free(s);
}

static int set_xattr(struct tar *t, struct archive_entry *entry, const char *proc, const char *name)
{
    ssize_t len = lgetxattr(proc, name, t->copy, 65536);
    if (len < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : tar_sys_error(t, "read an attribute of");
    archive_entry_xattr_add_entry(entry, name, t->copy, (size_t)len);
    return 0;
}

/* Attributes in the order of their names, which the host's file system does not promise. */
static int set_xattrs(struct tar *t, struct archive_entry *entry, int dir, const char *name)
{
    char proc[512], list[65536];
    int n = snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dir, name);
    ssize_t len = n < (int)sizeof(proc) ? llistxattr(proc, list, sizeof(list)) : 0;
    if (len < 0)
        return errno == ENOTSUP ? 0 : tar_sys_error(t, "list the attributes of");
    size_t count = 0;
    CLEANUP(mem_freep) const char **names = calloc((size_t)len + 1, sizeof(*names));
    if (!names)
        return tar_no_memory(t);
    for (const char *attr = list; attr < list + len; attr += strlen(attr) + 1) {
        /* Labels of the host's own security module mean nothing in the guest. */
        if (strcmp(attr, "security.selinux") != 0)
            names[count++] = attr;
    }
    qsort(names, count, sizeof(*names), tar_by_name);
    int ret = 0;
    for (size_t i = 0; i < count && ret == 0; i++)
        ret = set_xattr(t, entry, proc, names[i]);
    return ret;
}

/* The pieces of the file that hold data, as the entry's map; a file without holes has none. */
static void set_holes(struct archive_entry *entry, int fd, off_t size)
{
    off_t at = 0;
    for (unsigned pieces = 0; at < size; pieces++) {
        off_t data = lseek(fd, at, SEEK_DATA);
        off_t hole = data < 0 ? size : lseek(fd, data, SEEK_HOLE);
        if (data < 0 && pieces == 0 && errno == ENXIO)
            archive_entry_sparse_add_entry(entry, size, 0); /* nothing but a hole */
        if (data < 0)
            break;
        if (hole < 0 || pieces == HOLES_MAX || (data == 0 && hole >= size)) {
            archive_entry_sparse_clear(entry);
            break;
        }
        if (hole > size)
            hole = size;
        archive_entry_sparse_add_entry(entry, data, hole - data);
        at = hole;
    }
    lseek(fd, 0, SEEK_SET);
}

static int write_bytes(struct tar *t, const char *data, size_t len)
{
    while (len > 0) {
        la_ssize_t n = archive_write_data(t->a, data, len);
        if (n <= 0)
            return tar_write_error(t);
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_zeros(struct tar *t, off_t from, off_t to)
{
    int ret = 0;
    while (from < to && ret == 0) {
        size_t len = to - from < COPY_CHUNK ? (size_t)(to - from) : COPY_CHUNK;
        ret = write_bytes(t, t->zeros, len);
        from += (off_t)len;
    }
    return ret;
}

/* All `size` bytes; a hole is not read. */
static int write_content(struct tar *t, int fd, off_t size)
{
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0)
            data = errno == ENXIO ? size : at;
        int ret = write_zeros(t, at, data < size ? data : size);
        if (ret < 0 || data >= size)
            return ret;
        size_t want = size - data < COPY_CHUNK ? (size_t)(size - data) : COPY_CHUNK;
        ssize_t n = pread(fd, t->copy, want, data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tar_sys_error(t, "read");
        if (n == 0)
            return err_set(t->e, -EIO, "'%s' in it became shorter while it was read", t->path);
        ret = write_bytes(t, t->copy, (size_t)n);
        if (ret < 0)
            return ret;
        at = data + n;
    }
    return 0;
}

/* True, and the entry is a link, when the file was met before under another name. */
static int set_link(struct tar *t, struct archive_entry *entry, const struct stat *st, bool *linked)
{
    *linked = false;
    if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
        return 0;
    struct seen *key = malloc(sizeof(*key));
    if (!key)
        return tar_no_memory(t);
    *key = (struct seen){.dev = st->st_dev, .ino = st->st_ino, .path = strdup(t->path)};
    struct seen **found = key->path ? tsearch(key, &t->links, compare_seen) : NULL;
    if (!found || *found != key)
        free_seen(key);
    if (!found)
        return tar_no_memory(t);
    *linked = *found != key;
    if (*linked) {
        archive_entry_set_hardlink(entry, (*found)->path);
        archive_entry_set_size(entry, 0);
    }
    return 0;
}

static int set_symlink(struct tar *t, struct archive_entry *entry, int dir, const char *name)
{
    char target[PATH_LEN_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return tar_sys_error(t, "read the symbolic link");
    target[n] = '\0';
    archive_entry_set_symlink(entry, target);
    return 0;
}

static void set_meta(struct tar *t, struct archive_entry *entry, const struct stat *st)
{
    bool root = geteuid() == 0;
    archive_entry_set_pathname(entry, t->path);
    archive_entry_set_mode(entry, st->st_mode);
    archive_entry_set_uid(entry, root ? st->st_uid : 0);
    archive_entry_set_gid(entry, root ? st->st_gid : 0);
    archive_entry_set_mtime(entry, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    archive_entry_set_size(entry, S_ISREG(st->st_mode) ? st->st_size : 0);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        archive_entry_set_rdev(entry, st->st_rdev);
}

static void entry_freep(struct archive_entry **entry)
{
    archive_entry_free(*entry);
}

int tar_write_object(struct tar *t, int dir, const char *name, const struct stat *st, int fd)
{
    CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
    bool linked = false;
    if (!entry)
        return tar_no_memory(t);
    set_meta(t, entry, st);
    int ret = set_link(t, entry, st, &linked);
    if (ret == 0 && S_ISLNK(st->st_mode))
        ret = set_symlink(t, entry, dir, name);
    if (ret == 0 && !linked)
        ret = set_xattrs(t, entry, dir, name);
    if (ret < 0)
        return ret;
    if (fd >= 0 && !linked)
        set_holes(entry, fd, st->st_size);
    t->in_header = true;
    ret = archive_write_header(t->a, entry);
    t->in_header = false;
    if (ret < ARCHIVE_WARN || t->sink_ret < 0)
        return tar_write_error(t);
    return fd >= 0 && !linked ? write_content(t, fd, st->st_size) : 0;
}

void tar_links_free(struct tar *t)
{
    tdestroy(t->links, free_seen);
}
