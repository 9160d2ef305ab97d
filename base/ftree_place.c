/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the path of the target is the caller's own wish, so its symbolic links are followed as
 * cp(1) would. But its last component may be what an earlier copy made of the peer's root, a link for
 * instance; with `nofollow` that one does not lead anywhere. From the folder that is found here on,
 * everything is relative to its descriptor.
 */
#include "base/ftree_place.h"

#include "base/ftree_parts.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int fail(const struct ftree_target *to, int code, const char *why, struct err *e)
{
    char shown[FTREE_SHOWN_MAX];
    return err_set(e, code, "cannot copy to '%s': %s", ftree_show(shown, to->path, ""),
                   why ? why : strerror(-code));
}

static int into_folder(struct ftree_place *p, const struct ftree_target *to, struct err *e)
{
    if (to->contents) {
        p->merge = true;
        return 0;
    }
    if (strchr(to->name, '/') || !ftree_path_valid(to->name))
        return fail(to, -EINVAL, "there is no name for it in this folder", e);
    strcpy(p->name, to->name);
    p->inside = true;
    return 0;
}

/* The path without its last component is a folder; that component is the root's name. */
static int under_own_name(struct ftree_place *p, const struct ftree_target *to, size_t len, struct err *e)
{
    char path[FTREE_PATH_MAX + 1];
    memcpy(path, to->path, len);
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (strlen(name) > FTREE_NAME_MAX)
        return fail(to, -ENAMETOOLONG, NULL, e);
    if (!ftree_path_valid(name)) /* "." or ".." of a folder that is not there */
        return fail(to, -ENOENT, "there is no such folder", e);
    strcpy(p->name, name);
    if (slash)
        slash[slash == path] = '\0'; /* keeps the slash of "/name" */
    p->folder = open(slash ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (p->folder >= 0)
        return 0;
    return fail(to, -errno, errno == ENOENT ? "the folder that it should be in does not exist" : NULL, e);
}

/* The target as the folder that it is, into *fd, which stays -1 when it is none. 0 or the failure. */
static int open_folder(const struct ftree_target *to, int *fd, struct err *e)
{
    struct stat st;
    bool nofollow = to->nofollow && to->path[strlen(to->path) - 1] != '/';
    *fd = open(to->path, O_PATH | O_DIRECTORY | O_CLOEXEC | (nofollow ? O_NOFOLLOW : 0));
    if (*fd >= 0)
        return 0;
    if (errno != ENOENT && errno != ENOTDIR)
        return fail(to, -errno, NULL, e);
    if (nofollow && stat(to->path, &st) == 0 && S_ISDIR(st.st_mode))
        return fail(to, -ENOTDIR, "it is a symbolic link, which is followed only with a '/' behind it", e);
    return 0;
}

int ftree_place_find(struct ftree_place *p, const struct ftree_target *to, bool root_is_folder, struct err *e)
{
    *p = (struct ftree_place){.folder = -1};
    size_t len = strlen(to->path);
    if (len == 0 || len > FTREE_PATH_MAX)
        return fail(to, len ? -ENAMETOOLONG : -ENOENT, NULL, e);
    if (to->contents && !root_is_folder) /* the root itself is not wanted, wherever it would go */
        return fail(to, -ENOTDIR, "the source is no folder, which has contents", e);
    int ret = open_folder(to, &p->folder, e);
    if (ret < 0)
        return ret;
    if (p->folder >= 0)
        return into_folder(p, to, e);
    bool exists = faccessat(AT_FDCWD, to->path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (exists && root_is_folder)
        return fail(to, -ENOTDIR, "it exists and is no folder", e);
    size_t full = len;
    while (len > 1 && to->path[len - 1] == '/')
        len--;
    if (len < full && !root_is_folder)
        return fail(to, errno == ENOTDIR ? -ENOTDIR : -ENOENT, "there is no such folder", e);
    return under_own_name(p, to, len, e);
}
