/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: vCPU threads come in by vmmio_read() and vmmio_write(), the loop's thread by the kick
 * eventfds; the device's lock keeps them apart. Three registers do without it, because a running driver uses
 * them for every interrupt and kick, and must not wait there for a device at work: InterruptStatus and
 * InterruptACK are one atomic word, and QueueNotify writes to an eventfd.
 *
 * An access is first held against the register table (mmio_regs.c): offset, width, and the step that the
 * driver has reached (mmio_status.c). What the table does not allow has no effect.
 */
#include "virtio/mmio_priv.h"

#include "base/own.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- Interrupts, faults, kicks: what the device calls --- */

static void raise_interrupt(struct vmmio *m, unsigned bit)
{
    /* The bit is there before the interrupt is: the driver's handler reads it first. */
    atomic_fetch_or(&m->interrupts, bit);
    uint64_t one = 1;
    ssize_t ignored = write(m->irq_fd, &one, sizeof(one)); /* fails only when 2^64-2 wait: one is pending */
    (void)ignored;
}

static struct vmmio *of(struct vdev *d)
{
    return d->transport;
}

static void notify_queue(struct vdev *d, unsigned q)
{
    if (virtq_wants_interrupt(&d->vq[q]))
        raise_interrupt(of(d), VIRTIO_MMIO_INT_VRING);
}

