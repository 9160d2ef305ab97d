/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Returns of KVM_RUN to user space ("exits"): their names, how often each came, and what a fatal one says.
 */
#ifndef CUBBY_VMM_EXITS_H
#define CUBBY_VMM_EXITS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct kvm_run;

#define EXIT_KINDS 40 /* KVM_EXIT_* numbers; later ones are counted under the last */

/* One per vCPU: counted by its thread only, read by any. */
struct exits {
    _Atomic uint64_t count[EXIT_KINDS];
};

/* "io", "mmio"… for a KVM_EXIT_* number, "other" for one that this VMM does not know. Never NULL. */
const char *exit_name(uint32_t reason);

void exits_count(struct exits *x, uint32_t reason);
/* Adds what *x counted to sum[EXIT_KINDS]. */
void exits_add(const struct exits *x, uint64_t sum[EXIT_KINDS]);
uint64_t exits_total(const uint64_t sum[EXIT_KINDS]);

/* A sentence on an exit that the VM does not survive: "KVM could not emulate an instruction, bytes 48 cf". */
void exit_describe(const struct kvm_run *run, char *text, size_t cap);

#endif
