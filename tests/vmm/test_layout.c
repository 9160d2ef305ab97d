/* SPDX-License-Identifier: Apache-2.0 */
/* The memory map: RAM around the hole, and what the guest is told about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <string.h>

#define GIB (UINT64_C(1) << 30)

static void check_e820(const struct boot_e820_entry *entry, uint64_t addr, uint64_t end)
{
    assert_int_equal(entry->type, 1);
    assert_int_equal(entry->addr, addr);
    assert_int_equal(entry->addr + entry->size, end);
}

static void memory_below_the_hole_is_one_region(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {32, 33, 128, 3071, 3072};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct gmem m = {0};
        struct boot_e820_entry map[LAYOUT_E820_MAX];
        assert_int_equal(layout_add_ram(&m, sizes[i], NULL), 0);
        assert_int_equal(m.count, 1);
        assert_int_equal(layout_low_ram_end(&m), sizes[i] * LAYOUT_MIB);
        assert_int_equal(layout_e820(&m, map), 2);
        check_e820(&map[0], 0, 0xa0000);
        check_e820(&map[1], 0x100000, sizes[i] * LAYOUT_MIB);
        gmem_fini(&m);
    }
}

static void memory_beyond_3_gib_goes_on_at_4_gib(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {3073, 4096, 6144, 65536};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct gmem m = {0};
        struct boot_e820_entry map[LAYOUT_E820_MAX];
        assert_int_equal(layout_add_ram(&m, sizes[i], NULL), 0);
        assert_int_equal(m.count, 2);
        assert_int_equal(layout_low_ram_end(&m), 3 * GIB);
        assert_int_equal(layout_e820(&m, map), 3);
        check_e820(&map[0], 0, 0xa0000);
        check_e820(&map[1], 0x100000, 3 * GIB);
        check_e820(&map[2], 4 * GIB, sizes[i] * LAYOUT_MIB + GIB);
        assert_null(gmem_ptr(&m, 3 * GIB, 1));
        assert_null(gmem_ptr(&m, 4 * GIB - 1, 1));
        assert_non_null(gmem_ptr(&m, 4 * GIB, 1));
        gmem_fini(&m);
    }
}

static void sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {
        0, 1, 31, LAYOUT_MEMORY_MAX_MIB + 1, UINT64_MAX, UINT64_MAX / LAYOUT_MIB + 33};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct gmem m = {0};
        struct err e;
        assert_int_equal(layout_add_ram(&m, sizes[i], &e), -EINVAL);
        assert_non_null(strstr(e.text, "32 to 1047552 MiB"));
        assert_int_equal(m.count, 0);
    }
}

static void memory_that_cannot_be_had_leaves_no_region(void **state)
{
    (void)state;
    static uint8_t byte;
    struct gmem m = {0};
    struct err e;
    assert_int_equal(gmem_add_extern(&m, 0x1000, 1, &byte), 0);
    assert_int_equal(layout_add_ram(&m, 64, &e), -EEXIST);
    assert_int_equal(m.count, 0);
}

static void the_memory_needed_counts_the_hole_out(void **state)
{
    (void)state;
    assert_int_equal(layout_mib_for(0), 0);
    assert_int_equal(layout_mib_for(1), 1);
    assert_int_equal(layout_mib_for(LAYOUT_MIB), 1);
    assert_int_equal(layout_mib_for(LAYOUT_MIB + 1), 2);
    assert_int_equal(layout_mib_for(3 * GIB), 3072);
    assert_int_equal(layout_mib_for(4 * GIB + 1), 3073);
    assert_int_equal(layout_mib_for(UINT64_MAX), (UINT64_MAX - GIB) / LAYOUT_MIB + 1);
}

static void memory_without_a_region_at_0_has_no_low_ram(void **state)
{
    (void)state;
    static uint8_t page[4096];
    struct gmem m = {0};
    struct boot_e820_entry map[LAYOUT_E820_MAX];
    assert_int_equal(layout_low_ram_end(&m), 0);
    assert_int_equal(layout_e820(&m, map), 0);
    assert_int_equal(gmem_add_extern(&m, 0x100000, sizeof(page), page), 0);
    assert_int_equal(layout_low_ram_end(&m), 0);
    assert_int_equal(layout_e820(&m, map), 1);
    check_e820(&map[0], 0x100000, 0x101000);
}

static void little_memory_has_no_entry_above_1_mib(void **state)
{
    (void)state;
    static uint8_t page[4096];
    struct gmem m = {0};
    struct boot_e820_entry map[LAYOUT_E820_MAX];
    assert_int_equal(gmem_add_extern(&m, 0, 0x1000, page), 0);
    assert_int_equal(layout_e820(&m, map), 1);
    check_e820(&map[0], 0, 0x1000);
    m.region[0].size = 0xf0000;
    assert_int_equal(layout_e820(&m, map), 1);
    check_e820(&map[0], 0, 0xa0000);
}

static void windows_of_slots_do_not_touch(void **state)
{
    (void)state;
    assert_int_equal(layout_virtio_gpa(0), 0xd0000000);
    assert_int_equal(layout_virtio_gpa(1) - layout_virtio_gpa(0), VMMIO_WINDOW);
    assert_true(layout_virtio_gpa(255) + VMMIO_WINDOW < LAYOUT_IOAPIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_below_the_hole_is_one_region),
        cmocka_unit_test(memory_beyond_3_gib_goes_on_at_4_gib),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(memory_that_cannot_be_had_leaves_no_region),
        cmocka_unit_test(the_memory_needed_counts_the_hole_out),
        cmocka_unit_test(memory_without_a_region_at_0_has_no_low_ram),
        cmocka_unit_test(little_memory_has_no_entry_above_1_mib),
        cmocka_unit_test(windows_of_slots_do_not_touch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
