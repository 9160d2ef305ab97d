/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps SIGPIPE from this thread while a library writes to connections that may be closed. Signal actions are
 * the process's, and not ours to change; the mask is the thread's.
 */
#ifndef CUBBY_OCI_SIGPIPE_H
#define CUBBY_OCI_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

struct sigpipe {
    sigset_t old;
    bool was_pending;
};

void sigpipe_hold(struct sigpipe *s);
/* Takes away what came meanwhile, but not what was pending before. Keeps errno. */
void sigpipe_release(struct sigpipe *s);

#endif
