/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, version 2 (virtio 1.2 §4.2): the register window of one device.
 *
 * The machine gives each device a window of VMMIO_WINDOW bytes and one interrupt, and forwards accesses that
 * KVM reports. Kicks do not come that way: an ioeventfd per queue wakes the device's loop directly, and
 * interrupts are raised by writing to an irqfd. So a running device costs no exit to user space in either
 * direction, but for the driver's acknowledgement of interrupts.
 */
#ifndef CUBBY_VIRTIO_MMIO_H
#define CUBBY_VIRTIO_MMIO_H

#include "base/err.h"
#include "virtio/vdev.h"

#define VMMIO_WINDOW       0x200 /* bytes per device: 0x100 of registers, then the device's configuration */
#define VMMIO_QUEUE_NOTIFY 0x050 /* what the ioeventfds listen at: 4 bytes, datamatch = queue index */

struct vmmio;

/*
 * Takes ownership of `dev` (destroyed with the transport, also when this call fails). `irq_fd` is an eventfd
 * of the caller's, not owned: 1 is added for an interrupt. The kick eventfds are added to dev->loop.
 */
int vmmio_create(struct vmmio **out, struct vdev *dev, int irq_fd, struct err *e);
/* Safe on NULL. No vCPU and no loop may be running. */
void vmmio_destroy(struct vmmio *m);

/* The eventfd to attach as ioeventfd for queue `q`; -1 for a queue that the device does not have. */
int vmmio_kick_fd(const struct vmmio *m, unsigned q);
unsigned vmmio_queues(const struct vmmio *m);

/* An access by a vCPU (any thread): `offset` within the window, `len` 1, 2, 4 or 8. Never fails: an access
 * that is not allowed reads as zeros, or is ignored, and is logged (rate-limited). */
void vmmio_read(struct vmmio *m, uint32_t offset, void *data, uint32_t len);
void vmmio_write(struct vmmio *m, uint32_t offset, const void *data, uint32_t len);

/* The specification's name of the register at `offset`, for logs; never NULL. */
const char *vmmio_reg_name(uint32_t offset);

#endif
