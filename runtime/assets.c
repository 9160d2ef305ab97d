/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each file is looked for by itself, so that a build tree whose programs and assets are
 * in two folders (a sanitizer's build) needs no copies: CUBBY_ASSETS=build/gcc-address:build.
 *
 * A program that embeds libcubby.so knows nothing of these files, and may be an interpreter in /usr/bin. So
 * the library looks beside itself first: what lies there was built with it, while the program's folder may
 * hold those of another version. The loader's name for us would not do, since it can be relative to a folder
 * that the program has left; the kernel's is that of the file, wherever it was found.
 */
#include "runtime/assets.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKAGED CUBBY_LIBDIR "/cubby"

const char *asset_file(enum asset a)
{
    static const char *const files[ASSETS] = {"cubby-vmm", "vmlinux", "initrd.cpio", "default.ext4"};
    return files[a];
}

/* "/path/of" of /path/of/file. */
static void cut_name(char path[PATH_MAX])
{
    char *slash = strrchr(path, '/');
    path[slash ? slash - path : 0] = '\0';
}

/* The folder of the running program; "" when /proc cannot tell. */
static void executable_folder(char out[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    cut_name(out);
}

/* The folder of the file that this code was loaded from, the shared library or the program; "" when /proc
 * cannot tell. proc(5): "start-end perms offset device inode    /path". */
static void library_folder(char out[PATH_MAX])
{
    uintptr_t here = (uintptr_t)&library_folder, from, to;
    CLEANUP(mem_freep) char *line = NULL;
    size_t cap = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    out[0] = '\0';
    while (maps && !out[0] && getline(&line, &cap, maps) > 0) {
        int at = 0;
        bool parsed = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &from, &to, &at) == 2;
        if (parsed && here >= from && here < to && line[at] == '/')
            snprintf(out, PATH_MAX, "%s", line + at);
    }
    if (maps)
        fclose(maps);
    cut_name(out);
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

/* Where nobody has said where to look. */
static int find_unasked(enum asset a, char out[PATH_MAX], struct err *e)
{
    char beside[PATH_MAX], below[PATH_MAX + sizeof("/cubby")], program[PATH_MAX], text[ERR_TEXT_MAX] = "";
    library_folder(beside);
    executable_folder(program);
    snprintf(below, sizeof(below), "%s%s", beside, beside[0] ? "/cubby" : "");
    const char *const places[] = {beside, below, strcmp(program, beside) == 0 ? "" : program, PACKAGED};
    for (size_t i = 0, n = 0; i < ARRAY_LEN(places); i++) {
        if (try_folder(places[i], strlen(places[i]), a, out))
            return 0;
        if (places[i][0] && n < sizeof(text))
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s'%s'", n > 0 ? ", " : "", places[i]);
    }
    return err_set(e, -ENOENT,
                   "cannot find %s; try 'make all' in cubby's source tree, or set CUBBY_ASSETS to its folder "
                   "(looked in %s)",
                   asset_file(a), text);
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
    return find_unasked(a, out, e);
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
