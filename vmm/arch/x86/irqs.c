/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a device raises its interrupt by writing to its pin's eventfd. While the pin is
 * unmasked, the eventfd is attached to KVM (KVM_IRQFD), which looks the pin's number (GSI) up in the routing
 * table and sends the message it finds there to a local APIC: no exit, no thread of ours.
 *
 * A masked pin must not forget an edge. So masking detaches the eventfd, which then simply counts; when it is
 * attached again KVM finds the count and injects at once. The order upon unmasking is therefore: route first,
 * then attach. An edge between both waits in the eventfd. KVM leaves that count in place, so a pin that is
 * masked and unmasked without a device's edge in between may interrupt once more than needed; drivers find
 * nothing to do then.
 */
#include "vmm/arch/x86/irqs.h"
#include "base/log.h"
#include "base/own.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>

/* Tells KVM the message of every pin. KVM replaces its whole table at once, which is how the call works. */
static int set_routes(const struct irqs *q)
{
    union { /* the header ends in an array without a length: room for it */
        struct kvm_irq_routing head;
        uint8_t room[sizeof(struct kvm_irq_routing) + IOAPIC_PINS_MAX * sizeof(struct kvm_irq_routing_entry)];
    } table = {{0}};

    for (unsigned pin = 0; pin < q->ioapic.pins; pin++) {
        if (q->route[pin].masked)
            continue;
        struct kvm_irq_routing_entry *r = &table.head.entries[table.head.nr++];
        *r = (struct kvm_irq_routing_entry){.gsi = pin, .type = KVM_IRQ_ROUTING_MSI};
        r->u.msi.address_lo = q->route[pin].address;
        r->u.msi.data = q->route[pin].data;
    }
    return kvm_ioctl(q->vm_fd, KVM_SET_GSI_ROUTING, &table.head);
}

static int attach(struct irqs *q, unsigned pin, bool on)
{
    if (q->attached[pin] == on)
        return 0;
    int r = kvm_irqfd(q->vm_fd, q->fd[pin], pin, on);
    if (r == 0)
        q->attached[pin] = on;
    return r;
}

/* The I/O APIC's sink; the lock is held by on_write(). */
static void route_changed(void *owner, unsigned pin, const struct ioapic_route *route)
{
    struct irqs *q = owner;
    bool was_masked = q->route[pin].masked;
    q->route[pin] = *route;
    if (was_masked && route->masked)
        return; /* Linux writes every masked entry several times while it starts */
    int r = route->masked ? attach(q, pin, false) : 0;
    if (r == 0)
        r = set_routes(q);
    if (r == 0 && !route->masked)
        r = attach(q, pin, true);
    if (r)
        log_err(LOG_VMM, "cannot route interrupt pin %u: %s", pin, strerror(-r));
}

static void on_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    struct irqs *q = owner;
    pthread_mutex_lock(&q->lock);
    ioapic_read(&q->ioapic, offset, data, len);
    pthread_mutex_unlock(&q->lock);
}

static void on_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    struct irqs *q = owner;
    pthread_mutex_lock(&q->lock);
    ioapic_write(&q->ioapic, offset, data, len);
    pthread_mutex_unlock(&q->lock);
}

static const struct bus_ops ioapic_ops = {.read = on_read, .write = on_write};

int irqs_init(struct irqs *q, int vm_fd, unsigned pins, struct bus *mmio, struct err *e)
{
    *q = (struct irqs){.vm_fd = vm_fd};
    for (unsigned i = 0; i < IOAPIC_PINS_MAX; i++) {
        q->fd[i] = -1;
        q->route[i].masked = true;
    }
    pthread_mutex_init(&q->lock, NULL);
    ioapic_init(&q->ioapic, pins, route_changed, q);

    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {pins}};
    int r = kvm_ioctl(vm_fd, KVM_ENABLE_CAP, &split);
    if (r)
        return err_set(e, r, "cannot create the interrupt controllers (KVM_CAP_SPLIT_IRQCHIP): %s",
                       strerror(-r));
    for (unsigned i = 0; i < pins; i++) {
        q->fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (q->fd[i] < 0)
            return err_sys(e, "cannot make the eventfd of interrupt pin %u", i);
    }
    r = bus_add(mmio, LAYOUT_IOAPIC, LAYOUT_IOAPIC_SIZE, "ioapic", &ioapic_ops, q);
    return r ? err_set(e, r, "no place for the I/O APIC on the bus: %s", strerror(-r)) : 0;
}

void irqs_fini(struct irqs *q)
{
    for (unsigned i = 0; i < q->ioapic.pins; i++)
        fd_closep(&q->fd[i]);
    pthread_mutex_destroy(&q->lock);
}

int irqs_fd(const struct irqs *q, unsigned pin)
{
    return q->fd[pin];
}
