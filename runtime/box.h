/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A box from the inside: what cubby.h promises about struct cubby_box, and what executions need of it.
 *
 * Locking: all members are guarded by waiter.lock, but those set by box_set_up() and never changed after. An
 * execution may take its box's lock while it holds its own, never the other way round.
 */
#ifndef CUBBY_RUNTIME_BOX_H
#define CUBBY_RUNTIME_BOX_H

#include "cubby.h"
#include "runtime/box_image.h"
#include "runtime/control.h"
#include "runtime/folder.h"
#include "runtime/kvm_probe.h"
#include "runtime/timeline.h"
#include "runtime/vmm_process.h"
#include "runtime/waiter.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct box_setup {
    char vmm[PATH_MAX], kernel[PATH_MAX], initrd[PATH_MAX];
    unsigned cpus, memory_mib, boot_timeout_ms, flags;
    int rootfs_fd; /* owned */
    struct box_image image;
    int disk_fd; /* owned; the box's own disk, a file without a name; -1: it has none */
};

struct cubby_box {
    struct waiter waiter; /* executions and copies watch its descriptor */
    int public_fd;        /* epoll: what cubby_box_fd() gives; see box_news.c for these three */
    int news_fd;          /* eventfd: the state has changed since cubby_box_state() told it */
    int boot_fd;          /* eventfd, for executions that wait for this boot; -1: there are none */
    unsigned refs;        /* the caller's handle, and each execution */
    struct box_setup setup;
    struct box_folder folder;

    enum cubby_state state;
    struct cubby_error failure; /* why it is stopped or failed */
    unsigned life;              /* how many times it was started */
    struct cubby_error earlier; /* how the life before the present one ended */
    struct vmm_process vmm;
    int listen_fd; /* where PID 1 connects to; -1 when it has, or before the start */
    struct control control;
    bool stop_asked;
    uint64_t kill_ns;                    /* when a VMM that was given up is killed */
    char disk_failure[EVENT_DETAIL_MAX]; /* why the host failed a request of a disk; "": it did not */

    /* While it boots. */
    struct kvm_probe probe;
    enum { PROBE_IDLE, PROBE_RUNS, PROBE_DONE } probe_state;
    bool vm_gone;              /* ended before it was ready; waits for the probe's word */
    struct cubby_error reason; /* then: why */
    uint64_t suspicious_ns, boot_deadline_ns;

    struct timeline timeline;
};

/* Checks the options and fills *s: finds the assets, opens or makes the image, makes the disk. `folder`
 * exists. In any case box_setup_fini() afterwards. */
int box_set_up(struct box_setup *s, const struct cubby_box_options *options, struct box_folder *folder,
               struct cubby_error *error);
void box_setup_fini(struct box_setup *s);

/* Starts the VM of a box that has none. With the lock held; on failure its state stays. */
int box_launch(struct cubby_box *box, struct cubby_error *error);
/* Takes note of all that happened. With the lock held. */
void box_process(struct cubby_box *box);
/* Ends the VM by force and takes note. With the lock held. */
void box_kill(struct cubby_box *box);
bool box_ended(const struct cubby_box *box);

/* box_news.c: descriptors by which others learn of the box; made once the waiter is. */
int box_news_init(struct cubby_box *box, struct err *e);
void box_news_fini(struct cubby_box *box);
/* Changes the state, which is news for all. With the lock held. */
void box_enter(struct cubby_box *box, enum cubby_state state);
/* The caller has been told the state. With the lock held. */
void box_news_told(struct cubby_box *box);

/* For executions; these take the lock. */
struct cubby_box *box_ref(struct cubby_box *box);
void box_unref(struct cubby_box *box);
/* The present life, which an execution belongs to. */
unsigned box_life(struct cubby_box *box);
/* CUBBY_OK when that life runs, CUBBY_EAGAIN while it boots, else why it does not, with *why filled. */
int box_check(struct cubby_box *box, unsigned life, struct cubby_error *why);
/* 0 with a descriptor for the caller to close in *fd, which is readable, and stays so, once the boot of that
 * life is over; -1 in it when it is already. Or a negative errno. */
int box_watch_boot(struct cubby_box *box, unsigned life, int *fd);
/* Stamps the timeline, once for each mark. */
void box_stamp(struct cubby_box *box, enum timeline_mark mark);
/* True when the VM of that life has ended, with the reason in *why. */
bool box_is_over(struct cubby_box *box, unsigned life, struct cubby_error *why);

#endif
