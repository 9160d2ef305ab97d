/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: vm_create() builds the machine from the outside in, each step needing those before it:
 * a KVM VM, guest memory as its slots, the interrupt controller (before any vCPU, so that each vCPU gets a
 * local APIC), devices, vCPUs, and the kernel in memory. Everything is opened here, before the guest runs; a
 * jail that is to hold the running guest belongs between vm_create() and vm_run(). Nothing is left behind by
 * a failure: vm_destroy() undoes any prefix of the steps. How it runs and ends is in vm_run.c.
 */
#include "vmm/vm.h"
#include "base/own.h"
#include "vmm/machine.h"

#include <errno.h>
#include <string.h>

static int create_memory(struct vm *vm, struct err *e)
{
    int r = machine_add_ram(&vm->mem, vm->config->memory_mib, e);
    if (r == 0)
        r = kvm_set_memory(vm->fd, &vm->mem, e);
    if (r == 0)
        timeline_stamp(vm->timeline, MARK_MEMORY_READY);
    return r;
}

static int create_loops(struct vm *vm, struct err *e)
{
    int r = loop_create(&vm->loop, e);
    if (r == 0 && vm->config->ndisks > 0)
        r = loop_create(&vm->disk_loop, e);
    return r;
}

static int create_vcpus(struct vm *vm, struct err *e)
{
    if (vm->config->cpus > vm->kvm.max_vcpus)
        return err_set(e, -EINVAL, "%u vCPUs are not possible: this host's KVM allows %u", vm->config->cpus,
                       vm->kvm.max_vcpus);
    vm->vcpu = calloc(vm->config->cpus, sizeof(vm->vcpu[0]));
    if (!vm->vcpu)
        return err_set(e, -ENOMEM, "no memory for %u vCPUs", vm->config->cpus);
    for (unsigned i = 0; i < vm->config->cpus; i++) {
        vm->nvcpus++;
        int r = vcpu_init(&vm->vcpu[i], vm, i, e);
        if (r)
            return r;
    }
    return 0;
}

static int load_kernel(struct vm *vm, struct err *e)
{
    int r = machine_load(vm->machine, e);
    for (unsigned i = 0; r == 0 && i < vm->nvcpus; i++)
        r = machine_vcpu_init(vm->machine, &vm->vcpu[i], e);
    if (r == 0)
        timeline_stamp(vm->timeline, MARK_KERNEL_LOADED);
    return r;
}

static int create_parts(struct vm *vm, struct err *e)
{
    int r = kvm_open(&vm->kvm, KVM_DEVICE, e);
    if (r == 0)
        r = kvm_check_needs(&vm->kvm, e);
    if (r)
        return r;
    vm->fd = kvm_create_vm(&vm->kvm, e);
    if (vm->fd < 0)
        return vm->fd;
    timeline_stamp(vm->timeline, MARK_VM_CREATED);
    r = create_memory(vm, e);
    if (r == 0)
        r = create_loops(vm, e);
    if (r == 0)
        r = machine_create(&vm->machine, vm, devices_wanted(vm->config), e);
    if (r == 0)
        r = devices_init(vm, e);
    if (r == 0)
        r = create_vcpus(vm, e);
    if (r)
        return r;
    timeline_stamp(vm->timeline, MARK_DEVICES_READY);
    return load_kernel(vm, e);
}

int vm_create(struct vm **out, const struct vm_config *c, struct timeline *t, struct status *s, struct err *e)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return err_set(e, -ENOMEM, "no memory for the VM");
    vm->config = c;
    vm->timeline = t;
    vm->status = s;
    vm->kvm.fd = vm->fd = -1;
    vm->announce_fd = -1;
    pthread_mutex_init(&vm->end_lock, NULL);
    int r = create_parts(vm, e);
    if (r == 0)
        r = vm_watch_announcements(vm, e);
    if (r) {
        vm_destroy(vm);
        return r;
    }
    *out = vm;
    return 0;
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    for (unsigned i = 0; i < vm->nvcpus; i++)
        vcpu_fini(&vm->vcpu[i]);
    free(vm->vcpu);
    devices_fini(&vm->devices);
    machine_destroy(vm->machine);
    loop_destroy(vm->disk_loop);
    loop_destroy(vm->loop);
    fd_closep(&vm->fd);
    kvm_close(&vm->kvm);
    gmem_fini(&vm->mem);
    fd_closep(&vm->announce_fd);
    pthread_mutex_destroy(&vm->end_lock);
    free(vm);
}
