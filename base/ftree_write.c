/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every object but a folder is made under a temporary name in the folder where it
 * belongs, gets its data, owner, mode, xattrs and time there, in this order (data drops set-id bits and
 * capabilities, a new owner does as well), and is renamed over whatever has its name when the next entry
 * comes. Whoever looks sees the old object or the new one, whole. Nothing is synced: for a process that dies
 * that makes no difference, and ext4 writes the data of a file that replaces another before the rename.
 *
 * The entries may come from a hostile peer, and the folders may be changed by a hostile local user at the
 * same time. So paths are resolved by ftree_open_below(), and what was made is never touched by name again
 * before the rename, only through a descriptor: for objects that cannot be opened that is an O_PATH one and
 * its name under /proc/self/fd.
 */
#include "base/ftree_writer.h"
#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int ftree_fail(const struct ftree_writer *w, int code, const char *what, const char *why, struct err *e)
{
    char shown[FTREE_SHOWN_MAX], path[FTREE_NAME_MAX + FTREE_PATH_MAX + 2];
    const char *name = w->place.inside ? w->place.name : "", *below = w->entry.path;
    snprintf(path, sizeof(path), "%s%s%s", name, *name && *below ? "/" : "", below);
    return err_set(e, code, "cannot %s '%s': %s", what, ftree_show(shown, w->to->path, path),
                   why ? why : strerror(-code));
}

int ftree_violation(const struct ftree_writer *w, const char *why, struct err *e)
{
    return ftree_fail(w, -EPROTO, "copy to", why, e);
}

/* --- names --- */

/* How much of a path is its folder's. */
static size_t folder_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

/* Whether the entry is in the open folder; one that leaves, whether it is that folder. */
static bool in_open_folder(const struct ftree_writer *w, const struct ftree_entry *en)
{
    size_t len = en->type == FTREE_LEAVE ? strlen(en->path) : folder_len(en->path);
    return strlen(w->open_path) == len && memcmp(w->open_path, en->path, len) == 0;
}

/* The descriptor of the open folder, which after a FTREE_LEAVE has to be found again. Or a negative errno. */
static int open_folder(struct ftree_writer *w, struct err *e)
{
    if (w->open_fd < 0)
        w->open_fd = ftree_open_below(w->root, w->open_path, O_PATH | O_DIRECTORY);
    return w->open_fd < 0 ? ftree_fail(w, w->open_fd, "reach the folder of", NULL, e) : w->open_fd;
}

static int current_folder(const struct ftree_writer *w)
{
    return w->entry.path[0] ? w->open_fd : w->place.folder;
}

/* --- the end of an entry --- */

static int set_time(struct ftree_writer *w, struct err *e)
{
    char path[FTREE_PROC_MAX];
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)w->entry.mtime_s, .tv_nsec = (long)w->entry.mtime_ns},
    };
    ftree_proc_path(w->fd, path);
    return utimensat(AT_FDCWD, path, times, 0) < 0 ? ftree_fail(w, -errno, "set the time of", NULL, e) : 0;
}

static void forget_temp(struct ftree_writer *w)
{
    if (w->temp[0])
        unlinkat(current_folder(w), w->temp, 0);
    w->temp[0] = '\0';
}

/* Gives the object its name. What two hard links of one file do when one is renamed to the other is nothing:
 * so the temporary name is removed in any case. */
static int put_in_place(struct ftree_writer *w, struct err *e)
{
    int dir = current_folder(w);
    const char *name = ftree_entry_name(w);
    long ret;
    if (w->to->no_replace) {
        ret = syscall(SYS_renameat2, dir, w->temp, dir, name, RENAME_NOREPLACE);
        if (ret < 0 && (errno == EINVAL || errno == ENOSYS)) /* the file system cannot */
            ret = linkat(dir, w->temp, dir, name, 0);
    } else {
        ret = renameat(dir, w->temp, dir, name);
    }
    int code = ret < 0 ? -errno : 0;
    forget_temp(w);
    return code < 0 ? ftree_fail(w, code, "put in place", NULL, e) : 0;
}

/* Remembers a file that other names may follow for. */
static int remember(struct ftree_writer *w, struct err *e)
{
    struct stat st;
    if (w->entry.type != FTREE_FILE || !w->entry.linked)
        return 0;
    int ret = fstat(w->fd, &st) < 0 ? -errno : 0;
    if (ret == 0 && !ftree_links_find(&w->made, &st))
        ret = ftree_links_add(&w->made, &st, NULL);
    return ret < 0 ? ftree_fail(w, ret, "keep in mind", NULL, e) : 0;
}

static int complete_entry(struct ftree_writer *w, struct err *e)
{
    int ret = w->phase == FTREE_PHASE_DATA ? ftree_set_owner_and_mode(w, e) : 0;
    if (ret == 0 && w->phase == FTREE_PHASE_ATTRS)
        ret = set_time(w, e);
    if (ret == 0 && w->temp[0])
        ret = put_in_place(w, e);
    if (ret == 0 && w->fd >= 0)
        ret = remember(w, e);
    fd_closep(&w->fd);
    w->phase = FTREE_PHASE_NONE;
    w->skip = false;
    return ret;
}

/* --- the beginning of an entry --- */

