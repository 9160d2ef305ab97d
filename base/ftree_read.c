/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a walk in depth first order with a stack of its own on the heap. The names of a folder
 * are read at once and sorted, and only the folder at the top of the stack is open: a parent is opened again
 * when the walk comes back to it. So a deep tree costs memory but no descriptors, of which the caller of a
 * library may have few.
 *
 * What is looked at may be changed by others meanwhile. Each object is opened without following a link and
 * without blocking, and its type taken from the open descriptor, so a file that turned into a FIFO or a link
 * is an error, not a hang or a way out. What is gone is left out. The way back to a parent is "..", which
 * holds when the parent was renamed or removed, or the path of the parent, when the folder was moved out of
 * it; it is the parent if its inode is.
 */
#include "base/ftree_parts.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR_LIST_MAX_LINUX 65536u /* Linux's XATTR_LIST_MAX */

/* A folder whose content is being read. */
struct level {
    struct level *up;
    struct ftree_names names;
    size_t next;
    size_t path_len; /* of the folder's own path */
    dev_t dev;
    ino_t ino;
};

struct walk {
    const struct ftree_source *src;
    struct ftree_sink *sink;
    struct ftree_totals *totals;
    struct err *e;
    int root, dir; /* the source, when it is a folder; the folder of `top`. Owned; -1 */
    struct level *top;
    struct ftree_links links;
    struct ftree_entry entry; /* its path is where the walk is */
    size_t path_len;
    char names[XATTR_LIST_MAX_LINUX];
    uint8_t buf[FTREE_CHUNK];
};

/* "cannot read '<path>': <why>"; the path is where the walk is. */
static int fail(struct walk *w, int code, const char *why)
{
    char shown[FTREE_SHOWN_MAX];
    return err_set(w->e, code, "cannot read '%s': %s", ftree_show(shown, w->src->path, w->entry.path),
                   why ? why : strerror(-code));
}

/* An object could not be opened: one that vanished since its folder was read is left out. 0 or the failure.
 */
static int not_opened(struct walk *w)
{
    if (errno != ENOENT || !w->top)
        return fail(w, -errno, NULL);
    w->totals->skipped++;
    return 0;
}

/* --- one object --- */

static void fill_entry(struct walk *w, enum ftree_type type, const struct stat *st)
{
    struct ftree_entry *en = &w->entry;
    en->type = (uint8_t)type;
    en->linked = false;
    en->mode = (uint16_t)(st->st_mode & 07777);
    en->uid = st->st_uid;
    en->gid = st->st_gid;
    en->mtime_s = st->st_mtim.tv_sec;
    en->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
    en->size = type == FTREE_FILE ? (uint64_t)st->st_size : 0;
    en->dev_major = type == FTREE_CHAR || type == FTREE_BLOCK ? major(st->st_rdev) : 0;
    en->dev_minor = type == FTREE_CHAR || type == FTREE_BLOCK ? minor(st->st_rdev) : 0;
    en->target[0] = '\0';
}

static int send_entry(struct walk *w)
{
    if (w->entry.type != FTREE_LEAVE)
        w->totals->entries++;
    return w->sink->entry(w->sink, &w->entry);
}

