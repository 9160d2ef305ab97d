/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines: one eventfd per I/O APIC pin, connected to KVM while the guest lets the pin through.
 */
#ifndef CUBBY_VMM_ARCH_X86_IRQS_H
#define CUBBY_VMM_ARCH_X86_IRQS_H

#include "base/err.h"
#include "vmm/arch/x86/ioapic.h"

#include <pthread.h>

struct bus;

struct irqs {
    int vm_fd;            /* not owned */
    pthread_mutex_t lock; /* over everything below, for vCPU threads */
    struct ioapic ioapic;
    int fd[IOAPIC_PINS_MAX]; /* eventfds, owned */
    bool attached[IOAPIC_PINS_MAX];
    struct ioapic_route route[IOAPIC_PINS_MAX];
};

/* Turns the VM's split irqchip on with `pins` pins, makes the eventfds and puts the I/O APIC on the bus. No
 * vCPU exists yet. Undone by irqs_fini(), also after a failure; *q lives as long as the bus. */
int irqs_init(struct irqs *q, int vm_fd, unsigned pins, struct bus *mmio, struct err *e);
void irqs_fini(struct irqs *q);

/* The eventfd of a pin: add 1 for an interrupt, from any thread. Not the caller's. */
int irqs_fd(const struct irqs *q, unsigned pin);

#endif
