/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side: a virtio driver in plain memory, for tests and fuzzers. It has guest RAM, an event loop, a
 * device behind its register window, and builds rings and chains, well-formed or hostile.
 *
 *     struct drv g;
 *     drv_open(&g);                                  guest RAM, loop, interrupt line
 *     blk_create(&dev, &cfg, &g.mem, g.loop, &e);
 *     drv_attach(&g, dev);                           register window; owns dev
 *     drv_start(&g, features, 64);                   negotiation, all queues, DRIVER_OK
 *     struct drv_buf b[] = {drv_out(&g, "abc", 3), drv_in(&g, 512)};
 *     uint16_t head = drv_add(&g.q[0], b, 2);        chain made and published
 *     drv_kick(&g, 0);
 *     drv_spin(&g);                                  the loop runs until the device has done its turn
 *     drv_used(&g.q[0], &id, &len);                  what came back
 *     drv_close(&g);
 *
 * Hostile pieces: drv_desc() writes any descriptor, drv_post() publishes any head, drv_publish() any index,
 * drv_w32() any register. Ring accesses are atomics with a driver's barriers, so that a test may run the loop
 * on a thread of its own under ThreadSanitizer. What goes wrong in the mock itself ends in abort().
 */
#ifndef CUBBY_TESTS_VIRTIO_DRIVER_H
#define CUBBY_TESTS_VIRTIO_DRIVER_H

#include "base/gmem.h"
#include "base/io.h"
#include "base/loop.h"
#include "virtio/mmio.h"
#include "virtio/vdev.h"
#include "virtio/virtq.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DRV_CHECK(cond)                                                                                      \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "%s:%d: driver mock: %s\n", __FILE__, __LINE__, #cond);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Guest RAM: one region that does not start at 0, and a small one far above it, as on a real machine. */
#define DRV_RAM_GPA   UINT64_C(0x100000)
#define DRV_RAM_SIZE  (UINT64_C(4) << 20)
#define DRV_HIGH_GPA  (UINT64_C(1) << 32)
#define DRV_HIGH_SIZE UINT64_C(0x10000)

#define DRV_STATUS_READY                                                                                     \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |                    \
     VIRTIO_CONFIG_S_DRIVER_OK)

struct drv_queue {
    uint16_t size;
    bool event_idx;
    gpa_t desc_gpa, avail_gpa, used_gpa;
    struct vring_desc *desc;
    uint16_t *avail; /* flags, idx, ring[size], used_event */
    uint8_t *used;   /* le16 flags, le16 idx, vring_used_elem[size], le16 avail_event */
    uint16_t avail_idx, used_seen;
    uint16_t next_desc; /* descriptors are handed out round robin: keep at most `size` in flight */
};

struct drv {
    struct gmem mem;
    uint8_t *ram, *high;
    gpa_t next_gpa; /* bump allocator in the low region */
    struct loop *loop;
    int irq_fd;
    struct vdev *dev;
    struct vmmio *mmio;
    uint64_t features; /* taken by drv_negotiate() */
    struct drv_queue q[VDEV_QUEUES_MAX];
};

/* A piece of a chain. */
struct drv_buf {
    gpa_t gpa;
    uint32_t len;
    bool write; /* for the device to write */
};

/* --- Memory --- */

static inline void *drv_ptr(struct drv *g, gpa_t gpa)
{
    if (gpa >= DRV_HIGH_GPA && gpa - DRV_HIGH_GPA < DRV_HIGH_SIZE)
        return g->high + (gpa - DRV_HIGH_GPA);
    DRV_CHECK(gpa >= DRV_RAM_GPA && gpa - DRV_RAM_GPA < DRV_RAM_SIZE);
    return g->ram + (gpa - DRV_RAM_GPA);
}

/* Fresh memory, zeroed, 16-byte aligned; never given back. */
static inline gpa_t drv_alloc(struct drv *g, uint64_t len)
{
    gpa_t at = g->next_gpa;
    len = (len + 15) & ~UINT64_C(15);
    DRV_CHECK(len <= DRV_RAM_GPA + DRV_RAM_SIZE - at);
    g->next_gpa += len;
    memset(drv_ptr(g, at), 0, len);
    return at;
}

