/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host run a box? A list of checks, from "is there a /dev/kvm" to a few small guests that do what
 * kernels do. It tells a KVM that is missing or forbidden from one that opens but cannot run a kernel: in
 * some virtual machines supervisor code is emulated instruction by instruction, and some instructions not at
 * all.
 */
#ifndef CUBBY_VMM_PROBE_H
#define CUBBY_VMM_PROBE_H

#include <stdbool.h>
#include <stdio.h>

#define PROBE_CHECKS_MAX 48
#define PROBE_NAME_MAX   48
#define PROBE_TEXT_MAX   320

struct probe_check {
    char name[PROBE_NAME_MAX];
    bool ok;
    bool required;               /* false: a hint; it does not make the host unusable */
    char detail[PROBE_TEXT_MAX]; /* what was seen, in plain words */
    char remedy[PROBE_TEXT_MAX]; /* what to try; empty when ok */
};

struct probe {
    unsigned count;
    struct probe_check check[PROBE_CHECKS_MAX];
};

/*
 * Does all checks that make sense (no guest is tried without KVM). Each guest runs in a child process with a
 * deadline, so that a KVM that hangs or kills is an answer too: takes at most some 10 s, less than 1 s as a
 * rule. For a process with one thread. `device` is KVM_DEVICE but for tests.
 */
void probe_run(struct probe *p, const char *device);

/* True when every required check passed. */
bool probe_usable(const struct probe *p);

/* Lines "ok   name: detail" or "FAIL name: detail; remedy", then a verdict. */
void probe_print(const struct probe *p, FILE *to);

/* {"usable": bool, "checks": [{"name","ok","required","detail","remedy"}]} and a line feed. 0 or -ENOMEM. */
int probe_print_json(const struct probe *p, FILE *to);

#endif
