/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: thin wrappers, each with the one detail that is easy to get wrong written down beside
 * it. */
#include "base/io.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void fd_closep(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
}

uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

int read_full(int fd, void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, (char *)buf + done, len - done);
        if (n == 0)
            return -ENODATA;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int write_full(int fd, const void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, (const char *)buf + done, len - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));
        if (n == 0)
            return -ENODATA;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int fd_set_nonblock(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags || fcntl(fd, F_SETFL, wanted) == 0 ? 0 : -errno;
}

/* Reads to the end, growing the block: files under /proc do not tell their size. */
static int read_all(int fd, size_t max, char **out, size_t *len)
{
    CLEANUP(mem_freep) char *buf = NULL;
    size_t cap = 0, used = 0;
    for (;;) {
        if (used == cap) {
            cap = cap ? 2 * cap : 4096;
            char *bigger = realloc(buf, cap + 1);
            if (!bigger)
                return -ENOMEM;
            buf = bigger;
        }
        ssize_t n = read(fd, buf + used, cap - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > max)
            return -EFBIG;
    }
    buf[used] = '\0';
    *out = STEAL(buf);
    *len = used;
    return 0;
}

int read_file(const char *path, size_t max, char **out, size_t *len, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot open '%s'", path);
    int ret = read_all(fd, max, out, len);
    if (ret == -EFBIG)
        return err_set(e, ret, "'%s' is larger than %zu bytes", path, max);
    if (ret < 0)
        return err_set(e, ret, "cannot read '%s': %s", path, strerror(-ret));
    return 0;
}

/* Writes, syncs and renames; on failure says at which step. */
static int fill_and_rename(int fd, const char *temp, const char *path, const void *data, size_t len,
                           struct err *e)
{
    int ret = write_full(fd, data, len);
    if (ret < 0)
        return err_set(e, ret, "cannot write '%s': %s", path, strerror(-ret));
    if (fsync(fd) < 0)
        return err_sys(e, "cannot write '%s'", path);
    if (rename(temp, path) < 0)
        return err_sys(e, "cannot replace '%s'", path);
    return 0;
}

int write_file_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof(temp), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temp))
        return err_set(e, -ENAMETOOLONG, "cannot write '%s': the path is too long", path);
    CLEANUP(fd_closep) int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot create a file beside '%s'", path);
    int ret = fchmod(fd, mode) < 0 ? err_sys(e, "cannot set the mode of '%s'", path)
                                   : fill_and_rename(fd, temp, path, data, len, e);
    if (ret < 0)
        unlink(temp);
    return ret;
}

static int unix_address(const char *path, struct sockaddr_un *sa, struct err *e)
{
    size_t len = strlen(path);
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0)
        return err_set(e, -EINVAL, "the path of a Unix socket is empty");
    if (len >= sizeof(sa->sun_path))
        return err_set(
            e, -ENAMETOOLONG,
            "socket path '%s' has %zu bytes, a Unix socket takes at most %zu: use a shorter folder", path,
            len, sizeof(sa->sun_path) - 1);
    memcpy(sa->sun_path, path, len + 1);
    return 0;
}

static int unix_socket(struct err *e)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? err_sys(e, "cannot create a Unix socket") : fd;
}

/* Removes the socket at `path` when nobody listens there any more. 0 when the path is free now. */
static int remove_stale(const char *path, const struct sockaddr_un *sa)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    CLEANUP(fd_closep) int fd = unix_socket(NULL);
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(path) < 0 ? -errno : 0;
}

int unix_listen(const char *path, int backlog, struct err *e)
{
    struct sockaddr_un sa;
    int ret = unix_address(path, &sa, e);
    if (ret < 0)
        return ret;
    CLEANUP(fd_closep) int fd = unix_socket(e);
    if (fd < 0)
        return fd;
    ret = remove_stale(path, &sa);
    if (ret == -EADDRINUSE)
        return err_set(e, ret, "socket '%s' is in use by another process", path);
    if (ret < 0)
        return err_set(e, ret, "cannot listen at '%s': %s", path, strerror(-ret));
    /* fchmod before bind sets the mode that bind() gives the file: there is no moment at which others may
     * connect. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return err_sys(e, "cannot listen at '%s'", path);
    if (listen(fd, backlog) < 0) {
        ret = err_sys(e, "cannot listen at '%s'", path);
        unlink(path);
        return ret;
    }
    return STEAL_FD(fd);
}

int unix_connect(const char *path, struct err *e)
{
    struct sockaddr_un sa;
    int ret = unix_address(path, &sa, e);
    if (ret < 0)
        return ret;
    CLEANUP(fd_closep) int fd = unix_socket(e);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return err_sys(e, "cannot connect to '%s'", path);
    return STEAL_FD(fd);
}