static inline struct drv_buf drv_out(struct drv *g, const void *data, uint32_t len)
{
    struct drv_buf b = {.gpa = drv_alloc(g, len ? len : 1), .len = len};
    if (len)
        memcpy(drv_ptr(g, b.gpa), data, len);
    return b;
}

static inline struct drv_buf drv_in(struct drv *g, uint32_t len)
{
    return (struct drv_buf){.gpa = drv_alloc(g, len ? len : 1), .len = len, .write = true};
}

/* --- Machine --- */

static inline void drv_open(struct drv *g)
{
    *g = (struct drv){.next_gpa = DRV_RAM_GPA};
    g->ram = aligned_alloc(4096, DRV_RAM_SIZE);
    g->high = aligned_alloc(4096, DRV_HIGH_SIZE);
    DRV_CHECK(g->ram && g->high);
    memset(g->high, 0, DRV_HIGH_SIZE);
    DRV_CHECK(gmem_add_extern(&g->mem, DRV_RAM_GPA, DRV_RAM_SIZE, g->ram) == 0);
    DRV_CHECK(gmem_add_extern(&g->mem, DRV_HIGH_GPA, DRV_HIGH_SIZE, g->high) == 0);
    DRV_CHECK(loop_create(&g->loop, NULL) == 0);
    g->irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    DRV_CHECK(g->irq_fd >= 0);
}

static inline void drv_attach(struct drv *g, struct vdev *dev)
{
    struct err e = {0};
    g->dev = dev;
    if (vmmio_create(&g->mmio, dev, g->irq_fd, &e) < 0)
        fprintf(stderr, "vmmio_create: %s\n", e.text);
    DRV_CHECK(g->mmio);
}

static inline void drv_close(struct drv *g)
{
    vmmio_destroy(g->mmio);
    loop_destroy(g->loop);
    gmem_fini(&g->mem);
    close(g->irq_fd);
    free(g->ram);
    free(g->high);
    *g = (struct drv){.irq_fd = -1};
}

/* Lets the loop do what is there. A device that goes on by kick_later() gets `DRV_TURNS` turns. */
#define DRV_TURNS 64
static inline void drv_spin(struct drv *g)
{
    for (int i = 0; i < DRV_TURNS; i++)
        DRV_CHECK(loop_once(g->loop, 0) == 0);
}

/* Runs the loop until `cond` holds; one that never comes true aborts after a minute. */
#define drv_until(g, cond)                                                                                   \
    do {                                                                                                     \
        uint64_t drv_give_up_ = now_ns() + 60 * NSEC_PER_SEC;                                                \
        while (!(cond)) {                                                                                    \
            DRV_CHECK(now_ns() < drv_give_up_);                                                              \
            DRV_CHECK(loop_once((g)->loop, 100) == 0);                                                       \
        }                                                                                                    \
    } while (0)

