/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a store is a handful of open folders. All state is in the file system; processes agree
 * by flock(2), which the kernel releases when a process dies in whatever way. Each lock is taken on a
 * descriptor opened for that purpose, so that threads exclude each other as processes do.
 *
 * Whoever removes a locked file does so while holding its lock, and whoever gets a lock checks that the name
 * still leads to what was locked: so lock files need not stay for ever.
 */
#include "oci/store_internal.h"

#include "base/io.h"
#include "base/own.h"
#include "oci/oci_error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#define VERSION_FILE "version"
#define VERSION_TEXT "1\n"

static const char *const dir_name[DIR_COUNT] = {
    [DIR_TOP] = "",          [DIR_BLOBS] = "blobs/sha256", [DIR_ROOTFS] = "rootfs",
    [DIR_REFS] = "refs",     [DIR_PARTIAL] = "partial",    [DIR_LOCKS] = "locks",
    [DIR_LEASES] = "leases",
};

const char *store_dir_name(enum store_dir d)
{
    return dir_name[d];
}

const char *store_object_name(char *buf, const struct digest *d, const char *suffix)
{
    snprintf(buf, STORE_NAME_MAX, "%s%s", digest_hex(d), suffix);
    return buf;
}

void store_random_name(char *buf, const char *prefix)
{
    uint64_t number = 0;
    /* Short reads and failures of getrandom() are not possible for 8 bytes on a system that has booted. */
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = now_ns() ^ (uint64_t)getpid() << 32;
    sprintf(buf, "%s%016llx", prefix, (unsigned long long)number);
}

int store_sys(const struct store *s, const char *what, enum store_dir d, const char *name, struct err *e)
{
    return err_sys(e, "cannot %s '%s/%s%s%s'", what, s->path, dir_name[d], d == DIR_TOP ? "" : "/", name);
}

static int make_dir(const char *path, struct err *e)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int why = errno;
    /* On a read-only file system, a folder that is there gives that error as well. */
    if (access(path, F_OK) == 0)
        return 0;
    errno = why;
    return err_sys(e, "cannot create folder '%s' for the image store", path);
}

/* Makes a folder and those above it. */
static int make_dirs(const char *path, struct err *e)
{
    CLEANUP(mem_freep) char *copy = strdup(path);
    if (!copy || !*copy)
        return err_set(e, copy ? -EINVAL : -ENOMEM, "the image store has no path");
    for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        int ret = make_dir(copy, e);
        if (ret < 0 || !slash)
            return ret;
        *slash = '/';
    }
}

