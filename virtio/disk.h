/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw disk image: a regular file or a block device, opened, checked and locked once, then read and written
 * at explicit offsets (never through the shared file position, so that two users of one open file cannot
 * disturb each other). Not thread-safe beyond what the kernel gives: one thread uses a disk.
 */
#ifndef CUBBY_VIRTIO_DISK_H
#define CUBBY_VIRTIO_DISK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define DISK_SECTOR    512
#define DISK_NAME_MAX  128
#define DISK_ZERO_STEP (UINT64_C(1) << 20) /* bytes of zeros that are written at most at a time */

struct disk {
    int fd;
    bool read_only, block_device;
    uint64_t size;            /* bytes, a multiple of DISK_SECTOR, not 0 */
    uint32_t block_size;      /* logical, bytes */
    bool zero_range_missing;  /* the file system cannot zero a range: do not ask again */
    char name[DISK_NAME_MAX]; /* for messages */
};

/* Opens `path`, or when it is NULL takes a copy of `fd`; checks kind and size, and takes the lock as in
 * virtio/blk.h. On failure *d needs no disk_close(). */
int disk_open(struct disk *d, const char *path, int fd, bool read_only, struct err *e);
/* Safe on a disk that was closed. */
void disk_close(struct disk *d);

/*
 * One preadv(2) or pwritev(2) at byte `offset`: bytes moved (> 0, perhaps fewer than asked), or a negative
 * errno; -ENODATA where the file has become shorter. The caller has checked the range against d->size.
 */
ssize_t disk_read(struct disk *d, const struct iovec *iov, int n, uint64_t offset);
ssize_t disk_write(struct disk *d, const struct iovec *iov, int n, uint64_t offset);

/* What was written survives a power failure of the host from now on. 0, or a negative errno. */
int disk_flush(struct disk *d);
/* A hint that the range is not needed: gives its blocks back where the file system can. 0, or a negative
 * errno. */
int disk_discard(struct disk *d, uint64_t offset, uint64_t len);
/*
 * Makes a range read as zeros, giving blocks back if `may_unmap`, by one fallocate(2); where that does not
 * exist, writes zeros, at most DISK_ZERO_STEP bytes a call. Returns bytes done (> 0), or a negative errno.
 */
ssize_t disk_zero(struct disk *d, uint64_t offset, uint64_t len, bool may_unmap);

#endif
