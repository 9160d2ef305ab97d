/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one interface between a virtio device and its transport (virtio 1.2 §2). A device is a struct that
 * embeds struct vdev and has a constant table of operations; the transport (virtio/mmio.c) owns the status
 * machine, the feature negotiation and the queues' registers, and calls the device.
 *
 * Threads and lock: vCPU threads access registers, a loop thread serves the queues. The transport holds
 * `lock` while it calls any operation, so a device needs no lock of its own; callbacks that a device
 * registers itself with its loop (a socket became readable) take vdev_lock() first. `kick` always comes on
 * the loop's thread.
 */
#ifndef CUBBY_VIRTIO_VDEV_H
#define CUBBY_VIRTIO_VDEV_H

#include "base/gmem.h"
#include "base/log.h"
#include "base/loop.h"
#include "virtio/virtq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define VDEV_QUEUES_MAX 8

struct vdev;

struct vdev_ops {
    const char *name;     /* for logs: "blk" */
    enum log_topic topic; /* where its faults are logged */
    uint32_t device_id;   /* VIRTIO_ID_* of linux/virtio_ids.h */
    uint16_t queue_max;   /* largest queue size offered, a power of two */

    /* Device configuration space (virtio 1.2 §2.5). The transport has checked offset + len ≤ config_size. A
     * device without writable fields leaves config_write NULL: writes are ignored. */
    void (*config_read)(struct vdev *d, uint32_t offset, void *out, uint32_t len);
    void (*config_write)(struct vdev *d, uint32_t offset, const void *data, uint32_t len);

    /* DRIVER_OK was set: features and queues are final. 0, or a negative errno (→ NEEDS_RESET). */
    int (*activate)(struct vdev *d);
    /* Back to the state after creation: forget everything that the driver said. The queues are reset after
     * it. */
    void (*reset)(struct vdev *d);
    /* The driver kicked queue `q` (< nqueues), or there may be work after activation. 0, or a negative errno
     * for a guest's fault (→ NEEDS_RESET). */
    int (*kick)(struct vdev *d, unsigned q);
    /* Frees the device. No thread uses it any more. */
    void (*destroy)(struct vdev *d);
};

struct vdev {
    const struct vdev_ops *ops;
    struct gmem *mem;
    struct loop *loop; /* the thread that serves the queues; the owner of the loop runs it */
    uint64_t
        features;   /* what the device offers; VIRTIO_F_VERSION_1 and EVENT_IDX are added by the transport */
    uint64_t acked; /* what the driver took, after FEATURES_OK */
    uint32_t config_size; /* bytes */
    unsigned nqueues;     /* ≤ VDEV_QUEUES_MAX */
    struct virtq vq[VDEV_QUEUES_MAX];
    bool active;             /* between DRIVER_OK and reset or fault */
    struct log_limit faults; /* for lines that the guest can provoke */

    /* The transport's half. */
    void *transport;
    pthread_mutex_t lock;
    void (*notify_queue)(struct vdev *d, unsigned q); /* used-buffer interrupt, unless suppressed */
    void (*notify_config)(struct vdev *d);            /* configuration-change interrupt */
    void (*needs_reset)(struct vdev *d);              /* marks the device broken, tells the driver */
    void (*kick_later)(struct vdev *d, unsigned q);   /* `kick` comes for `q` after the loop's other work: for
                                                         a device that ends its turn with work left. Any
                                                         thread, no lock needed. */
};

static inline void vdev_lock(struct vdev *d)
{
    pthread_mutex_lock(&d->lock);
}
static inline void vdev_unlock(struct vdev *d)
{
    pthread_mutex_unlock(&d->lock);
}

#endif
