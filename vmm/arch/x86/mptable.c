/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a "floating pointer" of 16 bytes, which kernels find by its signature at the places
 * where a BIOS would have put it, leads to the configuration table: a header and entries of fixed size, the
 * first byte of each its type. Both have a checksum: all their bytes add up to 0.
 *
 * Every interrupt comes from an ISA bus, because that is the bus whose interrupts are edges by default.
 */
#include "vmm/arch/x86/mptable.h"
#include "base/cursor.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <string.h>

/* Entry types, MP 1.4 table 4-3. */
#define ENTRY_PROCESSOR 0
#define ENTRY_BUS       1
#define ENTRY_IOAPIC    2
#define ENTRY_INT       3
#define ENTRY_LINT      4

#define CPU_ENABLED  0x1
#define CPU_BOOTS    0x2 /* the one that runs first */
#define INT_VECTORED 0
#define INT_NMI      1
#define ALL_APICS    0xff
#define LINT1        1

#define SPEC_1_4       4
#define APIC_VERSION   0x14 /* local, in the processor */
#define IOAPIC_VERSION 0x11

/* Offsets in the pointer and in the header, tables 4-1 and 4-2. */
#define POINTER_SIZE       16
#define POINTER_CHECKSUM   10
#define HEADER_SIZE        44
#define HEADER_LENGTH      4
#define HEADER_CHECKSUM    7
#define HEADER_ENTRY_COUNT 34

#define ROOM 0x1000 /* enough for 190 processors; what does not fit is refused */

static uint8_t checksum(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    while (len--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

static void write_pointer(struct writer *w, uint8_t *at)
{
    write_bytes(w, "_MP_", 4);
    write_u32(w, (uint32_t)LAYOUT_MP_TABLE + POINTER_SIZE);
    write_u8(w, POINTER_SIZE / 16);
    write_u8(w, SPEC_1_4);
    write_bytes(w, (uint8_t[6]){0}, 6); /* checksum; features: a table, no PIC mode */
    at[POINTER_CHECKSUM] = checksum(at, POINTER_SIZE);
}

/* Length, checksum and number of entries are filled in at the end. */
static void write_header(struct writer *w)
{
    write_bytes(w, "PCMP\0\0\4\0", 8);
    write_bytes(w, "CUBBY   ", 8);
    write_bytes(w, "cubby-vmm   ", 12);
    write_u32(w, 0); /* no OEM table */
    write_u32(w, 0); /* its size, and the number of entries */
    write_u32(w, (uint32_t)LAYOUT_LAPIC);
    write_u32(w, 0);
}

static void write_processors(struct writer *w, unsigned cpus)
{
    for (unsigned i = 0; i < cpus; i++) {
        write_u8(w, ENTRY_PROCESSOR);
        write_u8(w, (uint8_t)i);
        write_u8(w, APIC_VERSION);
        write_u8(w, CPU_ENABLED | (i == 0 ? CPU_BOOTS : 0));
        write_bytes(w, (uint8_t[16]){0}, 16); /* signature and features: CPUID says them */
    }
}

static void write_interrupt(struct writer *w, uint8_t entry, uint8_t type, uint8_t line, uint8_t apic,
                            uint8_t pin)
{
    write_u8(w, entry);
    write_u8(w, type);
    write_u16(w, 0); /* polarity and trigger mode as the bus has them */
    write_u8(w, 0);  /* of bus 0 */
    write_u8(w, line);
    write_u8(w, apic);
    write_u8(w, pin);
}

static uint16_t write_entries(struct writer *w, const struct boot_source *src)
{
    uint8_t ioapic_id = (uint8_t)src->cpus; /* behind those of the processors */
    write_processors(w, src->cpus);
    write_bytes(w, (uint8_t[2]){ENTRY_BUS, 0}, 2);
    write_bytes(w, "ISA   ", 6);
    write_bytes(w, (uint8_t[4]){ENTRY_IOAPIC, ioapic_id, IOAPIC_VERSION, 1}, 4);
    write_u32(w, (uint32_t)LAYOUT_IOAPIC);
    for (unsigned i = 0; i < src->nslots; i++) {
        uint8_t pin = (uint8_t)src->slots[i].pin;
        write_interrupt(w, ENTRY_INT, INT_VECTORED, pin, ioapic_id, pin);
    }
    write_interrupt(w, ENTRY_LINT, INT_NMI, 0, ALL_APICS, LINT1);
    return (uint16_t)(src->cpus + 1 + 1 + src->nslots + 1);
}

int mptable_write(struct gmem *m, const struct boot_source *src)
{
    uint8_t *at = gmem_ptr(m, LAYOUT_MP_TABLE, ROOM);
    if (!at)
        return -EFAULT;
    struct writer w = writer_of(at, ROOM);
    write_pointer(&w, at);
    write_header(&w);
    uint16_t entries = write_entries(&w, src);
    if (w.failed)
        return -EFAULT;
    uint8_t *table = at + POINTER_SIZE;
    size_t len = writer_len(&w) - POINTER_SIZE;
    store_le16(table + HEADER_LENGTH, (uint16_t)len);
    store_le16(table + HEADER_ENTRY_COUNT, entries);
    table[HEADER_CHECKSUM] = checksum(table, len);
    return 0;
}
