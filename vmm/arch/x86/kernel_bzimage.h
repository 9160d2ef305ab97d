/* SPDX-License-Identifier: Apache-2.0 */
/* bzImage: a Linux kernel that unpacks itself (Documentation/arch/x86/boot.rst). The file is hostile input.
 */
#ifndef CUBBY_VMM_ARCH_X86_KERNEL_BZIMAGE_H
#define CUBBY_VMM_ARCH_X86_KERNEL_BZIMAGE_H

#include "vmm/arch/x86/boot_file.h"
#include "vmm/arch/x86/kernel_image.h"

#define BZIMAGE_SETUP_OFFSET 0x1f1           /* of the setup header in the file and in the zero page */
#define BZIMAGE_HEAD         0x280           /* bytes at the file's start that hold all of the header */
#define BZIMAGE_MAGIC_OFFSET 0x202           /* of "HdrS" */
#define BZIMAGE_ENTRY64      UINT64_C(0x200) /* of the 64-bit entry point in the loaded part */

/* Do the first `len` bytes of a file carry the setup header's magic? */
bool kernel_bzimage_detect(const uint8_t *head, size_t len);

/*
 * Checks the setup header: protocol 2.12 or later, 64-bit entry, relocatable, whole in the file, enough
 * memory to unpack itself (init_size); then loads the protected-mode part where the kernel prefers it.
 * 0; -ENOEXEC; -ENOMEM with the memory needed; or a read's errno.
 */
int kernel_bzimage_load(const struct boot_file *f, struct gmem *m, struct kernel_image *out, struct err *e);

#endif
