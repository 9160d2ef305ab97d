/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a processor caches what a selector's descriptor says in hidden parts of the segment
 * register. KVM_SET_SREGS writes those hidden parts directly, so the vCPU starts in the wanted mode without
 * having executed the instructions that lead there. The GDT in memory must agree, for the first time the
 * guest reloads a segment.
 */
#include "vmm/arch/x86/regs.h"

#include <asm/processor-flags.h>

/* Type field of a descriptor (SDM vol. 3A §3.4.5.1): accessed, and read (code) or write (data) allowed. */
#define TYPE_CODE 0xb
#define TYPE_DATA 0x3
#define TYPE_TSS  0xb /* busy 64-bit TSS (§3.5): KVM on Intel refuses to enter a guest without one */

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){
        .base = 0,
        .limit = UINT32_MAX,
        .selector = selector,
        .type = type,
        .present = 1,
        .s = 1, /* code or data, not a system segment */
        .g = 1, /* limit counts pages */
    };
}

struct kvm_segment regs_code64(void)
{
    struct kvm_segment s = flat(BOOT_CS, TYPE_CODE);
    s.l = 1;
    return s;
}

struct kvm_segment regs_code32(void)
{
    struct kvm_segment s = flat(BOOT_CS, TYPE_CODE);
    s.db = 1;
    return s;
}

struct kvm_segment regs_data(void)
{
    struct kvm_segment s = flat(BOOT_DS, TYPE_DATA);
    s.db = 1;
    return s;
}

uint64_t regs_descriptor(const struct kvm_segment *s)
{
    uint64_t limit = s->g ? s->limit >> 12 : s->limit;
    return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)(s->type & 0xf) << 40 |
           (uint64_t)(s->s & 1) << 44 | (uint64_t)(s->dpl & 3) << 45 | (uint64_t)(s->present & 1) << 47 |
           (limit >> 16 & 0xf) << 48 | (uint64_t)(s->l & 1) << 53 | (uint64_t)(s->db & 1) << 54 |
           (uint64_t)(s->g & 1) << 55 | (s->base >> 24 & 0xff) << 56;
}

void regs_fill_gdt(uint64_t gdt[BOOT_GDT_ENTRIES], const struct kvm_segment *code)
{
    struct kvm_segment data = regs_data();
    gdt[0] = 0;
    gdt[1] = 0;
    gdt[BOOT_CS / 8] = regs_descriptor(code);
    gdt[BOOT_DS / 8] = regs_descriptor(&data);
}

static void set_segments(struct kvm_sregs *s, struct kvm_segment code, gpa_t gdt)
{
    s->cs = code;
    s->ds = s->es = s->fs = s->gs = s->ss = regs_data();
    s->tr = (struct kvm_segment){.limit = 0x67, .type = TYPE_TSS, .present = 1};
    s->ldt = (struct kvm_segment){.unusable = 1};
    s->gdt = (struct kvm_dtable){.base = gdt, .limit = BOOT_GDT_ENTRIES * 8 - 1};
    s->idt = (struct kvm_dtable){0}; /* an exception now is a triple fault, with its own reason */
}

void regs_long_mode(struct kvm_sregs *s, gpa_t pml4, gpa_t gdt)
{
    set_segments(s, regs_code64(), gdt);
    s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
    s->cr3 = pml4;
    s->cr4 = X86_CR4_PAE;
    s->efer = EFER_LME | EFER_LMA;
}

void regs_protected_mode(struct kvm_sregs *s, gpa_t gdt)
{
    set_segments(s, regs_code32(), gdt);
    s->cr0 = X86_CR0_PE | X86_CR0_ET;
    s->cr3 = 0;
    s->cr4 = 0;
    s->efer = 0;
}
