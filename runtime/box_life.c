/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a state machine without a thread. Whatever can happen to a box makes its epoll
 * descriptor readable: events of the VMM, PID 1 connecting, its frames, the VMM's death, the answer of a
 * probe, the timer. Whoever waits calls box_process(), which looks at what is ready and moves the state on.
 *
 *     CONFIGURED ─launch→ STARTING ─READY→ RUNNING ─→ (STOPPING) ─VMM gone→ STOPPED or FAILED
 *                            └─VMM gone, deadline─→ (probe of KVM) ─→ FAILED
 *
 * From STOPPED and FAILED a launch leads to STARTING again. Each launch begins a new life, with a number, so
 * that whoever belongs to an earlier one is not fooled by the present state.
 *
 * A boot that fails or takes long may be KVM's fault: there are hosts on which /dev/kvm opens and a kernel
 * cannot run. So the probe is asked then, and only then: a box that boots pays nothing for it.
 */
#include "runtime/box.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "proto/ports.h"
#include "runtime/errors.h"
#include "runtime/kvm_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define TERM_GRACE_MS 1000 /* from SIGTERM to SIGKILL of a VMM that is given up */
#define SUSPICIOUS_MS 3000 /* a boot that takes longer makes us ask the probe */

enum { TAG_EVENTS = 1, TAG_LISTEN = 2, TAG_CONTROL = 4, TAG_CHILD = 8, TAG_PROBE = 16 };

bool box_ended(const struct cubby_box *box)
{
    return box->state == CUBBY_STOPPED || box->state == CUBBY_FAILED;
}

static void unwatch(struct cubby_box *box, int *fd)
{
    waiter_remove(&box->waiter, *fd);
    fd_closep(fd);
}

/* ---- the end
 * ---------------------------------------------------------------------------------------------*/

static void finish(struct cubby_box *box, enum cubby_state state)
{
    box_enter(box, state);
    unwatch(box, &box->listen_fd);
    waiter_remove(&box->waiter, box->control.fd);
    control_fini(&box->control);
    kvm_probe_fini(&box->probe);
    waiter_set_timer(&box->waiter, WAITER_NEVER);
    waiter_finish(&box->waiter);
    log_info(LOG_BOX, "box %s: %s", box->folder.id, box->failure.message);
}

/* Ends the VM for good: asks first, so that it tells the console's last lines, and kills it a second later.
 */
static void end_vm(struct cubby_box *box)
{
    if (box->kill_ns != WAITER_NEVER)
        return;
    child_signal(&box->vmm.child, SIGTERM);
    box->kill_ns = now_ns() + TERM_GRACE_MS * NSEC_PER_MSEC;
}

static void start_probe(struct cubby_box *box)
{
    struct err e;
    box->probe_state = PROBE_DONE;
    if (kvm_cache_read(box->folder.base, box->setup.vmm, &e) == KVM_USABLE)
        return;
    if (kvm_probe_start(&box->probe, box->setup.vmm, &e) < 0)
        log_info(LOG_BOX, "cannot probe KVM: %s", e.text);
    else if (waiter_add(&box->waiter, box->probe.out_fd, EPOLLIN, TAG_PROBE) < 0)
        kvm_probe_fini(&box->probe);
    else
        box->probe_state = PROBE_RUNS;
}

/* It did not boot, and the probe had no objection to KVM: the reason stands as it is. */
static void fail_boot(struct cubby_box *box)
{
    box->failure = box->reason;
    finish(box, CUBBY_FAILED);
}

static void vm_gone_while_starting(struct cubby_box *box, bool guest_ran)
{
    struct err e;
    vmm_process_explain(&box->vmm, &box->folder, &e);
    bool about_kvm = !guest_ran && strstr(e.text, "/dev/kvm");
    if (!box->reason.code) /* a deadline may have given one before it killed the VM */
        fail(&box->reason, about_kvm ? CUBBY_EKVM : CUBBY_EBOOT, "the box did not start: %s%s", e.text,
             about_kvm ? "; try 'cubby doctor'" : "");
    box->vm_gone = true;
    if (guest_ran && box->probe_state == PROBE_IDLE)
        start_probe(box);
    if (box->probe_state != PROBE_RUNS)
        fail_boot(box);
}

