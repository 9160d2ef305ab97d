/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables, walked as the processor does it (SDM vol. 3A §4.5), and the GDT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/longmode.h"
#include "vmm/arch/x86/regs.h"

#include <errno.h>
#include <string.h>

#define UNMAPPED UINT64_MAX

/* The physical address that 4-level paging yields for `linear`; independent of the code under test. */
static uint64_t walk(const struct gmem *m, gpa_t cr3, uint64_t linear)
{
    gpa_t table = cr3;
    for (unsigned shift = 39; shift >= 12; shift -= 9) {
        uint64_t entry;
        assert_int_equal(gmem_read(m, table + (linear >> shift & 511) * 8, &entry, 8), 0);
        if (!(entry & 1))
            return UNMAPPED;
        assert_true(entry & 2);           /* writable at every level */
        assert_int_equal(entry >> 52, 0); /* executable; no bit that may be reserved */
        table = entry & UINT64_C(0xffffffffff000);
        if (shift < 39 && shift > 12 && entry & 0x80) {
            uint64_t offset = linear & ((UINT64_C(1) << shift) - 1);
            assert_int_equal(table & ((UINT64_C(1) << shift) - 1), 0);
            return table + offset;
        }
    }
    return table + (linear & 0xfff);
}

static void four_gib_are_mapped_one_to_one_and_nothing_else(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    assert_int_equal(longmode_write_page_tables(&m), 0);
    for (uint64_t a = 0; a < LAYOUT_HIGH_RAM; a += LONGMODE_PAGE) {
        assert_int_equal(walk(&m, LAYOUT_PAGE_TABLES, a), a);
        assert_int_equal(walk(&m, LAYOUT_PAGE_TABLES, a + LONGMODE_PAGE - 1), a + LONGMODE_PAGE - 1);
    }
    static const uint64_t outside[] = {
        UINT64_C(1) << 32,
        (UINT64_C(1) << 39) - 1,
        UINT64_C(1) << 39,
        UINT64_C(0xffffffff81000000),
        UINT64_C(0xffff800000000000),
    };
    for (size_t i = 0; i < ARRAY_LEN(outside); i++)
        assert_int_equal(walk(&m, LAYOUT_PAGE_TABLES, outside[i]), UNMAPPED);
    gmem_fini(&m);
}

static void nothing_is_written_beside_the_tables(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    uint8_t *low = gmem_ptr(&m, 0, LAYOUT_KERNEL_MIN);
    memset(low, 0xa5, LAYOUT_KERNEL_MIN);
    assert_int_equal(longmode_write_page_tables(&m), 0);
    assert_int_equal(longmode_write_gdt(&m, true), 0);
    gpa_t end = LAYOUT_PAGE_TABLES + LONGMODE_PAGES * LAYOUT_PAGE;
    for (gpa_t a = 0; a < LAYOUT_KERNEL_MIN; a++) {
        bool ours = (a >= LAYOUT_PAGE_TABLES && a < end) ||
                    (a >= LAYOUT_GDT && a < LAYOUT_GDT + BOOT_GDT_ENTRIES * sizeof(uint64_t));
        if (!ours)
            assert_int_equal(low[a], 0xa5);
    }
    gmem_fini(&m);
}

static void the_gdt_holds_the_segments_of_the_mode(void **state)
{
    (void)state;
    struct gmem m = {0};
    uint64_t gdt[4];
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    assert_int_equal(longmode_write_gdt(&m, true), 0);
    assert_int_equal(gmem_read(&m, LAYOUT_GDT, gdt, sizeof(gdt)), 0);
    /* Flat, 4 GiB, ring 0, accessed. Code: execute/read, L; data: read/write. SDM vol. 3A figure 3-8. */
    assert_int_equal(gdt[0], 0);
    assert_int_equal(gdt[2], UINT64_C(0x00af9b000000ffff));
    assert_int_equal(gdt[3], UINT64_C(0x00cf93000000ffff));
    assert_int_equal(longmode_write_gdt(&m, false), 0);
    assert_int_equal(gmem_read(&m, LAYOUT_GDT, gdt, sizeof(gdt)), 0);
    assert_int_equal(gdt[2], UINT64_C(0x00cf9b000000ffff));
    assert_int_equal(gdt[3], UINT64_C(0x00cf93000000ffff));
    gmem_fini(&m);
}

static void memory_that_is_too_small_is_an_error(void **state)
{
    (void)state;
    static uint8_t page[0x1000];
    struct gmem m = {0};
    assert_int_equal(longmode_write_page_tables(&m), -EFAULT);
    assert_int_equal(longmode_write_gdt(&m, true), -EFAULT);
    assert_int_equal(gmem_add_extern(&m, 0, sizeof(page), page), 0);
    assert_int_equal(longmode_write_page_tables(&m), -EFAULT);
    assert_int_equal(longmode_write_gdt(&m, false), -EFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_gib_are_mapped_one_to_one_and_nothing_else),
        cmocka_unit_test(nothing_is_written_beside_the_tables),
        cmocka_unit_test(the_gdt_holds_the_segments_of_the_mode),
        cmocka_unit_test(memory_that_is_too_small_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
