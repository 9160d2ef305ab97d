/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers over descriptors, Unix sockets and the clock that several layers need. */
#ifndef CUBBY_BASE_IO_H
#define CUBBY_BASE_IO_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/* Reads or writes all `len` bytes on a blocking descriptor, going on after EINTR and short counts. 0, a
 * negative errno, or -ENODATA when the file ends first. */
int read_full(int fd, void *buf, size_t len);
int write_full(int fd, const void *buf, size_t len);
int pread_full(int fd, void *buf, size_t len, uint64_t offset);

int fd_set_nonblock(int fd, int on);

/*
 * Reads a whole file of at most `max` bytes into a heap block with a NUL behind it (not counted in *len). The
 * caller frees *out. -EFBIG when larger, -EISDIR for a folder.
 */
int read_file(const char *path, size_t max, char **out, size_t *len, struct err *e);

/* Makes a file appear whole or not at all: temporary file in the same folder, fsync, rename. */
int write_file_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);

/*
 * Unix stream sockets by path, close-on-exec, non-blocking. The path must fit sun_path (107 bytes): longer
 * ones are -ENAMETOOLONG with a text that says so. unix_listen() removes a stale socket (one that nobody
 * answers) and reports -EADDRINUSE for a live one; the socket's mode is 0600. unix_connect() may return with
 * the connection in progress only as Linux does for Unix sockets: it is connected, or fails (-EAGAIN when the
 * backlog is full). Both return the descriptor.
 */
int unix_listen(const char *path, int backlog, struct err *e);
int unix_connect(const char *path, struct err *e);

#endif
