/* SPDX-License-Identifier: Apache-2.0 */
/* 64-bit ELF kernels ("vmlinux"): header checks and loading of segments. The file is hostile input. */
#ifndef CUBBY_VMM_ARCH_X86_KERNEL_ELF_H
#define CUBBY_VMM_ARCH_X86_KERNEL_ELF_H

#include "vmm/arch/x86/boot_file.h"

#include <elf.h>

#define ELF_SEGMENTS_MAX 64 /* Linux has five */

struct elf_kernel {
    uint64_t entry;
    unsigned count;
    Elf64_Phdr phdr[ELF_SEGMENTS_MAX];
    gpa_t start, end; /* of all that is loaded, page-aligned */
};

/*
 * Reads and checks header and segments (System V ABI, chapters 4 and 5; its AMD64 supplement) against the
 * file and against *m: a little-endian x86-64 executable, every loaded segment whole in the file, in RAM
 * between 1 MiB and the hole, overlapping no other, p_filesz ≤ p_memsz.
 * 0; -ENOEXEC; -ENOMEM when it needs more memory than there is; or a read's errno.
 */
int kernel_elf_parse(const struct boot_file *f, const struct gmem *m, struct elf_kernel *k, struct err *e);

/* Is `gpa` an address whose byte comes from the file? Any sensible entry point is. */
bool kernel_elf_has_code(const struct elf_kernel *k, gpa_t gpa);

/* Puts the segments into guest memory. What lies behind a segment's file bytes (bss) must be zeros, and is:
 * guest memory is fresh. */
int kernel_elf_load(const struct boot_file *f, struct gmem *m, const struct elf_kernel *k, struct err *e);

#endif
