/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-physical memory map of our x86-64 machine, whole and in one place.
 *
 *      0x0000_0000  real-mode vectors and BIOS data area: zeros, for kernels that look (ebda.c of Linux)
 *      0x0000_1000  GDT                                    one page
 *      0x0000_2000  PVH start info, modules, memory map    one page
 *      0x0000_7000  zero page (struct boot_params)         one page
 *      0x0000_8000  stack: for guests that use one at once (Linux does not)
 *      0x0000_9000  page tables: PML4, PDPT, four PDs      six pages
 *      0x0002_0000  command line                           64 KiB
 *      0x0003_0000  setup_data chain: seed, device tree    192 KiB
 *      0x0006_0000  free low memory: Linux puts its start-up code for further CPUs here
 *      0x000a_0000  RAM of no use: the place of VGA memory and BIOS ROMs of a PC; not in the e820 map,
 *      0x000f_ffff  but backed by zeros, so that a search for tables there ends without an exit;
 *                   MP table at 0x000f_0000 for a kernel that is entered by PVH
 *      0x0010_0000  RAM: kernel (Linux wants 16 MiB), initrd at the upper end
 *      0xc000_0000  3 GiB: end of low RAM, begin of the hole for devices
 *      0xd000_0000  virtio-mmio windows, VMMIO_WINDOW bytes each
 *      0xfec0_0000  I/O APIC
 *      0xfee0_0000  local APIC
 *    0x1_0000_0000  4 GiB: the RAM that does not fit below the hole
 *
 * Nothing that we write into low memory must survive the kernel's start but the setup_data chain, which Linux
 * reserves first of all (early_reserve_memory() in arch/x86/kernel/setup.c); the rest is copied by the kernel
 * (zero page, command line) or replaced (GDT, page tables) before it gives out memory.
 */
#ifndef CUBBY_VMM_ARCH_X86_LAYOUT_H
#define CUBBY_VMM_ARCH_X86_LAYOUT_H

#include "base/err.h"
#include "base/gmem.h"
#include "virtio/mmio.h"

#include <asm/bootparam.h>
#include <stdint.h>

#define LAYOUT_PAGE UINT64_C(0x1000)
#define LAYOUT_MIB  UINT64_C(0x100000)

static inline uint64_t layout_page_up(uint64_t bytes)
{
    return (bytes + LAYOUT_PAGE - 1) & ~(LAYOUT_PAGE - 1);
}

static inline uint64_t layout_page_down(uint64_t bytes)
{
    return bytes & ~(LAYOUT_PAGE - 1);
}

/* What we write below 1 MiB. */
#define LAYOUT_GDT             UINT64_C(0x1000)
#define LAYOUT_PVH_INFO        UINT64_C(0x2000)
#define LAYOUT_ZERO_PAGE       UINT64_C(0x7000)
#define LAYOUT_STACK_TOP       UINT64_C(0x9000)
#define LAYOUT_PAGE_TABLES     UINT64_C(0x9000)
#define LAYOUT_CMDLINE         UINT64_C(0x20000)
#define LAYOUT_CMDLINE_MAX     UINT64_C(0x10000) /* bytes, the NUL among them */
#define LAYOUT_SETUP_DATA      UINT64_C(0x30000)
#define LAYOUT_SETUP_DATA_SIZE UINT64_C(0x30000) /* Linux can map 256 KiB of a device tree so early */
#define LAYOUT_LOW_END         UINT64_C(0xa0000) /* end of the first e820 entry */

/* Where a BIOS would keep tables: above the end of the first e820 entry. */
#define LAYOUT_MP_TABLE UINT64_C(0xf0000)

/* Kernels and initrds live at and above it. */
#define LAYOUT_KERNEL_MIN  UINT64_C(0x100000)
#define LAYOUT_KERNEL_LOAD UINT64_C(0x1000000) /* where Linux is linked to run: CONFIG_PHYSICAL_START */

/* RAM and the hole in it. */
#define LAYOUT_HOLE_START UINT64_C(0xc0000000)
#define LAYOUT_HIGH_RAM   UINT64_C(0x100000000)

/* Devices. */
#define LAYOUT_VIRTIO_BASE UINT64_C(0xd0000000)
#define LAYOUT_IOAPIC      UINT64_C(0xfec00000)
#define LAYOUT_IOAPIC_SIZE UINT64_C(0x1000)
#define LAYOUT_LAPIC       UINT64_C(0xfee00000)
#define LAYOUT_LAPIC_SIZE  UINT64_C(0x1000)

/* The window of virtio slot `i`. */
static inline gpa_t layout_virtio_gpa(unsigned i)
{
    return LAYOUT_VIRTIO_BASE + (gpa_t)i * VMMIO_WINDOW;
}

/* Memory sizes that are accepted, in MiB. The upper one is where 40-bit physical addresses end. */
#define LAYOUT_MEMORY_MIN_MIB 32
#define LAYOUT_MEMORY_MAX_MIB ((UINT64_C(1) << 20) - 1024)

/* Adds `memory_mib` of RAM to an empty *m: one region from 0, and a second one from 4 GiB for what exceeds
 * 3 GiB. 0, -EINVAL for a size out of range, or what gmem_add() says; then *m has no region. */
int layout_add_ram(struct gmem *m, uint64_t memory_mib, struct err *e);

/* End of RAM below the hole: where an initrd ends. 0 when *m has no region at 0. */
gpa_t layout_low_ram_end(const struct gmem *m);

/* The memory in MiB that a machine needs so that RAM reaches up to `end` (below the hole or above it). */
uint64_t layout_mib_for(gpa_t end);

#define LAYOUT_E820_MAX (GMEM_REGIONS_MAX + 1)

/* The memory map of *m as the guest shall see it, in ascending order. Returns the number of entries. */
unsigned layout_e820(const struct gmem *m, struct boot_e820_entry out[LAYOUT_E820_MAX]);

#endif
