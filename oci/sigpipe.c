/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: SIGPIPE goes to the thread that wrote. Blocked, it stays pending there, and
 * sigtimedwait(2) takes it away. */
#include "oci/sigpipe.h"

#include <errno.h>
#include <time.h>

static bool is_pending(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

void sigpipe_hold(struct sigpipe *s)
{
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    s->was_pending = is_pending();
    pthread_sigmask(SIG_BLOCK, &pipe_only, &s->old);
}

void sigpipe_release(struct sigpipe *s)
{
    static const struct timespec at_once;
    int saved = errno;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!s->was_pending && is_pending()) {
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &s->old, NULL);
    errno = saved;
}
