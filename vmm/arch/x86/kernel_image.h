/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders yield: a kernel that lies in guest memory, ready to be entered. */
#ifndef CUBBY_VMM_ARCH_X86_KERNEL_IMAGE_H
#define CUBBY_VMM_ARCH_X86_KERNEL_IMAGE_H

#include "base/gmem.h"

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

enum kernel_kind {
    KERNEL_LINUX64, /* enter in 64-bit mode, rsi = zero page */
    KERNEL_PVH,     /* enter in 32-bit mode, rbx = start info */
};

/* COMMAND_LINE_SIZE of arch/x86 without the NUL: an ELF file does not tell, Linux cuts what is longer. */
#define KERNEL_CMDLINE_MAX 2047

struct kernel_image {
    enum kernel_kind kind;
    gpa_t entry;
    gpa_t start, end;          /* all that the kernel needs before it manages memory itself */
    gpa_t initrd_end_max;      /* an initrd ends here or below */
    uint32_t cmdline_max;      /* characters, the NUL not among them */
    struct setup_header setup; /* a bzImage's own, or made up for an ELF file; not for PVH */
};

#endif
