/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk that a box writes to: an empty ext4 file system with a journal in a sparse file.
 *
 * It has a journal because a box may end at any moment (its VMM killed, the host's power lost): what the
 * guest had made safe is then found by replaying some blocks when the disk is mounted next, without fsck(8),
 * which no image needs to contain. Nothing is written but what tells the file system's shape: some 100 KiB,
 * whatever the size; tables, bitmaps and the journal are holes until the guest writes to them.
 */
#ifndef CUBBY_OCI_DISK_H
#define CUBBY_OCI_DISK_H

#include "base/err.h"

#include <stdint.h>
#include <time.h>

#define DISK_MIB_MIN 16u                  /* a journal, and room beside it */
#define DISK_MIB_MAX (8u * 1024u * 1024u) /* 8 TiB: files of that size exist on every common file system */

struct disk_params {
    uint32_t mib;      /* DISK_MIB_MIN … DISK_MIB_MAX */
    uint8_t uuid[16];  /* of the file system; also the seed of its folder hashes */
    const char *label; /* at most 16 bytes */
    time_t created;    /* seconds since 1970 */
};

/*
 * Makes the empty file behind `fd` (open for reading and writing, with or without a name) such a disk. 0, or
 * a negative errno with a text: -EINVAL for a size out of range, -EEXIST for a file that is not empty,
 * -ENOSPC, -EFBIG where the host's file system has no files of that size. The file is of no use after a
 * failure.
 */
int disk_format(int fd, const struct disk_params *p, struct err *e);

#endif
