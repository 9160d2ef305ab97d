/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: everything that can be wrong with a disk image is found when it is opened, so that a
 * running guest meets only the host's I/O errors. Data goes straight between the page cache and the caller's
 * pieces; a guest's flush is fdatasync(2).
 */
#include "virtio/disk.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define ZERO_PIECE 4096

static int open_or_copy(const char *path, int fd, bool read_only, struct err *e)
{
    if (!path) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return copy < 0 ? err_sys(e, "cannot use descriptor %d as a disk", fd) : copy;
    }
    /* O_NONBLOCK: a fifo must not hang us before it can be refused; files and block devices ignore it. */
    int opened = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return opened < 0 ? err_sys(e, "cannot open disk image '%s'%s", path, read_only ? "" : " for writing")
                      : opened;
}

/* A copied descriptor may not allow what the disk needs. */
static int check_mode(const struct disk *d, struct err *e)
{
    int flags = fcntl(d->fd, F_GETFL);
    if (flags < 0)
        return err_sys(e, "cannot look at disk image '%s'", d->name);
    int mode = flags & O_ACCMODE;
    if (mode == O_WRONLY || (mode == O_RDONLY && !d->read_only))
        return err_set(e, -EBADF, "disk image '%s' is open for %s only", d->name,
                       mode == O_WRONLY ? "writing" : "reading");
    if ((flags & O_APPEND) && !d->read_only)
        return err_set(e, -EINVAL, "disk image '%s' is open for appending: writes would go to its end",
                       d->name);
    return 0;
}

static int look_at_device(struct disk *d, struct err *e)
{
    int sector = 0;
    if (ioctl(d->fd, BLKGETSIZE64, &d->size) < 0 || ioctl(d->fd, BLKSSZGET, &sector) < 0)
        return err_sys(e, "cannot find out the size of block device '%s'", d->name);
    d->block_device = true;
    d->block_size = sector >= DISK_SECTOR ? (uint32_t)sector : DISK_SECTOR;
    return 0;
}

static int look_at(struct disk *d, struct err *e)
{
    struct stat st;
    if (fstat(d->fd, &st) < 0)
        return err_sys(e, "cannot look at disk image '%s'", d->name);
    d->block_size = DISK_SECTOR;
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "disk image '%s' is a folder; it must be a file or a block device",
                       d->name);
    if (S_ISBLK(st.st_mode)) {
        int ret = look_at_device(d, e);
        if (ret < 0)
            return ret;
    } else if (S_ISREG(st.st_mode)) {
        d->size = (uint64_t)st.st_size;
    } else {
        return err_set(e, -EINVAL, "disk image '%s' is neither a regular file nor a block device", d->name);
    }
    if (d->size == 0)
        return err_set(e, -EINVAL, "disk image '%s' is empty", d->name);
    if (d->size % DISK_SECTOR)
        return err_set(e, -EINVAL,
                       "disk image '%s' has %" PRIu64 " bytes, not a multiple of %d: is it cut off, or not a "
                       "raw image?",
                       d->name, d->size, DISK_SECTOR);
    return 0;
}

static int lock_image(const struct disk *d, struct err *e)
{
    /* Belongs to the open file, not to the process: it ends with the last copy of the descriptor, however
     * the VMM ends, and two disks in one process exclude each other too. */
    struct flock lock = {.l_type = d->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(d->fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return err_set(e, -EBUSY, "disk image '%s' is in use by another VM%s", d->name,
                       d->read_only ? ", which writes to it" : "");
    log_warn(LOG_BLK, "disk image '%s' cannot be locked (%s): make sure that no other VM writes to it",
             d->name, strerror(errno));
    return 0;
}

int disk_open(struct disk *d, const char *path, int fd, bool read_only, struct err *e)
{
    *d = (struct disk){.read_only = read_only};
    if (path)
        snprintf(d->name, sizeof(d->name), "%s", path);
    else
        snprintf(d->name, sizeof(d->name), "descriptor %d", fd);
    d->fd = open_or_copy(path, fd, read_only, e);
    if (d->fd < 0)
        return d->fd;
    int ret = look_at(d, e);
    if (ret == 0)
        ret = check_mode(d, e);
    if (ret == 0)
        ret = lock_image(d, e);
    if (ret < 0)
        disk_close(d);
    return ret;
}

void disk_close(struct disk *d)
{
    fd_closep(&d->fd);
}

ssize_t disk_read(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
    ssize_t got;
    do
        got = preadv(d->fd, iov, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    return got ? got : -ENODATA;
}

ssize_t disk_write(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
    ssize_t put;
    do
        put = pwritev(d->fd, iov, n, (off_t)offset);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    return put ? put : -EIO;
}

int disk_flush(struct disk *d)
{
    if (d->read_only)
        return 0;
    return fdatasync(d->fd) < 0 ? -errno : 0;
}

static int allocate(const struct disk *d, int mode, uint64_t offset, uint64_t len)
{
    int ret;
    do
        ret = fallocate(d->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

/* Errors that say "not here", as opposed to "failed". EINVAL: a block device wants its own alignment. */
static bool not_supported(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENODEV || ret == -EINVAL;
}

int disk_discard(struct disk *d, uint64_t offset, uint64_t len)
{
    int ret = allocate(d, FALLOC_FL_PUNCH_HOLE, offset, len);
    return not_supported(ret) ? 0 : ret;
}

static ssize_t write_zeros(struct disk *d, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[ZERO_PIECE];
    struct iovec iov[DISK_ZERO_STEP / ZERO_PIECE];
    int n = 0;
    for (uint64_t left = len < DISK_ZERO_STEP ? len : DISK_ZERO_STEP; left; n++) {
        size_t part = left < ZERO_PIECE ? left : ZERO_PIECE;
        /* pwritev() only reads the pieces. */
        iov[n] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = part};
        left -= part;
    }
    return disk_write(d, iov, n, offset);
}

ssize_t disk_zero(struct disk *d, uint64_t offset, uint64_t len, bool may_unmap)
{
    int ret = -EOPNOTSUPP;
    if (may_unmap)
        ret = allocate(d, FALLOC_FL_PUNCH_HOLE, offset, len);
    if (not_supported(ret) && !d->zero_range_missing) {
        ret = allocate(d, FALLOC_FL_ZERO_RANGE, offset, len);
        d->zero_range_missing = ret == -EOPNOTSUPP || ret == -ENOSYS;
    }
    if (ret == 0)
        return (ssize_t)len;
    return not_supported(ret) ? write_zeros(d, offset, len) : ret;
}
