/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation, in the order of events: look at the files; load the kernel; load the initrd above it;
 * write the command line; tell the kernel about the machine, in the words of its protocol; write GDT and page
 * tables; say where CPU 0 begins. One thread, before any vCPU runs, so guest memory is ours alone.
 */
#include "vmm/arch/x86/boot.h"
#include "base/own.h"
#include "vmm/arch/x86/boot_params.h"
#include "vmm/arch/x86/kernel_pvh.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/loader.h"
#include "vmm/arch/x86/longmode.h"
#include "vmm/arch/x86/mptable.h"
#include "vmm/arch/x86/regs.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int check_slot(const struct boot_source *src, unsigned i, struct err *e)
{
    const struct boot_slot *s = &src->slots[i];
    if (s->gpa < LAYOUT_HOLE_START || s->gpa > LAYOUT_IOAPIC - VMMIO_WINDOW || s->gpa % VMMIO_WINDOW)
        return err_set(e, -EINVAL, "virtio slot %u at 0x%" PRIx64 " is not a window in the hole for devices",
                       i, s->gpa);
    if (s->pin >= src->ioapic_pins)
        return err_set(e, -EINVAL, "virtio slot %u has pin %" PRIu32 ", the I/O APIC has %u", i, s->pin,
                       src->ioapic_pins);
    for (unsigned j = 0; j < i; j++)
        if (src->slots[j].gpa == s->gpa || src->slots[j].pin == s->pin)
            return err_set(e, -EINVAL, "virtio slots %u and %u share a window or a pin", j, i);
    return 0;
}

static int check_source(const struct gmem *m, const struct boot_source *src, struct err *e)
{
    if (layout_low_ram_end(m) < LAYOUT_MEMORY_MIN_MIB * LAYOUT_MIB)
        return err_set(e, -EINVAL, "the machine has less than %d MiB of memory", LAYOUT_MEMORY_MIN_MIB);
    if (src->cpus == 0)
        return err_set(e, -EINVAL, "a machine needs at least one CPU");
    for (unsigned i = 0; i < src->nslots; i++) {
        int ret = check_slot(src, i, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int load_kernel(struct gmem *m, const struct boot_source *src, struct kernel_image *k, struct err *e)
{
    struct boot_file f;
    int ret = boot_file_init(&f, "kernel", src->kernel_path, src->kernel_fd, src->map, e);
    return ret < 0 ? ret : kernel_load(&f, m, src->protocol, k, e);
}

static int load_initrd(struct gmem *m, const struct boot_source *src, const struct kernel_image *k,
                       struct initrd *out, struct err *e)
{
    struct boot_file f;
    *out = (struct initrd){0};
    if (src->initrd_fd < 0)
        return 0;
    int ret = boot_file_init(&f, "initrd", src->initrd_path, src->initrd_fd, src->map, e);
    return ret < 0 ? ret : initrd_load(&f, m, k, out, e);
}

/* The wanted command line, and behind it, for PVH, where the virtio windows are. On the heap; NULL: no
 * memory. */
static char *make_cmdline(const struct boot_source *src, const struct kernel_image *k)
{
    char *line = NULL;
    size_t size;
    FILE *f = open_memstream(&line, &size);
    if (!f)
        return NULL;
    fputs(src->cmdline ? src->cmdline : "", f);
    for (unsigned i = 0; k->kind == KERNEL_PVH && i < src->nslots; i++)
        fprintf(f, " virtio_mmio.device=%d@0x%" PRIx64 ":%" PRIu32, VMMIO_WINDOW, src->slots[i].gpa,
                src->slots[i].pin);
    if (fclose(f)) {
        free(line);
        return NULL;
    }
    return line;
}

static int write_cmdline(struct gmem *m, const struct boot_source *src, const struct kernel_image *k,
                         struct err *e)
{
    CLEANUP(mem_freep) char *cmdline = make_cmdline(src, k);
    if (!cmdline)
        return err_set(e, -ENOMEM, "no memory for the kernel's command line");
    size_t len = strlen(cmdline);
    if (len > k->cmdline_max)
        return err_set(e, -E2BIG, "the kernel's command line has %zu characters; it would be cut to %" PRIu32,
                       len, k->cmdline_max);
    int ret = gmem_write(m, LAYOUT_CMDLINE, cmdline, len + 1);
    return ret < 0 ? err_set(e, ret, "no guest memory at the place of the command line") : 0;
}

/* What the kernel finds through rsi (64-bit protocol) or ebx (PVH). */
static int write_handover(struct gmem *m, const struct boot_source *src, const struct kernel_image *k,
                          const struct initrd *initrd, struct err *e)
{
    if (k->kind == KERNEL_PVH) {
        int ret = kernel_pvh_write_info(m, initrd);
        if (ret == 0)
            ret = mptable_write(m, src);
        return ret < 0 ? err_set(e, ret, "no guest memory at the place of PVH start info and MP table") : 0;
    }
    struct fdt_machine machine = {.cpus = src->cpus, .nslots = src->nslots, .slots = src->slots};
    int ret = boot_params_write_setup_data(m, &machine, e);
    if (ret < 0)
        return ret;
    ret = boot_params_write(m, k, initrd);
    return ret < 0 ? err_set(e, ret, "no guest memory at the place of the zero page") : 0;
}

static int write_tables(struct gmem *m, const struct kernel_image *k, struct err *e)
{
    int ret = longmode_write_page_tables(m);
    if (ret == 0)
        ret = longmode_write_gdt(m, k->kind == KERNEL_LINUX64);
    return ret < 0 ? err_set(e, ret, "no guest memory at the place of page tables and GDT") : 0;
}

static void fill_entry(struct boot_entry *out, const struct kernel_image *k, const struct initrd *initrd)
{
    bool pvh = k->kind == KERNEL_PVH;
    *out = (struct boot_entry){
        .mode = pvh ? ENTRY_PVH32 : ENTRY_LONG64,
        .rip = k->entry,
        .rsi = pvh ? 0 : LAYOUT_ZERO_PAGE,
        .rbx = pvh ? LAYOUT_PVH_INFO : 0,
        .rsp = LAYOUT_STACK_TOP,
        .cr3 = LAYOUT_PAGE_TABLES,
        .gdt_base = LAYOUT_GDT,
        .kernel_start = k->start,
        .kernel_end = k->end,
        .initrd_start = initrd->start,
        .initrd_size = initrd->size,
    };
}

int x86_boot_setup(struct gmem *m, const struct boot_source *src, struct boot_entry *out, struct err *e)
{
    struct kernel_image kernel;
    struct initrd initrd;
    int ret = check_source(m, src, e);
    if (ret == 0)
        ret = load_kernel(m, src, &kernel, e);
    if (ret == 0)
        ret = load_initrd(m, src, &kernel, &initrd, e);
    if (ret == 0)
        ret = write_cmdline(m, src, &kernel, e);
    if (ret == 0)
        ret = write_handover(m, src, &kernel, &initrd, e);
    if (ret == 0)
        ret = write_tables(m, &kernel, e);
    if (ret == 0)
        fill_entry(out, &kernel, &initrd);
    return ret;
}

void boot_entry_registers(const struct boot_entry *b, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
    *regs = (struct kvm_regs){
        .rip = b->rip, .rsi = b->rsi, .rbx = b->rbx, .rsp = b->rsp, .rflags = X86_EFLAGS_FIXED};
    if (b->mode == ENTRY_LONG64)
        regs_long_mode(sregs, b->cr3, b->gdt_base);
    else
        regs_protected_mode(sregs, b->gdt_base);
}
