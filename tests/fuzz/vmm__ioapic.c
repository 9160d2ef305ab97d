/* SPDX-License-Identifier: Apache-2.0 */
/* Any sequence of accesses to the I/O APIC: its routes stay those of its entries. Seven bytes each: offset,
 * width and direction, value. */
#include "base/cursor.h"
#include "vmm/arch/x86/ioapic.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct model {
    unsigned pins;
    struct ioapic_route route[IOAPIC_PINS_MAX];
};

static void on_route(void *owner, unsigned pin, const struct ioapic_route *route)
{
    struct model *m = owner;
    if (pin >= m->pins || (route->address & 0xfff00ffb) != 0xfee00000 || (route->data & ~0x7ffu))
        abort();
    m->route[pin] = *route;
}

static uint32_t read_register(struct ioapic *io, unsigned reg)
{
    uint8_t b[4];
    store_le32(b, reg);
    ioapic_write(io, 0x00, b, 4);
    ioapic_read(io, 0x10, b, 4);
    return load_le32(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    struct model m = {0};
    struct ioapic io;
    m.pins = 1 + read_u8(&r) % IOAPIC_PINS_MAX;
    for (unsigned i = 0; i < m.pins; i++)
        m.route[i] = (struct ioapic_route){.masked = true, .address = 0xfee00000};
    ioapic_init(&io, m.pins, on_route, &m);
    while (reader_left(&r) >= 7) {
        uint16_t offset = read_u16(&r) & 0xfff;
        uint8_t how = read_u8(&r), value[8] = {0};
        uint32_t len = 1u << (how & 3);
        store_le32(value, read_u32(&r));
        if (how & 4)
            ioapic_read(&io, offset, value, len);
        else
            ioapic_write(&io, offset, value, len);
    }
    for (unsigned pin = 0; pin < m.pins; pin++) {
        uint32_t low = read_register(&io, 0x10 + 2 * pin), high = read_register(&io, 0x11 + 2 * pin);
        const struct ioapic_route *t = &m.route[pin];
        if (t->masked != !!(low & 0x10000) || t->data != (low & 0x7ff) ||
            (t->address >> 12 & 0xff) != high >> 24 || !(low & 0x800) != !(t->address & 4))
            abort();
    }
    return 0;
}
