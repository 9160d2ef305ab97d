/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: what it is made of, in the order in which it is made.
 *
 *     vm_create()   KVM, memory, interrupt controller, devices, vCPUs, kernel    nothing runs yet
 *     vm_run()      starts the threads and returns when the VM has ended
 *     vm_destroy()
 *
 * Threads: the main thread (vm_run's caller) runs the loop that serves the console, vsock and what else was
 * added to vm->loop; one thread runs the loop of the disks, whose work blocks; each vCPU has one. The VM ends
 * once: the first vm_end() wins, from any thread.
 */
#ifndef CUBBY_VMM_VM_H
#define CUBBY_VMM_VM_H

#include "base/err.h"
#include "base/gmem.h"
#include "base/log.h"
#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/config.h"
#include "vmm/devices.h"
#include "vmm/end.h"
#include "vmm/kvm.h"
#include "vmm/status.h"
#include "vmm/timeline.h"
#include "vmm/vcpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct machine;

struct vm {
    const struct vm_config *config; /* the caller's */
    struct timeline *timeline;      /* the caller's; stamped by any thread */
    struct status *status;          /* the caller's; has its own lock */

    struct kvm kvm;
    int fd; /* of KVM_CREATE_VM */
    struct gmem mem;
    struct bus mmio;
    struct machine *machine;
    struct devices devices;
    struct loop *loop;      /* main thread */
    struct loop *disk_loop; /* disk thread; NULL without disks */
    pthread_t disk_thread;
    bool disk_started;
    unsigned nvcpus;
    struct vcpu *vcpu;

    _Atomic bool stopping;    /* set once by the first vm_end(); vCPU threads leave */
    _Atomic int announced;    /* last doorbell that announced an end, or 0 */
    pthread_mutex_t end_lock; /* over `end` and `faults` */
    struct end end;
    struct log_limit faults; /* accesses that no device answered */

    atomic_bool ready_reported; /* exits_until_ready is filled */
    struct exit_report exits_until_ready;
    int announce_fd; /* eventfd: wakes the main loop when an end was announced */
    struct loop_source announce_source;
    struct loop_timer grace; /* for an announced end that does not come; main thread */
};

/*
 * `c`, `t` and `s` must outlive the VM; *c was checked. The text of an error says what to try. On failure
 * *out is untouched and nothing is left.
 */
int vm_create(struct vm **out, const struct vm_config *c, struct timeline *t, struct status *s,
              struct err *e);
/* vm_create()'s last step (vm_end.c): the main loop hears of announced ends. */
int vm_watch_announcements(struct vm *vm, struct err *e);
/* Safe on NULL. vm_run() has returned, or was never called. */
void vm_destroy(struct vm *vm);

/* Runs the guest on threads of its own and the main loop on this one, until the end; *end says why it ended.
 * The threads are gone when it returns. */
void vm_run(struct vm *vm, struct end *end);

/* Ends the VM for `reason`, unless it has ended already. Any thread. */
void vm_end(struct vm *vm, enum end_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The guest rang the doorbell (proto/doorbell.h). vCPU threads. */
void vm_doorbell(struct vm *vm, uint8_t code);
/* The guest's processor was reset: ends the VM, for the reason that the doorbell announced, if any. vCPU
 * threads. */
void vm_reset(struct vm *vm, unsigned vcpu);

/* An access that no device answered: a line for the log, rate-limited. vCPU threads. */
void vm_log_unclaimed(struct vm *vm, const char *space, uint64_t addr, uint32_t len);

/* Counts of exits until now. Any thread. */
void vm_report_exits(const struct vm *vm, struct exit_report *r);

/* After the threads are gone: a reset without notice is a panic if the console's last lines say so. */
void vm_find_panic(struct vm *vm);

#endif
