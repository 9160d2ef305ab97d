/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a path that somebody else chose is resolved by the kernel under rules that it cannot
 * get round (openat2(2): below the root, no symbolic links), not by checks beforehand, between which and the
 * use the tree may change.
 */
#include "base/ftree_parts.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool component_valid(const char *at, size_t len)
{
    if (len == 0 || len > FTREE_NAME_MAX)
        return false;
    return !(at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.')));
}

bool ftree_path_valid(const char *path)
{
    if (strnlen(path, FTREE_PATH_MAX + 1) > FTREE_PATH_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");
        if (!component_valid(path, len))
            return false;
        if (!path[len])
            return true;
        path += len + 1;
    }
}

int ftree_open_stepwise(int root, const char *path, int flags)
{
    CLEANUP(fd_closep) int dir = -1;
    for (;;) {
        char name[FTREE_NAME_MAX + 1];
        size_t len = strcspn(path, "/");
        if (*path && !component_valid(path, len))
            return -EINVAL;
        memcpy(name, *path ? path : ".", *path ? len : 1);
        name[*path ? len : 1] = '\0';
        bool last = !path[len];
        int fd = openat(dir < 0 ? root : dir, name,
                        (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        if (last)
            return fd;
        fd_closep(&dir);
        dir = fd;
        path += len + 1;
    }
}

int ftree_open_below(int root, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
    /* Not there before Linux 5.6; some filters of containers refuse what they do not know. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return ftree_open_stepwise(root, path, flags);
    return fd < 0 ? -errno : (int)fd;
}

bool ftree_xattr_wanted(const char *name, bool archive)
{
    static const char *const exact[] = {"security.capability", "system.posix_acl_access",
                                        "system.posix_acl_default"};
    if (strncmp(name, "user.", 5) == 0)
        return true;
    for (size_t i = 0; archive && i < ARRAY_LEN(exact); i++)
        if (strcmp(name, exact[i]) == 0)
            return true;
    return archive && strncmp(name, "trusted.", 8) == 0 && strncmp(name, "trusted.overlay.", 16) != 0;
}

void ftree_proc_path(int fd, char path[FTREE_PROC_MAX])
{
    snprintf(path, FTREE_PROC_MAX, "/proc/self/fd/%d", fd);
}

const char *ftree_show(char shown[FTREE_SHOWN_MAX], const char *root, const char *path)
{
    static const char cut[] = "…";
    size_t head = strlen(root);
    while (head > 1 && *path && root[head - 1] == '/')
        head--;
    bool slash = *path && !(head == 1 && root[0] == '/');
    size_t total = head + slash + strlen(path), room = FTREE_SHOWN_MAX - sizeof(cut);
    size_t skip = total > room ? total - room : 0;
    size_t n = skip ? sizeof(cut) - 1 : 0;
    memcpy(shown, cut, n);
    for (size_t i = skip; i < total; i++)
        shown[n++] = i < head ? root[i] : slash && i == head ? '/' : path[i - head - slash];
    shown[n] = '\0';
    return shown;
}
