/* SPDX-License-Identifier: Apache-2.0 */
/* What the VMM needs of KVM on x86-64 only. */
#include "vmm/kvm.h"

#include <linux/kvm.h>

const struct kvm_need kvm_arch_needs[] = {
    {KVM_CAP_SPLIT_IRQCHIP, 1, "KVM_CAP_SPLIT_IRQCHIP", "local APICs in KVM, the I/O APIC here"},
    {KVM_CAP_EXT_CPUID, 1, "KVM_CAP_EXT_CPUID", "describing the processor"},
    {KVM_CAP_SET_TSS_ADDR, 1, "KVM_CAP_SET_TSS_ADDR", "real mode on older Intel processors"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, 1, "KVM_CAP_SET_IDENTITY_MAP_ADDR",
     "real mode on older Intel processors"},
    {KVM_CAP_TSC_DEADLINE_TIMER, 1, "KVM_CAP_TSC_DEADLINE_TIMER", "the guest's timer"},
    {0, 0, NULL, NULL},
};
