/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each vCPU thread counts its own exits, so that counting costs no shared cache line; a
 * report adds the vCPUs up. The counters are atomic only so that a report may read them while guests run.
 */
#include "vmm/exits.h"
#include "base/own.h"

#include <linux/kvm.h>
#include <stdio.h>

static const char *const names[EXIT_KINDS] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_EXCEPTION] = "exception",
    [KVM_EXIT_IO] = "io",
    [KVM_EXIT_HYPERCALL] = "hypercall",
    [KVM_EXIT_DEBUG] = "debug",
    [KVM_EXIT_HLT] = "hlt",
    [KVM_EXIT_MMIO] = "mmio",
    [KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_FAIL_ENTRY] = "fail_entry",
    [KVM_EXIT_INTR] = "interrupted",
    [KVM_EXIT_SET_TPR] = "set_tpr",
    [KVM_EXIT_TPR_ACCESS] = "tpr_access",
    [KVM_EXIT_NMI] = "nmi",
    [KVM_EXIT_INTERNAL_ERROR] = "internal_error",
    [KVM_EXIT_SYSTEM_EVENT] = "system_event",
    [KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
    [KVM_EXIT_X86_RDMSR] = "rdmsr",
    [KVM_EXIT_X86_WRMSR] = "wrmsr",
    [KVM_EXIT_X86_BUS_LOCK] = "bus_lock",
    [KVM_EXIT_NOTIFY] = "notify",
};

const char *exit_name(uint32_t reason)
{
    return reason < EXIT_KINDS && names[reason] ? names[reason] : "other";
}

void exits_count(struct exits *x, uint32_t reason)
{
    _Atomic uint64_t *n = &x->count[reason < EXIT_KINDS ? reason : EXIT_KINDS - 1];
    /* One writer: a load and a store, without a locked instruction. */
    uint64_t v = atomic_load_explicit(n, memory_order_relaxed);
    atomic_store_explicit(n, v + 1, memory_order_relaxed);
}

void exits_add(const struct exits *x, uint64_t sum[EXIT_KINDS])
{
    for (unsigned i = 0; i < EXIT_KINDS; i++)
        sum[i] += atomic_load_explicit(&x->count[i], memory_order_relaxed);
}

uint64_t exits_total(const uint64_t sum[EXIT_KINDS])
{
    uint64_t total = 0;
    for (unsigned i = 0; i < EXIT_KINDS; i++)
        total += sum[i];
    return total;
}

/* The bytes of the instruction that KVM could not emulate, where it says (api.rst 5, emulation_failure). */
static void describe_bytes(const struct kvm_run *run, char *text, size_t cap)
{
    size_t n = run->emulation_failure.insn_size;
    if (run->emulation_failure.ndata < 1 ||
        !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) || n == 0)
        return;
    if (n > sizeof(run->emulation_failure.insn_bytes))
        n = sizeof(run->emulation_failure.insn_bytes);
    int used = snprintf(text, cap, ", bytes");
    for (size_t i = 0; i < n && used > 0 && (size_t)used < cap; i++)
        used += snprintf(text + used, cap - (size_t)used, " %02x", run->emulation_failure.insn_bytes[i]);
}

static void describe_internal_error(const struct kvm_run *run, char *text, size_t cap)
{
    static const char *const suberrors[] = {
        [KVM_INTERNAL_ERROR_EMULATION] = "KVM could not emulate an instruction",
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "KVM met two exceptions at once",
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = "KVM could not deliver an event to the guest",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] =
            "the processor left the guest for a reason unknown to KVM",
    };
    uint32_t sub = run->internal.suberror;
    char bytes[80] = "";
    if (sub == KVM_INTERNAL_ERROR_EMULATION)
        describe_bytes(run, bytes, sizeof(bytes));
    snprintf(text, cap, "%s (suberror %u%s)",
             sub < ARRAY_LEN(suberrors) && suberrors[sub] ? suberrors[sub] : "KVM reports an internal error",
             sub, bytes);
}

void exit_describe(const struct kvm_run *run, char *text, size_t cap)
{
    switch (run->exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
        describe_internal_error(run, text, cap);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        snprintf(text, cap, "the processor refused to enter the guest (hardware reason %#llx)",
                 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_SHUTDOWN:
        snprintf(text, cap, "the processor shut down (triple fault)");
        break;
    case KVM_EXIT_UNKNOWN:
        snprintf(text, cap, "an exit that KVM does not know (hardware reason %#llx)",
                 (unsigned long long)run->hw.hardware_exit_reason);
        break;
    default:
        snprintf(text, cap, "exit %u (%s) that this VMM does not handle", run->exit_reason,
                 exit_name(run->exit_reason));
    }
}
