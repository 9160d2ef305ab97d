/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the calls of cubby.h on boxes. Each takes the box's lock, lets box_process() take note
 * of what happened, and answers from the state. A box is freed when its handle and its last execution are
 * gone, so that an execution which outlives cubby_box_destroy() finds a box that is stopped, not freed
 * memory.
 */
#include "runtime/box.h"

#include "base/io.h"
#include "base/own.h"
#include "runtime/errors.h"
#include "runtime/options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TERM_GRACE_MS 1000 /* from SIGTERM to SIGKILL of the VMM */

static void free_box(struct cubby_box *box)
{
    vmm_process_fini(&box->vmm);
    fd_closep(&box->listen_fd);
    control_fini(&box->control);
    kvm_probe_fini(&box->probe);
    box_setup_fini(&box->setup);
    folder_remove(&box->folder);
    timeline_fini(&box->timeline);
    box_news_fini(box);
    waiter_fini(&box->waiter);
    free(box);
}

static struct cubby_box *new_box(void)
{
    struct cubby_box *box = calloc(1, sizeof(*box));
    if (!box)
        return NULL;
    box->refs = 1;
    box->state = CUBBY_CONFIGURED;
    box->listen_fd = box->public_fd = box->news_fd = box->boot_fd = -1;
    box->setup.rootfs_fd = box->setup.disk_fd = -1;
    box->vmm = (struct vmm_process){.child.pidfd = -1, .events_fd = -1, .alive_fd = -1};
    box->probe.out_fd = box->probe.child.pidfd = -1;
    control_init(&box->control);
    return box;
}

int cubby_box_create(struct cubby_box **out, const struct cubby_box_options *options,
                     struct cubby_error *error)
{
    struct cubby_box_options o;
    struct err e;
    if (!out)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_create: out is NULL");
    *out = NULL;
    int ret = options_copy(&o, sizeof(o), offsetof(struct cubby_box_options, image), options, error);
    if (ret < 0)
        return ret;
    struct cubby_box *box = new_box();
    if (!box)
        return fail(error, CUBBY_ERESOURCE, "no memory for a box");
    if (waiter_init(&box->waiter, &e) < 0 || box_news_init(box, &e) < 0)
        ret = fail_err(error, CUBBY_ERESOURCE, &e);
    else if (folder_create(&box->folder, &e) < 0)
        ret = fail_err(error, CUBBY_ECONFIG, &e);
    else
        ret = box_set_up(&box->setup, &o, &box->folder, error);
    if (ret < 0) {
        free_box(box);
        return ret;
    }
    *out = box;
    return 0;
}

int cubby_box_start(struct cubby_box *box, struct cubby_error *error)
{
    if (!box)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_start: box is NULL");
    waiter_lock(&box->waiter);
    box_process(box); /* its VM may have ended */
    int ret = box->state == CUBBY_CONFIGURED || box_ended(box)
                  ? box_launch(box, error)
                  : fail(error, CUBBY_ESTATE, "the box %s",
                         box->state == CUBBY_STOPPING ? "is being stopped" : "was started before and runs");
    waiter_unlock(&box->waiter);
    return ret;
}

/* With the lock held. */
static int verdict(struct cubby_box *box, struct cubby_error *why)
{
    switch (box->state) {
    case CUBBY_CONFIGURED:
        return fail(why, CUBBY_ESTATE, "the box was not started");
    case CUBBY_STARTING:
        return CUBBY_EAGAIN;
    case CUBBY_RUNNING:
        return 0;
    case CUBBY_STOPPING:
        return fail(why, CUBBY_ESTOPPED, "the box is being stopped");
    default:
        return fail_copy(why, &box->failure);
    }
}

int cubby_box_wait_ready(struct cubby_box *box, int timeout_ms, struct cubby_error *error)
{
    if (!box)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_wait_ready: box is NULL");
    uint64_t until = waiter_deadline(timeout_ms);
    waiter_lock(&box->waiter);
    int ret;
    for (;;) {
        box_process(box);
        ret = verdict(box, error);
        if (ret != CUBBY_EAGAIN)
            break;
        if (!waiter_wait(&box->waiter, until)) {
            ret = fail(error, CUBBY_ETIMEOUT, "the box is not ready after %d ms", timeout_ms);
            break;
        }
    }
    waiter_unlock(&box->waiter);
    return ret;
}

/* With the lock held: true when the VM of that life has ended by `until_ns`. Another thread may have started
 * the next one by then. */
static bool wait_ended(struct cubby_box *box, unsigned life, uint64_t until_ns)
{
    for (;;) {
        box_process(box);
        if (box_ended(box) || box->life != life)
            return true;
        if (!waiter_wait(&box->waiter, until_ns))
            return false;
    }
}

int cubby_box_wait_ended(struct cubby_box *box, int timeout_ms, struct cubby_error *error)
{
    if (!box)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_wait_ended: box is NULL");
    int ret = 0;
    waiter_lock(&box->waiter);
    if (box->state == CUBBY_CONFIGURED)
        ret = fail(error, CUBBY_ESTATE, "the box was not started");
    else if (!wait_ended(box, box->life, waiter_deadline(timeout_ms)))
        ret = fail(error, CUBBY_ETIMEOUT, "the box has not ended after %d ms", timeout_ms);
    waiter_unlock(&box->waiter);
    return ret;
}

int cubby_box_fd(struct cubby_box *box)
{
    return box ? box->public_fd : CUBBY_EARGUMENT;
}

