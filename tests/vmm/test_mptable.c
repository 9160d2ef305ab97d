/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table, read as a kernel reads it: by signature, checksum, and entry by entry. */
#include "base/cursor.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/mptable.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SLOTS 3

static const struct boot_slot slots[SLOTS] = {{0xd0000000, 1}, {0xd0000200, 2}, {0xd0000400, 7}};

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;
    while (len--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* The configuration table's header; *entries points behind it. */
static const uint8_t *find_table(const struct gmem *m, unsigned *count, size_t *len)
{
    const uint8_t *p = gmem_ptr(m, 0xf0000, 16);
    assert_memory_equal(p, "_MP_", 4);
    assert_int_equal(p[8], 1); /* times 16 bytes */
    assert_int_equal(p[9], 4); /* version 1.4 */
    assert_int_equal(sum(p, 16), 0);
    const uint8_t *t = gmem_ptr(m, load_le32(p + 4), 44);
    assert_non_null(t);
    assert_memory_equal(t, "PCMP", 4);
    assert_int_equal(t[6], 4);
    *len = load_le16(t + 4);
    assert_int_equal(sum(t, *len), 0);
    *count = load_le16(t + 34);
    assert_int_equal(load_le32(t + 36), 0xfee00000);
    return t;
}

static void check_machine(unsigned cpus)
{
    static const size_t sizes[] = {20, 8, 8, 8, 8};
    struct gmem m = {0};
    struct boot_source src = {.cpus = cpus, .nslots = SLOTS, .slots = slots, .ioapic_pins = 8};
    unsigned count, seen[5] = {0};
    size_t len, at = 44;
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    assert_int_equal(mptable_write(&m, &src), 0);
    const uint8_t *t = find_table(&m, &count, &len);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *e = t + at;
        assert_in_range(e[0], 0, 4);
        switch (e[0]) {
        case 0:
            assert_int_equal(e[1], seen[0]);                  /* APIC ids count up */
            assert_int_equal(e[3], seen[0] == 0 ? 0x3 : 0x1); /* the first one boots */
            break;
        case 1:
            assert_memory_equal(e + 2, "ISA   ", 6);
            break;
        case 2:
            assert_int_equal(e[1], cpus); /* an id of its own */
            assert_int_equal(load_le32(e + 4), 0xfec00000);
            break;
        case 3:
            assert_int_equal(e[1], 0);
            assert_int_equal(e[5], slots[seen[3]].pin);
            assert_int_equal(e[6], cpus);
            assert_int_equal(e[7], slots[seen[3]].pin);
            break;
        default:
            assert_int_equal(e[6], 0xff);
            break;
        }
        seen[e[0]]++;
        at += sizes[e[0]];
    }
    assert_int_equal(at, len);
    assert_int_equal(seen[0], cpus);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 1);
    assert_int_equal(seen[3], SLOTS);
    assert_int_equal(seen[4], 1);
    gmem_fini(&m);
}

static void table_describes_the_machine(void **state)
{
    (void)state;
    check_machine(1);
    check_machine(2);
    check_machine(64);
}

static void more_processors_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct boot_source src = {.cpus = 255};
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    assert_int_equal(mptable_write(&m, &src), -EFAULT);
    gmem_fini(&m);
}

static void memory_that_is_not_there_is_not_written(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct boot_source src = {.cpus = 1};
    assert_int_equal(mptable_write(&m, &src), -EFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_describes_the_machine),
        cmocka_unit_test(more_processors_than_there_is_room_for_are_refused),
        cmocka_unit_test(memory_that_is_not_there_is_not_written),
    };
    return cmocka_run_group_tests_name("mptable", tests, NULL, NULL);
}