static void notify_config(struct vdev *d)
{
    struct vmmio *m = of(d);
    m->config_generation++;
    if (m->status & VIRTIO_CONFIG_S_DRIVER_OK)
        raise_interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

static void needs_reset(struct vdev *d)
{
    struct vmmio *m = of(d);
    d->active = false;
    if (m->status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    m->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    notify_config(d); /* §2.1.2 */
}

void vmmio_ring_doorbell(const struct kick *k)
{
    uint64_t one = 1;
    ssize_t ignored = write(k->fd, &one, sizeof(one));
    (void)ignored;
}

static void kick_later(struct vdev *d, unsigned q)
{
    vmmio_ring_doorbell(&of(d)->kick[q]);
}

/* On the loop's thread: the doorbell of a queue rang. */
static void on_kick(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct kick *k = CONTAINER_OF(s, struct kick, source);
    struct vdev *d = k->mmio->dev;
    uint64_t count;
    ssize_t ignored = read(k->fd, &count, sizeof(count)); /* before the ring is looked at: no kick is lost */
    (void)ignored;
    vdev_lock(d);
    /* Too early, too late, or for a queue that was never set up: a driver may ring all day. */
    if (d->active && d->vq[k->queue].ready) {
        int ret = d->ops->kick(d, k->queue);
        if (ret < 0) {
            log_warn_limited(&d->faults, d->ops->topic,
                             "%s: queue %u: the driver's fault: %s; the device needs a reset", d->ops->name,
                             k->queue, strerror(-ret));
            needs_reset(d);
        }
    }
    vdev_unlock(d);
}

/* --- The window --- */

/* Configuration space: fields of 8, 16 or 32 bits at their natural alignment; 64-bit fields as two halves
 * (virtio 1.2 §4.2.2.2). */
static bool config_access_ok(struct vmmio *m, uint32_t offset, uint32_t len)
{
    if ((len == 1 || len == 2 || len == 4) && offset % len == 0 && offset <= m->dev->config_size &&
        len <= m->dev->config_size - offset)
        return true;
    vmmio_refused(m, "%s: access of %u bytes at offset %u of a configuration of %u", m->dev->ops->name, len,
                  offset, m->dev->config_size);
    return false;
}

static void read_locked(struct vmmio *m, uint32_t offset, void *data, uint32_t len)
{
    struct vdev *d = m->dev;
    if (offset >= VIRTIO_MMIO_CONFIG) {
        if (config_access_ok(m, offset - VIRTIO_MMIO_CONFIG, len))
            d->ops->config_read(d, offset - VIRTIO_MMIO_CONFIG, data, len);
        return;
    }
    const struct reg *r = vmmio_find_reg(offset, len);
    if (!r || !r->readable) {
        vmmio_refused(m, "%s: read of %u bytes at 0x%x (%s)", d->ops->name, len, offset,
                      vmmio_reg_name(offset));
        return;
    }
    uint32_t value = htole32(vmmio_read_reg(m, offset));
    memcpy(data, &value, sizeof(value));
}

static void write_locked(struct vmmio *m, uint32_t offset, const void *data, uint32_t len)
{
    struct vdev *d = m->dev;
    if (offset >= VIRTIO_MMIO_CONFIG) {
        if (config_access_ok(m, offset - VIRTIO_MMIO_CONFIG, len) && d->ops->config_write)
            d->ops->config_write(d, offset - VIRTIO_MMIO_CONFIG, data, len);
        return;
    }
    const struct reg *r = vmmio_find_reg(offset, len);
    if (!r || !(r->writable & vmmio_step(m))) {
        vmmio_refused(m, "%s: write of %u bytes at 0x%x (%s) with status 0x%x", d->ops->name, len, offset,
                      vmmio_reg_name(offset), m->status);
        return;
    }
    uint32_t value;
    memcpy(&value, data, sizeof(value));
    vmmio_write_reg(m, offset, le32toh(value));
}

void vmmio_read(struct vmmio *m, uint32_t offset, void *data, uint32_t len)
{
    memset(data, 0, len);
    if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && len == 4) {
        uint32_t value = htole32(atomic_load(&m->interrupts));
        memcpy(data, &value, sizeof(value));
        return;
    }
    vdev_lock(m->dev);
    read_locked(m, offset, data, len);
    vdev_unlock(m->dev);
}

void vmmio_write(struct vmmio *m, uint32_t offset, const void *data, uint32_t len)
{
    if (len == 4 && (offset == VIRTIO_MMIO_INTERRUPT_ACK || offset == VIRTIO_MMIO_QUEUE_NOTIFY)) {
        uint32_t value;
        memcpy(&value, data, sizeof(value));
        value = le32toh(value);
        if (offset == VIRTIO_MMIO_INTERRUPT_ACK)
            atomic_fetch_and(&m->interrupts, ~value);
        else if (value < m->dev->nqueues)
            vmmio_ring_doorbell(&m->kick[value]);
        return;
    }
    vdev_lock(m->dev);
    write_locked(m, offset, data, len);
    vdev_unlock(m->dev);
}

/* --- Life --- */

static int add_kicks(struct vmmio *m, struct err *e)
{
    struct vdev *d = m->dev;
    for (unsigned q = 0; q < d->nqueues; q++) {
        struct kick *k = &m->kick[q];
        k->mmio = m;
        k->queue = q;
        k->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (k->fd < 0)
            return err_sys(e, "%s: cannot make an eventfd for queue %u", d->ops->name, q);
        int ret = loop_add(d->loop, &k->source, k->fd, EPOLLIN, on_kick);
        if (ret < 0)
            return err_set(e, ret, "%s: cannot watch queue %u: %s", d->ops->name, q, strerror(-ret));
    }
    return 0;
}

static void adopt(struct vmmio *m, struct vdev *d)
{
    assert(d->nqueues <= VDEV_QUEUES_MAX && d->ops->queue_max <= VIRTQ_SIZE_MAX);
    pthread_mutex_init(&d->lock, NULL);
    d->transport = m;
    d->notify_queue = notify_queue;
    d->notify_config = notify_config;
    d->needs_reset = needs_reset;
    d->kick_later = kick_later;
}

int vmmio_create(struct vmmio **out, struct vdev *dev, int irq_fd, struct err *e)
{
    struct vmmio *m = calloc(1, sizeof(*m));
    if (!m) {
        dev->ops->destroy(dev);
        return err_set(e, -ENOMEM, "cannot allocate a virtio transport");
    }
    m->dev = dev;
    m->irq_fd = irq_fd;
    for (unsigned q = 0; q < VDEV_QUEUES_MAX; q++)
        m->kick[q].fd = -1;
    adopt(m, dev);
    int ret = add_kicks(m, e);
    if (ret < 0) {
        vmmio_destroy(m);
        return ret;
    }
    *out = m;
    return 0;
}

void vmmio_destroy(struct vmmio *m)
{
    if (!m)
        return;
    for (unsigned q = 0; q < m->dev->nqueues; q++) {
        loop_remove(&m->kick[q].source);
        fd_closep(&m->kick[q].fd);
    }
    pthread_mutex_destroy(&m->dev->lock);
    m->dev->ops->destroy(m->dev);
    free(m);
}

int vmmio_kick_fd(const struct vmmio *m, unsigned q)
{
    return q < m->dev->nqueues ? m->kick[q].fd : -1;
}

unsigned vmmio_queues(const struct vmmio *m)
{
    return m->dev->nqueues;
}