static bool clean_end(const struct vmm_process *p)
{
    return p->told_end && p->end.kind == VMM_ENDED &&
           (strcmp(p->end.name, "poweroff") == 0 || strcmp(p->end.name, "reboot") == 0);
}

static void vm_gone(struct cubby_box *box)
{
    char path[BOX_PATH_MAX];
    struct err e = {0};
    timeline_stamp(&box->timeline, MARK_STOPPED);
    folder_file(&box->folder, "timeline.json", path);
    timeline_load(&box->timeline, path);
    bool guest_ran = vmm_process_explain(&box->vmm, &box->folder, &e);
    if (box->stop_asked) {
        fail(&box->failure, CUBBY_ESTOPPED, "the box was stopped");
        finish(box, CUBBY_STOPPED);
    } else if (box->state == CUBBY_STARTING) {
        vm_gone_while_starting(box, guest_ran);
    } else if (clean_end(&box->vmm)) {
        fail(&box->failure, CUBBY_ESTOPPED, "the box has stopped: %s", e.text);
        finish(box, CUBBY_STOPPED);
    } else {
        bool disk = box->disk_failure[0];
        fail(&box->failure, CUBBY_EGUEST_LOST, "the box is lost: %s%s%s%s", e.text,
             box->control.out_of_memory ? " (it had run out of memory; try more)" : "",
             disk ? "; before, this host failed a request of its disk: " : "", box->disk_failure);
        finish(box, CUBBY_FAILED);
    }
}

/* ---- what can happen
 * -------------------------------------------------------------------------------------*/

/* The command in the box sees an I/O error, which tells nobody that it is this host whose disk is full. */
static void note_disk_failure(struct cubby_box *box, const char *why)
{
    snprintf(box->disk_failure, sizeof(box->disk_failure), "%s", why);
    log_warn(LOG_BOX, "box %s: this host failed a request of its disk: %s", box->folder.id, why);
}

static void on_events(struct cubby_box *box)
{
    struct vmm_event ev;
    while (vmm_process_event(&box->vmm, &ev) > 0) {
        if (ev.kind == VMM_MARK)
            log_debug(LOG_BOX, "box %s: %s", box->folder.id, ev.name);
        else if (ev.kind == VMM_DISK)
            note_disk_failure(box, ev.detail);
    }
    /* At the end of the stream the descriptor was closed, and so left the epoll set. */
}

static void on_child(struct cubby_box *box)
{
    if (!child_reap(&box->vmm.child, false))
        return;
    on_events(box); /* its last words are in the pipe */
    waiter_remove(&box->waiter, box->vmm.child.pidfd);
    vm_gone(box);
}

/* A VM whose agent breaks the contract is of no use. */
static void give_up_guest(struct cubby_box *box, const char *why)
{
    if (box->state == CUBBY_STARTING && !box->reason.code)
        fail(&box->reason, CUBBY_EPROTOCOL, "the box did not start: %s", why);
    end_vm(box);
}

