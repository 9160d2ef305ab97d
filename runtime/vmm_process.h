/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of a box's VM: cubby-vmm with its flags, the stream of its events, and the pipe whose closing
 * ends it when we die, however that happens.
 */
#ifndef CUBBY_RUNTIME_VMM_PROCESS_H
#define CUBBY_RUNTIME_VMM_PROCESS_H

#include "base/err.h"
#include "runtime/events.h"
#include "runtime/folder.h"
#include "runtime/spawn.h"

#include <stdbool.h>

struct vmm_config {
    const char *program; /* path of cubby-vmm */
    const char *kernel, *initrd;
    int rootfs_fd; /* the root file system's image, open for reading; stays the caller's */
    int disk_fd;   /* what the box writes to, likewise; -1: its memory */
    unsigned cpus, memory_mib;
    bool timeline; /* write timeline.json into the folder */
    int log_fd;    /* the VMM's stderr; -1: vmm.log in the folder */
};

struct vmm_process {
    struct child child;
    int events_fd; /* owned, non-blocking; -1 once it has ended */
    int alive_fd;  /* owned: the write end that the VMM watches; nothing is ever written */
    struct line_reader lines;
    bool told_end; /* an "ended" or "failed" event came */
    struct vmm_event end;
};

/* Starts it with its files in `folder`. 0 or a negative errno; *p is then zeroed but for its descriptors, -1.
 */
int vmm_process_start(struct vmm_process *p, const struct vmm_config *c, const struct box_folder *folder,
                      struct err *e);

/*
 * Takes the next event, without waiting: 1 with *ev filled, 0 when there is none now, -EPIPE when no more
 * will come. What cannot be understood ends the stream.
 */
int vmm_process_event(struct vmm_process *p, struct vmm_event *ev);

/* Kills it if it runs, reaps it, closes all. Safe on a zeroed one (with descriptors -1) and twice. */
void vmm_process_fini(struct vmm_process *p);

/*
 * Says in one line why the VM ended, from its last event, its exit status and its log, in this order, and
 * returns whether its guest ever ran. For a child that was reaped.
 */
bool vmm_process_explain(const struct vmm_process *p, const struct box_folder *folder, struct err *e);

#endif
