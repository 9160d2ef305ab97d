/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: vm_run() starts a thread per vCPU and one for the disks, and the main thread turns to
 * its loop. Whoever sees the VM's end calls vm_end(), which notes the reason and stops the main loop. Then
 * the vCPUs are kicked out of the guest and joined, the disk thread too, and the main thread serves what the
 * guest had put into its queues last: the text of a panic reaches the console that way.
 */
#include "base/io.h"
#include "base/own.h"
#include "virtio/console.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Rounds of the main loop after the end; each serves every queue that was kicked. */
#define DRAIN_ROUNDS 16

static void *disk_main(void *arg)
{
    struct vm *vm = arg;
    pthread_setname_np(pthread_self(), "disks");
    int r = loop_run(vm->disk_loop);
    if (r)
        vm_end(vm, END_HOST_ERROR, "the disks' loop failed: %s", strerror(-r));
    return NULL;
}

static int start_threads(struct vm *vm, struct err *e)
{
    int r = vcpu_prepare_signals(e);
    if (r)
        return r;
    if (vm->disk_loop) {
        r = pthread_create(&vm->disk_thread, NULL, disk_main, vm);
        if (r)
            return err_set(e, -r, "cannot start the disks' thread: %s", strerror(r));
        vm->disk_started = true;
    }
    timeline_stamp(vm->timeline, MARK_FIRST_RUN);
    for (unsigned i = 0; r == 0 && i < vm->nvcpus; i++)
        r = vcpu_start(&vm->vcpu[i], e);
    return r;
}

static void stop_threads(struct vm *vm)
{
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vcpu_kick(&vm->vcpu[i]);
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vcpu_join(&vm->vcpu[i]);
    if (vm->disk_started) {
        loop_stop(vm->disk_loop);
        pthread_join(vm->disk_thread, NULL);
        vm->disk_started = false;
    }
    for (int i = 0; i < DRAIN_ROUNDS; i++)
        loop_once(vm->loop, 0);
}

void vm_run(struct vm *vm, struct end *end)
{
    struct err e = {0};
    if (start_threads(vm, &e)) {
        vm_end(vm, END_HOST_ERROR, "%.*s", END_DETAIL_MAX - 1, e.text);
    } else {
        uint64_t ns = 0;
        timeline_at(vm->timeline, MARK_FIRST_RUN, &ns);
        status_event(vm->status, "running", ns, NULL);
        int r = loop_run(vm->loop);
        if (r)
            vm_end(vm, END_HOST_ERROR, "the main loop failed: %s", strerror(-r));
    }
    stop_threads(vm);
    vm_find_panic(vm);
    *end = vm->end;
}

void vm_log_unclaimed(struct vm *vm, const char *space, uint64_t addr, uint32_t len)
{
    if (!log_enabled(LOG_VMM, LOG_INFO))
        return;
    pthread_mutex_lock(&vm->end_lock);
    if (log_limit_pass(&vm->faults, LOG_VMM))
        log_info(LOG_VMM, "no device answers at %s %#llx (%u bytes)", space, (unsigned long long)addr, len);
    pthread_mutex_unlock(&vm->end_lock);
}

void vm_report_exits(const struct vm *vm, struct exit_report *r)
{
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < vm->nvcpus; i++)
        exits_add(&vm->vcpu[i].exits, r->by_kind);
    exit_report_bus(r, &vm->mmio, "other memory");
    machine_report(vm->machine, r);
}
