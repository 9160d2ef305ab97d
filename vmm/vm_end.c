/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a machine without ACPI has one way out, the triple fault, and that looks the same
 * whether a guest powered off, rebooted, panicked or went astray. So the guest's init announces what it is
 * about to do with a byte to the doorbell; the reset that follows ends the VM for the announced reason. A
 * reset without notice is a crash, and if the console's last lines hold the words of a panic, it was that
 * one.
 *
 * A guest that announced its end and then does not come to it (its kernel hangs in a driver's shutdown) is
 * ended after a grace.
 */
#include "base/io.h"
#include "base/own.h"
#include "proto/doorbell.h"
#include "virtio/console.h"
#include "vmm/machine.h"
#include "vmm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define GRACE_NS (3 * NSEC_PER_SEC)

void vm_end(struct vm *vm, enum end_reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    pthread_mutex_lock(&vm->end_lock);
    bool first = vm->end.reason == END_NONE;
    if (first) {
        vm->end.reason = reason;
        vsnprintf(vm->end.detail, sizeof(vm->end.detail), fmt, args);
    }
    pthread_mutex_unlock(&vm->end_lock);
    va_end(args);
    if (!first)
        return;
    timeline_stamp(vm->timeline, MARK_ENDED);
    atomic_store(&vm->stopping, true);
    loop_stop(vm->loop);
}

/* Ends the VM for the reason that was announced; false when none was. */
static bool end_as_announced(struct vm *vm, const char *how)
{
    switch (atomic_load(&vm->announced)) {
    case DOORBELL_POWEROFF:
        vm_end(vm, END_POWEROFF, "the guest powered off%s", how);
        return true;
    case DOORBELL_REBOOT:
        vm_end(vm, END_REBOOT, "the guest rebooted%s", how);
        return true;
    case DOORBELL_INIT_FAILED:
        vm_end(vm, END_INIT_FAILED, "the guest's init failed; its last words are on the console%s", how);
        return true;
    default:
        return false;
    }
}

void vm_reset(struct vm *vm, unsigned vcpu)
{
    if (!end_as_announced(vm, ""))
        vm_end(vm, END_TRIPLE_FAULT, "vCPU %u was reset without notice (triple fault)", vcpu);
}

/* A boundary that the guest passed: the first time counts. */
static void guest_mark(struct vm *vm, enum timeline_mark mark)
{
    if (!timeline_stamp(vm->timeline, mark))
        return;
    if (mark == MARK_AGENT_READY) {
        vm_report_exits(vm, &vm->exits_until_ready);
        atomic_store(&vm->ready_reported, true);
    }
    uint64_t ns = 0;
    timeline_at(vm->timeline, mark, &ns);
    status_event(vm->status, "mark", ns, json_pack("{s:s}", "name", timeline_name(mark)));
}

void vm_doorbell(struct vm *vm, uint8_t code)
{
    const uint64_t one = 1;
    switch (code) {
    case DOORBELL_INIT_STARTED:
        guest_mark(vm, MARK_INIT_STARTED);
        break;
    case DOORBELL_ROOT_READY:
        guest_mark(vm, MARK_ROOT_READY);
        break;
    case DOORBELL_AGENT_READY:
        guest_mark(vm, MARK_AGENT_READY);
        break;
    case DOORBELL_POWEROFF:
    case DOORBELL_REBOOT:
    case DOORBELL_INIT_FAILED:
        atomic_store(&vm->announced, code);
        write_full(vm->announce_fd, &one,
                   sizeof(one)); /* cannot fail but when full, and then it is noticed */
        break;
    default: /* a byte that means nothing */
        break;
    }
}

static void on_grace_over(struct loop_timer *t)
{
    struct vm *vm = CONTAINER_OF(t, struct vm, grace);
    end_as_announced(vm, ", but did not reset its processor");
}

static void on_announced(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct vm *vm = CONTAINER_OF(s, struct vm, announce_source);
    loop_remove(s); /* once is enough: the grace runs */
    loop_timer_arm(vm->loop, &vm->grace, GRACE_NS, on_grace_over);
}

int vm_watch_announcements(struct vm *vm, struct err *e)
{
    vm->announce_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->announce_fd < 0)
        return err_sys(e, "cannot make an eventfd");
    int r = loop_add(vm->loop, &vm->announce_source, vm->announce_fd, EPOLLIN, on_announced);
    return r ? err_set(e, r, "cannot watch an eventfd: %s", strerror(-r)) : 0;
}

void vm_find_panic(struct vm *vm)
{
    char tail[CONSOLE_TAIL + 1], words[END_DETAIL_MAX / 2];
    if (vm->end.reason != END_TRIPLE_FAULT)
        return;
    size_t len = console_tail(devices_console(&vm->devices), tail, sizeof(tail));
    if (!end_find_panic(tail, len, words, sizeof(words)))
        return;
    vm->end.reason = END_PANIC;
    snprintf(vm->end.detail, sizeof(vm->end.detail), "the guest's kernel panicked: %s", words);
}
