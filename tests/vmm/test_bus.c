/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: only an access that lies within one range as a whole reaches a device. */
#include "vmm/bus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* A device that remembers the last access. */
struct probe {
    unsigned reads, writes;
    uint64_t offset;
    uint32_t len;
    uint64_t value;
};

static void probe_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    struct probe *p = owner;
    p->reads++;
    p->offset = offset;
    p->len = len;
    memset(data, 0x5a, len);
}

static void probe_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    struct probe *p = owner;
    p->writes++;
    p->offset = offset;
    p->len = len;
    p->value = 0;
    memcpy(&p->value, data, len);
}

static const struct bus_ops ops = {.read = probe_read, .write = probe_write};

static void access_reaches_the_device_at_its_offset(void **state)
{
    (void)state;
    struct bus b = {0};
    struct probe p = {0};
    uint64_t v = 0;
    assert_int_equal(bus_add(&b, 0x1000, 0x200, "p", &ops, &p), 0);
    assert_true(bus_read(&b, 0x1010, &v, 4));
    assert_int_equal(v, 0x5a5a5a5a);
    assert_int_equal(p.offset, 0x10);
    assert_int_equal(p.len, 4);
    v = 0x1122334455667788;
    assert_true(bus_write(&b, 0x11f8, &v, 8));
    assert_int_equal(p.offset, 0x1f8);
    assert_int_equal(p.value, v);
    assert_int_equal(b.range[0].hits, 2);
    assert_int_equal(b.unclaimed, 0);
}

static void access_that_is_not_within_one_range_reaches_none(void **state)
{
    (void)state;
    static const struct {
        uint64_t addr;
        uint32_t len;
    } outside[] = {
        {0x0fff, 1}, {0x0fff, 2}, {0x1200, 1}, {0x11ff, 2},     {0x11fd, 4},         {0x11f9, 8},
        {0x1000, 3}, {0x1000, 0}, {0, 1},      {UINT64_MAX, 1}, {UINT64_MAX - 3, 8},
    };
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        struct bus b = {0};
        struct probe p = {0};
        uint8_t data[8] = {0};
        assert_int_equal(bus_add(&b, 0x1000, 0x200, "p", &ops, &p), 0);
        assert_false(bus_read(&b, outside[i].addr, data, outside[i].len));
        for (uint32_t j = 0; j < sizeof(data); j++)
            assert_int_equal(data[j], j < outside[i].len ? 0xff : 0);
        assert_false(bus_write(&b, outside[i].addr, data, outside[i].len));
        assert_int_equal(p.reads + p.writes, 0);
        assert_int_equal(b.unclaimed, 2);
    }
}

static void neighbours_are_told_apart_in_any_order_of_adding(void **state)
{
    (void)state;
    struct bus b = {0};
    struct probe p[3] = {0};
    uint8_t v;
    assert_int_equal(bus_add(&b, 0x200, 0x100, "1", &ops, &p[1]), 0);
    assert_int_equal(bus_add(&b, 0x300, 0x100, "2", &ops, &p[2]), 0);
    assert_int_equal(bus_add(&b, 0x100, 0x100, "0", &ops, &p[0]), 0);
    bus_read(&b, 0x1ff, &v, 1);
    bus_read(&b, 0x200, &v, 1);
    bus_read(&b, 0x3ff, &v, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(p[i].reads, 1);
    uint16_t w;
    assert_false(bus_read(&b, 0x1ff, &w, 2)); /* half here, half there */
}

static void ranges_that_overlap_wrap_or_are_empty_are_refused(void **state)
{
    (void)state;
    struct bus b = {0};
    assert_int_equal(bus_add(&b, 0x1000, 0x100, "p", &ops, NULL), 0);
    assert_int_equal(bus_add(&b, 0x1000, 0x100, "p", &ops, NULL), -EEXIST);
    assert_int_equal(bus_add(&b, 0x10ff, 1, "p", &ops, NULL), -EEXIST);
    assert_int_equal(bus_add(&b, 0x0fff, 2, "p", &ops, NULL), -EEXIST);
    assert_int_equal(bus_add(&b, 0, 0x10000, "p", &ops, NULL), -EEXIST);
    assert_int_equal(bus_add(&b, 0x2000, 0, "p", &ops, NULL), -EINVAL);
    assert_int_equal(bus_add(&b, UINT64_MAX, 2, "p", &ops, NULL), -EINVAL);
    assert_int_equal(b.count, 1);
    assert_int_equal(bus_add(&b, UINT64_MAX, 1, "p", &ops, NULL), 0);
}

static void last_byte_of_the_address_space_can_be_a_device(void **state)
{
    (void)state;
    struct bus b = {0};
    struct probe p = {0};
    uint8_t v = 0;
    assert_int_equal(bus_add(&b, UINT64_MAX, 1, "p", &ops, &p), 0);
    assert_true(bus_write(&b, UINT64_MAX, &v, 1));
    assert_int_equal(p.offset, 0);
}

static void table_is_bounded(void **state)
{
    (void)state;
    struct bus b = {0};
    for (uint64_t i = 0; i < BUS_RANGES_MAX; i++)
        assert_int_equal(bus_add(&b, i * 2, 1, "p", &ops, NULL), 0);
    assert_int_equal(bus_add(&b, 0x10000, 1, "p", &ops, NULL), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(access_reaches_the_device_at_its_offset),
        cmocka_unit_test(access_that_is_not_within_one_range_reaches_none),
        cmocka_unit_test(neighbours_are_told_apart_in_any_order_of_adding),
        cmocka_unit_test(ranges_that_overlap_wrap_or_are_empty_are_refused),
        cmocka_unit_test(last_byte_of_the_address_space_can_be_a_device),
        cmocka_unit_test(table_is_bounded),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
