/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Linux kernel is told at its start: the zero page (Documentation/arch/x86/zero-page.rst) and the
 * chain of setup_data behind it (boot.rst, field setup_data).
 */
#ifndef CUBBY_VMM_ARCH_X86_BOOT_PARAMS_H
#define CUBBY_VMM_ARCH_X86_BOOT_PARAMS_H

#include "base/err.h"
#include "vmm/arch/x86/fdt.h"
#include "vmm/arch/x86/initrd.h"
#include "vmm/arch/x86/kernel_image.h"
#include "vmm/arch/x86/layout.h"

#ifndef SETUP_RNG_SEED
#define SETUP_RNG_SEED 9 /* since Linux 6.0; the headers of a distribution may be older */
#endif
#define BOOT_SEED_SIZE 64 /* bytes; Linux credits 256 bits for 32 or more (drivers/char/random.c) */

/* Nodes of the setup_data chain. */
#define SETUP_DATA_SEED LAYOUT_SETUP_DATA
#define SETUP_DATA_DTB  (LAYOUT_SETUP_DATA + UINT64_C(0x100))

/*
 * Writes the chain: a fresh seed from getrandom(2) (Linux wipes it when it has used it), then the device tree
 * of `machine`. 0; -ENOSPC when the tree is too large; or getrandom's errno.
 */
int boot_params_write_setup_data(struct gmem *m, const struct fdt_machine *machine, struct err *e);

/* Writes the zero page for a kernel whose command line is at LAYOUT_CMDLINE and whose setup_data chain is
 * written. 0, or -EFAULT. */
int boot_params_write(struct gmem *m, const struct kernel_image *k, const struct initrd *initrd);

#endif
