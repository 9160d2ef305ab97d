/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the x86-64 machine. Its parts, in the order of machine_create(): two addresses that
 * old Intel processors need, the split interrupt controller (local APICs in KVM, the I/O APIC in irqs.c), the
 * doorbell port, and a UART when asked for. machine_load() then puts the kernel and the device tree into
 * memory and works out what CPUID says; machine_vcpu_init() gives each vCPU its share. All that a running
 * guest does with this file is I/O to a port.
 */
#include "base/own.h"
#include "proto/doorbell.h"
#include "vmm/arch/x86/boot.h"
#include "vmm/arch/x86/cpuid.h"
#include "vmm/arch/x86/irqs.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/vcpu_x86.h"
#include "vmm/machine.h"
#include "vmm/serial.h"
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COM1 0x3f8

/* Three pages for KVM's own use on Intel processors that cannot run real mode (api.rst 4.35, 4.36), in the
 * device hole, above the local APIC. */
#define TSS_GPA          UINT64_C(0xfffbd000)
#define IDENTITY_MAP_GPA UINT64_C(0xfffbc000)

_Static_assert(IDENTITY_MAP_GPA >= LAYOUT_LAPIC + LAYOUT_LAPIC_SIZE && TSS_GPA + 0x3000 <= LAYOUT_HIGH_RAM,
               "KVM's pages lie where neither RAM nor a device is");
_Static_assert(VM_MEMORY_MIN_MIB == LAYOUT_MEMORY_MIN_MIB, "one lower limit of memory");
_Static_assert(DEVICES_MAX + 1 <= IOAPIC_PINS_MAX, "a pin for each device");

struct machine {
    struct vm *vm; /* its owner */
    struct bus pio;
    struct irqs irqs;
    bool irqs_made;
    unsigned first_pin; /* of slot 0 */
    struct serial serial;
    bool serial_made;
    struct boot_entry entry;
    struct kvm_cpuid2 *cpuid; /* prepared; each vCPU's APIC id is put in just before it is set */
};

/* --- the doorbell ------------------------------------------------------------------------------------------
 */

static void doorbell_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    (void)owner, (void)offset;
    memset(data, 0xff, len);
}

static void doorbell_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    (void)offset, (void)len; /* the range is one byte */
    vm_doorbell(owner, *(const uint8_t *)data);
}

static const struct bus_ops doorbell_ops = {.read = doorbell_read, .write = doorbell_write};

/* --- set-up
 * ------------------------------------------------------------------------------------------------- */

static int boot_protocol(const char *name, enum boot_protocol *out)
{
    if (!name || strcmp(name, "auto") == 0)
        *out = BOOT_AUTO;
    else if (strcmp(name, "linux") == 0)
        *out = BOOT_LINUX;
    else if (strcmp(name, "pvh") == 0)
        *out = BOOT_PVH;
    else
        return -EINVAL;
    return 0;
}

int machine_check(const struct vm_config *c, struct err *e)
{
    enum boot_protocol protocol;
    if (boot_protocol(c->boot, &protocol))
        return err_set(e, -EINVAL, "boot protocol '%s' is not known: use auto, linux or pvh", c->boot);
    if (c->memory_mib > LAYOUT_MEMORY_MAX_MIB)
        return err_set(e, -EINVAL, "%llu MiB of memory are too much: the limit is %llu MiB",
                       (unsigned long long)c->memory_mib, (unsigned long long)LAYOUT_MEMORY_MAX_MIB);
    return 0;
}

int machine_add_ram(struct gmem *m, uint64_t memory_mib, struct err *e)
{
    return layout_add_ram(m, memory_mib, e);
}

gpa_t machine_slot_gpa(unsigned i)
{
    return layout_virtio_gpa(i);
}

int machine_slot_irq_fd(const struct machine *m, unsigned i)
{
    return irqs_fd(&m->irqs, m->first_pin + i);
}

static int add_ports(struct machine *m, struct err *e)
{
    int r = bus_add(&m->pio, DOORBELL_PORT, 1, "doorbell", &doorbell_ops, m->vm);
    if (r == 0 && m->vm->config->serial) {
        serial_init(&m->serial, STDERR_FILENO);
        m->serial_made = true;
        r = bus_add(&m->pio, COM1, SERIAL_PORTS, "serial", &serial_ops, &m->serial);
    }
    return r ? err_set(e, r, "no place for the machine's ports: %s", strerror(-r)) : 0;
}

