/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC's registers, driven as a guest drives them, and the messages that its entries become. */
#include "base/cursor.h"
#include "vmm/arch/x86/ioapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PINS 5

struct sink {
    unsigned calls, pin;
    struct ioapic_route route;
};

static void on_route(void *owner, unsigned pin, const struct ioapic_route *route)
{
    struct sink *s = owner;
    s->calls++;
    s->pin = pin;
    s->route = *route;
}

struct fixture {
    struct ioapic io;
    struct sink sink;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    ioapic_init(&f.io, PINS, on_route, &f.sink);
    *state = &f;
    return 0;
}

static void put(struct ioapic *io, uint8_t reg, uint32_t value)
{
    uint8_t b[4];
    store_le32(b, reg);
    ioapic_write(io, 0x00, b, 4);
    store_le32(b, value);
    ioapic_write(io, 0x10, b, 4);
}

static uint32_t get(struct ioapic *io, uint8_t reg)
{
    uint8_t b[4];
    store_le32(b, reg);
    ioapic_write(io, 0x00, b, 4);
    ioapic_read(io, 0x10, b, 4);
    return load_le32(b);
}

static void version_tells_the_number_of_pins(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(&f->io, 1), 0x11 | (PINS - 1) << 16);
    put(&f->io, 1, 0xffffffff);
    assert_int_equal(get(&f->io, 1), 0x11 | (PINS - 1) << 16);
}

static void id_has_four_bits(void **state)
{
    struct fixture *f = *state;
    put(&f->io, 0, 0xffffffff);
    assert_int_equal(get(&f->io, 0), 0x0f000000);
    put(&f->io, 0, 0x02000000);
    assert_int_equal(get(&f->io, 0), 0x02000000);
    assert_int_equal(get(&f->io, 2), 0x02000000);
    assert_int_equal(f->sink.calls, 0);
}

static void all_pins_are_masked_at_first(void **state)
{
    struct fixture *f = *state;
    for (uint8_t pin = 0; pin < PINS; pin++) {
        assert_int_equal(get(&f->io, (uint8_t)(0x10 + 2 * pin)), 0x10000);
        assert_int_equal(get(&f->io, (uint8_t)(0x11 + 2 * pin)), 0);
    }
    assert_int_equal(f->sink.calls, 0);
}

static void entry_becomes_a_message(void **state)
{
    struct fixture *f = *state;
    put(&f->io, 0x13, 0x03000000); /* pin 1 to APIC 3 */
    assert_true(f->sink.route.masked);
    put(&f->io, 0x12, 0x00000931); /* logical, lowest priority, vector 0x31 */
    assert_int_equal(f->sink.pin, 1);
    assert_false(f->sink.route.masked);
    assert_int_equal(f->sink.route.address, 0xfee03004);
    assert_int_equal(f->sink.route.data, 0x131);
    put(&f->io, 0x12, 0x00000031); /* physical, fixed */
    assert_int_equal(f->sink.route.address, 0xfee03000);
    assert_int_equal(f->sink.route.data, 0x31);
    put(&f->io, 0x12, 0x00010031);
    assert_true(f->sink.route.masked);
}

static void sink_hears_only_of_changes(void **state)
{
    struct fixture *f = *state;
    put(&f->io, 0x10, 0x31);
    put(&f->io, 0x10, 0x31);
    put(&f->io, 0x11, 0);
    assert_int_equal(f->sink.calls, 1);
}

static void level_trigger_and_status_bits_do_not_stick(void **state)
{
    struct fixture *f = *state;
    put(&f->io, 0x10, 0xfffef0ff); /* all but the mask */
    /* vector, delivery mode, polarity; not: delivery status 12, remote IRR 14, trigger mode 15, reserved */
    assert_int_equal(get(&f->io, 0x10), 0x000020ff);
    assert_int_equal(f->sink.route.data & 0x8000, 0);
    put(&f->io, 0x11, 0xffffffff);
    assert_int_equal(get(&f->io, 0x11), 0xff000000);
}

static void registers_that_do_not_exist_read_as_zero_and_ignore_writes(void **state)
{
    struct fixture *f = *state;
    for (unsigned reg = 0; reg < 256; reg++) {
        if (reg <= 2 || (reg >= 0x10 && reg < 0x10 + 2 * PINS))
            continue;
        put(&f->io, (uint8_t)reg, 0x31);
        assert_int_equal(get(&f->io, (uint8_t)reg), 0);
    }
    assert_int_equal(f->sink.calls, 0);
}

static void other_widths_and_offsets_do_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t b[8];
    put(&f->io, 0x10, 0x10000);
    for (uint32_t len = 1; len <= 8; len *= 2) {
        for (uint64_t offset = 0; offset + len <= 0x1000; offset++) {
            if (len == 4 && (offset == 0 || offset == 0x10))
                continue;
            memset(b, 0x31, sizeof(b));
            ioapic_write(&f->io, offset, b, len);
            ioapic_read(&f->io, offset, b, len);
            for (uint32_t i = 0; i < len; i++)
                assert_int_equal(b[i], 0);
        }
    }
    assert_int_equal(f->sink.calls, 0);
    assert_int_equal(f->io.select, 0x10);
}

static void select_keeps_eight_bits(void **state)
{
    struct fixture *f = *state;
    uint8_t b[4];
    store_le32(b, 0xabcd0101);
    ioapic_write(&f->io, 0, b, 4);
    ioapic_read(&f->io, 0, b, 4);
    assert_int_equal(load_le32(b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(version_tells_the_number_of_pins, setup),
        cmocka_unit_test_setup(id_has_four_bits, setup),
        cmocka_unit_test_setup(all_pins_are_masked_at_first, setup),
        cmocka_unit_test_setup(entry_becomes_a_message, setup),
        cmocka_unit_test_setup(sink_hears_only_of_changes, setup),
        cmocka_unit_test_setup(level_trigger_and_status_bits_do_not_stick, setup),
        cmocka_unit_test_setup(registers_that_do_not_exist_read_as_zero_and_ignore_writes, setup),
        cmocka_unit_test_setup(other_widths_and_offsets_do_nothing, setup),
        cmocka_unit_test_setup(select_keeps_eight_bits, setup),
    };
    return cmocka_run_group_tests_name("ioapic", tests, NULL, NULL);
}
