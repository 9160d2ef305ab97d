/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table says what exists at each offset and in which step of the driver it may be
 * written; mmio.c asks it before it comes here. What is left for the functions below is what the registers
 * mean. The queue registers are a window onto the queue that QueueSel names; a QueueSel beyond the last
 * queue shows a queue of size 0.
 */
#include "virtio/mmio_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MMIO_MAGIC   0x74726976 /* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR  0x59424243 /* "CBBY" */

/* Not in <linux/virtio_mmio.h>. */
#define MMIO_QUEUE_RESET 0x0c0 /* virtio 1.2 §4.2.2; VIRTIO_F_RING_RESET is not offered */

static const struct reg regs[VIRTIO_MMIO_CONFIG / 4] = {
    [VIRTIO_MMIO_MAGIC_VALUE / 4] = {"MagicValue", true, 0},
    [VIRTIO_MMIO_VERSION / 4] = {"Version", true, 0},
    [VIRTIO_MMIO_DEVICE_ID / 4] = {"DeviceID", true, 0},
    [VIRTIO_MMIO_VENDOR_ID / 4] = {"VendorID", true, 0},
    [VIRTIO_MMIO_DEVICE_FEATURES / 4] = {"DeviceFeatures", true, 0},
    [VIRTIO_MMIO_DEVICE_FEATURES_SEL / 4] = {"DeviceFeaturesSel", false, STEP_ANY},
    [VIRTIO_MMIO_DRIVER_FEATURES / 4] = {"DriverFeatures", false, STEP_FEATURES},
    [VIRTIO_MMIO_DRIVER_FEATURES_SEL / 4] = {"DriverFeaturesSel", false, STEP_ANY},
    [VIRTIO_MMIO_QUEUE_SEL / 4] = {"QueueSel", false, STEP_ANY},
    [VIRTIO_MMIO_QUEUE_NUM_MAX / 4] = {"QueueNumMax", true, 0},
    [VIRTIO_MMIO_QUEUE_NUM / 4] = {"QueueNum", false, STEP_QUEUES},
    /* 0, to stop using a queue, may be written at any time (§4.2.2.2); the rest is in write_queue_ready(). */
    [VIRTIO_MMIO_QUEUE_READY / 4] = {"QueueReady", true, STEP_ANY},
    [VIRTIO_MMIO_QUEUE_NOTIFY / 4] = {"QueueNotify", false, STEP_ANY},
    [VIRTIO_MMIO_INTERRUPT_STATUS / 4] = {"InterruptStatus", true, 0},
    [VIRTIO_MMIO_INTERRUPT_ACK / 4] = {"InterruptACK", false, STEP_ANY},
    [VIRTIO_MMIO_STATUS / 4] = {"Status", true, STEP_ANY},
    [VIRTIO_MMIO_QUEUE_DESC_LOW / 4] = {"QueueDescLow", false, STEP_QUEUES},
    [VIRTIO_MMIO_QUEUE_DESC_HIGH / 4] = {"QueueDescHigh", false, STEP_QUEUES},
    [VIRTIO_MMIO_QUEUE_AVAIL_LOW / 4] = {"QueueDriverLow", false, STEP_QUEUES},
    [VIRTIO_MMIO_QUEUE_AVAIL_HIGH / 4] = {"QueueDriverHigh", false, STEP_QUEUES},
    [VIRTIO_MMIO_QUEUE_USED_LOW / 4] = {"QueueDeviceLow", false, STEP_QUEUES},
    [VIRTIO_MMIO_QUEUE_USED_HIGH / 4] = {"QueueDeviceHigh", false, STEP_QUEUES},
    [VIRTIO_MMIO_SHM_SEL / 4] = {"SHMSel", false, STEP_ANY},
    [VIRTIO_MMIO_SHM_LEN_LOW / 4] = {"SHMLenLow", true, 0},
    [VIRTIO_MMIO_SHM_LEN_HIGH / 4] = {"SHMLenHigh", true, 0},
    [VIRTIO_MMIO_SHM_BASE_LOW / 4] = {"SHMBaseLow", true, 0},
    [VIRTIO_MMIO_SHM_BASE_HIGH / 4] = {"SHMBaseHigh", true, 0},
    [MMIO_QUEUE_RESET / 4] = {"QueueReset", true, 0},
    [VIRTIO_MMIO_CONFIG_GENERATION / 4] = {"ConfigGeneration", true, 0},
};

