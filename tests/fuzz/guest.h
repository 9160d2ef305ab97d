/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest as an interpreter, shared by the device fuzzers: the input is a program, each instruction a
 * byte that says what happens, then its arguments (missing ones are 0). Nothing here is checked or made
 * plausible; sanitizers and the loop's ends are the judges. An instruction byte that is not the guest's is
 * handed to the fuzzer's own `host` function, which plays the world outside.
 */
#ifndef CUBBY_TESTS_FUZZ_GUEST_H
#define CUBBY_TESTS_FUZZ_GUEST_H

#include "base/log.h"
#include "tests/virtio/driver.h"

#define GUEST_QUEUE 16                       /* descriptors of each queue */
#define GUEST_STEPS 300                      /* instructions of one input */
#define GUEST_AREA  (DRV_RAM_GPA + 0x100000) /* where buffers are: behind the rings */

struct guest {
    struct drv g;
    const uint8_t *p, *end;
    void (*host)(struct guest *f, uint8_t op);
    void *arg;
};

static inline uint64_t guest_take(struct guest *f, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes && f->p < f->end; i++)
        v |= (uint64_t)*f->p++ << (8 * i);
    return v;
}

/* An address: mostly in the buffer area, sometimes at an edge, sometimes anything. */
static inline gpa_t guest_address(struct guest *f)
{
    uint8_t kind = (uint8_t)guest_take(f, 1);
    switch (kind & 7) {
    case 0:
        return guest_take(f, 8);
    case 1:
        return DRV_RAM_GPA + DRV_RAM_SIZE - guest_take(f, 1);
    case 2:
        return DRV_HIGH_GPA + guest_take(f, 2);
    case 3:
        return f->g.q[kind >> 3 & 7].desc_gpa + guest_take(f, 1); /* the rings themselves */
    default:
        return GUEST_AREA + guest_take(f, 2);
    }
}

static inline struct drv_queue *guest_queue(struct guest *f, unsigned *number)
{
    *number = (unsigned)guest_take(f, 1) % vmmio_queues(f->g.mmio);
    return &f->g.q[*number];
}

static inline void guest_register(struct guest *f, uint8_t op)
{
    uint32_t offset = (uint32_t)guest_take(f, 2), len = 1u << (op >> 4 & 3);
    uint64_t value = guest_take(f, 4);
    if (op & 0x80)
        offset &= 0xfc;
    if (op & 0x40)
        vmmio_write(f->g.mmio, offset, &value, len);
    else
        vmmio_read(f->g.mmio, offset, &value, len);
}

/* Raw bytes into a ring or the buffer area. */
static inline void guest_bytes(struct guest *f, const struct drv_queue *q)
{
    const gpa_t base[] = {q->desc_gpa, q->avail_gpa, q->used_gpa, GUEST_AREA};
    gpa_t at = base[guest_take(f, 1) & 3];
    at += guest_take(f, 2);
    for (uint64_t len = guest_take(f, 1); len && f->p < f->end; len--)
        *(uint8_t *)drv_ptr(&f->g, at++) = (uint8_t)guest_take(f, 1);
}

/* A chain of up to 8 pieces, and its head published. */
static inline void guest_chain(struct guest *f, struct drv_queue *q)
{
    struct drv_buf b[8];
    unsigned n = 1 + (unsigned)guest_take(f, 1) % 8;
    for (unsigned i = 0; i < n; i++) {
        uint16_t len = (uint16_t)guest_take(f, 2);
        b[i] = (struct drv_buf){.gpa = guest_address(f), .len = len & 0x7fff, .write = len >> 15};
    }
    drv_add(q, b, n);
}

static inline void guest_step(struct guest *f)
{
    unsigned i;
    uint8_t op = (uint8_t)guest_take(f, 1);
    struct drv_queue *q;
    switch (op & 15) {
    case 0:
    case 1:
        guest_register(f, op);
        break;
    case 2:
        q = guest_queue(f, &i);
        if (q->size)
            guest_bytes(f, q);
        break;
    case 3:
        q = guest_queue(f, &i);
        if (q->size) {
            struct vring_desc d = {.addr = guest_address(f), .len = (uint32_t)guest_take(f, 4)};
            d.flags = (uint16_t)guest_take(f, 1);
            d.next = (uint16_t)guest_take(f, 1);
            drv_desc(q, (uint16_t)(guest_take(f, 1) % q->size), d);
        }
        break;
    case 4:
        q = guest_queue(f, &i);
        if (q->size)
            drv_post(q, (uint16_t)guest_take(f, 1));
        break;
    case 5:
        q = guest_queue(f, &i);
        if (q->size)
            drv_publish(q, (uint16_t)guest_take(f, 2));
        break;
    case 6:
        q = guest_queue(f, &i);
        if (q->size)
            guest_chain(f, q);
        drv_kick(&f->g, i);
        break;
    case 7:
        drv_kick(&f->g, (unsigned)guest_take(f, 1));
        break;
    case 8:
    case 9:
        DRV_CHECK(loop_once(f->g.loop, 0) == 0);
        break;
    case 10:
        f->g.next_gpa = DRV_RAM_GPA;
        drv_start(&f->g, drv_offered(&f->g) & (guest_take(f, 5) | UINT64_C(1) << VIRTIO_F_VERSION_1),
                  GUEST_QUEUE);
        break;
    default:
        f->host(f, op);
    }
}

/* Runs the program; the device is there, started or not. */
static inline void guest_run(struct guest *f, const uint8_t *data, size_t size)
{
    f->p = data;
    f->end = data + size;
    for (int i = 0; i < GUEST_STEPS && f->p < f->end; i++)
        guest_step(f);
    for (int i = 0; i < 8; i++)
        DRV_CHECK(loop_once(f->g.loop, 0) == 0);
}

#endif