static void on_listen(struct cubby_box *box)
{
    struct err e;
    int fd = accept4(box->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    control_attach(&box->control, fd);
    unwatch(box, &box->listen_fd); /* PID 1 comes once */
    if (waiter_add(&box->waiter, fd, EPOLLIN, TAG_CONTROL) < 0)
        give_up_guest(box, "no memory to watch its agent");
    else if (control_process(&box->control, &e) < 0)
        give_up_guest(box, e.text);
}

static void on_control(struct cubby_box *box)
{
    struct err e;
    int ret = control_process(&box->control, &e);
    if (ret < 0)
        log_info(LOG_BOX, "box %s: %s", box->folder.id, e.text);
    if (ret < 0 && ret != -ENODATA && box->state == CUBBY_STARTING)
        give_up_guest(box, e.text);
}

static void note_ready(struct cubby_box *box)
{
    if (box->state != CUBBY_STARTING || !box->control.ready || box->vm_gone)
        return;
    timeline_stamp(&box->timeline, MARK_READY);
    box_enter(box, CUBBY_RUNNING);
    unwatch(box, &box->listen_fd);
    waiter_remove(&box->waiter, box->probe.out_fd);
    kvm_probe_fini(&box->probe);
    box->probe_state = PROBE_DONE;
    log_info(LOG_BOX, "box %s runs Linux %s", box->folder.id, box->control.hello.release);
}

static int fail_kvm(struct cubby_error *out, const struct err *why)
{
    return fail(out, CUBBY_EKVM, "this host's KVM cannot run a box: %s; 'cubby doctor' tells more",
                why->text);
}

static void on_probe(struct cubby_box *box)
{
    struct err e;
    if (!kvm_probe_continue(&box->probe))
        return;
    box->probe_state = PROBE_DONE;
    json_t *answer = kvm_probe_answer(&box->probe, &e);
    enum kvm_verdict verdict = answer ? kvm_probe_verdict(answer, &e) : KVM_UNKNOWN;
    json_decref(answer);
    kvm_cache_write(box->folder.base, box->setup.vmm, verdict, e.text);
    if (verdict == KVM_UNUSABLE) {
        fail_kvm(&box->reason, &e);
        end_vm(box);
    }
    if (box->vm_gone)
        fail_boot(box);
}

static void on_time(struct cubby_box *box)
{
    uint64_t now = now_ns();
    if (now >= box->kill_ns) {
        child_signal(&box->vmm.child, SIGKILL);
        box->kill_ns = WAITER_NEVER - 1; /* once, and no more SIGTERM either */
    }
    if (box->state != CUBBY_STARTING)
        return;
    if (now >= box->suspicious_ns && box->probe_state == PROBE_IDLE)
        start_probe(box);
    if (now >= box->boot_deadline_ns && !box->reason.code) {
        fail(&box->reason, CUBBY_EBOOT,
             "the box was not ready after %u ms and was ended; see the console's last lines",
             box->setup.boot_timeout_ms);
        end_vm(box);
    }
    if (box->probe_state == PROBE_RUNS)
        on_probe(box);
}

static void set_timer(struct cubby_box *box)
{
    uint64_t when = box->kill_ns < WAITER_NEVER - 1 ? box->kill_ns : WAITER_NEVER;
    if (box->state == CUBBY_STARTING) {
        if (box->probe_state == PROBE_IDLE && box->suspicious_ns < when)
            when = box->suspicious_ns;
        if (box->probe_state == PROBE_RUNS && box->probe.deadline_ns < when)
            when = box->probe.deadline_ns;
        if (!box->reason.code && box->boot_deadline_ns < when)
            when = box->boot_deadline_ns;
    }
    waiter_set_timer(&box->waiter, when);
}

void box_process(struct cubby_box *box)
{
    uint32_t ready = waiter_ready(&box->waiter);
    if (box->state == CUBBY_CONFIGURED || box_ended(box) || ready == 0)
        return;
    if (ready & TAG_EVENTS)
        on_events(box);
    if (ready & TAG_LISTEN)
        on_listen(box);
    if (ready & TAG_CONTROL)
        on_control(box);
    note_ready(box);
    if (ready & TAG_PROBE && box->probe_state == PROBE_RUNS)
        on_probe(box);
    if (ready & TAG_CHILD && !box_ended(box))
        on_child(box);
    if (ready & WAITER_TIMER && !box_ended(box))
        on_time(box);
    if (!box_ended(box))
        set_timer(box);
    waiter_announce(&box->waiter);
}

void box_kill(struct cubby_box *box)
{
    if (box->state == CUBBY_CONFIGURED || box_ended(box))
        return;
    box->stop_asked = true;
    if (box->vm_gone) {
        fail(&box->failure, CUBBY_ESTOPPED, "the box was stopped");
        finish(box, CUBBY_STOPPED);
        return;
    }
    child_signal(&box->vmm.child, SIGKILL);
    child_reap(&box->vmm.child, true);
    on_child(box);
}

/* ---- the start
 * -------------------------------------------------------------------------------------------*/

static int watch_all(struct cubby_box *box, struct err *e)
{
    int ret = waiter_add(&box->waiter, box->vmm.events_fd, EPOLLIN, TAG_EVENTS);
    if (ret == 0)
        ret = waiter_add(&box->waiter, box->vmm.child.pidfd, EPOLLIN, TAG_CHILD);
    if (ret == 0)
        ret = waiter_add(&box->waiter, box->listen_fd, EPOLLIN, TAG_LISTEN);
    return ret < 0 ? err_set(e, ret, "cannot watch the VMM: %s", strerror(-ret)) : 0;
}

/* All that belongs to an earlier life, but how it ended. */
static void forget_life(struct cubby_box *box)
{
    waiter_remove(&box->waiter, box->vmm.events_fd);
    vmm_process_fini(&box->vmm);
    control_init(&box->control); /* it was closed at the end */
    timeline_fini(&box->timeline);
    box->timeline = (struct timeline){0};
    box->probe_state = PROBE_IDLE;
    box->stop_asked = box->vm_gone = false;
    box->reason.code = 0;
    box->disk_failure[0] = '\0';
    folder_refresh(&box->folder);
}

static void begin_life(struct cubby_box *box)
{
    box->earlier = box->failure;
    box->failure = (struct cubby_error){0};
    box->life++;
    box_enter(box, CUBBY_STARTING);
    waiter_resume(&box->waiter);
}

int box_launch(struct cubby_box *box, struct cubby_error *error)
{
    struct err e;
    char path[BOX_PATH_MAX];
    const struct box_setup *s = &box->setup;
    struct vmm_config config = {
        .program = s->vmm,
        .kernel = s->kernel,
        .initrd = s->initrd,
        .rootfs_fd = s->rootfs_fd,
        .disk_fd = s->disk_fd,
        .cpus = s->cpus,
        .memory_mib = s->memory_mib,
        .timeline = s->flags & CUBBY_BOX_TIMELINE,
        .log_fd = s->flags & CUBBY_BOX_LOG || log_enabled(LOG_VMM, LOG_INFO) ? STDERR_FILENO : -1,
    };
    if (kvm_cache_read(box->folder.base, s->vmm, &e) == KVM_UNUSABLE)
        return fail_kvm(error, &e);
    forget_life(box);
    /* Before the VM: the guest must find us listening whenever it comes. */
    folder_file(&box->folder, "vsock.sock_1024", path);
    _Static_assert(PROTO_PORT_CONTROL == 1024, "the name above");
    box->listen_fd = unix_listen(path, 1, &e);
    if (box->listen_fd < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    timeline_stamp(&box->timeline, MARK_SPAWN);
    uint64_t now = box->timeline.at_ns[MARK_SPAWN];
    box->boot_deadline_ns = now + s->boot_timeout_ms * NSEC_PER_MSEC;
    box->kill_ns = WAITER_NEVER;
    box->suspicious_ns = now + SUSPICIOUS_MS * NSEC_PER_MSEC;
    int ret = vmm_process_start(&box->vmm, &config, &box->folder, &e);
    if (ret == 0)
        ret = watch_all(box, &e);
    if (ret < 0) {
        vmm_process_fini(&box->vmm);
        fd_closep(&box->listen_fd);
        return fail_err(error, CUBBY_ECONFIG, &e);
    }
    begin_life(box);
    log_info(LOG_BOX, "box %s starts: VMM %d, %u CPUs, %u MiB", box->folder.id, (int)box->vmm.child.pid,
             s->cpus, s->memory_mib);
    set_timer(box);
    return 0;
}
