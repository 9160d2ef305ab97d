/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the tree is walked once, in the order of names so that the result does not depend on
 * the host's file system. Each level holds one open folder and works with names relative to it, so paths may
 * be of any length and a rename above us does no harm. A hard link is recognised by device and inode number
 * of objects with more than one name.
 */
#include "oci/rootfs.h"

#include "base/own.h"
#include "oci/ext4.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX  256 /* one descriptor a level */
#define COPY_CHUNK (256 * 1024)
#define XATTRS_MAX 128 /* of one object */
#define XATTR_ROOM (128 * 1024)

struct walk {
    const struct rootfs_options *opt;
    struct ext4_image *img;
    unsigned depth;
    void *links; /* tsearch tree of struct seen */
    char *copy;  /* COPY_CHUNK bytes */
    struct err *e;
};

/* An object with several names that was met before. */
struct seen {
    dev_t dev;
    ino_t host_ino;
    uint32_t node;
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->host_ino < y->host_ino ? -1 : x->host_ino > y->host_ino;
}

/* Finds or adds; NULL without memory. */
static struct seen *seen_entry(struct walk *w, const struct stat *st, bool *fresh)
{
    struct seen *key = malloc(sizeof(*key));
    if (!key)
        return NULL;
    *key = (struct seen){.dev = st->st_dev, .host_ino = st->st_ino};
    struct seen **found = tsearch(key, &w->links, compare_seen);
    *fresh = found && *found == key;
    if (!*fresh)
        free(key);
    return found ? *found : NULL;
}

static struct ext4_meta meta_of(const struct walk *w, const struct stat *st)
{
    struct ext4_meta m = {
        .mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid, .mtime = st->st_mtim};
    if (w->opt->all_root)
        m.uid = m.gid = 0;
    if (w->opt->fixed_times)
        m.mtime = (struct timespec){.tv_sec = w->opt->date};
    return m;
}

/* The extended attributes of one object, by its /proc path (works for symbolic links and devices as well). */
static int copy_xattrs(struct walk *w, int dir, const char *name, uint32_t node)
{
    char proc[512], list[65536];
    struct ext4_xattr attrs[XATTRS_MAX];
    size_t count = 0;
    int n = snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dir, name);
    ssize_t len = n < (int)sizeof(proc) ? llistxattr(proc, list, sizeof(list)) : 0;
    if (len < 0)
        return errno == ENOTSUP ? 0 : err_sys(w->e, "cannot list the attributes of '%s'", name);
    if (len == 0)
        return 0;
    CLEANUP(mem_freep) char *values = malloc(XATTR_ROOM);
    if (!values)
        return err_set(w->e, -ENOMEM, "cannot allocate the attributes of '%s'", name);
    size_t used = 0;
    for (const char *attr = list; attr < list + len; attr += strlen(attr) + 1) {
        /* Labels of the host's own security module mean nothing in the guest. */
        if (strcmp(attr, "security.selinux") == 0)
            continue;
        if (count == XATTRS_MAX)
            return err_set(w->e, -E2BIG, "'%s' has too many attributes", name);
        ssize_t got = lgetxattr(proc, attr, values + used, XATTR_ROOM - used);
        if (got < 0 && (errno == ENODATA || errno == ENOTSUP))
            continue;
        if (got < 0)
            return err_sys(w->e, "cannot read attribute %s of '%s'", attr, name);
        attrs[count++] = (struct ext4_xattr){attr, values + used, (size_t)got};
        used += (size_t)got;
    }
    return ext4_image_set_xattrs(w->img, node, attrs, count, w->e);
}

static int check_cancelled(const struct walk *w)
{
    if (!w->opt->cancelled || !w->opt->cancelled(w->opt->context))
        return 0;
    return err_set(w->e, -ECANCELED, "interrupted");
}

