/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between the probe and the architecture: small guests, a few instructions each, that do at the
 * highest privilege what every kernel does.
 */
#ifndef CUBBY_VMM_PROBE_GUEST_H
#define CUBBY_VMM_PROBE_GUEST_H

#include "vmm/kvm.h"

struct probe_guest {
    const char *name; /* of the check: "guest-iretq" */
    const char *does; /* in plain words: "return from an interrupt (iretq)" */
    bool timed;       /* it loops PROBE_LOOP_INSNS instructions between two reports, and again */
};

/* Instructions of the timed guest's loop; rounds of it, of which the fastest counts, since the host may have
 * other things to do; and how many instructions a second a processor that runs them itself does at least: an
 * emulator that decodes each one anew stays far below. */
#define PROBE_LOOP_INSNS 200000
#define PROBE_ROUNDS     10
#define PROBE_SLOW_HZ    10000000.0

/* This architecture's guests, in the order of trial. Ends with name == NULL. */
extern const struct probe_guest probe_guests[];

/*
 * Runs guest `g` in a VM of its own until it reports. 0, or a negative errno with the reason in *e. A timed
 * guest's loop took *loop_ns. May not return at all on a KVM that hangs: call it in a process that may be
 * killed.
 */
int probe_guest_run(const struct kvm *k, const struct probe_guest *g, uint64_t *loop_ns, struct err *e);

#endif
