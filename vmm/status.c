/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: each event is one write(2) of one line, under a lock, by the thread that saw it
 * happen. */
#include "vmm/status.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

int status_init(struct status *s, const char *to, struct err *e)
{
    *s = (struct status){.fd = -1};
    pthread_mutex_init(&s->lock, NULL);
    if (!to)
        return 0;
    char *end;
    errno = 0;
    long fd = strtol(to, &end, 10);
    if (*to && !*end) {
        if (errno || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0)
            return err_set(e, -EBADF, "--events: %s is not an open descriptor", to);
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        s->fd = (int)fd;
        return 0;
    }
    s->fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    s->owned = true;
    return s->fd < 0 ? err_sys(e, "--events: cannot open '%s'", to) : 0;
}

void status_fini(struct status *s)
{
    if (s->owned)
        fd_closep(&s->fd);
    s->fd = -1;
    pthread_mutex_destroy(&s->lock);
}

void status_event(struct status *s, const char *name, uint64_t t_ns, json_t *more)
{
    json_t *line = NULL;
    if (s->fd >= 0) {
        line = json_pack("{s:s, s:I}", "event", name, "t_ns", (json_int_t)t_ns);
        if (more)
            json_object_update(line, more);
    }
    json_decref(more);
    CLEANUP(mem_freep) char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text)
        return;
    size_t len = strlen(text);
    text[len] = '\n';
    pthread_mutex_lock(&s->lock);
    int r = write_full(s->fd, text, len + 1);
    pthread_mutex_unlock(&s->lock);
    if (r)
        log_info(LOG_VMM, "event '%s' could not be written: %s", name, strerror(-r));
}