/* The bytes of [from, to), which hold data. */
static int copy_range(struct walk *w, int fd, const char *name, off_t from, off_t to)
{
    while (from < to) {
        int ret = check_cancelled(w);
        if (ret < 0)
            return ret;
        size_t want = to - from < COPY_CHUNK ? (size_t)(to - from) : COPY_CHUNK;
        ssize_t n = pread(fd, w->copy, want, from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(w->e, "cannot read '%s'", name);
        if (n == 0)
            return err_set(w->e, -EIO, "'%s' became shorter while it was read", name);
        ret = ext4_image_file_write(w->img, (uint64_t)from, w->copy, (size_t)n, w->e);
        if (ret < 0)
            return ret;
        from += n;
    }
    return 0;
}

/* Copies data and leaves holes out. A file system that cannot tell holes reports one piece of data. */
static int copy_content(struct walk *w, int fd, const char *name, off_t size)
{
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* nothing but a hole up to the end */
        if (data < 0)
            data = at;
        off_t hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        int ret = copy_range(w, fd, name, data, hole);
        if (ret < 0)
            return ret;
        at = hole;
    }
    return 0;
}

static int add_file(struct walk *w, int dir, uint32_t parent, const char *name, const struct stat *st,
                    uint32_t *node)
{
    CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_sys(w->e, "cannot open '%s'", name);
    struct ext4_meta m = meta_of(w, st);
    int ret = ext4_image_file_begin(w->img, parent, name, &m, node, w->e);
    if (ret == 0)
        ret = copy_content(w, fd, name, st->st_size);
    return ret < 0 ? ret : ext4_image_file_end(w->img, (uint64_t)st->st_size, w->e);
}

static int add_symlink(struct walk *w, int dir, uint32_t parent, const char *name, const struct stat *st,
                       uint32_t *node)
{
    char target[EXT4_TARGET_MAX + 1];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n < 0)
        return err_sys(w->e, "cannot read the symbolic link '%s'", name);
    target[n] = '\0';
    struct ext4_meta m = meta_of(w, st);
    return ext4_image_symlink(w->img, parent, name, target, &m, node, w->e);
}

static int walk_dir(struct walk *w, int fd, uint32_t node);

static int add_dir(struct walk *w, int dir, uint32_t parent, const char *name, const struct stat *st)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(w->e, "cannot open folder '%s'", name);
    uint32_t node = TREE_NONE;
    struct ext4_meta m = meta_of(w, st);
    int ret = ext4_image_mkdir(w->img, parent, name, &m, &node, w->e);
    if (ret == 0)
        ret = copy_xattrs(w, dir, name, node);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    return walk_dir(w, fd, node);
}

/* Anything but a folder, under its first name. */
static int add_leaf(struct walk *w, int dir, uint32_t parent, const char *name, const struct stat *st,
                    uint32_t *node)
{
    struct ext4_meta m = meta_of(w, st);
    int ret;
    if (S_ISREG(st->st_mode))
        ret = add_file(w, dir, parent, name, st, node);
    else if (S_ISLNK(st->st_mode))
        ret = add_symlink(w, dir, parent, name, st, node);
    else
        ret = ext4_image_mknod(w->img, parent, name, st->st_mode & S_IFMT, st->st_rdev, &m, node, w->e);
    return ret < 0 ? ret : copy_xattrs(w, dir, name, *node);
}

