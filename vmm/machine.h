/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between the VMM and an architecture (arch/<name>/machine_<name>.c): what a machine has besides
 * memory, CPUs and virtio devices, how its CPUs start, and the exits that only it knows.
 *
 * Threads: set-up on the main thread before a vCPU runs; machine_vcpu_exit() on vCPU threads.
 */
#ifndef CUBBY_VMM_MACHINE_H
#define CUBBY_VMM_MACHINE_H

#include "base/err.h"
#include "base/gmem.h"
#include "vmm/config.h"
#include "vmm/timeline.h"

struct machine;
struct vcpu;
struct vm;

/* The architecture's part of config_check(): boot protocol, memory size. */
int machine_check(const struct vm_config *c, struct err *e);

/* Guest memory of the wanted size, in the places where this architecture has it. */
int machine_add_ram(struct gmem *m, uint64_t memory_mib, struct err *e);

/* Interrupt controller for `nslots` virtio devices, bus ranges of its own devices. Before any vCPU is
 * created. */
int machine_create(struct machine **out, struct vm *vm, unsigned nslots, struct err *e);
/* Safe on NULL. No vCPU runs. */
void machine_destroy(struct machine *m);

/* Where the window of virtio slot `i` is, and the eventfd that raises its interrupt (not the caller's). */
gpa_t machine_slot_gpa(unsigned i);
int machine_slot_irq_fd(const struct machine *m, unsigned i);

/* Loads the kernel and describes the machine to it. After this the first vCPU knows where to begin. */
int machine_load(struct machine *m, struct err *e);

/* Registers and features of a vCPU that was just created. After machine_load(). */
int machine_vcpu_init(struct machine *m, const struct vcpu *v, struct err *e);

/* Handles the exit in v->run if it is one of this architecture's: true. On the vCPU's thread. */
bool machine_vcpu_exit(struct machine *m, struct vcpu *v);

/* Where the vCPU is: "rip 0xffffffff81000000, cr3 0x…". On the vCPU's thread. */
void machine_vcpu_describe(const struct vcpu *v, char *text, size_t cap);

/* Adds the accesses that its devices got to a report. Any thread. */
void machine_report(const struct machine *m, struct exit_report *r);

#endif
