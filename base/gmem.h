/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the one place where a guest-physical address becomes a host pointer. Every access of a device
 * or a loader goes through here; each is checked for length and overflow, and never spans two regions.
 *
 * The regions are set up before a vCPU runs and do not change afterwards, so look-ups need no lock. What the
 * memory holds may be changed by the guest at any time: copy a field once, check the copy, use the copy.
 */
#ifndef CUBBY_BASE_GMEM_H
#define CUBBY_BASE_GMEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t; /* a guest-physical address; never dereferenced */

#define GMEM_REGIONS_MAX 4

struct gmem_region {
    gpa_t gpa;
    uint64_t size; /* bytes, a multiple of the page size */
    uint8_t *hva;
    bool owned; /* mapped by gmem_add() */
};

struct gmem {
    unsigned count;
    struct gmem_region region[GMEM_REGIONS_MAX];
};

/* Maps `size` bytes of private zeroed memory for guest addresses from `gpa`; both are page-aligned, the range
 * does not wrap or overlap another region. Asks for transparent huge pages. */
int gmem_add(struct gmem *m, gpa_t gpa, uint64_t size, struct err *e);
/* For tests and fuzzers: the same over the caller's own memory, which must outlive *m and is not unmapped. */
int gmem_add_extern(struct gmem *m, gpa_t gpa, uint64_t size, void *hva);
/* Unmaps what gmem_add() mapped and forgets all regions. Safe on a zeroed struct. */
void gmem_fini(struct gmem *m);

/* Host pointer to [gpa, gpa+len), or NULL when any byte of it is not guest memory. len 0 yields NULL. */
void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len);

/* 0, or -EFAULT when any byte is outside; then nothing is copied. */
int gmem_read(const struct gmem *m, gpa_t gpa, void *out, uint64_t len);
int gmem_write(const struct gmem *m, gpa_t gpa, const void *data, uint64_t len);

/*
 * Maps [offset, offset+len) of a file copy-on-write over the guest range at `gpa`: the guest sees the file's
 * bytes and shares the host's page cache until it writes. gpa and offset must be page-aligned; when len is
 * not, the rest of the last page holds zeros (the file's bytes behind len are wiped from the guest's copy).
 * The caller has checked that the file is that long: a page beyond its end would be a SIGBUS on first use.
 */
int gmem_map_file(struct gmem *m, gpa_t gpa, int fd, uint64_t offset, uint64_t len, struct err *e);

#endif
