/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, version 2 (Linux Documentation/admin-guide/cgroup-v2.rst): the box's, under which every
 * workload lives with less memory than the machine has, and one below it per execution.
 */
#ifndef CUBBY_GUEST_INIT_CGROUP_H
#define CUBBY_GUEST_INIT_CGROUP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cgroup_limits {
    uint64_t memory_max; /* bytes; 0: none. The others likewise. */
    uint32_t pids_max;
    uint32_t cpu_millis; /* thousandths of one processor */
};

struct cgroup_stats {
    uint64_t mem_peak;    /* bytes; 0 when not known */
    uint64_t oom_kills;   /* processes of the group that the OOM killer took */
    uint64_t own_ooms;    /* how often the group ran out of memory by its own limit, not by one above it */
    uint64_t pids_denied; /* forks refused by the group's own limit */
};

/*
 * Makes <root>/cubby below a mounted cgroup2 `root`, hands the controllers down, and limits its memory to
 * what is free now (`free_memory` bytes) less a reserve for PID 1 and the kernel. Returns its directory's
 * descriptor (the caller's), and the limit in *memory (0: none, the machine is too small), or a negative
 * errno.
 */
int cgroup_make_box(const char *root, uint64_t free_memory, uint64_t *memory, struct err *e);

/* The reserve: 1/16 of the free memory, at least 4 MiB and at most 64 MiB. */
uint64_t cgroup_reserve(uint64_t free_memory);

/* Makes `name` below `parent` with its limits. Returns its directory's descriptor or a negative errno; after
 * an error nothing is left. */
int cgroup_make(int parent, const char *name, const struct cgroup_limits *limits, struct err *e);

/* SIGKILL to every process of the group and of the groups below it. 0 or a negative errno. */
int cgroup_kill(int group);

/* Sends `signo` to each process of the group and of the groups below. Processes that fork meanwhile may be
 * missed: not a way to end a tree. Returns how many were signalled. */
unsigned cgroup_signal(int group, int signo);

/* Removes `name` and the groups below it. True when it is gone, false while processes are in it. */
bool cgroup_remove(int parent, const char *name);

void cgroup_read_stats(int group, struct cgroup_stats *stats);

#endif
