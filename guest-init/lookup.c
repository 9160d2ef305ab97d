/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the search is done by looking, not by trying to execute, so that "not found" and
 * "found, but not runnable" stay apart; what execve(2) then refuses is the file's own fault, and its first
 * bytes tell why (a script's or a program's interpreter that is not there is reported by the kernel as
 * ENOENT).
 */
#include "guest-init/lookup.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0 when `file` may be executed, else a negative errno; a folder is -EISDIR. */
static int runnable(const char *file)
{
    struct stat st;
    if (stat(file, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) || access(file, X_OK) < 0)
        return -EACCES;
    return 0;
}

static int lookup_direct(const char *command, char out[PATH_MAX], struct err *e)
{
    if (strlen(command) >= PATH_MAX)
        return err_set(e, -ENOENT, "the command's path has more than %d bytes", PATH_MAX - 1);
    int ret = runnable(command);
    if (ret == -EISDIR)
        return err_set(e, -EACCES, "'%.200s' is a folder", command);
    if (ret == -EACCES)
        return err_set(e, -EACCES, "'%.200s' may not be executed: no permission, or no x bit", command);
    if (ret < 0)
        return err_set(e, -ENOENT, "command '%.200s' not found: %s", command, strerror(-ret));
    strcpy(out, command);
    return 0;
}

/* "<dir>/<command>"; false when it does not fit. */
static bool join(char out[PATH_MAX], const char *dir, size_t dir_len, const char *command)
{
    if (dir_len == 0) {
        dir = ".";
        dir_len = 1;
    }
    size_t len = strlen(command);
    if (dir_len + 1 + len >= PATH_MAX)
        return false;
    memcpy(out, dir, dir_len);
    out[dir_len] = '/';
    memcpy(out + dir_len + 1, command, len + 1);
    return true;
}

int lookup_command(const char *command, const char *path, char out[PATH_MAX], struct err *e)
{
    if (strchr(command, '/'))
        return lookup_direct(command, out, e);
    char refused[PATH_MAX] = "";
    const char *p = *command ? path : NULL; /* an empty command is nowhere, not every folder */
    while (p) {
        size_t len = strcspn(p, ":");
        if (join(out, p, len, command)) {
            int ret = runnable(out);
            if (ret == 0)
                return 0;
            if ((ret == -EACCES || ret == -EISDIR) && !refused[0])
                strcpy(refused, out);
        }
        p = p[len] ? p + len + 1 : NULL;
    }
    if (refused[0])
        return err_set(e, -EACCES, "'%.200s' may not be executed: no permission, no x bit, or a folder",
                       refused);
    return err_set(e, -ENOENT, "command '%.100s' not found in PATH=%.200s", command, path);
}

/* The interpreter of a "#!" line in `head`, or NULL. */
static const char *script_interpreter(char *head)
{
    if (strncmp(head, "#!", 2) != 0)
        return NULL;
    char *name = head + 2 + strspn(head + 2, " \t");
    name[strcspn(name, " \t\r\n")] = '\0';
    return name;
}

int lookup_explain(const char *file, int errnum, struct err *e)
{
    char head[256] = "";
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head) - 1);
    head[n < 0 ? 0 : n] = '\0';
    const char *interpreter = script_interpreter(head);
    if (errnum == ENOENT && interpreter)
        return err_set(e, -errnum, "the interpreter '%.100s' of script '%.200s' was not found", interpreter,
                       file);
    if (errnum == ENOENT)
        return err_set(e, -errnum, "the program interpreter (dynamic linker) of '%.200s' was not found",
                       file);
    if (errnum == ENOEXEC && n >= 4 && memcmp(head, "\177ELF", 4) == 0)
        return err_set(e, -errnum, "'%.200s' is a program for another architecture, or damaged", file);
    if (errnum == ENOEXEC)
        return err_set(e, -errnum, "'%.200s' is neither a program nor a script that starts with '#!'", file);
    if (errnum == E2BIG)
        return err_set(e, -errnum, "arguments and environment of '%.200s' are too long for the kernel", file);
    return err_set(e, -errnum, "cannot execute '%.200s': %s", file, strerror(errnum));
}
