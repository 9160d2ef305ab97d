/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of one execution: its leader and whatever that starts. With control groups (always in a
 * guest) none of them can slip away, whether it forks twice, calls setsid() or is stopped. Without them (the
 * agent on a development machine, in tests) the leader's process group stands in for the tree.
 */
#ifndef CUBBY_GUEST_INIT_TREE_H
#define CUBBY_GUEST_INIT_TREE_H

#include "guest-init/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tree {
    int parent;    /* directory of the box's group, not owned; -1: process groups */
    int group;     /* directory of the tree's own group, owned; -1 */
    char name[24]; /* of the group below `parent` */
    pid_t leader;  /* 0 before the fork */
    bool joined;   /* in the child: it was born in the group */
    bool reaped;   /* set by the owner when the leader was waited for: its pid may belong to others now */
    bool gone;
};

/* Prepares a tree for execution `id`. 0 or a negative errno with the reason in *e. -ENOTSUP when limits are
 * asked for without control groups. */
int tree_create(struct tree *t, int box_group, uint64_t id, const struct cgroup_limits *limits,
                struct err *e);

/*
 * fork(2) of the leader into the tree: the child's first instruction already runs in the group. Returns 0 in
 * the child, the pid in the parent, or a negative errno.
 */
pid_t tree_fork(struct tree *t);

/* In the child, after tree_fork(): what is left to do to be in the tree (a session of its own; the group when
 * the kernel could not fork into it). 0 or a negative errno. */
int tree_enter(const struct tree *t);

void tree_signal(const struct tree *t, int signo);
/* SIGKILL to all. Those that fork at the same time are caught too. */
void tree_kill(const struct tree *t);

/* True when no process is left (then the group is removed). Call it after reaping. */
bool tree_gone(struct tree *t);

/* As cgroup_read_stats(); zeroes without control groups. */
void tree_stats(const struct tree *t, struct cgroup_stats *stats);

/* Gives back what belongs to us; processes that are left stay in their group. Safe on a zeroed struct. */
void tree_fini(struct tree *t);

#endif