/* The xattrs of what `fd` refers to, which may be open with O_PATH alone. */
static int send_xattrs(struct walk *w, int fd)
{
    char path[FTREE_PROC_MAX];
    ftree_proc_path(fd, path);
    ssize_t len = listxattr(path, w->names, sizeof(w->names));
    if (len < 0)
        return errno == ENOTSUP ? 0 : fail(w, -errno, NULL);
    for (const char *name = w->names; name < w->names + len; name += strlen(name) + 1) {
        if (!ftree_xattr_wanted(name, w->src->archive))
            continue;
        ssize_t n = getxattr(path, name, w->buf, sizeof(w->buf));
        if (n < 0 && errno == ENODATA)
            continue; /* taken away meanwhile */
        int ret = n < 0 ? fail(w, -errno, NULL) : w->sink->xattr(w->sink, name, w->buf, (size_t)n);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int send_range(struct walk *w, int fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t want = to - from < sizeof(w->buf) ? (size_t)(to - from) : sizeof(w->buf);
        ssize_t n = pread(fd, w->buf, want, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? fail(w, -errno, NULL) : fail(w, -ESTALE, "it shrank meanwhile");
        int ret = w->sink->data(w->sink, from, w->buf, (size_t)n);
        if (ret < 0)
            return ret;
        w->totals->bytes += (uint64_t)n;
        from += (uint64_t)n;
    }
    return 0;
}

/* The data between the holes. File systems that know no holes say that all is data. */
static int send_data(struct walk *w, int fd, uint64_t size)
{
    struct stat st;
    for (uint64_t at = 0; at < size;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* a hole to the end */
        off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        uint64_t from = data < 0 ? at : (uint64_t)data, to = hole < 0 ? size : (uint64_t)hole;
        int ret = send_range(w, fd, from, to < size ? to : size);
        if (ret < 0)
            return ret;
        at = to;
    }
    /* The hole at the end may have been data a moment ago. */
    if (fstat(fd, &st) < 0)
        return fail(w, -errno, NULL);
    return (uint64_t)st.st_size < size ? fail(w, -ESTALE, "it shrank meanwhile") : 0;
}

/* True when the file has been read under another name; then that is what is sent. */
static bool send_link(struct walk *w, const struct stat *st, int *ret)
{
    const struct ftree_link *known = st->st_nlink > 1 ? ftree_links_find(&w->links, st) : NULL;
    if (!known)
        return false;
    fill_entry(w, FTREE_LINK, st);
    strcpy(w->entry.target, known->path);
    *ret = send_entry(w);
    return true;
}

static int read_file_at(struct walk *w, int dir, const char *name, int nofollow)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | nofollow);
    int ret = 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return not_opened(w);
    if (!S_ISREG(st.st_mode))
        return fail(w, -ESTALE, "it was replaced meanwhile");
    if (w->top && st.st_dev != w->top->dev && ftree_made_up(fd)) {
        w->totals->skipped++;
        return 0;
    }
    if (send_link(w, &st, &ret))
        return ret;
    fill_entry(w, FTREE_FILE, &st);
    /* When there are too many to keep in mind, their other names are read as files of their own. */
    if (st.st_nlink > 1 && w->entry.path[0]) {
        ret = ftree_links_add(&w->links, &st, w->entry.path);
        if (ret == -ENOMEM)
            return fail(w, ret, NULL);
        w->entry.linked = ret == 0;
    }
    ret = send_entry(w);
    if (ret == 0)
        ret = send_data(w, fd, w->entry.size);
    return ret < 0 ? ret : send_xattrs(w, fd);
}

/* A symbolic link, a FIFO or a device: looked at, but not opened. */
static int read_special(struct walk *w, int dir, const char *name, enum ftree_type type, int nofollow)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(dir, name, O_PATH | O_CLOEXEC | nofollow);
    if (fd < 0 || fstat(fd, &st) < 0)
        return not_opened(w);
    fill_entry(w, type, &st);
    if (type == FTREE_SYMLINK) {
        ssize_t n = readlinkat(fd, "", w->entry.target, sizeof(w->entry.target));
        if (n < 0 || n > (ssize_t)FTREE_PATH_MAX)
            return fail(w, n < 0 ? -errno : -ENAMETOOLONG, NULL);
        w->entry.target[n] = '\0';
    }
    int ret = send_entry(w);
    return ret < 0 ? ret : send_xattrs(w, fd);
}

/* --- folders --- */

static void level_free(struct level *l)
{
    ftree_names_fini(&l->names);
    free(l);
}

/* Goes into the folder `fd`, which it takes over: its entry, then its names on the stack. */
static int enter_folder(struct walk *w, int fd, const struct stat *st)
{
    fill_entry(w, FTREE_DIR, st);
    fd_closep(&w->dir);
    w->dir = fd;
    int ret = send_entry(w);
    if (ret < 0)
        return ret;
    struct level *l = calloc(1, sizeof(*l));
    if (!l)
        return fail(w, -ENOMEM, NULL);
    *l = (struct level){.up = w->top, .path_len = w->path_len, .dev = st->st_dev, .ino = st->st_ino};
    bool foreign = l->up && l->up->dev != st->st_dev;
    w->top = l;
    if (foreign && ftree_made_up(fd)) {
        w->totals->skipped++;
        return 0;
    }
    ret = ftree_names_read(&l->names, fd);
    return ret < 0 ? fail(w, ret, NULL) : 0;
}

