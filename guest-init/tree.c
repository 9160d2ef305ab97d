/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: clone3(CLONE_INTO_CGROUP) puts the child into its group before it exists for anybody,
 * and is also the quick way: moving a process later takes a lock that waits for every CPU. Where the kernel
 * refuses it (a filter, an old kernel), the child writes itself into cgroup.procs before it does anything
 * else.
 */
#include "guest-init/tree.h"

#include "base/own.h"
#include "guest-init/files.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int tree_create(struct tree *t, int box_group, uint64_t id, const struct cgroup_limits *limits, struct err *e)
{
    *t = (struct tree){.parent = box_group, .group = -1};
    if (box_group < 0) {
        if (limits->memory_max || limits->pids_max || limits->cpu_millis)
            return err_set(e, -ENOTSUP, "limits need control groups, which are not available here");
        return 0;
    }
    snprintf(t->name, sizeof(t->name), "%llu", (unsigned long long)id);
    t->group = cgroup_make(box_group, t->name, limits, e);
    return t->group < 0 ? t->group : 0;
}

pid_t tree_fork(struct tree *t)
{
    pid_t pid = -1;
    errno = ENOSYS;
    if (t->group >= 0) {
        struct clone_args args = {0};
        args.flags = CLONE_INTO_CGROUP;
        args.exit_signal = SIGCHLD;
        args.cgroup = (unsigned)t->group;
        pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        t->joined = pid == 0; /* the child's copy */
    }
    if (pid < 0 && (errno == ENOSYS || errno == EINVAL || errno == EPERM))
        pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0)
        t->leader = pid;
    return pid;
}

int tree_enter(const struct tree *t)
{
    if (t->group >= 0 && !t->joined) {
        int ret = file_put(t->group, "cgroup.procs", "0");
        if (ret < 0)
            return ret;
    }
    return setsid() < 0 ? -errno : 0;
}

/* Without a group. A leader that has not come to its setsid() yet is no process group: signal it alone. */
static void signal_session(const struct tree *t, int signo)
{
    if (kill(-t->leader, signo) < 0 && errno == ESRCH && !t->reaped)
        kill(t->leader, signo);
}

void tree_signal(const struct tree *t, int signo)
{
    if (t->gone || t->leader <= 0)
        return;
    if (t->group >= 0)
        cgroup_signal(t->group, signo);
    else
        signal_session(t, signo);
}

void tree_kill(const struct tree *t)
{
    if (t->gone)
        return;
    /* cgroup.kill came with Linux 5.14; signalling twice is the best that an older one can do. */
    if (t->group >= 0 && cgroup_kill(t->group) < 0) {
        cgroup_signal(t->group, SIGKILL);
        cgroup_signal(t->group, SIGKILL);
    } else if (t->group < 0 && t->leader > 0) {
        signal_session(t, SIGKILL);
    }
}

bool tree_gone(struct tree *t)
{
    if (!t->gone && t->group >= 0)
        t->gone = cgroup_remove(t->parent, t->name);
    else if (!t->gone)
        t->gone = t->leader <= 0 || (t->reaped && kill(-t->leader, 0) < 0 && errno == ESRCH);
    if (t->gone && t->parent >= 0)
        fd_closep(&t->group); /* whoever is still interested in its end needs no descriptor for it */
    return t->gone;
}

void tree_stats(const struct tree *t, struct cgroup_stats *stats)
{
    *stats = (struct cgroup_stats){0};
    if (t->group >= 0 && !t->gone)
        cgroup_read_stats(t->group, stats);
}

void tree_fini(struct tree *t)
{
    if (t->name[0]) {
        tree_gone(t);
        fd_closep(&t->group);
    }
    *t = (struct tree){.parent = -1, .group = -1};
}
