/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the guest writes a register's number to IOREGSEL and then reads or writes IOWIN. Each
 * pin has a 64-bit redirection entry in two halves; Linux writes the upper half (destination) first and the
 * lower half, with the mask bit, last. An entry and a message-signalled interrupt say the same in different
 * bits, so an entry becomes an MSI route and KVM delivers the interrupt without us.
 *
 * Trigger mode and polarity: our sources are eventfds, which have edges and no level. The trigger bit of an
 * entry always reads as edge, so that a guest can see it; remote IRR and delivery status are never set.
 */
#include "vmm/arch/x86/ioapic.h"
#include "base/cursor.h"

#include <string.h>

/* The window. */
#define IOREGSEL 0x00
#define IOWIN    0x10

/* Registers behind it. */
#define REG_ID      0x00
#define REG_VERSION 0x01
#define REG_ARB     0x02
#define REG_ENTRY0  0x10 /* two per pin */

#define VERSION 0x11 /* 82093AA */

/* Bits of an entry. */
#define ENTRY_VECTOR   UINT64_C(0xff)
#define ENTRY_DELIVERY UINT64_C(0x700)
#define ENTRY_LOGICAL  (UINT64_C(1) << 11)
#define ENTRY_POLARITY (UINT64_C(1) << 13) /* kept for the guest to read, without meaning for an edge */
#define ENTRY_MASKED   (UINT64_C(1) << 16)
#define ENTRY_DEST     (UINT64_C(0xff) << 56)
#define ENTRY_WRITABLE                                                                                       \
    (ENTRY_VECTOR | ENTRY_DELIVERY | ENTRY_LOGICAL | ENTRY_POLARITY | ENTRY_MASKED | ENTRY_DEST)

/* Bits of a message. */
#define MSI_ADDRESS         UINT32_C(0xfee00000)
#define MSI_ADDRESS_LOGICAL 4u
#define MSI_ADDRESS_DEST    12

void ioapic_init(struct ioapic *io, unsigned pins, ioapic_sink *sink, void *owner)
{
    *io = (struct ioapic){.pins = pins, .sink = sink, .owner = owner};
    for (unsigned i = 0; i < pins; i++)
        io->entry[i] = ENTRY_MASKED;
}

static struct ioapic_route route_of(uint64_t entry)
{
    return (struct ioapic_route){
        .masked = entry & ENTRY_MASKED,
        .address = MSI_ADDRESS | (uint32_t)(entry >> 56) << MSI_ADDRESS_DEST |
                   (entry & ENTRY_LOGICAL ? MSI_ADDRESS_LOGICAL : 0),
        .data = (uint32_t)(entry & (ENTRY_VECTOR | ENTRY_DELIVERY)), /* the same bits in both; edge */
    };
}

static uint32_t read_register(const struct ioapic *io)
{
    switch (io->select) {
    case REG_ID:
    case REG_ARB:
        return (uint32_t)io->id << 24;
    case REG_VERSION:
        return VERSION | (io->pins - 1) << 16;
    default:
        break;
    }
    unsigned pin = (io->select - REG_ENTRY0) / 2u;
    if (io->select < REG_ENTRY0 || pin >= io->pins)
        return 0;
    return (uint32_t)(io->select & 1 ? io->entry[pin] >> 32 : io->entry[pin]);
}

static void write_entry(struct ioapic *io, unsigned pin, uint64_t entry)
{
    entry &= ENTRY_WRITABLE;
    if (entry == io->entry[pin])
        return;
    io->entry[pin] = entry;
    struct ioapic_route route = route_of(entry);
    io->sink(io->owner, pin, &route);
}

static void write_register(struct ioapic *io, uint32_t value)
{
    if (io->select == REG_ID) {
        io->id = value >> 24 & 0xf;
        return;
    }
    unsigned pin = (io->select - REG_ENTRY0) / 2u;
    if (io->select < REG_ENTRY0 || pin >= io->pins)
        return;
    uint64_t old = io->entry[pin];
    write_entry(io, pin,
                io->select & 1 ? (old & UINT32_MAX) | (uint64_t)value << 32
                               : (old & ~(uint64_t)UINT32_MAX) | value);
}

void ioapic_read(const struct ioapic *io, uint64_t offset, void *data, uint32_t len)
{
    memset(data, 0, len);
    if (len != 4)
        return;
    if (offset == IOREGSEL)
        store_le32(data, io->select);
    else if (offset == IOWIN)
        store_le32(data, read_register(io));
}

void ioapic_write(struct ioapic *io, uint64_t offset, const void *data, uint32_t len)
{
    if (len != 4)
        return;
    if (offset == IOREGSEL)
        io->select = (uint8_t)load_le32(data);
    else if (offset == IOWIN)
        write_register(io, load_le32(data));
}