static int init_irqchip(struct machine *m, unsigned nslots, struct err *e)
{
    uint64_t identity_map = IDENTITY_MAP_GPA;
    int r = kvm_ioctl(m->vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (r == 0)
        r = kvm_ioctl_n(m->vm->fd, KVM_SET_TSS_ADDR, TSS_GPA);
    if (r)
        return err_set(e, r, "KVM refuses the addresses of its own pages (KVM_SET_TSS_ADDR): %s",
                       strerror(-r));
    /* Each pin costs about 20 exits at boot: as many as devices, and pin 0 left out only where it is of no
     * use. */
    enum boot_protocol protocol = BOOT_AUTO;
    boot_protocol(m->vm->config->boot, &protocol);
    m->first_pin = protocol == BOOT_PVH ? 1 : 0;
    m->irqs_made = true;
    return irqs_init(&m->irqs, m->vm->fd, m->first_pin + nslots, &m->vm->mmio, e);
}

int machine_create(struct machine **out, struct vm *vm, unsigned nslots, struct err *e)
{
    struct machine *m = calloc(1, sizeof(*m));
    if (!m)
        return err_set(e, -ENOMEM, "no memory for the machine");
    m->vm = vm;
    int r = init_irqchip(m, nslots, e);
    if (r == 0)
        r = add_ports(m, e);
    if (r) {
        machine_destroy(m);
        return r;
    }
    *out = m;
    return 0;
}

void machine_destroy(struct machine *m)
{
    if (!m)
        return;
    if (m->serial_made)
        serial_fini(&m->serial);
    if (m->irqs_made)
        irqs_fini(&m->irqs);
    free(m->cpuid);
    free(m);
}

/* --- loading
 * ------------------------------------------------------------------------------------------------ */

static int open_file(const char *path, const char *what, struct err *e)
{
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up; the loader refuses it */
    return fd < 0 ? err_sys(e, "cannot open the %s '%s'", what, path) : fd;
}

int machine_load(struct machine *m, struct err *e)
{
    const struct vm_config *c = m->vm->config;
    CLEANUP(fd_closep) int kernel = open_file(c->kernel, "kernel", e);
    if (kernel < 0)
        return kernel;
    CLEANUP(fd_closep) int initrd = c->initrd ? open_file(c->initrd, "initrd", e) : -1;
    if (c->initrd && initrd < 0)
        return initrd;
    CLEANUP(mem_freep) char *cmdline = config_cmdline(c);
    if (!cmdline)
        return err_set(e, -ENOMEM, "no memory for the command line");

    struct boot_slot slots[DEVICES_MAX];
    for (unsigned i = 0; i < m->vm->devices.count; i++)
        slots[i] = (struct boot_slot){.gpa = m->vm->devices.device[i].gpa, .pin = m->first_pin + i};
    struct boot_source src = {
        .kernel_fd = kernel,
        .kernel_path = c->kernel,
        .initrd_fd = initrd,
        .initrd_path = c->initrd,
        .cmdline = cmdline,
        .cpus = c->cpus,
        .nslots = m->vm->devices.count,
        .slots = slots,
        .ioapic_pins = m->irqs.ioapic.pins,
    };
    boot_protocol(c->boot, &src.protocol);
    int r = x86_boot_setup(&m->vm->mem, &src, &m->entry, e);
    return r ? r : cpuid_supported(&m->vm->kvm, &m->cpuid, e);
}

/* --- vCPUs
 * -------------------------------------------------------------------------------------------------- */

int machine_vcpu_init(struct machine *m, const struct vcpu *v, struct err *e)
{
    if (v->index == 0) {
        int khz = kvm_ioctl(v->fd, KVM_GET_TSC_KHZ, NULL); /* negative where KVM does not say */
        struct cpuid_machine machine = {
            .cpus = m->vm->config->cpus,
            .tsc_khz = khz > 0 ? (uint32_t)khz : 0,
            .nested = cpuid_host_is_nested(),
        };
        cpuid_prepare(m->cpuid, &machine);
    }
    cpuid_set_apic_id(m->cpuid, v->index);
    int r = vcpu_x86_set_features(v->fd, v->index, m->cpuid, e);
    return r || v->index != 0 ? r : vcpu_x86_set_entry(v->fd, &m->entry, e);
}

/* One exit may stand for several accesses (ins, outs with a repeat count), all to the same port. */
static void handle_io(struct machine *m, struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        bool known = run->io.direction == KVM_EXIT_IO_OUT
                         ? bus_write(&m->pio, run->io.port, data, run->io.size)
                         : bus_read(&m->pio, run->io.port, data, run->io.size);
        if (!known)
            vm_log_unclaimed(m->vm, "port", run->io.port, run->io.size);
    }
}

bool machine_vcpu_exit(struct machine *m, struct vcpu *v)
{
    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        handle_io(m, v->run);
        return true;
    case KVM_EXIT_IOAPIC_EOI: /* only for level-triggered pins, which we have not; harmless */
        return true;
    default:
        return false;
    }
}

void machine_vcpu_describe(const struct vcpu *v, char *text, size_t cap)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    if (kvm_ioctl(v->fd, KVM_GET_REGS, &regs) || kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs)) {
        snprintf(text, cap, "its registers cannot be read");
        return;
    }
    int n = snprintf(text, cap, "rip %#llx, cr3 %#llx", (unsigned long long)regs.rip,
                     (unsigned long long)sregs.cr3);
    struct kvm_translation where = {.linear_address = regs.rip};
    uint8_t code[15]; /* the longest instruction */
    if (kvm_ioctl(v->fd, KVM_TRANSLATE, &where) || !where.valid ||
        gmem_read(&v->vm->mem, where.physical_address, code, sizeof(code)))
        return;
    for (size_t i = 0; i < sizeof(code) && n > 0 && (size_t)n < cap; i++)
        n += snprintf(text + n, cap - (size_t)n, "%s%02x", i ? " " : ", code ", code[i]);
}

void machine_report(const struct machine *m, struct exit_report *r)
{
    exit_report_bus(r, &m->pio, "other ports");
}
