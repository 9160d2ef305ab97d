/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest's access comes with an address and a length that it chose freely. Only one
 * that lies within one range as a whole reaches a device, so that no device has to check for its own end.
 */
#include "vmm/bus.h"

#include <errno.h>
#include <string.h>

int bus_add(struct bus *b, uint64_t base, uint64_t size, const char *name, const struct bus_ops *ops,
            void *owner)
{
    uint64_t last;
    if (size == 0 || __builtin_add_overflow(base, size - 1, &last))
        return -EINVAL;
    if (b->count == BUS_RANGES_MAX)
        return -ENOSPC;
    unsigned at = 0; /* sorted by base: find the place, shift what comes behind it */
    while (at < b->count && b->range[at].base < base)
        at++;
    if (at < b->count && b->range[at].base <= last)
        return -EEXIST;
    if (at > 0 && base - b->range[at - 1].base < b->range[at - 1].size)
        return -EEXIST;
    memmove(&b->range[at + 1], &b->range[at], (b->count - at) * sizeof(b->range[0]));
    b->range[at] = (struct bus_range){.base = base, .size = size, .name = name, .ops = ops, .owner = owner};
    b->count++;
    return 0;
}

/* The range that holds [addr, addr+len), counted as hit; or NULL. */
static struct bus_range *find(struct bus *b, uint64_t addr, uint32_t len)
{
    unsigned low = 0, high = b->count;
    while (low < high) { /* ends at the first range that begins behind addr */
        unsigned mid = (low + high) / 2;
        if (b->range[mid].base <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    bool width = len == 1 || len == 2 || len == 4 || len == 8;
    struct bus_range *r = low > 0 ? &b->range[low - 1] : NULL;
    if (!r || !width || addr - r->base >= r->size || r->size - (addr - r->base) < len) {
        atomic_fetch_add_explicit(&b->unclaimed, 1, memory_order_relaxed);
        return NULL;
    }
    atomic_fetch_add_explicit(&r->hits, 1, memory_order_relaxed);
    return r;
}

bool bus_read(struct bus *b, uint64_t addr, void *data, uint32_t len)
{
    struct bus_range *r = find(b, addr, len);
    if (!r) {
        memset(data, 0xff, len);
        return false;
    }
    r->ops->read(r->owner, addr - r->base, data, len);
    return true;
}

bool bus_write(struct bus *b, uint64_t addr, const void *data, uint32_t len)
{
    struct bus_range *r = find(b, addr, len);
    if (!r)
        return false;
    r->ops->write(r->owner, addr - r->base, data, len);
    return true;
}