static int leave_folder(struct ftree_writer *w, struct err *e)
{
    int ret = open_folder(w, e);
    if (ret < 0)
        return ret;
    w->fd = w->open_fd;
    w->open_fd = -1;
    w->open_path[folder_len(w->open_path)] = '\0';
    if (w->entry.path[0])
        return ftree_set_owner_and_mode(w, e);
    fd_closep(&w->root);      /* nothing follows */
    w->skip = w->place.merge; /* it was there before, and stays what it is */
    return w->skip ? 0 : ftree_set_owner_and_mode(w, e);
}

/* Whether the entry may come now, and names something below the root. */
static int check_entry(struct ftree_writer *w, const struct ftree_entry *en, struct err *e)
{
    bool is_root = !en->path[0];
    if (en->type < FTREE_FILE || en->type >= FTREE_TYPES)
        return ftree_violation(w, "an entry of unknown type", e);
    if (!is_root && !ftree_path_valid(en->path))
        return ftree_violation(w, "a path in it is absolute, has '..' or is too long", e);
    if (en->type == FTREE_LINK && !ftree_path_valid(en->target))
        return ftree_violation(w, "a hard link leads out of it", e);
    if (!w->placed)
        return is_root && en->type != FTREE_LEAVE && en->type != FTREE_LINK
                   ? 0
                   : ftree_violation(w, "its first entry is not its root", e);
    if (w->root < 0)
        return ftree_violation(w, "an entry behind its last one", e);
    if (is_root && en->type != FTREE_LEAVE)
        return ftree_violation(w, "it has two roots", e);
    return in_open_folder(w, en)
               ? 0
               : ftree_violation(w, "an entry is not in the folder that was entered last", e);
}

int ftree_writer_entry(struct ftree_writer *w, const struct ftree_entry *en, struct err *e)
{
    int ret = complete_entry(w, e);
    if (ret < 0)
        return ret;
    w->entry = *en;
    ret = check_entry(w, en, e);
    if (ret < 0)
        return ret;
    if (!w->placed) {
        ret = ftree_place_find(&w->place, w->to, en->type == FTREE_DIR, e);
        if (ret < 0)
            return ret;
        w->placed = true;
    }
    if (en->type == FTREE_LEAVE)
        return leave_folder(w, e);
    int dir = en->path[0] ? open_folder(w, e) : w->place.folder;
    if (dir < 0)
        return dir;
    if (en->type != FTREE_DIR)
        return ftree_make_object(w, dir, e);
    w->totals.entries++;
    return ftree_make_folder(w, dir, e);
}

/* --- data and xattrs --- */

int ftree_writer_data(struct ftree_writer *w, uint64_t offset, const void *data, size_t len, struct err *e)
{
    if (w->phase != FTREE_PHASE_DATA)
        return ftree_violation(w, "data where none is expected", e);
    if (offset < w->data_end || offset > w->entry.size || len > w->entry.size - offset)
        return ftree_violation(w, "data outside of its file, or out of order", e);
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(w->fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return ftree_fail(w, n == 0 ? -EIO : -errno, "write", NULL, e);
    }
    w->data_end = offset + len;
    w->totals.bytes += len;
    return 0;
}

/* Whether it is the attribute that is too much for the file system, or not ours to set. */
static bool cannot_hold(const char *name, int errnum)
{
    return errnum == ENOTSUP || errnum == ENOSPC || errnum == E2BIG || errnum == ERANGE ||
           (errnum == EPERM && strncmp(name, "trusted.", 8) == 0);
}

int ftree_writer_xattr(struct ftree_writer *w, const char *name, const void *value, size_t len, struct err *e)
{
    char path[FTREE_PROC_MAX];
    int ret = w->phase == FTREE_PHASE_DATA ? ftree_set_owner_and_mode(w, e) : 0;
    if (ret < 0 || w->skip)
        return ret;
    if (w->phase != FTREE_PHASE_ATTRS)
        return ftree_violation(w, "an extended attribute where none is expected", e);
    ftree_proc_path(w->fd, path);
    if (!ftree_xattr_wanted(name, w->to->archive)) {
        w->totals.xattrs_lost++;
        return 0;
    }
    if (setxattr(path, name, value, len, 0) == 0)
        return 0;
    if (!cannot_hold(name, errno))
        return ftree_fail(w, -errno, "set an extended attribute of", NULL, e);
    w->totals.xattrs_lost++;
    return 0;
}

/* --- life --- */

int ftree_writer_create(struct ftree_writer **out, const struct ftree_target *target, struct err *e)
{
    struct ftree_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return err_set(e, -ENOMEM, "no memory to copy to '%.200s'", target->path);
    w->to = target;
    w->place.folder = w->root = w->open_fd = w->fd = -1;
    *out = w;
    return 0;
}

int ftree_writer_finish(struct ftree_writer *w, struct err *e)
{
    int ret = complete_entry(w, e);
    if (ret == 0 && (!w->placed || w->root >= 0))
        ret = ftree_violation(w, w->placed ? "it ends within a folder" : "it is empty", e);
    return ret;
}

const struct ftree_totals *ftree_writer_totals(const struct ftree_writer *w)
{
    return &w->totals;
}

void ftree_writer_destroy(struct ftree_writer *w)
{
    if (!w)
        return;
    forget_temp(w);
    fd_closep(&w->fd);
    fd_closep(&w->open_fd);
    fd_closep(&w->root);
    fd_closep(&w->place.folder);
    ftree_links_fini(&w->made);
    free(w);
}
