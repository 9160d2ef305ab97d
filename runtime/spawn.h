/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes of a library: no zombie, no descriptor inherited but those named, and an identity that
 * cannot be reused (a pidfd).
 */
#ifndef CUBBY_RUNTIME_SPAWN_H
#define CUBBY_RUNTIME_SPAWN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SPAWN_FDS_MAX 8

struct spawn_fd {
    int from, to; /* descriptor of this process, its number in the child */
};

struct spawn_request {
    const char *path; /* of the program; not looked up */
    char *const *argv;
    size_t nfds; /* at most SPAWN_FDS_MAX; the numbers `to` are 0 … nfds - 1, in any order */
    struct spawn_fd fds[SPAWN_FDS_MAX];
};

struct child {
    pid_t pid;        /* 0: none */
    int pidfd;        /* owned; readable once it has ended */
    bool ended;       /* reaped; `status` holds */
    bool status_lost; /* …unless somebody else reaped it */
    int status;       /* as of waitpid(2) */
};

/*
 * Runs the program with this process's environment, default signal actions, an empty signal mask, and no
 * descriptors but those of `fds` (0, 1 and 2 must be among them). Returns when execve() has succeeded or
 * failed: 0, or a negative errno with *c unchanged. Any thread.
 */
int spawn(struct child *c, const struct spawn_request *r, struct err *e);

/* Sends a signal; nothing happens to one that has ended. */
void child_signal(struct child *c, int signo);
/* Reaps the child if it has ended; `wait`: waits for it. Returns c->ended. */
bool child_reap(struct child *c, bool wait);
/* Kills, reaps and forgets. Safe on a zeroed one and twice. */
void child_fini(struct child *c);

#endif
