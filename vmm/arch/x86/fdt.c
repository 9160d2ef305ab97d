/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libfdt's sequential writer emits nodes and properties in the order of the calls. One
 * sticky error is kept and looked at once at the end.
 *
 * What Linux 6.12 reads of the tree on x86, and what for:
 *
 *   arch/x86/kernel/devicetree.c
 *     x86_flattree_get_config()  copies the tree; only when it is there and ACPI is not, the rest is asked
 *     dtb_lapic_setup()          the first node "intel,ce4100-lapic": address of the local APICs.
 *                                "intel,virtual-wire-mode": no 8259 in front of the CPU, so the kernel does
 *                                not switch one off through ports 0x22 and 0x23 (two exits less)
 *     dtb_cpu_setup()            children of /cpus with device_type "cpu": `reg` is the APIC id; each becomes
 *                                a CPU to be started with INIT and SIPI
 *     dtb_ioapic_setup()         nodes "intel,ce4100-ioapic": `reg` is the address. The number of pins is
 * read from the chip. Interrupt numbers are given out on demand dt_irqdomain_alloc()       `interrupts` =
 * <pin type>: type 0 is edge-falling, 1 level-high, 2 level-low, 3 edge-rising drivers/of/platform.c
 *     of_platform_default_populate_init()  makes devices of the children of a "simple-bus"
 *   drivers/virtio/virtio_mmio.c           takes those that are "virtio,mmio": `reg`, `interrupts`
 *
 * The names with ce4100 are those of the one Intel chip whose boards came with device trees; nothing in
 * these drivers depends on that chip.
 */
#include "vmm/arch/x86/fdt.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PHANDLE_IOAPIC 1

struct tree {
    void *fdt;
    int err; /* the first of libfdt's errors */
};

static void check(struct tree *t, int ret)
{
    if (t->err == 0)
        t->err = ret;
}

static void begin(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void begin(struct tree *t, const char *fmt, ...)
{
    char name[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    check(t, fdt_begin_node(t->fdt, name));
}

static void end(struct tree *t)
{
    check(t, fdt_end_node(t->fdt));
}

static void prop_string(struct tree *t, const char *name, const char *value)
{
    check(t, fdt_property(t->fdt, name, value, (int)strlen(value) + 1));
}

static void prop_flag(struct tree *t, const char *name)
{
    check(t, fdt_property(t->fdt, name, NULL, 0));
}

static void prop_u32(struct tree *t, const char *name, uint32_t value)
{
    check(t, fdt_property_u32(t->fdt, name, value));
}

static void prop_pair(struct tree *t, const char *name, uint64_t a, uint64_t b)
{
    fdt32_t cells[2] = {cpu_to_fdt32((uint32_t)a), cpu_to_fdt32((uint32_t)b)};
    check(t, fdt_property(t->fdt, name, cells, sizeof(cells)));
}

static void put_cpus(struct tree *t, unsigned cpus)
{
    begin(t, "cpus");
    prop_u32(t, "#address-cells", 1);
    prop_u32(t, "#size-cells", 0);
    for (unsigned i = 0; i < cpus; i++) {
        begin(t, "cpu@%x", i);
        prop_string(t, "device_type", "cpu");
        prop_u32(t, "reg", i);
        end(t);
    }
    end(t);
}

static void put_lapic(struct tree *t)
{
    begin(t, "lapic@%" PRIx64, LAYOUT_LAPIC);
    prop_string(t, "compatible", "intel,ce4100-lapic");
    prop_pair(t, "reg", LAYOUT_LAPIC, LAYOUT_LAPIC_SIZE);
    prop_flag(t, "intel,virtual-wire-mode");
    end(t);
}

static void put_ioapic(struct tree *t)
{
    begin(t, "ioapic@%" PRIx64, LAYOUT_IOAPIC);
    prop_string(t, "compatible", "intel,ce4100-ioapic");
    prop_pair(t, "reg", LAYOUT_IOAPIC, LAYOUT_IOAPIC_SIZE);
    prop_flag(t, "interrupt-controller");
    prop_u32(t, "#interrupt-cells", 2);
    prop_u32(t, "#address-cells", 0);
    prop_u32(t, "phandle", PHANDLE_IOAPIC);
    end(t);
}

static void put_virtio(struct tree *t, const struct boot_slot *slot)
{
    begin(t, "virtio_mmio@%" PRIx64, slot->gpa);
    prop_string(t, "compatible", "virtio,mmio");
    prop_pair(t, "reg", slot->gpa, VMMIO_WINDOW);
    prop_pair(t, "interrupts", slot->pin, FDT_IOAPIC_EDGE_RISING);
    end(t);
}

static void put_bus(struct tree *t, const struct fdt_machine *machine)
{
    begin(t, "soc");
    prop_string(t, "compatible", "simple-bus");
    prop_u32(t, "#address-cells", 1);
    prop_u32(t, "#size-cells", 1);
    prop_flag(t, "ranges"); /* empty: bus addresses are physical addresses; without it there are none */
    prop_u32(t, "interrupt-parent", PHANDLE_IOAPIC);
    put_lapic(t);
    put_ioapic(t);
    for (unsigned i = 0; i < machine->nslots; i++)
        put_virtio(t, &machine->slots[i]);
    end(t);
}

int fdt_build(const struct fdt_machine *machine, void *buf, uint32_t room, uint32_t *size, struct err *e)
{
    struct tree t = {.fdt = buf};
    check(&t, fdt_create(buf, (int)room));
    check(&t, fdt_finish_reservemap(buf));
    begin(&t, "%s", "");
    prop_string(&t, "compatible", "cubby,x86-64");
    prop_string(&t, "model", "cubby");
    prop_u32(&t, "#address-cells", 1);
    prop_u32(&t, "#size-cells", 1);
    put_cpus(&t, machine->cpus);
    put_bus(&t, machine);
    end(&t);
    check(&t, fdt_finish(buf));
    if (t.err)
        return err_set(e, -ENOSPC,
                       "the device tree of %u CPUs and %u devices does not fit into %" PRIu32 " bytes: %s",
                       machine->cpus, machine->nslots, room, fdt_strerror(t.err));
    *size = fdt_totalsize(buf);
    return 0;
}
