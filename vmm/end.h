/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a VM ends: every end has a name, and cubby-vmm an exit code for it.
 */
#ifndef CUBBY_VMM_END_H
#define CUBBY_VMM_END_H

#include <stdbool.h>
#include <stddef.h>

#define END_DETAIL_MAX 320

enum end_reason {
    END_NONE,           /* still running */
    END_POWEROFF,       /* the guest's init asked for power-off */
    END_REBOOT,         /* the guest's init asked for a reset */
    END_STOPPED,        /* asked to stop: SIGTERM, SIGINT, SIGHUP */
    END_OWNER_GONE,     /* the other end of --die-with is closed */
    END_PANIC,          /* the guest's kernel panicked; detail has its words */
    END_INIT_FAILED,    /* the guest's init gave up; the console has its words */
    END_TRIPLE_FAULT,   /* reset without notice: a triple fault, or a reset that nobody announced */
    END_INTERNAL_ERROR, /* KVM could not go on with the guest */
    END_VCPU_ERROR,     /* an exit that this VMM does not handle, or one that KVM calls failed */
    END_HOST_ERROR,     /* the host failed us: KVM_RUN or a loop returned an error */
    END_REASONS
};

/*
 * A guest whose CPUs all halt with interrupts off is not among the ends: with the local APICs in KVM a halted
 * vCPU waits there and never comes back to us. The owner's timeout ends such a VM.
 */
struct end {
    enum end_reason reason;
    char detail[END_DETAIL_MAX]; /* one line for people; may be empty */
};

/* "poweroff", "panic"…: stable names, for events and scripts. */
const char *end_name(enum end_reason reason);

/*
 * Exit code of cubby-vmm. 0 for power-off, reboot and ends that somebody asked for; a number of its own for
 * each thing that went wrong, so that a script can tell them apart.
 */
int end_exit_code(enum end_reason reason);

/* Looks for the words of a Linux panic in a console's output (any bytes) and puts them, up to the end of
 * their line, into `words`. False when there are none. */
bool end_find_panic(const char *output, size_t len, char *words, size_t cap);

#define END_EXIT_PANIC          10
#define END_EXIT_INIT_FAILED    11
#define END_EXIT_TRIPLE_FAULT   12
#define END_EXIT_INTERNAL_ERROR 13
#define END_EXIT_VCPU_ERROR     14
#define END_EXIT_HOST_ERROR     15
#define END_EXIT_SETUP          125 /* not an end: the guest never ran */

#endif
