/* SPDX-License-Identifier: Apache-2.0 */
/* A file that goes into guest memory: checked reads, and mapping or copying of its pieces. */
#ifndef CUBBY_VMM_ARCH_X86_BOOT_FILE_H
#define CUBBY_VMM_ARCH_X86_BOOT_FILE_H

#include "base/err.h"
#include "base/gmem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_file {
    int fd;           /* not owned */
    const char *what; /* "kernel", "initrd": for error texts */
    const char *path; /* not owned */
    uint64_t size;    /* bytes, when it was looked at first; never 0 */
    bool map;         /* whole pages may be mapped: the caller's wish, and the file allows it */
};

/* A run of the file's bytes and where they go. */
struct boot_piece {
    uint64_t offset, len;
    gpa_t gpa;
};

/* `map`: see struct boot_source. 0; -EISDIR, or -EINVAL when it is no regular file or empty; or the errno of
 * fstat(2). */
int boot_file_init(struct boot_file *f, const char *what, const char *path, int fd, bool map, struct err *e);

/* Reads exactly [offset, offset+len). -ENOEXEC when the file ends before that. */
int boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, size_t len, struct err *e);

/*
 * Makes the piece appear in guest memory: by reading it there or, with f->map and when offset and address are
 * page-aligned, whole pages by a private mapping (shared with other boxes through the page cache). Bytes
 * beside the piece are never touched. -ENOEXEC when the file is too short, -EFAULT when the place is not
 * guest memory.
 */
int boot_file_load(const struct boot_file *f, struct gmem *m, const struct boot_piece *p, struct err *e);

#endif
