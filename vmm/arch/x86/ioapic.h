/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC (82093AA datasheet): two registers that select and show others, among them one redirection
 * entry per pin. Edge-triggered only. A pure model of the registers: what an entry means is told to `sink`,
 * and whoever owns the pins' interrupt sources acts upon it. KVM is not known here.
 */
#ifndef CUBBY_VMM_ARCH_X86_IOAPIC_H
#define CUBBY_VMM_ARCH_X86_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#define IOAPIC_PINS_MAX 24

/* A redirection entry as the message that the local APICs understand (SDM vol. 3A §11.11). */
struct ioapic_route {
    bool masked;
    uint32_t address, data;
};

/* Called when the meaning of a pin's entry changed; by the thread that wrote the register. */
typedef void ioapic_sink(void *owner, unsigned pin, const struct ioapic_route *route);

struct ioapic {
    unsigned pins;
    uint8_t select;                  /* IOREGSEL */
    uint8_t id;                      /* bits 27:24 of the ID register */
    uint64_t entry[IOAPIC_PINS_MAX]; /* as the guest reads them */
    ioapic_sink *sink;
    void *owner;
};

/* All pins masked, as after power-on; `sink` is not called. 1 ≤ pins ≤ IOAPIC_PINS_MAX. */
void ioapic_init(struct ioapic *io, unsigned pins, ioapic_sink *sink, void *owner);

/* An access within the 4 KiB window. Registers are 32 bits wide: others read as zeros, or are ignored. The
 * caller serialises accesses. */
void ioapic_read(const struct ioapic *io, uint64_t offset, void *data, uint32_t len);
void ioapic_write(struct ioapic *io, uint64_t offset, const void *data, uint32_t len);

#endif
