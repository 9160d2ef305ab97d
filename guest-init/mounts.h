/* SPDX-License-Identifier: Apache-2.0 */
/* The file systems that every Linux program expects. docs/init-contract.md section 3. */
#ifndef CUBBY_GUEST_INIT_MOUNTS_H
#define CUBBY_GUEST_INIT_MOUNTS_H

#include "base/err.h"

/* In the initramfs: /proc (for the command line) and /dev (for the disks). */
int mounts_early(struct err *e);

/* In the final root: the whole table, its folders and links made where they are missing. */
int mounts_final(struct err *e);

#endif
