/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: KVM tells which features it can give to a guest, but the values of many leaves are
 * those of the host: its topology, its caches, its APIC ids. A guest that believes them finds CPUs that do
 * not exist, and Linux says so with a warning per CPU. So one pass over KVM's list rewrites what depends on
 * the machine; then each vCPU gets a copy with its own APIC id, and KVM answers the guest's CPUID
 * instructions from it without any exit.
 */
#include "vmm/arch/x86/cpuid.h"
#include "base/own.h"

#include <asm/kvm_para.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_FIRST 128
#define ENTRIES_MAX   1024

/* Leaf 1 ECX and EDX, leaf 7 ECX, leaf 0xD. */
#define L1_ECX_TSC_DEADLINE (1u << 24)
#define L1_ECX_HYPERVISOR   (1u << 31)
#define L1_EDX_HTT          (1u << 28)
#define L7_ECX_PKU          (1u << 3)
#define L7_ECX_OSPKE        (1u << 4)
#define XSTATE_PKRU         9   /* number of the protection keys' state component */
#define XSAVE_LEGACY        576 /* bytes of the legacy region and the header (SDM vol. 1 §13.4) */

/* Leaf 0xB: kinds of a level. */
#define LEVEL_SMT  1
#define LEVEL_CORE 2

/* The leaf in which hypervisors that follow VMware's proposal give the frequencies. */
#define LEAF_HV_FREQUENCY 0x40000010u
#define APIC_BUS_KHZ      1000000u /* KVM's APIC timer counts nanoseconds */

int cpuid_supported(const struct kvm *k, struct kvm_cpuid2 **out, struct err *e)
{
    for (uint32_t n = ENTRIES_FIRST; n <= ENTRIES_MAX; n *= 2) {
        CLEANUP(mem_freep)
        struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + (n + CPUID_SPARE) * sizeof(c->entries[0]));
        if (!c)
            return err_set(e, -ENOMEM, "no memory for the CPUID table");
        c->nent = n;
        int r = kvm_ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, c);
        if (r == 0) {
            *out = STEAL(c);
            return 0;
        }
        if (r != -E2BIG)
            return err_set(e, r, "KVM does not say what CPUID it supports: %s", strerror(-r));
    }
    return err_set(e, -E2BIG, "KVM supports more than %d CPUID leaves", ENTRIES_MAX);
}

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *l = &c->entries[i];
        if (l->function == function && (!(l->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || l->index == index))
            return l;
    }
    return NULL;
}

/* The entry of a leaf, added when it is not there. Only for leaves that CPUID_SPARE counts. */
static struct kvm_cpuid_entry2 *find_or_add(struct kvm_cpuid2 *c, uint32_t function, uint32_t index,
                                            uint32_t flags)
{
    struct kvm_cpuid_entry2 *l = cpuid_find(c, function, index);
    if (!l) {
        l = &c->entries[c->nent++];
        memset(l, 0, sizeof(*l));
    }
    l->function = function;
    l->index = index;
    l->flags = flags;
    return l;
}

/* Bits that an APIC id needs, for ids below `cpus`. */
static uint32_t id_bits(unsigned cpus)
{
    uint32_t bits = 0;
    while ((1u << bits) < cpus)
        bits++;
    return bits;
}

