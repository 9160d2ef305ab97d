/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: a KVM descriptor, the page that KVM shares with us, and a thread that runs it until the VM
 * ends.
 */
#ifndef CUBBY_VMM_VCPU_H
#define CUBBY_VMM_VCPU_H

#include "base/err.h"
#include "vmm/exits.h"

#include <pthread.h>
#include <stdbool.h>

struct vm;
struct kvm_run;

struct vcpu {
    struct vm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run; /* its thread's, but for immediate_exit, which vcpu_kick() sets */
    pthread_t thread;
    bool started; /* there is a thread to join */
    struct exits exits;
};

/* Creates vCPU `index` of `vm`; registers are set by machine_vcpu_init(). Undone by vcpu_fini(). */
int vcpu_init(struct vcpu *v, struct vm *vm, unsigned index, struct err *e);
/* Safe on a zeroed one with fd -1. Its thread was joined. */
void vcpu_fini(struct vcpu *v);

/* What all vCPU threads need of the process: the handler of the signal that kicks them. Once, before
 * vcpu_start(). */
int vcpu_prepare_signals(struct err *e);

/* Starts the thread, which runs the guest until vm->stopping is set. */
int vcpu_start(struct vcpu *v, struct err *e);
/* Makes the vCPU leave the guest soon; vm->stopping must be set before. Any thread. */
void vcpu_kick(struct vcpu *v);
/* Waits for the thread's end. Safe when it was not started. */
void vcpu_join(struct vcpu *v);

#endif
