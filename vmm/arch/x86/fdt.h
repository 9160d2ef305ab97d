/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree of the machine (Devicetree Specification 0.4), built with libfdt. It says what cannot be
 * found by asking: the CPUs, the interrupt controllers, the virtio windows. Memory and command line are told
 * to x86 kernels by the zero page, so they are not in the tree.
 */
#ifndef CUBBY_VMM_ARCH_X86_FDT_H
#define CUBBY_VMM_ARCH_X86_FDT_H

#include "base/err.h"
#include "vmm/arch/x86/boot.h"

#include <stdint.h>

struct fdt_machine {
    unsigned cpus; /* CPU i has APIC id i */
    unsigned nslots;
    const struct boot_slot *slots;
};

/* Second cell of `interrupts`: index into of_ioapic_type[] of Linux (arch/x86/kernel/devicetree.c). */
#define FDT_IOAPIC_EDGE_RISING 3

/* Writes the tree into `buf` (8-byte aligned, `room` bytes); *size becomes its length. 0, or -ENOSPC. */
int fdt_build(const struct fdt_machine *machine, void *buf, uint32_t room, uint32_t *size, struct err *e);

#endif