/* Leaves 0xB and 0x1F: one thread per core, `cpus` cores in the package. */
static void set_topology(struct kvm_cpuid2 *c, uint32_t leaf, unsigned cpus)
{
    struct kvm_cpuid_entry2 *smt = find_or_add(c, leaf, 0, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    smt->eax = 0;
    smt->ebx = 1;
    smt->ecx = LEVEL_SMT << 8;

    struct kvm_cpuid_entry2 *core = find_or_add(c, leaf, 1, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    core->eax = id_bits(cpus);
    core->ebx = cpus;
    core->ecx = 1 | LEVEL_CORE << 8;
}

/* Takes a state component out of leaf 0xD, and its bytes from the size of all. */
static void drop_xstate(struct kvm_cpuid2 *c, uint32_t component)
{
    struct kvm_cpuid_entry2 *all = cpuid_find(c, 0xd, 0), *part = cpuid_find(c, 0xd, component);
    if (!all)
        return;
    all->eax &= ~(1u << component);
    if (part)
        part->eax = part->ebx = part->ecx = part->edx = 0;
    all->ecx = XSAVE_LEGACY;
    for (uint32_t i = 2; i < 32; i++) {
        part = cpuid_find(c, 0xd, i);
        if (part && all->eax & (1u << i) && part->ebx + part->eax > all->ecx)
            all->ecx = part->ebx + part->eax;
    }
}

/*
 * Leaf 0xD says how much room the enabled states take, and changes when the guest enables some (XSETBV); KVM
 * keeps it up to date because it intercepts that instruction. A hypervisor below us may not pass the
 * interception on: QEMU's TCG does not, and the leaf then answers for the value before, which makes Linux
 * print a long warning. We therefore start guests with all states enabled (cpuid_xcr0()), so that the answer
 * is right from the beginning; and when nested we leave out the protection keys, which Linux enables or not
 * depending on its configuration.
 */
static void leave_out_protection_keys(struct kvm_cpuid2 *c)
{
    struct kvm_cpuid_entry2 *leaf7 = cpuid_find(c, 7, 0);
    if (leaf7)
        leaf7->ecx &= ~(L7_ECX_PKU | L7_ECX_OSPKE);
    drop_xstate(c, XSTATE_PKRU);
}

uint64_t cpuid_xcr0(struct kvm_cpuid2 *c)
{
    struct kvm_cpuid_entry2 *all = cpuid_find(c, 0xd, 0);
    return all ? all->eax | (uint64_t)all->edx << 32 : 0;
}

bool cpuid_host_is_nested(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & L1_ECX_HYPERVISOR;
}

/* KVM's own leaves, and the frequencies behind them. */
static void set_hypervisor(struct kvm_cpuid2 *c, uint32_t tsc_khz)
{
    struct kvm_cpuid_entry2 *signature = cpuid_find(c, KVM_CPUID_SIGNATURE, 0);
    if (!signature || !tsc_khz)
        return;
    if (signature->eax < LEAF_HV_FREQUENCY)
        signature->eax = LEAF_HV_FREQUENCY;
    struct kvm_cpuid_entry2 *frequency = find_or_add(c, LEAF_HV_FREQUENCY, 0, 0);
    frequency->eax = tsc_khz;
    frequency->ebx = APIC_BUS_KHZ;
}

static void prepare_leaf(struct kvm_cpuid_entry2 *l, unsigned cpus)
{
    switch (l->function) {
    case 0x1:
        l->ecx |= L1_ECX_HYPERVISOR | L1_ECX_TSC_DEADLINE;
        l->ebx = (l->ebx & 0x0000ffff) | (cpus > 255 ? 255 : cpus) << 16;
        l->edx = cpus > 1 ? l->edx | L1_EDX_HTT : l->edx & ~L1_EDX_HTT;
        break;
    case 0x4: /* caches, Intel: bits 31:26 cores in the package, 25:14 CPUs that share the cache, less one */
    case 0x8000001d: /* caches, AMD: bits 25:14 only */
        if ((l->eax & 0x1f) == 0)
            break;
        l->eax &= l->function == 4 ? 0x00003fff : 0xfc003fff;
        if ((l->eax >> 5 & 7) >= 3) /* level 3 is shared by all, the lower ones are each core's own */
            l->eax |= (cpus - 1) << 14;
        if (l->function == 4)
            l->eax |= ((cpus > 64 ? 64 : cpus) - 1) << 26;
        break;
    case 0xa: /* no performance counters: they cost exits at boot, and tell one guest of another */
        l->eax = l->ebx = l->ecx = l->edx = 0;
        break;
    case 0x80000008: /* bits 7:0 CPUs in the package less one, 15:12 bits of the APIC id that number them */
        l->ecx = (l->ecx & ~0xf0ffu) | id_bits(cpus) << 12 | (cpus - 1);
        break;
    case 0x8000001e: /* one thread per core, one node */
        l->ebx &= 0xffff0000;
        l->ecx = 0;
        break;
    default:
        break;
    }
}

void cpuid_prepare(struct kvm_cpuid2 *c, const struct cpuid_machine *m)
{
    for (uint32_t i = 0; i < c->nent; i++)
        prepare_leaf(&c->entries[i], m->cpus);
    struct kvm_cpuid_entry2 *first = cpuid_find(c, 0, 0);
    if (first && first->eax >= 0xb)
        set_topology(c, 0xb, m->cpus);
    if (first && first->eax >= 0x1f)
        set_topology(c, 0x1f, m->cpus);
    if (m->nested)
        leave_out_protection_keys(c);
    set_hypervisor(c, m->tsc_khz);
}

void cpuid_set_apic_id(struct kvm_cpuid2 *c, uint32_t id)
{
    for (uint32_t i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *l = &c->entries[i];
        switch (l->function) {
        case 0x1:
            l->ebx = (l->ebx & 0x00ffffff) | id << 24;
            break;
        case 0xb:
        case 0x1f:
            l->edx = id;
            break;
        case 0x8000001e:
            l->eax = id;
            l->ebx = (l->ebx & ~0xffu) | (id & 0xff);
            break;
        default:
            break;
        }
    }
}