/* Opens one folder of the store, makes it when it is not there. */
static int open_dir(const struct store *s, const char *name, struct err *e)
{
    int fd = openat(s->dir[DIR_TOP], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd >= 0 ? fd : err_sys(e, "cannot open folder '%s/%s'", s->path, name);
    if (mkdirat(s->dir[DIR_TOP], name, 0700) < 0 && errno != EEXIST)
        return err_sys(e, "cannot create folder '%s/%s'", s->path, name);
    fd = openat(s->dir[DIR_TOP], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_sys(e, "cannot open folder '%s/%s'", s->path, name);
}

static int open_dirs(struct store *s, struct err *e)
{
    CLEANUP(fd_closep) int above = open_dir(s, "blobs", e);
    if (above < 0)
        return above;
    for (int d = DIR_BLOBS; d < DIR_COUNT; d++) {
        s->dir[d] = open_dir(s, dir_name[d], e);
        if (s->dir[d] < 0)
            return s->dir[d];
    }
    return 0;
}

static int write_version(const struct store *s, struct err *e)
{
    CLEANUP(fd_closep) int lock = store_lock(s, LOCK_EX, e);
    if (lock < 0)
        return lock;
    return store_put_file(s, DIR_TOP, VERSION_FILE, VERSION_TEXT, strlen(VERSION_TEXT), e);
}

static int check_version(const struct store *s, struct err *e)
{
    char text[16] = "";
    CLEANUP(fd_closep) int fd = openat(s->dir[DIR_TOP], VERSION_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? write_version(s, e) : store_sys(s, "open", DIR_TOP, VERSION_FILE, e);
    if (read(fd, text, sizeof(text) - 1) < 0)
        return store_sys(s, "read", DIR_TOP, VERSION_FILE, e);
    if (strcmp(text, VERSION_TEXT) != 0)
        return err_set(e, OCI_E_UNSUPPORTED,
                       "the image store '%s' has a format that this cubby does not know: "
                       "use a newer cubby, or another folder",
                       s->path);
    return 0;
}

static void store_closep(struct store **s)
{
    store_close(*s);
}

int store_open(struct store **out, const char *path, struct err *e)
{
    CLEANUP(store_closep) struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, -ENOMEM, "no memory for an image store");
    for (int d = 0; d < DIR_COUNT; d++)
        s->dir[d] = -1;
    int ret = make_dirs(path, e);
    if (ret < 0)
        return ret;
    s->path = realpath(path, NULL);
    if (!s->path)
        return err_sys(e, "cannot find the image store '%s'", path);
    s->dir[DIR_TOP] = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir[DIR_TOP] < 0)
        return err_sys(e, "cannot open the image store '%s'", s->path);
    ret = open_dirs(s, e);
    if (ret == 0)
        ret = check_version(s, e);
    if (ret < 0)
        return ret;
    *out = STEAL(s);
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int d = 0; d < DIR_COUNT; d++)
        fd_closep(&s->dir[d]);
    free(s->path);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

/* flock(2), gone on with after signals. */
static int lock_fd(int fd, int how)
{
    int ret;
    do
        ret = flock(fd, how);
    while (ret < 0 && errno == EINTR);
    return ret;
}

int store_lock(const struct store *s, int how, struct err *e)
{
    CLEANUP(fd_closep) int fd = openat(s->dir[DIR_TOP], "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    /* Who may only read still can lock. */
    if (fd < 0 && (errno == EROFS || errno == EACCES))
        fd = openat(s->dir[DIR_TOP], "lock", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || lock_fd(fd, how) < 0)
        return store_sys(s, "lock", DIR_TOP, "lock", e);
    return STEAL_FD(fd);
}

int object_lock(const struct store *s, const char *name, struct err *e)
{
    for (;;) {
        struct stat held, named;
        CLEANUP(fd_closep) int fd = openat(s->dir[DIR_LOCKS], name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return store_sys(s, "create", DIR_LOCKS, name, e);
        if (lock_fd(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? -EAGAIN : store_sys(s, "lock", DIR_LOCKS, name, e);
        if (fstat(fd, &held) < 0)
            return store_sys(s, "look at", DIR_LOCKS, name, e);
        /* The last owner may have removed it between our open and our lock. */
        if (fstatat(s->dir[DIR_LOCKS], name, &named, 0) == 0 && named.st_ino == held.st_ino)
            return STEAL_FD(fd);
    }
}

void object_unlock(const struct store *s, const char *name, int fd)
{
    unlinkat(s->dir[DIR_LOCKS], name, 0);
    close(fd);
}

int object_wait(int cancel_fd, unsigned *round, struct err *e)
{
    /* flock(2) cannot be waited for together with a descriptor. */
    int ms = *round < 5 ? 5 << *round : 150;
    struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
    (*round)++;
    if (poll(&cancel, 1, ms) > 0)
        return err_set(e, -ECANCELED, "interrupted");
    return 0;
}

int store_sync_dir(const struct store *s, enum store_dir d, struct err *e)
{
    return fsync(s->dir[d]) < 0 ? store_sys(s, "write folder", d, "", e) : 0;
}

int store_publish(const struct store *s, int fd, const char *from, enum store_dir d, const char *to,
                  struct err *e)
{
    if (fchmod(fd, 0444) < 0)
        return store_sys(s, "set the mode of", DIR_PARTIAL, from, e);
    if (fsync(fd) < 0)
        return store_sys(s, "write", DIR_PARTIAL, from, e);
    if (renameat(s->dir[DIR_PARTIAL], from, s->dir[d], to) < 0)
        return store_sys(s, "create", d, to, e);
    return store_sync_dir(s, d, e);
}

int store_put_file(const struct store *s, enum store_dir d, const char *name, const char *text, size_t len,
                   struct err *e)
{
    char temp[STORE_NAME_MAX];
    store_random_name(temp, "tmp.");
    CLEANUP(fd_closep)
    int fd = openat(s->dir[DIR_PARTIAL], temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return store_sys(s, "create", DIR_PARTIAL, temp, e);
    int ret = write_full(fd, text, len);
    if (ret < 0) {
        errno = -ret;
        ret = store_sys(s, "write", DIR_PARTIAL, temp, e);
    } else {
        ret = store_publish(s, fd, temp, d, name, e);
    }
    if (ret < 0)
        unlinkat(s->dir[DIR_PARTIAL], temp, 0);
    return ret;
}

int store_open_object(const struct store *s, enum store_dir d, const char *name, uint64_t *size,
                      struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = openat(s->dir[d], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || lock_fd(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0)
        return store_sys(s, "open", d, name, e);
    if (st.st_nlink == 0) { /* collected between our open and our lock */
        errno = ENOENT;
        return store_sys(s, "open", d, name, e);
    }
    if (size)
        *size = (uint64_t)st.st_size;
    return STEAL_FD(fd);
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

int store_each(const struct store *s, enum store_dir d, store_name_fn *fn, void *context, struct err *e)
{
    /* A descriptor of its own: the position in a folder belongs to the open file. */
    CLEANUP(fd_closep) int fd = openat(s->dir[d], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(dir_closep) DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream)
        return store_sys(s, "open folder", d, "", e);
    (void)STEAL_FD(fd);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry)
            return errno ? store_sys(s, "read folder", d, "", e) : 0;
        int ret = entry->d_name[0] == '.' ? 0 : fn(context, entry->d_name, e);
        if (ret < 0)
            return ret;
    }
}