static int visit(struct walk *w, int dir, uint32_t parent, const char *name)
{
    struct stat st;
    int ret = check_cancelled(w);
    if (ret < 0)
        return ret;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(w->e, "cannot look at '%s'", name);
    if (S_ISSOCK(st.st_mode))
        return 0;
    /* A place for e2fsck's finds, not the tree's. */
    if (w->depth == 1 && strcmp(name, "lost+found") == 0)
        return 0;
    if (S_ISDIR(st.st_mode))
        return add_dir(w, dir, parent, name, &st);
    struct seen *seen = NULL;
    bool fresh = true;
    if (st.st_nlink > 1) {
        seen = seen_entry(w, &st, &fresh);
        if (!seen)
            return err_set(w->e, -ENOMEM, "cannot remember hard link '%s'", name);
    }
    if (!fresh)
        return ext4_image_link(w->img, parent, name, seen->node, NULL, w->e);
    uint32_t node = TREE_NONE;
    ret = add_leaf(w, dir, parent, name, &st, &node);
    if (ret == 0 && seen)
        seen->node = node;
    return ret;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* All names of the folder but "." and "..", sorted. Takes the descriptor's folder stream along. */
static int list_names(DIR *d, char ***out, size_t *count)
{
    char **names = NULL;
    size_t used = 0, cap = 0;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (used == cap) {
            cap = cap ? 2 * cap : 64;
            char **bigger = realloc(names, cap * sizeof(char *));
            if (!bigger)
                break;
            names = bigger;
        }
        if (!(names[used] = strdup(entry->d_name)))
            break;
        used++;
        errno = 0;
    }
    if (errno) {
        free_names(names, used);
        return -errno;
    }
    if (used)
        qsort(names, used, sizeof(char *), by_name);
    *out = names;
    *count = used;
    return 0;
}

/* Takes over `fd`. */
static int walk_dir(struct walk *w, int fd, uint32_t node)
{
    if (++w->depth > DEPTH_MAX) {
        close(fd);
        return err_set(w->e, -ELOOP, "folders are nested more than %d deep", DEPTH_MAX);
    }
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return err_set(w->e, -ENOMEM, "cannot read a folder");
    }
    char **names = NULL;
    size_t count = 0;
    int ret = list_names(d, &names, &count);
    if (ret < 0)
        err_set(w->e, ret, "cannot read a folder: %s", strerror(-ret));
    for (size_t i = 0; i < count && ret == 0; i++) {
        ret = visit(w, dirfd(d), node, names[i]);
        /* The text names the object; at the top, say below which of the root's folders it lies. */
        if (ret < 0 && w->depth == 1)
            err_prefix(w->e, "in '/%s'", names[i]);
    }
    free_names(names, count);
    closedir(d);
    w->depth--;
    return ret;
}

static int write_image(struct walk *w, int fd, const char *image_path)
{
    struct ext4_params p = {
        .uuid = "cubby root image",
        .created = w->opt->fixed_times ? w->opt->date : time(NULL),
    };
    snprintf(p.label, sizeof(p.label), "%s", w->opt->label ? w->opt->label : "cubby-root");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(w->e, "cannot look at the root folder");
    int ret = ext4_image_create(&w->img, image_path, &p, w->e);
    if (ret < 0)
        return ret;
    struct ext4_meta m = meta_of(w, &st);
    ret = ext4_image_set_meta(w->img, TREE_ROOT, &m, w->e);
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret == 0 && again < 0)
        ret = err_sys(w->e, "cannot open the root folder");
    if (ret == 0)
        ret = walk_dir(w, again, TREE_ROOT);
    else if (again >= 0)
        close(again);
    tdestroy(w->links, free);
    if (ret < 0) {
        ext4_image_abort(w->img);
        return ret;
    }
    return ext4_image_close(w->img, w->e);
}

int rootfs_image_from_dir(const char *dir, const char *image_path, const struct rootfs_options *opt,
                          struct err *e)
{
    static const struct rootfs_options defaults;
    struct err own = {0};
    CLEANUP(mem_freep) char *copy = malloc(COPY_CHUNK);
    if (!copy)
        return err_set(e, -ENOMEM, "cannot allocate a copy buffer");
    struct walk w = {.opt = opt ? opt : &defaults, .copy = copy, .e = e ? e : &own};
    CLEANUP(fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot open root folder '%s'", dir);
    int ret = write_image(&w, fd, image_path);
    if (ret < 0)
        err_prefix(w.e, "root folder '%s'", dir);
    return ret;
}
