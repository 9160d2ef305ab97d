/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `cubby-vmm --probe --json` as a child process: can this host's KVM run a kernel? Costs about a second, so
 * boxes ask only when a boot has failed or takes suspiciously long.
 */
#ifndef CUBBY_RUNTIME_KVM_PROBE_H
#define CUBBY_RUNTIME_KVM_PROBE_H

#include "base/err.h"
#include "runtime/kvm_cache.h"
#include "runtime/spawn.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define KVM_PROBE_TIMEOUT_MS 60000

struct kvm_probe {
    struct child child;
    int out_fd; /* owned, non-blocking; watch it for reading; -1 when done or not started */
    char *text;
    size_t len, cap;
    uint64_t deadline_ns;
    bool done;
};

/* `program` is the path of cubby-vmm. 0 or a negative errno. */
int kvm_probe_start(struct kvm_probe *p, const char *program, struct err *e);
/* Goes on without waiting; returns true when the probe has ended, one way or the other. Call it when out_fd
 * is readable, and at the deadline. */
bool kvm_probe_continue(struct kvm_probe *p);
/* The whole answer, a new reference for the caller, or NULL with a text that says why there is none. */
json_t *kvm_probe_answer(struct kvm_probe *p, struct err *e);
/* Kills, reaps and frees. Safe on a zeroed one with out_fd -1, and twice. */
void kvm_probe_fini(struct kvm_probe *p);

/* Starts, waits and ends in one call, for callers who may block. */
json_t *kvm_probe_run(const char *program, struct err *e);

/*
 * The verdict of an answer. KVM_UNUSABLE: *e says which required check failed and what to try. KVM_UNKNOWN:
 * the answer has not the form of one; or all that failed is a matter of time (slow, or no answer within
 * seconds), which may as well be this host's load, and *e says so.
 */
enum kvm_verdict kvm_probe_verdict(const json_t *answer, struct err *e);

#endif
