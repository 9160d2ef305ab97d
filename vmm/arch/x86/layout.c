/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: RAM is one region from address 0, and a second one from 4 GiB when it does not fit
 * below the devices' hole. The e820 map (named after the BIOS call that once returned it) tells the guest the
 * same, less the 384 KiB below 1 MiB that a PC kernel takes for VGA memory and ROMs anyway.
 */
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>

#define E820_RAM 1 /* ACPI 6.5 table 15.1: AddressRangeMemory; not in the UAPI headers */

_Static_assert(sizeof(struct boot_params) == LAYOUT_PAGE, "the zero page is one page");
_Static_assert(LAYOUT_CMDLINE + LAYOUT_CMDLINE_MAX <= LAYOUT_SETUP_DATA, "areas do not overlap");
_Static_assert(LAYOUT_SETUP_DATA + LAYOUT_SETUP_DATA_SIZE < LAYOUT_LOW_END, "room for Linux' trampoline");

int layout_add_ram(struct gmem *m, uint64_t memory_mib, struct err *e)
{
    if (memory_mib < LAYOUT_MEMORY_MIN_MIB || memory_mib > LAYOUT_MEMORY_MAX_MIB)
        return err_set(e, -EINVAL, "memory of %" PRIu64 " MiB is out of range: %d to %" PRIu64 " MiB",
                       memory_mib, LAYOUT_MEMORY_MIN_MIB, LAYOUT_MEMORY_MAX_MIB);
    uint64_t size = memory_mib * LAYOUT_MIB;
    uint64_t low = size < LAYOUT_HOLE_START ? size : LAYOUT_HOLE_START;
    int ret = gmem_add(m, 0, low, e);
    if (ret == 0 && size > low)
        ret = gmem_add(m, LAYOUT_HIGH_RAM, size - low, e);
    if (ret < 0)
        gmem_fini(m);
    return ret;
}

gpa_t layout_low_ram_end(const struct gmem *m)
{
    for (unsigned i = 0; i < m->count; i++)
        if (m->region[i].gpa == 0)
            return m->region[i].size;
    return 0;
}

uint64_t layout_mib_for(gpa_t end)
{
    uint64_t bytes = end > LAYOUT_HIGH_RAM ? end - (LAYOUT_HIGH_RAM - LAYOUT_HOLE_START) : end;
    return bytes / LAYOUT_MIB + (bytes % LAYOUT_MIB != 0);
}

unsigned layout_e820(const struct gmem *m, struct boot_e820_entry out[LAYOUT_E820_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->count; i++) {
        gpa_t start = m->region[i].gpa, end = start + m->region[i].size;
        if (start == 0 && end > LAYOUT_LOW_END) {
            out[n++] = (struct boot_e820_entry){.addr = 0, .size = LAYOUT_LOW_END, .type = E820_RAM};
            start = LAYOUT_KERNEL_MIN;
        }
        if (start < end)
            out[n++] = (struct boot_e820_entry){.addr = start, .size = end - start, .type = E820_RAM};
    }
    return n;
}
