/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three files of the virtio-mmio transport share: mmio.c (the window, doorbells and interrupts),
 * mmio_regs.c (the register table) and mmio_status.c (the status machine). Nobody else includes it.
 */
#ifndef CUBBY_VIRTIO_MMIO_PRIV_H
#define CUBBY_VIRTIO_MMIO_PRIV_H

#include "virtio/mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>

#define BIT64(n) (UINT64_C(1) << (n))

/* A queue's doorbell: written by KVM (ioeventfd) or QueueNotify, read by the device's loop. */
struct kick {
    struct vmmio *mmio;
    unsigned queue;
    int fd;
    struct loop_source source;
};

/* The lock is the device's, dev->lock, but for `interrupts`. */
struct vmmio {
    struct vdev *dev;
    int irq_fd;
    struct kick kick[VDEV_QUEUES_MAX];
    atomic_uint interrupts; /* InterruptStatus */
    uint32_t status;
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint64_t driver_features;
    bool driver_features_beyond; /* a bit above 63 was written: none is offered */
    uint32_t config_generation;
};

/* How far the driver has come (virtio 1.2 §3.1.1). */
enum step {
    STEP_INIT = 1,
    STEP_FEATURES = 2,
    STEP_QUEUES = 4,
    STEP_LIVE = 8,
    STEP_BROKEN = 16,
    STEP_ANY = 31,
};

/* virtio 1.2 §4.2.2, table of registers. All registers are 32 bits wide and accessed as such. */
struct reg {
    const char *name; /* NULL: there is no register here */
    bool readable;    /* else reads as 0 */
    uint8_t writable; /* steps */
};

/* The register at `offset` if an access of `len` bytes fits one, else NULL. */
const struct reg *vmmio_find_reg(uint32_t offset, uint32_t len);
/* The value of a readable register, the effect of a writable one; InterruptStatus, InterruptACK and
 * QueueNotify are mmio.c's. The caller holds the lock. */
uint32_t vmmio_read_reg(struct vmmio *m, uint32_t offset);
void vmmio_write_reg(struct vmmio *m, uint32_t offset, uint32_t value);

enum step vmmio_step(const struct vmmio *m);
uint64_t vmmio_offered(const struct vdev *d);
/* The Status register is written. The caller holds the lock. */
void vmmio_write_status(struct vmmio *m, uint32_t value);
void vmmio_ring_doorbell(const struct kick *k);

/* What the driver did and may not do: one line, rate-limited by device. The caller holds the lock. */
#define vmmio_refused(m, ...) log_warn_limited(&(m)->dev->faults, LOG_VIRTIO, __VA_ARGS__)

#endif
