/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's command line tells PID 1: keys "cubby.*". docs/init-contract.md section 2. */
#ifndef CUBBY_GUEST_INIT_CMDLINE_H
#define CUBBY_GUEST_INIT_CMDLINE_H

#include "base/err.h"

#include <stdbool.h>

#define CMDLINE_MAX       4096 /* of x86: COMMAND_LINE_SIZE is 2048 */
#define CMDLINE_VALUE_MAX 128

struct boot_config {
    char root[CMDLINE_VALUE_MAX];  /* cubby.root=/dev/vda; empty: stay in the initramfs */
    char root_type[16];            /* cubby.rootfstype=ext4 */
    bool root_rw;                  /* cubby.rw: the root itself is writable, no overlay */
    char upper[CMDLINE_VALUE_MAX]; /* cubby.upper=/dev/vdb; empty: tmpfs */
    char upper_size[32];           /* cubby.upper=tmpfs:SIZE, as tmpfs(5)'s size=; empty: the kernel's half */
    char hostname[64];             /* cubby.hostname=cubby */
    char log[CMDLINE_VALUE_MAX];   /* cubby.log=debug, as CUBBY_LOG */
};

/*
 * Reads the keys out of the kernel's command line (words between blanks; a word may have "…" around its
 * value). Unknown cubby.* keys, values that are too long or malformed are errors: -EINVAL with the word in
 * *e; a machine that half obeys is worse than one that says why it does not start. Other words are the
 * kernel's.
 */
int cmdline_parse(const char *line, struct boot_config *c, struct err *e);

#endif
