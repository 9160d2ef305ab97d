/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each vCPU is a thread in a loop around KVM_RUN. KVM returns when the guest did
 * something that KVM leaves to us: an access to a port or to memory where no memory is. We answer, and run it
 * again. With kicks and interrupts going through eventfds this happens a few hundred times during a boot and
 * hardly ever afterwards.
 *
 * To stop a vCPU from outside, set vm->stopping, then immediate_exit in the page shared with KVM, then send
 * the kick signal. Whether the signal arrives in KVM_RUN (which returns EINTR) or just before it
 * (immediate_exit makes it return at once), the loop sees `stopping` next: no kick is lost, and the handler
 * of the signal has nothing to do.
 */
#include "vmm/vcpu.h"
#include "base/log.h"
#include "base/own.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KICK_SIGNAL SIGRTMIN

static void on_kick(int sig)
{
    (void)sig; /* its arrival is all that is needed: KVM_RUN returns EINTR */
}

int vcpu_prepare_signals(struct err *e)
{
    struct sigaction action = {.sa_handler = on_kick}; /* no SA_RESTART */
    sigemptyset(&action.sa_mask);
    return sigaction(KICK_SIGNAL, &action, NULL) ? err_sys(e, "cannot install the signal that kicks vCPUs")
                                                 : 0;
}

int vcpu_init(struct vcpu *v, struct vm *vm, unsigned index, struct err *e)
{
    v->vm = vm;
    v->index = index;
    v->fd = kvm_create_vcpu(&vm->kvm, vm->fd, index, &v->run, e);
    return v->fd < 0 ? v->fd : 0;
}

void vcpu_fini(struct vcpu *v)
{
    if (v->run)
        munmap(v->run, v->vm->kvm.run_size);
    v->run = NULL;
    fd_closep(&v->fd);
    v->fd = -1;
}

static void handle_mmio(struct vcpu *v)
{
    struct kvm_run *run = v->run;
    uint32_t len = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : sizeof(run->mmio.data);
    bool known = run->mmio.is_write ? bus_write(&v->vm->mmio, run->mmio.phys_addr, run->mmio.data, len)
                                    : bus_read(&v->vm->mmio, run->mmio.phys_addr, run->mmio.data, len);
    if (!known)
        vm_log_unclaimed(v->vm, "memory", run->mmio.phys_addr, len);
}

/* System events of firmware interfaces; on x86 only Hyper-V's crash and reset registers would cause them. */
static void handle_system_event(struct vcpu *v)
{
    uint32_t type = v->run->system_event.type;
    if (type == KVM_SYSTEM_EVENT_SHUTDOWN)
        vm_end(v->vm, END_POWEROFF, "the guest asked its firmware for power-off");
    else if (type == KVM_SYSTEM_EVENT_RESET)
        vm_end(v->vm, END_REBOOT, "the guest asked its firmware for a reset");
    else
        vm_end(v->vm, END_PANIC, "the guest reported a crash (system event %u)", type);
}

static void end_with(struct vcpu *v, enum end_reason reason)
{
    char what[END_DETAIL_MAX / 2], where[END_DETAIL_MAX / 2];
    exit_describe(v->run, what, sizeof(what));
    machine_vcpu_describe(v, where, sizeof(where));
    vm_end(v->vm, reason, "vCPU %u: %s, %s", v->index, what, where);
}

/* Each exit either is answered, or ends the VM (vm_end() sets `stopping`). */
static void handle_exit(struct vcpu *v)
{
    if (machine_vcpu_exit(v->vm->machine, v))
        return;
    switch (v->run->exit_reason) {
    case KVM_EXIT_MMIO:
        handle_mmio(v);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        break; /* nothing to answer */
    case KVM_EXIT_SHUTDOWN:
        vm_reset(v->vm, v->index);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        handle_system_event(v);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        end_with(v, END_INTERNAL_ERROR);
        break;
    default: /* FAIL_ENTRY, UNKNOWN, and all that we did not ask for */
        end_with(v, END_VCPU_ERROR);
        break;
    }
}

static void *vcpu_main(void *arg)
{
    struct vcpu *v = arg;
    char name[16];
    snprintf(name, sizeof(name), "vcpu%u", v->index);
    pthread_setname_np(pthread_self(), name);
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

    while (!atomic_load(&v->vm->stopping)) {
        int r = ioctl(v->fd, KVM_RUN, NULL);
        /* EINTR: kicked. EAGAIN: a vCPU that waited for its start got INIT. */
        if (r < 0 && errno != EINTR && errno != EAGAIN) {
            vm_end(v->vm, END_HOST_ERROR, "KVM_RUN of vCPU %u failed: %s", v->index, strerror(errno));
            break;
        }
        exits_count(&v->exits, r < 0 ? KVM_EXIT_INTR : v->run->exit_reason);
        if (r == 0)
            handle_exit(v);
    }
    return NULL;
}

int vcpu_start(struct vcpu *v, struct err *e)
{
    int r = pthread_create(&v->thread, NULL, vcpu_main, v);
    if (r)
        return err_set(e, -r, "cannot start the thread of vCPU %u: %s", v->index, strerror(r));
    v->started = true;
    return 0;
}

void vcpu_kick(struct vcpu *v)
{
    if (!v->started)
        return;
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(v->thread, KICK_SIGNAL);
}

void vcpu_join(struct vcpu *v)
{
    if (v->started)
        pthread_join(v->thread, NULL);
    v->started = false;
}
