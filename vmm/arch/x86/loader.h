/* SPDX-License-Identifier: Apache-2.0 */
/* The front of the kernel loaders: finds out what kind of file it is by its first bytes. */
#ifndef CUBBY_VMM_ARCH_X86_LOADER_H
#define CUBBY_VMM_ARCH_X86_LOADER_H

#include "vmm/arch/x86/boot.h"
#include "vmm/arch/x86/boot_file.h"
#include "vmm/arch/x86/kernel_image.h"

/* Loads an ELF file or a bzImage. 0; -ENOEXEC with what is wrong with the file; -ENOMEM; a read's errno. */
int kernel_load(const struct boot_file *f, struct gmem *m, enum boot_protocol protocol,
                struct kernel_image *out, struct err *e);

#endif
