/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to a guest that can take its first step: everything that lies in guest memory, and every
 * register that matters, before the first KVM_RUN. This half of the machine knows nothing of KVM; it can be
 * tested on plain memory.
 */
#ifndef CUBBY_VMM_ARCH_X86_BOOT_H
#define CUBBY_VMM_ARCH_X86_BOOT_H

#include "base/err.h"
#include "base/gmem.h"

#include <asm/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum boot_protocol {
    BOOT_AUTO,  /* Linux' 64-bit protocol, unless the kernel is an ELF file that says nothing but PVH */
    BOOT_LINUX, /* 64-bit protocol of Documentation/arch/x86/boot.rst */
    BOOT_PVH,   /* Xen's "x86/HVM direct boot ABI": an ELF file with a PHYS32_ENTRY note */
};

/* One virtio-mmio window and the I/O APIC pin behind it. */
struct boot_slot {
    gpa_t gpa;    /* layout_virtio_gpa(i) */
    uint32_t pin; /* below ioapic_pins */
};

/* What to boot. The caller owns everything; it may close the files when x86_boot_setup() has returned. */
struct boot_source {
    int kernel_fd;           /* open for reading, a regular file */
    const char *kernel_path; /* for error texts */
    int initrd_fd;           /* -1: none */
    const char *initrd_path; /* for error texts; may be NULL without initrd */
    const char *cmdline;     /* NUL-terminated; NULL is the empty one */
    unsigned cpus;           /* ≥ 1; CPU i has APIC id i */
    unsigned nslots;
    const struct boot_slot *slots;
    unsigned ioapic_pins; /* what the I/O APIC's version register reports */
    enum boot_protocol protocol;
    /*
     * Map whole pages of an ELF kernel and of the initrd from their files instead of copying them, so that
     * boxes share those that nobody writes to. Copying is the better choice as a rule: Linux patches nearly
     * every page of its code while it starts (alternatives, returns), so those are copied anyway, one fault
     * after the other, and memory under a mapping cannot be made of huge pages. Counted in the lab for our
     * kernel and an initrd of 3.4 MiB: 7,817 nested page faults when mapped, 118 when copied.
     */
    bool map;
};

enum boot_mode {
    ENTRY_LONG64, /* 64-bit mode, paging on, rsi = zero page */
    ENTRY_PVH32,  /* 32-bit protected mode, paging off, rbx = start info */
};

/* CPU 0 at its first instruction. The other CPUs wait for INIT and SIPI. */
struct boot_entry {
    enum boot_mode mode;
    uint64_t rip, rsi, rbx, rsp; /* all other general registers are 0 */
    gpa_t cr3;                   /* identity map of the first 4 GiB, present in both modes */
    gpa_t gdt_base;              /* as regs_fill_gdt() makes it, for the mode's code segment */
    /* For logs and the timeline. */
    gpa_t kernel_start, kernel_end;
    gpa_t initrd_start; /* 0: none */
    uint64_t initrd_size;
};

/*
 * Puts kernel, initrd, command line, device tree, seed, boot parameters, GDT and page tables into *m, which
 * layout_add_ram() has made (so that it holds zeros) and no vCPU runs on yet, and fills *out.
 *
 * 0, or: -ENOEXEC for a file that is no kernel we can boot, -EISDIR or -EINVAL for something that is no
 * regular file, -ENOMEM when it does not fit (the text says how much memory is needed), -E2BIG for a command
 * line that the kernel would cut, -EINVAL for a bad *src, or the errno of a failed read. The text names the
 * file. After a failure the content of *m is undefined.
 */
int x86_boot_setup(struct gmem *m, const struct boot_source *src, struct boot_entry *out, struct err *e);

/* The entry as KVM takes it: fills *regs, and those parts of *sregs that regs_long_mode() or
 * regs_protected_mode() fill; the rest of *sregs (APIC base…) stays as KVM_GET_SREGS gave it. */
void boot_entry_registers(const struct boot_entry *b, struct kvm_regs *regs, struct kvm_sregs *sregs);

#endif
