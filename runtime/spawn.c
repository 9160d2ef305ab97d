/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: posix_spawn(3), which runs the child in our memory until execve(): a host program with
 * gigabytes mapped starts a box as quickly as a small one, and learns at once when the program cannot be run.
 * A pidfd is opened before anything else is done with the child, so all later calls mean this process and no
 * other that gets its number.
 *
 * Like every child it raises SIGCHLD when it ends, and a host program that waits for any child may reap it
 * before us. Then only the number of the signal that killed it is lost: that it has ended we see by its
 * pidfd, and why it tells us through a pipe.
 */
#include "runtime/spawn.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_COPY 64 /* above all numbers that a child's descriptors get */

/* The sources, copied above all targets: no dup2() of the child overwrites what another one still needs. */
struct copies {
    size_t count;
    int fd[SPAWN_FDS_MAX];
};

static void close_copies(struct copies *c)
{
    for (size_t i = 0; i < c->count; i++)
        close(c->fd[i]);
}

/* What the child does with its descriptors: those of the request, and no others. 0 or a negative errno. */
static int plan_fds(const struct spawn_request *r, struct copies *c, posix_spawn_file_actions_t *actions)
{
    int next = 0, ret = 0;
    for (size_t i = 0; i < r->nfds && ret == 0; i++) {
        int fd = fcntl(r->fds[i].from, F_DUPFD_CLOEXEC, FIRST_COPY);
        if (fd < 0)
            return -errno;
        c->fd[c->count++] = fd;
        ret = posix_spawn_file_actions_adddup2(actions, fd, r->fds[i].to);
        if (r->fds[i].to >= next)
            next = r->fds[i].to + 1;
    }
    if (ret == 0)
        ret = posix_spawn_file_actions_addclosefrom_np(actions, next);
    return -ret;
}

/* No signal blocked, none ignored, whatever the host program does with them. 0 or a negative errno. */
static int plan_signals(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int ret = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (ret == 0)
        ret = posix_spawnattr_setsigdefault(attr, &all);
    if (ret == 0)
        ret = posix_spawnattr_setsigmask(attr, &none);
    return -ret;
}

static int start(struct child *c, const struct spawn_request *r, posix_spawn_file_actions_t *actions,
                 posix_spawnattr_t *attr)
{
    struct child fresh = {.pidfd = -1};
    int ret = posix_spawn(&fresh.pid, r->path, actions, attr, r->argv, environ);
    if (ret != 0)
        return -ret;
    fresh.pidfd = pidfd_open(fresh.pid, 0);
    if (fresh.pidfd < 0) {
        ret = -errno;
        kill(fresh.pid, SIGKILL);
        waitpid(fresh.pid, NULL, 0);
        return ret;
    }
    *c = fresh;
    return 0;
}

int spawn(struct child *c, const struct spawn_request *r, struct err *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    struct copies copies = {0};
    int ret = -posix_spawn_file_actions_init(&actions);
    if (ret < 0)
        return err_set(e, ret, "cannot prepare a process for '%s': %s", r->path, strerror(-ret));
    ret = -posix_spawnattr_init(&attr);
    if (ret == 0) {
        ret = plan_signals(&attr);
        if (ret == 0)
            ret = plan_fds(r, &copies, &actions);
        if (ret == 0)
            ret = start(c, r, &actions, &attr);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    close_copies(&copies);
    return ret < 0 ? err_set(e, ret, "cannot run '%s': %s", r->path, strerror(-ret)) : 0;
}

void child_signal(struct child *c, int signo)
{
    if (c->pid > 0 && !c->ended)
        pidfd_send_signal(c->pidfd, signo, NULL, 0);
}

bool child_reap(struct child *c, bool wait)
{
    if (c->pid <= 0 || c->ended)
        return c->ended;
    siginfo_t info = {0};
    int ret;
    do {
        ret = waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | (wait ? 0 : WNOHANG));
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        c->ended = c->status_lost = true; /* ECHILD: somebody else reaped it */
    } else if (info.si_pid) {
        c->ended = true;
        c->status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status & 0x7F;
    }
    return c->ended;
}

void child_fini(struct child *c)
{
    if (c->pid <= 0)
        return;
    child_signal(c, SIGKILL);
    child_reap(c, true);
    fd_closep(&c->pidfd);
    *c = (struct child){.pidfd = -1};
}
