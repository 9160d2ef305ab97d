/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals for executions. */
#ifndef CUBBY_GUEST_INIT_TTY_H
#define CUBBY_GUEST_INIT_TTY_H

#include "base/err.h"

#include <stdint.h>

/* Opens a pair, close-on-exec, of that size; the master is non-blocking. Both are the caller's. 0 or -errno.
 */
int tty_open(int *master, int *slave, uint16_t rows, uint16_t cols, struct err *e);

/* Changes the size; the foreground process group gets SIGWINCH. 0 or -errno. */
int tty_resize(int master, uint16_t rows, uint16_t cols);

#endif
