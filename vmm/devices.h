/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio devices of a VM: the list of them, and how each is joined to bus, interrupts and kicks.
 */
#ifndef CUBBY_VMM_DEVICES_H
#define CUBBY_VMM_DEVICES_H

#include "base/err.h"
#include "base/gmem.h"
#include "vmm/config.h"

#define DEVICES_MAX (2 + VM_DISKS_MAX) /* console, vsock, disks */

struct vm;
struct vdev;
struct vmmio;

struct device {
    char name[16];      /* "console", "vsock", "disk0": as in reports of exits */
    struct vmmio *mmio; /* owned; owns the device behind it */
    struct vdev *vdev;  /* for calls that the device's own header offers */
    gpa_t gpa;
};

struct devices {
    unsigned count;
    struct device device[DEVICES_MAX]; /* slot i, pin i */
};

/* How many slots a VM of this configuration has. */
unsigned devices_wanted(const struct vm_config *c);

/* Creates them all in vm->devices, in the order in which the guest finds them. Undone by devices_fini(), also
 * after a failure. Before a vCPU runs. */
int devices_init(struct vm *vm, struct err *e);
void devices_fini(struct devices *d);

/* The console's device. */
struct vdev *devices_console(const struct devices *d);

#endif
