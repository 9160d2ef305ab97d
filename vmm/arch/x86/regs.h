/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 registers that put a vCPU into a mode (SDM vol. 3A §2.5, §3.4.5, §10.8.5): segments, control
 * registers. CR bits come from <asm/processor-flags.h>; what that header lacks is here, and checked in
 * tests/vmm/test_regs.c.
 */
#ifndef CUBBY_VMM_ARCH_X86_REGS_H
#define CUBBY_VMM_ARCH_X86_REGS_H

#include "base/gmem.h"

#include <asm/kvm.h>
#include <stdint.h>

/* IA32_EFER, SDM vol. 3A §2.2.1. */
#define EFER_SCE (UINT64_C(1) << 0)
#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)
#define EFER_NXE (UINT64_C(1) << 11)

/* Selectors of the boot GDT: those that Linux's 64-bit boot protocol asks for (boot.rst: __BOOT_CS,
 * __BOOT_DS). */
#define BOOT_CS          0x10
#define BOOT_DS          0x18
#define BOOT_GDT_ENTRIES 4

/* Flat segments of ring 0. */
struct kvm_segment regs_code64(void); /* 64-bit code at BOOT_CS */
struct kvm_segment regs_code32(void); /* 32-bit code, 4 GiB, at BOOT_CS */
struct kvm_segment regs_data(void);   /* data, 4 GiB, at BOOT_DS */

/* The descriptor in memory for a segment (SDM vol. 3A figure 3-8). */
uint64_t regs_descriptor(const struct kvm_segment *s);
/* Null, unused, `code`, data: what BOOT_CS and BOOT_DS select. */
void regs_fill_gdt(uint64_t gdt[BOOT_GDT_ENTRIES], const struct kvm_segment *code);

/* 64-bit mode, paging through the tables at `pml4`, GDT at `gdt`; no IDT, interrupts off. */
void regs_long_mode(struct kvm_sregs *s, gpa_t pml4, gpa_t gdt);
/* 32-bit protected mode without paging, GDT at `gdt`; no IDT. What a PVH kernel expects. */
void regs_protected_mode(struct kvm_sregs *s, gpa_t gdt);

#endif