static int read_folder(struct walk *w, int dir, const char *name, int nofollow)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | nofollow);
    if (fd < 0 || fstat(fd, &st) < 0)
        return not_opened(w);
    if (w->root < 0 && (w->root = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
        return fail(w, -errno, NULL);
    return enter_folder(w, STEAL_FD(fd), &st);
}

static bool is_level(int fd, const struct level *l)
{
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

/* Opens the folder of `top` instead of its child, which is open. */
static int back_to_top(struct walk *w)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    CLEANUP(fd_closep) int fd = openat(w->dir, "..", flags);
    if (!is_level(fd, w->top)) {
        fd_closep(&fd);
        fd = ftree_open_below(w->root, w->entry.path, flags);
    }
    if (fd < 0 && fd != -ENOENT)
        return fail(w, fd, NULL);
    if (!is_level(fd, w->top))
        return fail(w, -ESTALE, "it was moved or replaced meanwhile");
    fd_closep(&w->dir);
    w->dir = STEAL_FD(fd);
    return 0;
}

/* All of the top folder was read: its last entry, then back to its parent. */
static int leave_folder(struct walk *w)
{
    struct stat st;
    struct level *l = w->top;
    if (fstat(w->dir, &st) < 0)
        return fail(w, -errno, NULL);
    fill_entry(w, FTREE_LEAVE, &st);
    int ret = send_entry(w);
    if (ret == 0)
        ret = send_xattrs(w, w->dir);
    w->top = l->up;
    level_free(l);
    if (ret < 0 || !w->top)
        return ret;
    w->path_len = w->top->path_len;
    w->entry.path[w->path_len] = '\0';
    return back_to_top(w);
}

/* --- the walk --- */

static int visit(struct walk *w, int dir, const char *name, int nofollow)
{
    struct stat st;
    if (fstatat(dir, name, &st, nofollow ? AT_SYMLINK_NOFOLLOW : 0) < 0)
        return not_opened(w);
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return read_file_at(w, dir, name, nofollow);
    case S_IFDIR:
        return read_folder(w, dir, name, nofollow);
    case S_IFLNK:
        return read_special(w, dir, name, FTREE_SYMLINK, O_NOFOLLOW);
    case S_IFIFO:
        return read_special(w, dir, name, FTREE_FIFO, nofollow);
    case S_IFCHR:
    case S_IFBLK:
        if (w->src->archive)
            return read_special(w, dir, name, S_ISCHR(st.st_mode) ? FTREE_CHAR : FTREE_BLOCK, nofollow);
        break;
    default:
        break;
    }
    if (!w->top)
        return fail(w, -EOPNOTSUPP, S_ISSOCK(st.st_mode) ? "it is a socket" : "it is a device");
    w->totals->skipped++;
    return 0;
}

static int next_name(struct walk *w)
{
    struct level *l = w->top;
    const char *name = l->names.list[l->next++];
    size_t len = strlen(name), slash = l->path_len > 0;
    if (l->path_len + slash + len > FTREE_PATH_MAX)
        return fail(w, -ENAMETOOLONG, "a path in it has more than 4095 bytes");
    if (slash)
        w->entry.path[l->path_len] = '/';
    memcpy(w->entry.path + l->path_len + slash, name, len + 1);
    w->path_len = l->path_len + slash + len;
    int ret = visit(w, w->dir, name, O_NOFOLLOW);
    if (ret == 0 && w->top == l) {
        w->path_len = l->path_len;
        w->entry.path[l->path_len] = '\0';
    }
    return ret;
}

static int check_source(struct walk *w, int nofollow)
{
    CLEANUP(fd_closep) int fd = open(w->src->path, O_PATH | O_CLOEXEC | nofollow);
    if (fd < 0)
        return fail(w, -errno, NULL);
    return ftree_made_up(fd) ? fail(w, -EOPNOTSUPP, "the kernel makes its files up; read them with a command")
                             : 0;
}

int ftree_read(const struct ftree_source *src, struct ftree_sink *sink, struct ftree_totals *totals,
               struct err *e)
{
    CLEANUP(mem_freep) struct walk *w = calloc(1, sizeof(*w));
    if (!w)
        return err_set(e, -ENOMEM, "no memory to read '%.200s'", src->path);
    w->src = src;
    w->sink = sink;
    w->totals = totals;
    w->e = e;
    w->root = w->dir = -1;
    int nofollow = src->follow ? 0 : O_NOFOLLOW;
    int ret = check_source(w, nofollow);
    if (ret == 0)
        ret = visit(w, AT_FDCWD, src->path, nofollow);
    while (ret == 0 && w->top)
        ret = w->top->next < w->top->names.count ? next_name(w) : leave_folder(w);
    for (struct level *l; (l = w->top);) {
        w->top = l->up;
        level_free(l);
    }
    fd_closep(&w->dir);
    fd_closep(&w->root);
    ftree_links_fini(&w->links);
    return ret;
}
