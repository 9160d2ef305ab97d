/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU says of itself in CPUID (SDM vol. 2A CPUID; AMD APM vol. 3 appendix E): what this host's KVM
 * supports, made consistent with the machine that we built.
 */
#ifndef CUBBY_VMM_ARCH_X86_CPUID_H
#define CUBBY_VMM_ARCH_X86_CPUID_H

#include "vmm/kvm.h"

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/* Room for leaves that cpuid_prepare() adds: 0xB and 0x1F (two subleaves each), 0x40000010. */
#define CPUID_SPARE 5

/*
 * KVM_GET_SUPPORTED_CPUID: a heap block of the caller's (free()), with room for CPUID_SPARE more entries
 * behind those that nent counts. 0, or a negative errno.
 */
int cpuid_supported(const struct kvm *k, struct kvm_cpuid2 **out, struct err *e);

/* The machine that CPUID is to describe. */
struct cpuid_machine {
    unsigned cpus;    /* one core each, in one package */
    uint32_t tsc_khz; /* 0: not known */
    bool nested;      /* the host runs under a hypervisor itself */
};

/* Makes what KVM supports describe `m`. Pure; `c` comes from cpuid_supported(). */
void cpuid_prepare(struct kvm_cpuid2 *c, const struct cpuid_machine *m);

/* The processor states (bits of XCR0) that a prepared *c offers; 0 without XSAVE. */
uint64_t cpuid_xcr0(struct kvm_cpuid2 *c);

/* True when this host's own CPUID has the hypervisor bit. */
bool cpuid_host_is_nested(void);

/* Puts the APIC id `id` of one vCPU into every leaf that carries it, in a prepared *c. */
void cpuid_set_apic_id(struct kvm_cpuid2 *c, uint32_t id);

/* The entry of a leaf, or NULL. `index` counts for leaves that have subleaves. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function, uint32_t index);

#endif
