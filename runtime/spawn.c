/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: clone(2) the way posix_spawn(3) uses it, with CLONE_VM and CLONE_VFORK: the child runs
 * on a stack of its own in our memory until it has called execve(), so a host program with gigabytes mapped
 * starts a box as quickly as a small one, and an error comes back through a plain variable. What posix_spawn
 * does not offer is CLONE_PIDFD, and closing all descriptors but a few.
 *
 * Like every child it raises SIGCHLD when it ends (execve() sets that, whatever clone() was told), and a host
 * program that waits for any child may reap it before us. Then only the number of the signal that killed it
 * is lost: that it has ended we see by its pidfd, and why it tells us through a pipe.
 */
#include "runtime/spawn.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3 /* linux/wait.h, which cannot be included beside sys/wait.h */
#endif

#define CHILD_STACK (128 * 1024)
#define FIRST_FREE  64 /* spare copies of descriptors go here and above */

struct job {
    const struct spawn_request *r;
    int error; /* errno, set by the child */
};

/*
 * The child's side, in the parent's memory: bare system calls, because a wrapper of libc (or of a sanitizer)
 * would note in that memory that the parent's descriptors and handlers have changed.
 */
#define CHILD_SIDE __attribute__((no_sanitize("address", "thread", "undefined"), noinline))

/* First a copy of each above all numbers wanted, so that no dup3() overwrites another's source. The copies
 * are close-on-exec, the results of dup3() are not. */
CHILD_SIDE static int place_fds(const struct spawn_request *r)
{
    long copy[SPAWN_FDS_MAX];
    for (size_t i = 0; i < r->nfds; i++) {
        copy[i] = syscall(SYS_fcntl, r->fds[i].from, F_DUPFD_CLOEXEC, FIRST_FREE);
        if (copy[i] < 0)
            return errno;
    }
    for (size_t i = 0; i < r->nfds; i++) {
        if (syscall(SYS_dup3, copy[i], r->fds[i].to, 0) < 0)
            return errno;
    }
    return 0;
}

/* Descriptors of the host program that are not close-on-exec must not reach the VMM. */
CHILD_SIDE static void close_others(const struct spawn_request *r)
{
    for (int fd = 0; fd < FIRST_FREE; fd++) {
        bool keep = false;
        for (size_t i = 0; i < r->nfds; i++)
            keep |= r->fds[i].to == fd;
        if (!keep)
            syscall(SYS_close, fd);
    }
    /* Linux 5.9; before it, a host program's own leaks go on leaking. */
    syscall(SYS_close_range, FIRST_FREE, ~0u, 0);
}

/* All signals are blocked until the handlers, which belong to the host program, are gone. A zeroed sigaction
 * is SIG_DFL on every architecture. */
CHILD_SIDE static void reset_signals(void)
{
    const char dfl[64] = {0};
    const unsigned long long none = 0;
    for (int signo = 1; signo < NSIG; signo++)
        syscall(SYS_rt_sigaction, signo, dfl, NULL, sizeof(none));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

CHILD_SIDE static int child_main(void *arg)
{
    struct job *job = arg;
    job->error = place_fds(job->r);
    if (!job->error) {
        close_others(job->r);
        reset_signals();
        syscall(SYS_execve, job->r->path, job->r->argv, environ);
        job->error = errno;
    }
    syscall(SYS_exit_group, 127);
    return 0;
}

static int clone_child(struct job *job, void *stack, struct child *c)
{
    sigset_t all, before;
    int cancel;
    sigfillset(&all);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    c->pid = clone(child_main, (char *)stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                   job, &c->pidfd);
    int ret = c->pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancel, NULL);
    return ret;
}

int spawn(struct child *c, const struct spawn_request *r, struct err *e)
{
    struct job job = {.r = r};
    struct child fresh = {.pidfd = -1};
    void *stack =
        mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return err_sys(e, "cannot allocate a stack to start '%s' with", r->path);
    int ret = clone_child(&job, stack, &fresh);
    munmap(stack, CHILD_STACK);
    if (ret < 0)
        return err_set(e, ret, "cannot create a process for '%s': %s", r->path, strerror(-ret));
    if (job.error) {
        child_fini(&fresh);
        return err_set(e, -job.error, "cannot run '%s': %s", r->path, strerror(job.error));
    }
    *c = fresh;
    return 0;
}

void child_signal(struct child *c, int signo)
{
    if (c->pid > 0 && !c->ended)
        syscall(SYS_pidfd_send_signal, c->pidfd, signo, NULL, 0);
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
