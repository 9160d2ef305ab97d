/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: 64-bit mode needs paging, so somebody has to make page tables before the first
 * instruction. The boot protocol asks for kernel, zero page and command line to be mapped one to one. We map
 * 4 GiB, the devices' hole included, so that a small guest can reach its APIC at once; with 2 MiB pages that
 * takes one PML4, one PDPT and four page directories: 24 KiB. Pages of 1 GiB would take 8 KiB, but not every
 * processor has them. Linux goes over to tables of its own within its first few hundred instructions.
 */
#include "vmm/arch/x86/longmode.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/regs.h"

#include <errno.h>
#include <string.h>

_Static_assert(LAYOUT_PAGE_TABLES + LONGMODE_PAGES * LAYOUT_PAGE <= LAYOUT_CMDLINE, "areas do not overlap");
_Static_assert(LONGMODE_PDS *PT_ENTRIES *LONGMODE_PAGE == LAYOUT_HIGH_RAM, "the map ends at 4 GiB");

int longmode_write_page_tables(struct gmem *m)
{
    uint64_t *table = gmem_ptr(m, LAYOUT_PAGE_TABLES, LONGMODE_PAGES * LAYOUT_PAGE);
    if (!table)
        return -EFAULT;
    uint64_t *pml4 = table, *pdpt = table + PT_ENTRIES, *pd = table + 2 * PT_ENTRIES;
    gpa_t pdpt_gpa = LAYOUT_PAGE_TABLES + LAYOUT_PAGE;
    memset(pml4, 0, 2 * LAYOUT_PAGE);
    pml4[0] = pdpt_gpa | PTE_PRESENT | PTE_WRITE;
    for (unsigned i = 0; i < LONGMODE_PDS; i++)
        pdpt[i] = (pdpt_gpa + (i + 1) * LAYOUT_PAGE) | PTE_PRESENT | PTE_WRITE;
    for (unsigned i = 0; i < LONGMODE_PDS * PT_ENTRIES; i++)
        pd[i] = i * LONGMODE_PAGE | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
    return 0;
}

int longmode_write_gdt(struct gmem *m, bool code64)
{
    struct kvm_segment code = code64 ? regs_code64() : regs_code32();
    uint64_t gdt[BOOT_GDT_ENTRIES];
    regs_fill_gdt(gdt, &code);
    return gmem_write(m, LAYOUT_GDT, gdt, sizeof(gdt));
}
