/* SPDX-License-Identifier: Apache-2.0 */
/* The root file system: a read-only image below, what the box writes above. docs/init-contract.md section 3.
 */
#ifndef CUBBY_GUEST_INIT_ROOT_H
#define CUBBY_GUEST_INIT_ROOT_H

#include "guest-init/cmdline.h"

/*
 * Puts the root together and moves into it. Without a root in `c` nothing is done. *disk is a descriptor of
 * the disk that the box writes to, for root_leave(), or -1. 0 or a negative errno.
 */
int root_enter(const struct boot_config *c, int *disk, struct err *e);

/* At the end, when no workload is left: writes everything back and leaves the disk clean. Needs /proc. */
void root_leave(int disk);

#endif
