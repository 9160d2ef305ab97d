/* SPDX-License-Identifier: Apache-2.0 */
/* The initial RAM disk: where it goes, and how it gets there. */
#ifndef CUBBY_VMM_ARCH_X86_INITRD_H
#define CUBBY_VMM_ARCH_X86_INITRD_H

#include "vmm/arch/x86/boot_file.h"
#include "vmm/arch/x86/kernel_image.h"

struct initrd {
    gpa_t start;   /* page-aligned */
    uint64_t size; /* bytes; 0: there is none */
};

/*
 * Loads the file at the upper end of low RAM, as high as the kernel allows. 0; -ENOMEM
 * when it does not fit between the kernel and that end, with the memory that would do; or what
 * boot_file_load() says.
 */
int initrd_load(const struct boot_file *f, struct gmem *m, const struct kernel_image *k, struct initrd *out,
                struct err *e);

#endif
