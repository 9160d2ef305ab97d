/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each file is looked for by itself, so that a build tree whose programs and assets are
 * in two folders (a sanitizer's build) needs no copies: CUBBY_ASSETS=build/gcc-address:build.
 */
#include "runtime/assets.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKAGED CUBBY_PREFIX "/lib/cubby"

const char *asset_file(enum asset a)
{
    static const char *const files[ASSETS] = {"cubby-vmm", "vmlinux", "initrd.cpio", "default.ext4"};
    return files[a];
}

/* "/path/of" of /path/of/program; "" when /proc cannot tell. */
static void executable_folder(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    else
        out[0] = '\0';
}

/* True with `out` filled when folder/file is there. A name that is too long is not there. */
static bool try_folder(const char *folder, size_t len, enum asset a, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%.*s/%s", (int)len, folder, asset_file(a));
    struct stat st;
    return len > 0 && n < PATH_MAX && stat(out, &st) == 0;
}

static bool try_list(const char *list, enum asset a, char out[PATH_MAX])
{
    while (*list) {
        size_t len = strcspn(list, ":");
        if (len < PATH_MAX && try_folder(list, len, a, out))
            return true;
        list += len + (list[len] == ':');
    }
    return false;
}

int asset_find(enum asset a, const char *folders, char out[PATH_MAX], struct err *e)
{
    const char *from = "";
    if (!folders) {
        folders = getenv("CUBBY_ASSETS");
        from = " ($CUBBY_ASSETS)";
    }
    if (folders && folders[0]) {
        if (try_list(folders, a, out))
            return 0;
        return err_set(e, -ENOENT, "cannot find %s in '%s'%s; try 'make all' in cubby's source tree",
                       asset_file(a), folders, from);
    }
    char beside[PATH_MAX];
    executable_folder(beside);
    if (try_folder(beside, strlen(beside), a, out) || try_folder(PACKAGED, strlen(PACKAGED), a, out))
        return 0;
    return err_set(
        e, -ENOENT,
        "cannot find %s in '%s' or '%s'; try 'make all' in cubby's source tree, or set CUBBY_ASSETS to its "
        "folder",
        asset_file(a), beside, PACKAGED);
}

int file_check(const char *what, const char *path, struct err *e)
{
    /* Without O_NONBLOCK a FIFO would hold us up for ever. */
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, "cannot open %s '%s'", what, path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "%s '%s' is a folder, not a file", what, path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "%s '%s' is not a regular file", what, path);
    if (st.st_size == 0)
        return err_set(e, -EINVAL, "%s '%s' is empty", what, path);
    return 0;
}
