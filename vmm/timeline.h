/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a VM passed which boundary, in nanoseconds since the VMM's main() began, and what its boot cost in
 * exits. (The time between execve() and main() is not in it: a static program of ours spends it in the
 * kernel. Who starts the VMM can add it: "start_ns" is main()'s CLOCK_MONOTONIC.)
 */
#ifndef CUBBY_VMM_TIMELINE_H
#define CUBBY_VMM_TIMELINE_H

#include "base/err.h"
#include "vmm/end.h"
#include "vmm/exits.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In the order in which they are passed. */
enum timeline_mark {
    MARK_MAIN,          /* main() began: 0 */
    MARK_VM_CREATED,    /* KVM_CREATE_VM returned */
    MARK_MEMORY_READY,  /* guest memory is mapped and known to KVM */
    MARK_DEVICES_READY, /* devices, their sockets and files, vCPUs' descriptors */
    MARK_KERNEL_LOADED, /* kernel, initrd, device tree are in guest memory */
    MARK_FIRST_RUN,     /* just before the first KVM_RUN */
    MARK_INIT_STARTED,  /* doorbell: PID 1's main() */
    MARK_ROOT_READY,    /* doorbell: the root file system is there */
    MARK_AGENT_READY,   /* doorbell: executions can be served */
    MARK_ENDED,         /* the VM's end is known */
    TIMELINE_MARKS
};

/* Stamped by any thread, once each; no lock. */
struct timeline {
    uint64_t start_ns;                               /* CLOCK_MONOTONIC at MARK_MAIN */
    _Atomic uint64_t since_start_ns[TIMELINE_MARKS]; /* + 1; 0: not passed */
};

/* "main", "vm-created"… */
const char *timeline_name(enum timeline_mark mark);

void timeline_init(struct timeline *t, uint64_t start_ns);

/* Stamps `mark` with the time now, unless it was stamped before. Returns whether this was the first time. */
bool timeline_stamp(struct timeline *t, enum timeline_mark mark);

/* Nanoseconds since main() at which `mark` was passed; false when it was not. */
bool timeline_at(const struct timeline *t, enum timeline_mark mark, uint64_t *ns);

/* Exits by kind, and by the device that caused them. */
#define EXIT_REPORT_DEVICES 80

struct exit_report {
    uint64_t by_kind[EXIT_KINDS];
    unsigned ndevices;
    struct {
        const char *name;
        uint64_t hits;
    } device[EXIT_REPORT_DEVICES];
};

struct bus;

/* Adds the accesses to each range of a bus, and those that no device answered under the name `unclaimed`. */
void exit_report_bus(struct exit_report *r, const struct bus *b, const char *unclaimed);

/* {"total": n, "by_kind": {...}, "by_device": {...}}; kinds and devices without an exit are left out. A new
 * reference, NULL without memory. */
json_t *exit_report_json(const struct exit_report *r);

/*
 * {"version": 1, "start_ns", "marks": {"main": 0, …}, "exits_until_ready": {…} or null, "exits": {…}, "end":
 * {"reason", "detail"}}. `until_ready` may be NULL. A new reference, NULL without memory.
 */
json_t *timeline_json(const struct timeline *t, const struct exit_report *until_ready,
                      const struct exit_report *total, const struct end *end);

/* Writes it to a file, whole or not at all. */
int timeline_write(const char *path, json_t *json, struct err *e);

#endif
