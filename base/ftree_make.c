/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what an entry begins with. A folder is made under its own name and closed to others
 * until it is left; any other object gets a temporary name, so that nobody finds it half made, and what has
 * its own name already is looked at first: a large file is not sent in vain.
 */
#include "base/ftree_writer.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const char *ftree_entry_name(const struct ftree_writer *w)
{
    const char *slash = strrchr(w->entry.path, '/');
    return !w->entry.path[0] ? w->place.name : slash ? slash + 1 : w->entry.path;
}

int ftree_set_owner_and_mode(struct ftree_writer *w, struct err *e)
{
    char path[FTREE_PROC_MAX];
    const struct ftree_target *to = w->to;
    const struct ftree_entry *en = &w->entry;
    uid_t uid = to->archive ? en->uid : to->uid;
    gid_t gid = to->archive ? en->gid : to->gid;
    ftree_proc_path(w->fd, path);
    w->phase = FTREE_PHASE_ATTRS;
    if ((to->archive || to->owned) && fchownat(w->fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return ftree_fail(w, -errno, "set the owner of", NULL, e);
    if (en->type != FTREE_SYMLINK && chmod(path, en->mode & (to->archive ? 07777 : 01777)) < 0)
        return ftree_fail(w, -errno, "set the mode of", NULL, e);
    return 0;
}

int ftree_make_folder(struct ftree_writer *w, int dir, struct err *e)
{
    const char *name = ftree_entry_name(w);
    if (!w->entry.path[0] && w->place.merge) {
        w->root = fcntl(w->place.folder, F_DUPFD_CLOEXEC, 3);
        return w->root < 0 ? ftree_fail(w, -errno, "open", NULL, e) : 0;
    }
    /* Nobody else's until FTREE_LEAVE, unless it was there. */
    if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return ftree_fail(w, -errno, "make folder", NULL, e);
    CLEANUP(fd_closep) int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return ftree_fail(w, -errno, "make folder", errno == ENOTDIR ? "it exists and is no folder" : NULL,
                          e);
    if (!w->entry.path[0]) {
        w->root = STEAL_FD(fd);
        return 0;
    }
    fd_closep(&w->open_fd);
    w->open_fd = STEAL_FD(fd);
    strcpy(w->open_path, w->entry.path);
    return 0;
}

static int choose_temp(char temp[FTREE_TEMP_MAX])
{
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return -errno;
    snprintf(temp, FTREE_TEMP_MAX, ".cubby-%016llx.tmp", (unsigned long long)random);
    return 0;
}

/* Whether this process may make a file of that size: ftruncate() beyond its limit would be a signal that ends
 * it (SIGXFSZ), at the peer's will. */
static bool size_allowed(uint64_t size)
{
    struct rlimit limit;
    return size <= INT64_MAX && (getrlimit(RLIMIT_FSIZE, &limit) < 0 || size <= limit.rlim_cur);
}

static int make_file(struct ftree_writer *w, int dir, const char *temp, struct err *e)
{
    w->fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0)
        return ftree_fail(w, -errno, "make file", NULL, e);
    strcpy(w->temp, temp);
    w->phase = FTREE_PHASE_DATA;
    w->data_end = 0;
    if (!size_allowed(w->entry.size))
        return ftree_fail(w, -EFBIG, "make file", NULL, e);
    return ftruncate(w->fd, (off_t)w->entry.size) < 0 ? ftree_fail(w, -errno, "make file", NULL, e) : 0;
}

/* The very file that was made, whatever its name stands for by now. */
static int make_link(struct ftree_writer *w, int dir, const char *temp, struct err *e)
{
    struct stat st;
    char path[FTREE_PROC_MAX];
    CLEANUP(fd_closep) int fd = ftree_open_below(w->root, w->entry.target, O_PATH);
    if (fd < 0)
        return ftree_fail(w, fd, "make hard link", NULL, e);
    if (fstat(fd, &st) < 0 || !ftree_links_find(&w->made, &st))
        return ftree_violation(w, "a hard link names no file of this copy", e);
    ftree_proc_path(fd, path);
    if (linkat(AT_FDCWD, path, dir, temp, AT_SYMLINK_FOLLOW) < 0)
        return ftree_fail(w, -errno, "make hard link", NULL, e);
    strcpy(w->temp, temp);
    return 0;
}

static int make_special(struct ftree_writer *w, int dir, const char *temp, struct err *e)
{
    static const mode_t types[FTREE_TYPES] = {
        [FTREE_SYMLINK] = S_IFLNK, [FTREE_CHAR] = S_IFCHR, [FTREE_BLOCK] = S_IFBLK, [FTREE_FIFO] = S_IFIFO};
    const struct ftree_entry *en = &w->entry;
    mode_t type = types[en->type];
    struct stat st;
    int ret = en->type == FTREE_SYMLINK
                  ? symlinkat(en->target, dir, temp)
                  : mknodat(dir, temp, type | 0600, makedev(en->dev_major, en->dev_minor));
    if (ret < 0)
        return ftree_fail(w, -errno, en->type == FTREE_SYMLINK ? "make symbolic link" : "make device", NULL,
                          e);
    strcpy(w->temp, temp);
    w->fd = openat(dir, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (w->fd < 0 || fstat(w->fd, &st) < 0)
        return ftree_fail(w, -errno, "open", NULL, e);
    if ((st.st_mode & S_IFMT) != type)
        return ftree_fail(w, -ESTALE, "make", "it was replaced meanwhile", e);
    return ftree_set_owner_and_mode(w, e);
}

/* What has the name already: known before a large file is sent in vain. */
static int check_old(struct ftree_writer *w, int dir, struct err *e)
{
    struct stat st;
    if (fstatat(dir, ftree_entry_name(w), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : ftree_fail(w, -errno, "copy to", NULL, e);
    if (S_ISDIR(st.st_mode))
        return ftree_fail(w, -EISDIR, "replace", "it is a folder", e);
    return w->to->no_replace ? ftree_fail(w, -EEXIST, "copy to", "it exists", e) : 0;
}

int ftree_make_object(struct ftree_writer *w, int dir, struct err *e)
{
    char temp[FTREE_TEMP_MAX];
    bool device = w->entry.type == FTREE_CHAR || w->entry.type == FTREE_BLOCK;
    if (device && !w->to->archive) {
        w->skip = true;
        w->totals.skipped++;
        return 0;
    }
    int ret = check_old(w, dir, e);
    if (ret == 0 && (ret = choose_temp(temp)) < 0)
        ret = ftree_fail(w, ret, "choose a name for", NULL, e);
    if (ret < 0)
        return ret;
    w->totals.entries++;
    if (w->entry.type == FTREE_FILE)
        return make_file(w, dir, temp, e);
    return w->entry.type == FTREE_LINK ? make_link(w, dir, temp, e) : make_special(w, dir, temp, e);
}
