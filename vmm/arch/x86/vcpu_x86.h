/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of an x86 vCPU before its first instruction. */
#ifndef CUBBY_VMM_ARCH_X86_VCPU_X86_H
#define CUBBY_VMM_ARCH_X86_VCPU_X86_H

#include "base/err.h"
#include "vmm/arch/x86/boot.h"

struct kvm_cpuid2;

/* Features and model-specific registers, for every vCPU. `cpuid` is prepared and has this vCPU's APIC id. */
int vcpu_x86_set_features(int vcpu_fd, unsigned index, struct kvm_cpuid2 *cpuid, struct err *e);

/* Control, segment and general registers, for the vCPU that boots. The others wait for INIT and SIPI as KVM
 * makes them. */
int vcpu_x86_set_entry(int vcpu_fd, const struct boot_entry *entry, struct err *e);

#endif
