/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP table (Intel MultiProcessor Specification 1.4, chapter 4): processors, I/O APIC and interrupt lines,
 * for kernels that are entered by PVH and so get no device tree. The device tree is what the others get: it
 * says the same, and where the virtio windows are besides.
 */
#ifndef CUBBY_VMM_ARCH_X86_MPTABLE_H
#define CUBBY_VMM_ARCH_X86_MPTABLE_H

#include "vmm/arch/x86/boot.h"

/* Writes the table of this machine to LAYOUT_MP_TABLE, where kernels look for one. 0, or -EFAULT. */
int mptable_write(struct gmem *m, const struct boot_source *src);

#endif