/* Interrupts since the last call. */
static inline uint64_t drv_irqs(struct drv *g)
{
    uint64_t n = 0;
    return read(g->irq_fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* --- Registers --- */

static inline uint32_t drv_r32(struct drv *g, uint32_t offset)
{
    uint32_t v = 0xdeadbeef;
    vmmio_read(g->mmio, offset, &v, sizeof(v));
    return v;
}

static inline void drv_w32(struct drv *g, uint32_t offset, uint32_t v)
{
    vmmio_write(g->mmio, offset, &v, sizeof(v));
}

static inline uint32_t drv_status(struct drv *g)
{
    return drv_r32(g, VIRTIO_MMIO_STATUS);
}

static inline void drv_add_status(struct drv *g, uint32_t bits)
{
    drv_w32(g, VIRTIO_MMIO_STATUS, drv_status(g) | bits);
}

static inline bool drv_broken(struct drv *g)
{
    return drv_status(g) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static inline uint64_t drv_offered(struct drv *g)
{
    drv_w32(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    uint64_t high = drv_r32(g, VIRTIO_MMIO_DEVICE_FEATURES);
    drv_w32(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    return high << 32 | drv_r32(g, VIRTIO_MMIO_DEVICE_FEATURES);
}

/* Reset, then up to FEATURES_OK with exactly `features`; false when the device does not agree. */
static inline bool drv_negotiate(struct drv *g, uint64_t features)
{
    drv_w32(g, VIRTIO_MMIO_STATUS, 0);
    drv_add_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    drv_add_status(g, VIRTIO_CONFIG_S_DRIVER);
    for (uint32_t half = 0; half < 2; half++) {
        drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
    }
    drv_add_status(g, VIRTIO_CONFIG_S_FEATURES_OK);
    g->features = features;
    return drv_status(g) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* --- Rings --- */

/* Places a queue of `size` in guest memory; says nothing to the device. */
static inline void drv_queue_init(struct drv *g, struct drv_queue *q, uint16_t size, bool event_idx)
{
    *q = (struct drv_queue){.size = size, .event_idx = event_idx};
    q->desc_gpa = drv_alloc(g, 16 * (uint64_t)size);
    q->avail_gpa = drv_alloc(g, 6 + 2 * (uint64_t)size);
    q->used_gpa = drv_alloc(g, 6 + 8 * (uint64_t)size);
    q->desc = drv_ptr(g, q->desc_gpa);
    q->avail = drv_ptr(g, q->avail_gpa);
    q->used = drv_ptr(g, q->used_gpa);
}

/* Starts the ring's indices at `idx` on the driver's side: to test the 16-bit wrap. Set the device's own
 * (next_avail, next_used, signalled) likewise. */
static inline void drv_queue_set_idx(struct drv_queue *q, uint16_t idx)
{
    q->avail_idx = q->used_seen = idx;
    q->avail[1] = idx;
    memcpy(q->used + 2, &idx, sizeof(idx));
}

static inline void drv_w64(struct drv *g, uint32_t low_offset, uint64_t v)
{
    drv_w32(g, low_offset, (uint32_t)v);
    drv_w32(g, low_offset + 4, (uint32_t)(v >> 32));
}

/* Tells the device where queue `i` lies; returns what QueueReady reads afterwards. */
static inline uint32_t drv_queue_tell(struct drv *g, unsigned i)
{
    const struct drv_queue *q = &g->q[i];
    drv_w32(g, VIRTIO_MMIO_QUEUE_SEL, i);
    drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, q->size);
    drv_w64(g, VIRTIO_MMIO_QUEUE_DESC_LOW, q->desc_gpa);
    drv_w64(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, q->avail_gpa);
    drv_w64(g, VIRTIO_MMIO_QUEUE_USED_LOW, q->used_gpa);
    drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 1);
    return drv_r32(g, VIRTIO_MMIO_QUEUE_READY);
}

/* Everything up to DRIVER_OK, with VERSION_1 added to `features` and the same size for all queues. */
static inline void drv_start(struct drv *g, uint64_t features, uint16_t size)
{
    features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
    DRV_CHECK(drv_negotiate(g, features));
    for (unsigned i = 0; i < vmmio_queues(g->mmio); i++) {
        drv_queue_init(g, &g->q[i], size, features & (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX));
        DRV_CHECK(drv_queue_tell(g, i) == 1);
    }
    drv_add_status(g, VIRTIO_CONFIG_S_DRIVER_OK);
    DRV_CHECK(drv_status(g) == DRV_STATUS_READY);
}

static inline void drv_desc(struct drv_queue *q, uint16_t i, struct vring_desc d)
{
    DRV_CHECK(i < q->size);
    q->desc[i] = d;
}

/* Sets avail.idx; pairs with the device's acquire of it. */
static inline void drv_publish(struct drv_queue *q, uint16_t idx)
{
    q->avail_idx = idx;
    __atomic_store_n(&q->avail[1], idx, __ATOMIC_RELEASE);
}

/* Makes `head` available, whatever it is. */
static inline void drv_post(struct drv_queue *q, uint16_t head)
{
    __atomic_store_n(&q->avail[2 + (q->avail_idx & (q->size - 1))], head, __ATOMIC_RELAXED);
    drv_publish(q, (uint16_t)(q->avail_idx + 1));
}

/* Builds a chain of `n` pieces in the next `n` descriptors, unpublished; returns its head. */
static inline uint16_t drv_chain(struct drv_queue *q, const struct drv_buf *b, unsigned n)
{
    DRV_CHECK(n > 0 && n <= q->size);
    uint16_t head = q->next_desc;
    for (unsigned i = 0; i < n; i++) {
        uint16_t at = q->next_desc, next = (uint16_t)((at + 1) & (q->size - 1));
        uint16_t flags =
            (uint16_t)((b[i].write ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0));
        drv_desc(q, at, (struct vring_desc){.addr = b[i].gpa, .len = b[i].len, .flags = flags, .next = next});
        q->next_desc = next;
    }
    return head;
}

static inline uint16_t drv_add(struct drv_queue *q, const struct drv_buf *b, unsigned n)
{
    uint16_t head = drv_chain(q, b, n);
    drv_post(q, head);
    return head;
}

/* By the register; a machine with ioeventfds writes to vmmio_kick_fd() instead, as drv_kick_fd() does. */
static inline void drv_kick(struct drv *g, unsigned i)
{
    drv_w32(g, VIRTIO_MMIO_QUEUE_NOTIFY, i);
}

static inline void drv_kick_fd(struct drv *g, unsigned i)
{
    uint64_t one = 1;
    DRV_CHECK(write(vmmio_kick_fd(g->mmio, i), &one, sizeof(one)) == sizeof(one));
}

static inline uint16_t drv_used_idx(const struct drv_queue *q)
{
    /* Pairs with the device's release of it. */
    return __atomic_load_n((uint16_t *)(void *)(q->used + 2), __ATOMIC_ACQUIRE);
}

/* Takes the next used entry; false when there is none. */
static inline bool drv_used(struct drv_queue *q, uint32_t *id, uint32_t *len)
{
    if (drv_used_idx(q) == q->used_seen)
        return false;
    struct vring_used_elem elem;
    memcpy(&elem, q->used + 4 + 8 * (size_t)(q->used_seen & (q->size - 1)), sizeof(elem));
    q->used_seen++;
    if (id)
        *id = elem.id;
    if (len)
        *len = elem.len;
    return true;
}

/* Interrupt suppression: flags without EVENT_IDX; used_event with it ("interrupt me past `idx`"). */
static inline void drv_set_avail_flags(struct drv_queue *q, uint16_t flags)
{
    __atomic_store_n(&q->avail[0], flags, __ATOMIC_SEQ_CST);
}
static inline void drv_set_used_event(struct drv_queue *q, uint16_t idx)
{
    __atomic_store_n(&q->avail[2 + q->size], idx, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the device's fence before it reads used_event */
}

/* Kick suppression: what the device asks for. */
static inline uint16_t drv_used_flags(const struct drv_queue *q)
{
    return __atomic_load_n((uint16_t *)(void *)q->used, __ATOMIC_RELAXED);
}
static inline uint16_t drv_avail_event(const struct drv_queue *q)
{
    return __atomic_load_n((uint16_t *)(void *)(q->used + 4 + 8 * (size_t)q->size), __ATOMIC_RELAXED);
}

/* As a real driver decides: must a kick follow, when `old` was the index at the last decision? */
static inline bool drv_must_kick(const struct drv_queue *q, uint16_t old)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the device's fence after it asks for kicks */
    if (!q->event_idx)
        return !(drv_used_flags(q) & VRING_USED_F_NO_NOTIFY);
    return (uint16_t)(q->avail_idx - drv_avail_event(q) - 1) < (uint16_t)(q->avail_idx - old);
}

#endif
