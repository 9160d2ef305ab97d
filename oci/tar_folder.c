/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the tree is walked in the order of names, one open folder a level, and libarchive
 * writes the headers. It converts names from the locale's encoding to UTF-8: in the "C" locale, which the
 * thread has meanwhile, it keeps other bytes than ASCII as they are and says so (hdrcharset=BINARY). A hard
 * link is recognised by device and inode number of files with more than one name. A sparse file is handed
 * over with its holes, which libarchive leaves out by the map that the entry carries.
 */
#include "oci/tar_folder.h"

#include "base/own.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX    256 /* one descriptor a level */
#define PATH_LEN_MAX 4096
#define COPY_CHUNK   (256 * 1024)
#define HOLES_MAX    10000 /* of a file; one with more is written in full */
#define BLOCK        10240 /* libarchive hands over whole records of this size */

struct tar {
    struct archive *a;
    tar_sink_fn *sink;
    void *context;
    int sink_ret;           /* what the sink returned when it failed */
    bool in_header, failed; /* failed: nothing more is to be written */
    void *links;            /* tsearch tree of struct seen */
    char *copy;             /* COPY_CHUNK bytes */
    char *zeros;            /* as many */
    char path[PATH_LEN_MAX];
    struct err *e;
};

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

static int no_memory(struct tar *t)
{
    return err_set(t->e, -ENOMEM, "no memory to read a folder");
}

static int sys_error(struct tar *t, const char *what)
{
    return err_sys(t->e, "cannot %s '%s' in it", what, t->path);
}

/* What libarchive says about the entry, or what the sink said before. */
static int write_error(struct tar *t)
{
    const char *why = archive_error_string(t->a);
    if (t->sink_ret < 0)
        return t->sink_ret;
    return err_set(t->e, -EIO, "cannot write '%s' into a tar: %s", t->path, why ? why : "unknown error");
}

/*
 * Once failed, it fails for ever: what libarchive would still write while it is freed goes nowhere. It is not
 * told of a failure while it writes a header: it would then not free all that it holds (as of 3.6.2).
 */
static la_ssize_t write_to_sink(struct archive *a, void *context, const void *data, size_t len)
{
    struct tar *t = context;
    if (t->sink_ret == 0)
        t->sink_ret = t->failed ? -EIO : t->sink(t->context, data, len, t->e);
    if (t->sink_ret == 0 || t->in_header)
        return (la_ssize_t)len;
    archive_set_error(a, EIO, "the tar cannot be written");
    return -1;
}

