/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2 §5.2) over a raw image: the disk is the file's bytes. The format is never guessed
 * from content, which the guest controls.
 *
 * Requests are served in order and synchronously on the loop's thread, straight between the file and guest
 * memory: give disks a loop of their own if something else must not wait for them. One wake-up moves a
 * bounded number of bytes, so that disks sharing a loop take turns.
 */
#ifndef CUBBY_VIRTIO_BLK_H
#define CUBBY_VIRTIO_BLK_H

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "virtio/vdev.h"

#include <stdbool.h>

#define BLK_SERIAL_MAX 20 /* bytes: VIRTIO_BLK_ID_BYTES */

struct blk_config {
    const char *path;   /* opened here; NULL: `fd` is the disk */
    int fd;             /* only looked at when path is NULL; stays the caller's, the device works on a copy */
    bool read_only;     /* no write reaches the file; the guest is told */
    const char *serial; /* what GET_ID answers, at most BLK_SERIAL_MAX bytes; NULL: empty. Copied. */
    /* Told of the first request that the host fails (a full disk, say), on the loop's thread; NULL: nobody.
     * `error` is a negative errno. */
    void (*host_failed)(void *context, int error);
    void *context;
};

/*
 * Opens and locks the disk, then creates the device. The disk is a regular file or a block device, not empty,
 * its size a multiple of 512 bytes. The lock (an open-file-description lock, shared when read-only, else
 * exclusive) keeps a second VM from writing to the same image; where the file system knows no locks, a
 * warning is logged instead. `mem` and `loop` must outlive the device; it ends by its destroy operation.
 * 0, or a negative errno with a text: -EBUSY when locked by another, -EISDIR, -EINVAL, or open(2)'s.
 */
int blk_create(struct vdev **out, const struct blk_config *cfg, struct gmem *mem, struct loop *loop,
               struct err *e);

#endif
