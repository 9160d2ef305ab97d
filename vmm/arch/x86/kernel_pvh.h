/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH, Xen's "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc of Xen,
 * include/public/arch-x86/hvm/start_info.h): an ELF note names a 32-bit entry point; ebx points to a start
 * info with modules, command line, memory map.
 *
 * It has no place for a device tree. A kernel entered this way finds the processors and the I/O APIC in an MP
 * table (mptable.h), and the virtio windows on its command line, as virtio_mmio.device=SIZE@ADDRESS:IRQ.
 * Linux takes the I/O APIC's pin for the number of the interrupt and 0 for none, so that pin 0 is of no use
 * then.
 */
#ifndef CUBBY_VMM_ARCH_X86_KERNEL_PVH_H
#define CUBBY_VMM_ARCH_X86_KERNEL_PVH_H

#include "vmm/arch/x86/initrd.h"
#include "vmm/arch/x86/kernel_elf.h"

#define PVH_NOTES_MAX 0x10000 /* bytes of notes that are looked at; Linux has about 150 */

#define XEN_ELFNOTE_PHYS32_ENTRY 18         /* elfnote.h of Xen */
#define XEN_HVM_START_MAGIC      0x336ec578 /* "xEn3" with the high bit of the E set */

/* start_info.h of Xen, version 1. All little-endian. */
struct pvh_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    uint32_t memmap_entries, reserved;
};

struct pvh_module {
    uint64_t paddr, size, cmdline_paddr, reserved;
};

struct pvh_memmap_entry {
    uint64_t addr, size;
    uint32_t type, reserved; /* type as in e820 */
};

/* What the notes say. */
struct pvh_notes {
    bool is_linux;  /* there is a note of the owner "Linux" */
    bool has_entry; /* there is a PHYS32_ENTRY */
    uint64_t entry;
};

/* Reads the notes of a parsed ELF kernel. 0, -ENOEXEC, or a read's errno. A malformed note ends the search.
 */
int kernel_pvh_notes(const struct boot_file *f, const struct elf_kernel *k, struct pvh_notes *out,
                     struct err *e);

/* Writes the start info page; the command line is at LAYOUT_CMDLINE. Returns 0, or -EFAULT. */
int kernel_pvh_write_info(struct gmem *m, const struct initrd *initrd);

#endif