static int set_xattr(struct tar *t, struct archive_entry *entry, const char *proc, const char *name)
{
    ssize_t len = lgetxattr(proc, name, t->copy, 65536);
    if (len < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : sys_error(t, "read an attribute of");
    archive_entry_xattr_add_entry(entry, name, t->copy, (size_t)len);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Attributes in the order of their names, which the host's file system does not promise. */
static int set_xattrs(struct tar *t, struct archive_entry *entry, int dir, const char *name)
{
    char proc[512], list[65536];
    int n = snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", dir, name);
    ssize_t len = n < (int)sizeof(proc) ? llistxattr(proc, list, sizeof(list)) : 0;
    if (len < 0)
        return errno == ENOTSUP ? 0 : sys_error(t, "list the attributes of");
    size_t count = 0;
    CLEANUP(mem_freep) const char **names = calloc((size_t)len + 1, sizeof(*names));
    if (!names)
        return no_memory(t);
    for (const char *attr = list; attr < list + len; attr += strlen(attr) + 1) {
        /* Labels of the host's own security module mean nothing in the guest. */
        if (strcmp(attr, "security.selinux") != 0)
            names[count++] = attr;
    }
    qsort(names, count, sizeof(*names), by_name);
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
            return write_error(t);
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
            return sys_error(t, "read");
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
        return no_memory(t);
    *key = (struct seen){.dev = st->st_dev, .ino = st->st_ino, .path = strdup(t->path)};
    struct seen **found = key->path ? tsearch(key, &t->links, compare_seen) : NULL;
    if (!found || *found != key)
        free_seen(key);
    if (!found)
        return no_memory(t);
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
        return sys_error(t, "read the symbolic link");
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

/* One object; `fd` is its open file when it is a regular one. */
static int write_object(struct tar *t, int dir, const char *name, const struct stat *st, int fd)
{
    CLEANUP(entry_freep) struct archive_entry *entry = archive_entry_new();
    bool linked = false;
    if (!entry)
        return no_memory(t);
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
        return write_error(t);
    return fd >= 0 && !linked ? write_content(t, fd, st->st_size) : 0;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* All names of the folder but "." and "..", sorted. */
static int list_names(struct tar *t, DIR *d, char ***out, size_t *count)
{
    char **names = NULL;
    size_t used = 0, room = 0;
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (used == room) {
            room = room ? 2 * room : 64;
            char **bigger = realloc(names, room * sizeof(*names));
            if (!bigger)
                break;
            names = bigger;
        }
        names[used] = strdup(entry->d_name);
        if (!names[used])
            break;
        used++;
    }
    if (entry || errno) {
        int ret = entry ? no_memory(t) : sys_error(t, "list");
        free_names(names, used);
        return ret;
    }
    if (used)
        qsort(names, used, sizeof(*names), by_name);
    *out = names;
    *count = used;
    return 0;
}

static int walk(struct tar *t, int fd, unsigned depth);

static int visit(struct tar *t, int dir, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return sys_error(t, "look at");
    if (S_ISSOCK(st.st_mode) || (depth == 0 && strcmp(name, "lost+found") == 0))
        return 0;
    CLEANUP(fd_closep) int fd = -1;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return sys_error(t, "open");
    }
    int ret = write_object(t, dir, name, &st, S_ISREG(st.st_mode) ? fd : -1);
    return ret == 0 && S_ISDIR(st.st_mode) ? walk(t, STEAL_FD(fd), depth + 1) : ret;
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* What is in the folder `fd`, whose path is t->path. Takes the descriptor. */
static int walk(struct tar *t, int fd, unsigned depth)
{
    CLEANUP(dir_closep) DIR *d = fdopendir(fd);
    char **names = NULL;
    size_t count = 0, len = strlen(t->path);
    if (!d) {
        close(fd);
        return no_memory(t);
    }
    if (depth == DEPTH_MAX)
        return err_set(t->e, -ELOOP, "folders in it are nested more than %d deep", DEPTH_MAX);
    int ret = list_names(t, d, &names, &count);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < count && ret == 0; i++) {
        int n = snprintf(t->path + len, sizeof(t->path) - len, "%s%s", len ? "/" : "", names[i]);
        ret = (size_t)n < sizeof(t->path) - len
                  ? visit(t, dirfd(d), names[i], depth)
                  : err_set(t->e, -ENAMETOOLONG, "'%.80s…' in it is too long", t->path);
        if (ret == 0)
            t->path[len] = '\0';
    }
    free_names(names, count);
    return ret;
}

/* The folder itself, whose mode and owner become the root's. */
static int write_root(struct tar *t, int dir)
{
    struct stat st;
    strcpy(t->path, ".");
    if (fstat(dir, &st) < 0)
        return sys_error(t, "look at");
    int ret = write_object(t, dir, ".", &st, -1);
    t->path[0] = '\0';
    return ret;
}

static int write_tree(struct tar *t, int dir)
{
    archive_write_set_format_pax(t->a);
    archive_write_add_filter_none(t->a);
    archive_write_set_bytes_per_block(t->a, BLOCK);
    if (archive_write_set_options(t->a, "xattrheader=SCHILY") < ARCHIVE_WARN ||
        archive_write_open2(t->a, t, NULL, write_to_sink, NULL, NULL) < ARCHIVE_WARN)
        return write_error(t);
    int ret = write_root(t, dir);
    int fd = ret == 0 ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (ret == 0)
        ret = fd < 0 ? sys_error(t, "open") : walk(t, fd, 0);
    if (ret == 0 && archive_write_close(t->a) < ARCHIVE_WARN)
        ret = write_error(t);
    return ret;
}

int tar_write_folder(int dir, tar_sink_fn *sink, void *context, struct err *e)
{
    CLEANUP(mem_freep) struct tar *t = calloc(1, sizeof(*t));
    CLEANUP(mem_freep) char *copy = malloc(COPY_CHUNK);
    CLEANUP(mem_freep) char *zeros = calloc(1, COPY_CHUNK);
    struct archive *a = archive_write_new();
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", NULL);
    if (!t || !copy || !zeros || !a || !c_locale) {
        archive_write_free(a);
        if (c_locale)
            freelocale(c_locale);
        return err_set(e, -ENOMEM, "no memory to read a folder");
    }
    t->a = a;
    t->sink = sink;
    t->context = context;
    t->copy = copy;
    t->zeros = zeros;
    t->e = e;
    locale_t saved = uselocale(c_locale);
    int ret = write_tree(t, dir);
    uselocale(saved);
    freelocale(c_locale);
    t->failed = true;
    archive_write_free(a);
    tdestroy(t->links, free_seen);
    return ret;
}
