/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device answers at an address: a sorted table of ranges, one for memory-mapped I/O and one for x86's
 * ports. Filled before a vCPU runs and only read afterwards, so that vCPU threads look devices up without a
 * lock; a device that has state takes its own.
 */
#ifndef CUBBY_VMM_BUS_H
#define CUBBY_VMM_BUS_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUS_RANGES_MAX 64

/* `offset` within the range; `len` is 1, 2, 4 or 8, and offset + len ≤ the range's size. On a vCPU thread. */
struct bus_ops {
    void (*read)(void *owner, uint64_t offset, void *data, uint32_t len);
    void (*write)(void *owner, uint64_t offset, const void *data, uint32_t len);
};

struct bus_range {
    uint64_t base, size;
    const char *name; /* for the count of exits: "virtio0"; not owned */
    const struct bus_ops *ops;
    void *owner;
    _Atomic uint64_t hits;
};

/* Zero-initialise. */
struct bus {
    unsigned count;
    struct bus_range range[BUS_RANGES_MAX];
    _Atomic uint64_t unclaimed; /* accesses that no device answered */
};

/* 0, -EEXIST when the range overlaps another, -EINVAL when it is empty or wraps, -ENOSPC. */
int bus_add(struct bus *b, uint64_t base, uint64_t size, const char *name, const struct bus_ops *ops,
            void *owner);

/*
 * An access by a vCPU, of any length. Where no device answers (which includes an access that reaches over the
 * end of a range, or one of an odd length), reads yield ones and writes are lost, as on a real bus. True: a
 * device answered.
 */
bool bus_read(struct bus *b, uint64_t addr, void *data, uint32_t len);
bool bus_write(struct bus *b, uint64_t addr, const void *data, uint32_t len);

#endif
