/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the driver brings a device up by setting one status bit after the other (virtio 1.2
 * §2.1, §3.1.1), and what it may write depends on the step:
 *
 *     INIT ──DRIVER──▶ FEATURES ──FEATURES_OK──▶ QUEUES ──DRIVER_OK──▶ LIVE
 *       ▲              features only             queue registers       kicks are served
 *       │                                                                  │
 *       └── writing 0, at any time ◀── BROKEN ◀── FAILED, NEEDS_RESET ─────┘
 *
 * The bits of one write are taken in that order; the first that may not be set is not kept, nor are those
 * behind it. A driver reads FEATURES_OK back to learn whether its features were accepted.
 */
#include "virtio/mmio_priv.h"

#include "base/own.h"

#include <inttypes.h>
#include <string.h>

#define STATUS_STEPS                                                                                         \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |                    \
     VIRTIO_CONFIG_S_DRIVER_OK)

enum step vmmio_step(const struct vmmio *m)
{
    uint32_t status = m->status;
    if (status & (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET))
        return STEP_BROKEN;
    if (status & VIRTIO_CONFIG_S_DRIVER_OK)
        return STEP_LIVE;
    if (status & VIRTIO_CONFIG_S_FEATURES_OK)
        return STEP_QUEUES;
    return status & VIRTIO_CONFIG_S_DRIVER ? STEP_FEATURES : STEP_INIT;
}

uint64_t vmmio_offered(const struct vdev *d)
{
    return d->features | BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_EVENT_IDX);
}

static void reset(struct vmmio *m)
{
    struct vdev *d = m->dev;
    d->active = false;
    d->ops->reset(d);
    for (unsigned q = 0; q < d->nqueues; q++)
        virtq_reset(&d->vq[q]);
    d->acked = 0;
    m->status = 0;
    m->device_features_sel = m->driver_features_sel = m->queue_sel = 0;
    m->driver_features = 0;
    m->driver_features_beyond = false;
    atomic_store(&m->interrupts, 0);
}

static bool accept_features(struct vmmio *m)
{
    struct vdev *d = m->dev;
    uint64_t extra = m->driver_features & ~vmmio_offered(d);
    if (extra || m->driver_features_beyond) {
        vmmio_refused(m, "%s: the driver takes features that are not offered: 0x%" PRIx64, d->ops->name,
                      extra);
        return false;
    }
    if (!(m->driver_features & BIT64(VIRTIO_F_VERSION_1))) {
        vmmio_refused(m, "%s: the driver does not take VIRTIO_F_VERSION_1", d->ops->name);
        return false;
    }
    d->acked = m->driver_features;
    return true;
}

static bool start_device(struct vmmio *m)
{
    struct vdev *d = m->dev;
    m->status |= VIRTIO_CONFIG_S_DRIVER_OK;
    d->active = true;
    int ret = d->ops->activate(d);
    if (ret < 0) {
        vmmio_refused(m, "%s: cannot start: %s", d->ops->name, strerror(-ret));
        d->needs_reset(d);
        return true;
    }
    /* A driver may fill its queues before DRIVER_OK, without a kick. */
    for (unsigned q = 0; q < d->nqueues; q++)
        if (d->vq[q].ready)
            vmmio_ring_doorbell(&m->kick[q]);
    return true;
}

/* One step of the status machine: `bit` is newly set. False when it is not kept. */
static bool take_step(struct vmmio *m, uint32_t bit)
{
    switch (bit) {
    case VIRTIO_CONFIG_S_ACKNOWLEDGE:
        return true;
    case VIRTIO_CONFIG_S_DRIVER:
        return m->status & VIRTIO_CONFIG_S_ACKNOWLEDGE;
    case VIRTIO_CONFIG_S_FEATURES_OK:
        return (m->status & VIRTIO_CONFIG_S_DRIVER) && accept_features(m);
    case VIRTIO_CONFIG_S_DRIVER_OK:
        return (m->status & VIRTIO_CONFIG_S_FEATURES_OK) && start_device(m);
    default:
        return false;
    }
}

void vmmio_write_status(struct vmmio *m, uint32_t value)
{
    static const uint32_t order[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
                                     VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK};
    const char *name = m->dev->ops->name;
    if (value == 0) {
        reset(m);
        return;
    }
    if (m->status & STATUS_STEPS & ~value) {
        vmmio_refused(m, "%s: the driver clears status bits: 0x%x after 0x%x", name, value, m->status);
        return;
    }
    if (value & VIRTIO_CONFIG_S_FAILED) {
        vmmio_refused(m, "%s: the driver gave up on the device", name);
        m->status |= VIRTIO_CONFIG_S_FAILED;
        m->dev->active = false;
    }
    if (vmmio_step(m) == STEP_BROKEN)
        return; /* only a reset leads out */
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (!(value & order[i] & ~m->status))
            continue;
        if (!take_step(m, order[i])) {
            vmmio_refused(m, "%s: status 0x%x is refused after 0x%x", name, value, m->status);
            return;
        }
        m->status |= order[i];
    }
}
