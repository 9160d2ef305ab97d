/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing small files whole: /proc, /sys, cgroups, and the image's /etc. */
#ifndef CUBBY_GUEST_INIT_FILES_H
#define CUBBY_GUEST_INIT_FILES_H

#include <stddef.h>

/* Writes `text` with one write(2), as the kernel's files want it. `dir` as in openat(2). 0 or -errno. */
int file_put(int dir, const char *path, const char *text);

/* Reads up to cap - 1 bytes and ends them with a NUL. 0 or -errno. */
int file_get(int dir, const char *path, char *buf, size_t cap);

/* The number after "key " at the start of a line of `text` (memory.events, pids.events), or 0. */
unsigned long long keyed_value(const char *text, const char *key);

/*
 * Reads a file of the image, which may be anything: never blocks on a FIFO or a device. *out is a heap block
 * with a NUL behind it, the caller's. 0, -EINVAL when it is not a regular file, -EFBIG above `max` bytes, or
 * another -errno.
 */
int file_get_regular(const char *path, size_t max, char **out);

#endif