_Static_assert(VMMIO_QUEUE_NOTIFY == VIRTIO_MMIO_QUEUE_NOTIFY, "virtio 1.2 §4.2.2");

const char *vmmio_reg_name(uint32_t offset)
{
    if (offset >= VIRTIO_MMIO_CONFIG)
        return "Config";
    const char *name = regs[offset / 4].name;
    return name ? name : "no register";
}

const struct reg *vmmio_find_reg(uint32_t offset, uint32_t len)
{
    if (len != 4 || offset % 4 || offset >= VIRTIO_MMIO_CONFIG || !regs[offset / 4].name)
        return NULL;
    return &regs[offset / 4];
}

static struct virtq *selected(struct vmmio *m)
{
    return m->queue_sel < m->dev->nqueues ? &m->dev->vq[m->queue_sel] : NULL;
}

static void write_queue_ready(struct vmmio *m, struct virtq *q, uint32_t value)
{
    struct vdev *d = m->dev;
    if (value == 0) {
        virtq_reset(q);
        return;
    }
    if (vmmio_step(m) != STEP_QUEUES || q->ready) {
        vmmio_refused(m, "%s: queue %u is made ready at the wrong time", d->ops->name, m->queue_sel);
        return;
    }
    int ret = virtq_enable(q, d->mem, d->ops->queue_max, d->acked & BIT64(VIRTIO_RING_F_EVENT_IDX));
    if (ret < 0) {
        vmmio_refused(m,
                      "%s: queue %u of %u descriptors at 0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64
                      " cannot be used: %s",
                      d->ops->name, m->queue_sel, q->size, q->desc_gpa, q->driver_gpa, q->device_gpa,
                      strerror(-ret));
        d->needs_reset(d);
    }
}

static void set_low(gpa_t *gpa, uint32_t value)
{
    *gpa = (*gpa & ~(gpa_t)UINT32_MAX) | value;
}

static void set_high(gpa_t *gpa, uint32_t value)
{
    *gpa = (*gpa & UINT32_MAX) | (gpa_t)value << 32;
}

static void write_queue_reg(struct vmmio *m, uint32_t offset, uint32_t value)
{
    struct virtq *q = selected(m);
    if (!q)
        return; /* reads as QueueNumMax 0: the driver was told that there is no such queue */
    if (offset == VIRTIO_MMIO_QUEUE_READY) {
        write_queue_ready(m, q, value);
        return;
    }
    if (q->ready) {
        vmmio_refused(m, "%s: %s is written while queue %u is in use", m->dev->ops->name,
                      vmmio_reg_name(offset), m->queue_sel);
        return;
    }
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        /* A number beyond 16 bits must not turn into a small one: 0 is refused when the queue is enabled. */
        q->size = value <= VIRTQ_SIZE_MAX ? (uint16_t)value : 0;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
        set_low(&q->desc_gpa, value);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_high(&q->desc_gpa, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
        set_low(&q->driver_gpa, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_high(&q->driver_gpa, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
        set_low(&q->device_gpa, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_high(&q->device_gpa, value);
        break;
    }
}

uint32_t vmmio_read_reg(struct vmmio *m, uint32_t offset)
{
    struct vdev *d = m->dev;
    const struct virtq *q = selected(m);
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MMIO_MAGIC;
    case VIRTIO_MMIO_VERSION:
        return MMIO_VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return d->ops->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return MMIO_VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return m->device_features_sel < 2 ? (uint32_t)(vmmio_offered(d) >> (32 * m->device_features_sel)) : 0;
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return q ? d->ops->queue_max : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return q && q->ready;
    case VIRTIO_MMIO_STATUS:
        return m->status;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX; /* §4.2.2: a length of -1 says that there is no such region */
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return m->config_generation;
    default:
        return 0;
    }
}

void vmmio_write_reg(struct vmmio *m, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        m->device_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        m->driver_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        if (m->driver_features_sel == 0)
            set_low(&m->driver_features, value);
        else if (m->driver_features_sel == 1)
            set_high(&m->driver_features, value);
        else if (value)
            m->driver_features_beyond = true;
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        m->queue_sel = value;
        break;
    case VIRTIO_MMIO_STATUS:
        vmmio_write_status(m, value);
        break;
    case VIRTIO_MMIO_SHM_SEL:
        break;
    default:
        write_queue_reg(m, offset, value);
    }
}
