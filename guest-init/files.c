/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: files of the kernel take a value in one write and give one in one read. Files of the
 * image are opened without blocking and checked on the open descriptor, so that nothing can be swapped
 * between the check and the use.
 */
#include "guest-init/files.h"

#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_put(int dir, const char *path, const char *text)
{
    CLEANUP(fd_closep) int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int file_get(int dir, const char *path, char *buf, size_t cap)
{
    CLEANUP(fd_closep) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, buf, cap - 1);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    return 0;
}

unsigned long long keyed_value(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    }
    return 0;
}

int file_get_regular(const char *path, size_t max, char **out)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if ((unsigned long long)st.st_size > max)
        return -EFBIG;
    size_t len = (size_t)st.st_size;
    CLEANUP(mem_freep) char *buf = malloc(len + 1);
    if (!buf)
        return -ENOMEM;
    int ret = pread_full(fd, buf, len, 0);
    if (ret < 0)
        return ret;
    buf[len] = '\0';
    *out = STEAL(buf);
    return 0;
}
