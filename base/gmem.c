/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a handful of regions, searched in order; the check is written with subtractions only,
 * so no sum of guest-chosen numbers can wrap. Memory is reserved address space: a page costs nothing until it
 * is touched.
 */
#include "base/gmem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE      UINT64_C(4096)
#define HUGE_PAGE (UINT64_C(2) << 20)

static bool ranges_overlap(gpa_t a, uint64_t alen, gpa_t b, uint64_t blen)
{
    return a < b ? b - a < alen : a - b < blen;
}

int gmem_add_extern(struct gmem *m, gpa_t gpa, uint64_t size, void *hva)
{
    if (size == 0 || size > UINT64_MAX - gpa)
        return -EINVAL;
    for (unsigned i = 0; i < m->count; i++)
        if (ranges_overlap(gpa, size, m->region[i].gpa, m->region[i].size))
            return -EEXIST;
    if (m->count == GMEM_REGIONS_MAX)
        return -ENOSPC;
    m->region[m->count++] = (struct gmem_region){.gpa = gpa, .size = size, .hva = hva};
    return 0;
}

/*
 * Reserves the range with its start aligned to 2 MiB, so that a host huge page can back a guest huge page:
 * mapped one huge page larger, then trimmed at both ends.
 */
static void *map_aligned(uint64_t size)
{
    uint8_t *raw =
        mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return MAP_FAILED;
    uint64_t lead = -(uintptr_t)raw & (HUGE_PAGE - 1);
    if (lead)
        munmap(raw, lead);
    if (HUGE_PAGE - lead)
        munmap(raw + lead + size, HUGE_PAGE - lead);
    uint8_t *hva = raw + lead;
    if (mprotect(hva, size, PROT_READ | PROT_WRITE) < 0) {
        int saved = errno;
        munmap(hva, size);
        errno = saved;
        return MAP_FAILED;
    }
    return hva;
}

int gmem_add(struct gmem *m, gpa_t gpa, uint64_t size, struct err *e)
{
    if (gpa % PAGE || size % PAGE || size > SIZE_MAX - HUGE_PAGE)
        return err_set(e, -EINVAL, "guest memory at 0x%" PRIx64 " of 0x%" PRIx64 " bytes is not page-aligned",
                       gpa, size);
    void *hva = map_aligned(size);
    if (hva == MAP_FAILED)
        return err_sys(e, "cannot reserve %" PRIu64 " MiB of guest memory", size >> 20);
    /* One fault for 2 MiB instead of 512; a host without THP just says no. */
    madvise(hva, size, MADV_HUGEPAGE);
    /* Guest memory does not belong into a core dump of the VMM. */
    madvise(hva, size, MADV_DONTDUMP);
    int ret = gmem_add_extern(m, gpa, size, hva);
    if (ret < 0) {
        munmap(hva, size);
        return err_set(e, ret, "guest memory at 0x%" PRIx64 " of 0x%" PRIx64 " bytes: %s", gpa, size,
                       strerror(-ret));
    }
    m->region[m->count - 1].owned = true;
    return 0;
}

void gmem_fini(struct gmem *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->region[i].owned)
            munmap(m->region[i].hva, m->region[i].size);
    m->count = 0;
}

void *gmem_ptr(const struct gmem *m, gpa_t gpa, uint64_t len)
{
    if (len == 0)
        return NULL;
    for (unsigned i = 0; i < m->count; i++) {
        const struct gmem_region *r = &m->region[i];
        if (gpa < r->gpa || gpa - r->gpa >= r->size)
            continue;
        uint64_t offset = gpa - r->gpa;
        return len <= r->size - offset ? r->hva + offset : NULL;
    }
    return NULL;
}

int gmem_read(const struct gmem *m, gpa_t gpa, void *out, uint64_t len)
{
    if (len == 0)
        return 0;
    const void *p = gmem_ptr(m, gpa, len);
    if (!p)
        return -EFAULT;
    memcpy(out, p, len);
    return 0;
}

int gmem_write(const struct gmem *m, gpa_t gpa, const void *data, uint64_t len)
{
    if (len == 0)
        return 0;
    void *p = gmem_ptr(m, gpa, len);
    if (!p)
        return -EFAULT;
    memcpy(p, data, len);
    return 0;
}

int gmem_map_file(struct gmem *m, gpa_t gpa, int fd, uint64_t offset, uint64_t len, struct err *e)
{
    if (len == 0)
        return 0;
    uint64_t whole = (len + PAGE - 1) & ~(PAGE - 1);
    uint8_t *at = whole >= len ? gmem_ptr(m, gpa, whole) : NULL;
    if (!at)
        return err_set(e, -EFAULT, "0x%" PRIx64 " bytes at 0x%" PRIx64 " are outside guest memory", len, gpa);
    if (gpa % PAGE || offset % PAGE || (uintptr_t)at % PAGE)
        return err_set(e, -EINVAL, "file offset 0x%" PRIx64 " for 0x%" PRIx64 " is not page-aligned", offset,
                       gpa);
    void *p =
        mmap(at, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
    if (p == MAP_FAILED)
        return err_sys(e, "cannot map 0x%" PRIx64 " bytes of the file", len);
    if (whole > len)
        memset(at + len, 0, whole - len);
    return 0;
}
