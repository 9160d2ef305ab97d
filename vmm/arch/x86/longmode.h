/* SPDX-License-Identifier: Apache-2.0 */
/* The tables in guest memory that 64-bit mode cannot do without: paging, and segment descriptors. */
#ifndef CUBBY_VMM_ARCH_X86_LONGMODE_H
#define CUBBY_VMM_ARCH_X86_LONGMODE_H

#include "base/gmem.h"

#include <stdbool.h>

/* Bits of a page-table entry, SDM vol. 3A §4.5.4 tables 4-15 to 4-18. */
#define PTE_PRESENT    UINT64_C(0x1)
#define PTE_WRITE      UINT64_C(0x2)
#define PTE_LARGE      UINT64_C(0x80)
#define PTE_ADDRESS    UINT64_C(0x000ffffffffff000)
#define PT_ENTRIES     512
#define LONGMODE_PAGE  (UINT64_C(2) << 20)
#define LONGMODE_PDS   4 /* page directories, a GiB each */
#define LONGMODE_PAGES (2 + LONGMODE_PDS)

/* Writes page tables at LAYOUT_PAGE_TABLES that map the first 4 GiB one to one, writable and executable.
 * 0, or -EFAULT. */
int longmode_write_page_tables(struct gmem *m);

/* Writes the GDT at LAYOUT_GDT, for a start in 64-bit mode or in 32-bit mode. 0, or -EFAULT. */
int longmode_write_gdt(struct gmem *m, bool code64);

#endif