int cubby_box_state(struct cubby_box *box)
{
    if (!box)
        return CUBBY_EARGUMENT;
    waiter_lock(&box->waiter);
    box_process(box);
    int state = (int)box->state;
    box_news_told(box);
    waiter_unlock(&box->waiter);
    return state;
}

int cubby_box_failure(struct cubby_box *box, struct cubby_error *error)
{
    if (!box)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_failure: box is NULL");
    waiter_lock(&box->waiter);
    box_process(box);
    int ret = box_ended(box) && box->failure.code ? fail_copy(error, &box->failure) : 0;
    waiter_unlock(&box->waiter);
    return ret;
}

int cubby_box_stop(struct cubby_box *box, int grace_ms, struct cubby_error *error)
{
    if (!box || grace_ms < 0)
        return fail(error, CUBBY_EARGUMENT, "cubby_box_stop: %s",
                    box ? "grace_ms is negative" : "box is NULL");
    waiter_lock(&box->waiter);
    box_process(box);
    if (box->state != CUBBY_CONFIGURED && !box_ended(box)) {
        unsigned life = box->life;
        bool asked = grace_ms > 0 && control_shutdown(&box->control, (uint32_t)grace_ms) == 0;
        box->stop_asked = true;
        box_enter(box, CUBBY_STOPPING);
        waiter_announce(&box->waiter);
        if (!asked || !wait_ended(box, life, waiter_deadline(grace_ms)))
            child_signal(&box->vmm.child, SIGTERM);
        if (!wait_ended(box, life, waiter_deadline(TERM_GRACE_MS)))
            box_kill(box);
    }
    waiter_unlock(&box->waiter);
    return 0;
}

void cubby_box_destroy(struct cubby_box *box)
{
    if (!box)
        return;
    waiter_lock(&box->waiter);
    box_kill(box);
    if (!box_ended(box)) {
        fail(&box->failure, CUBBY_ESTOPPED, "the box was destroyed");
        box_enter(box, CUBBY_STOPPED);
        waiter_finish(&box->waiter);
    }
    folder_remove(&box->folder);
    waiter_unlock(&box->waiter);
    box_unref(box);
}

const char *cubby_box_id(const struct cubby_box *box)
{
    return box ? box->folder.id : "";
}

pid_t cubby_box_pid(struct cubby_box *box)
{
    if (!box)
        return 0;
    waiter_lock(&box->waiter);
    pid_t pid = box->vmm.child.ended ? 0 : box->vmm.child.pid;
    waiter_unlock(&box->waiter);
    return pid;
}

size_t cubby_box_console(struct cubby_box *box, char *text, size_t cap)
{
    if (!box || !text || cap == 0)
        return 0;
    waiter_lock(&box->waiter);
    const char *from = box->vmm.end.tail;
    size_t len = strlen(from);
    if (len >= cap) {
        from += len - (cap - 1);
        len = cap - 1;
    }
    memcpy(text, from, len);
    text[len] = '\0';
    waiter_unlock(&box->waiter);
    return text_make_printable(text, 1);
}

int cubby_box_timeline(struct cubby_box *box, struct cubby_mark *marks, size_t cap, struct cubby_error *error)
{
    if (!box || (!marks && cap > 0))
        return fail(error, CUBBY_EARGUMENT, "cubby_box_timeline: %s is NULL", box ? "marks" : "box");
    waiter_lock(&box->waiter);
    int ret = box->setup.flags & CUBBY_BOX_TIMELINE && box->state != CUBBY_CONFIGURED
                  ? (int)timeline_list(&box->timeline, marks, cap)
                  : fail(error, CUBBY_ESTATE,
                         "the box has no timeline: ask for it with CUBBY_BOX_TIMELINE, and start it");
    waiter_unlock(&box->waiter);
    return ret;
}

char *cubby_box_timeline_json(struct cubby_box *box)
{
    if (!box)
        return NULL;
    waiter_lock(&box->waiter);
    char *text = box->setup.flags & CUBBY_BOX_TIMELINE && box->state != CUBBY_CONFIGURED
                     ? timeline_text(&box->timeline)
                     : NULL;
    waiter_unlock(&box->waiter);
    return text;
}

/* ---- for executions
 * --------------------------------------------------------------------------------------*/

struct cubby_box *box_ref(struct cubby_box *box)
{
    waiter_lock(&box->waiter);
    box->refs++;
    waiter_unlock(&box->waiter);
    return box;
}

void box_unref(struct cubby_box *box)
{
    waiter_lock(&box->waiter);
    bool last = --box->refs == 0;
    waiter_unlock(&box->waiter);
    if (last)
        free_box(box);
}

unsigned box_life(struct cubby_box *box)
{
    waiter_lock(&box->waiter);
    unsigned life = box->life;
    waiter_unlock(&box->waiter);
    return life;
}

int box_check(struct cubby_box *box, unsigned life, struct cubby_error *why)
{
    waiter_lock(&box->waiter);
    box_process(box);
    int ret = box->life == life ? verdict(box, why) : fail_copy(why, &box->earlier);
    waiter_unlock(&box->waiter);
    return ret;
}

void box_stamp(struct cubby_box *box, enum timeline_mark mark)
{
    waiter_lock(&box->waiter);
    timeline_stamp(&box->timeline, mark);
    waiter_unlock(&box->waiter);
}

bool box_is_over(struct cubby_box *box, unsigned life, struct cubby_error *why)
{
    waiter_lock(&box->waiter);
    box_process(box);
    bool over = box_ended(box) || box->life != life;
    if (over)
        fail_copy(why, box->life == life ? &box->failure : &box->earlier);
    waiter_unlock(&box->waiter);
    return over;
}
