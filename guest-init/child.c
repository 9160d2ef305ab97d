/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the steps are a table, because their order matters and each has the stage that its
 * failure is reported as. Files of the image (passwd, group, the search path) are only touched here, in a
 * process of its own inside the execution's group: whatever they are, PID 1 does not wait for them.
 * Privileges are dropped before the working directory and the command are looked at, so that both are found,
 * or refused, as the user would.
 *
 * PID 1 has one thread, so the child of its fork may use the whole C library.
 */
#include "guest-init/child.h"

#include "base/own.h"
#include "guest-init/files.h"
#include "guest-init/lookup.h"
#include "guest-init/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct child_report) <= PIPE_BUF, "a report is written in one piece");

struct child {
    const struct child_plan *plan;
    struct user_ids ids;
    const char **env; /* final environment */
    char home[USER_HOME_MAX + 5];
    uint16_t stage; /* of a failure, when it is another than the step's */
};

static int enter_tree(struct child *c, struct err *e)
{
    int ret = tree_enter(c->plan->tree);
    if (ret < 0)
        return err_set(e, ret, "cannot enter the execution's group: %s", strerror(-ret));
    /* Without this the kernel would spare the workload as it spares PID 1. */
    if (c->plan->reset_oom_score)
        file_put(-1, "/proc/self/oom_score_adj", "0");
    return 0;
}

static int set_signals(struct child *c, struct err *e)
{
    (void)c;
    /* Handlers end with execve(), but what is ignored stays so: SIGPIPE, and whatever an agent that is not
     * PID 1 inherited. Asked of the kernel itself, because libraries keep 32 and 33 for themselves. All zeros
     * are SIG_DFL, without flags, restorer and mask. */
    static const uint64_t by_default[4];
    sigset_t none;
    sigemptyset(&none);
    for (int signo = 1; signo < NSIG; signo++)
        syscall(SYS_rt_sigaction, signo, by_default, NULL, sizeof(uint64_t));
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return err_sys(e, "cannot reset the signal mask");
    return 0;
}

static int set_stdio(struct child *c, struct err *e)
{
    CLEANUP(fd_closep) int null = -1;
    for (int i = 0; i < STREAMS; i++) {
        int fd = c->plan->stdio[i];
        if (fd < 0 && null < 0 && (null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
            return err_sys(e, "cannot open '/dev/null'");
        if (dup2(fd < 0 ? null : fd, i) < 0)
            return err_sys(e, "cannot set up descriptor %d", i);
    }
    return 0;
}

static int set_tty(struct child *c, struct err *e)
{
    if (c->plan->tty >= 0 && ioctl(c->plan->tty, TIOCSCTTY, 0) < 0)
        return err_sys(e, "cannot make the terminal the controlling one");
    return 0;
}

static int set_limits(struct child *c, struct err *e)
{
    struct rlimit files = {.rlim_cur = CHILD_NOFILE_SOFT, .rlim_max = CHILD_NOFILE_HARD};
    /* Needs CAP_SYS_RESOURCE to raise: an agent without it leaves what there is. */
    setrlimit(RLIMIT_NOFILE, &files);
    const struct exec_request *q = c->plan->request;
    for (uint32_t i = 0; i < q->rlimit_count; i++) {
        const struct exec_rlimit *l = &q->rlimit[i];
        struct rlimit r = {.rlim_cur = l->soft, .rlim_max = l->hard};
        /* The call itself: C libraries disagree on the type of a resource. */
        if (syscall(SYS_prlimit64, 0, l->resource, &r, NULL) < 0)
            return err_sys(e, "cannot limit resource %u to %llu (hard %llu)", l->resource,
                           (unsigned long long)l->soft, (unsigned long long)l->hard);
    }
    return 0;
}

/* The working directory with the folders above it, where they are missing; what is there stays as it is. */
static int make_folder(struct child *c, struct err *e)
{
    char path[EXEC_CWD_MAX + 1];
    const struct exec_request *q = c->plan->request;
    umask(022); /* the command's, too */
    if (!(q->flags & EXEC_MAKE_CWD) || !q->cwd)
        return 0;
    size_t len = strlen(q->cwd);
    memcpy(path, q->cwd, len + 1); /* in bounds: the decoder has seen to it */
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i])
            continue;
        char end = path[i];
        path[i] = '\0';
        /* A file system that cannot be written says so even of a folder that is there. */
        if (mkdir(path, 0755) < 0 && errno != EEXIST && errno != EROFS)
            return err_sys(e, "cannot make the working directory '%.200s'", path);
        path[i] = end;
    }
    return 0;
}

static int set_user(struct child *c, struct err *e)
{
    const char *user = c->plan->request->user;
    if (!user) {
        strcpy(c->ids.home, getuid() == 0 ? "/root" : "/");
        return 0;
    }
    int ret = user_resolve(user, "/etc/passwd", "/etc/group", &c->ids, e);
    if (ret < 0)
        return ret;
    const struct user_ids *ids = &c->ids;
    /* Nothing to change (and no right needed) when it is who we are already. */
    if (getuid() == ids->uid && geteuid() == ids->uid && ids->uid != 0)
        return 0;
    if (c->plan->tty >= 0 && fchown(c->plan->tty, ids->uid, (gid_t)-1) < 0)
        return err_sys(e, "cannot give the terminal to user '%.64s'", user);
    if (setgroups(ids->group_count, ids->groups) < 0 || setresgid(ids->gid, ids->gid, ids->gid) < 0 ||
        setresuid(ids->uid, ids->uid, ids->uid) < 0)
        return err_sys(e, "cannot become user '%.64s' (uid %u, gid %u)", user, ids->uid, ids->gid);
    return 0;
}

static int set_folder(struct child *c, struct err *e)
{
    const char *cwd = c->plan->request->cwd ? c->plan->request->cwd : "/";
    if (chdir(cwd) < 0)
        return err_sys(e, "cannot enter the working directory '%.200s'", cwd);
    return 0;
}

/* The value of NAME among the variables, or NULL. */
static const char *env_value(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* The request's variables, and PATH, HOME and (on a terminal) TERM where it has none. */
static int set_environment(struct child *c, struct err *e)
{
    const char *const *given = c->plan->request->envp;
    size_t count = 0;
    while (given[count])
        count++;
    c->env = calloc(count + 4, sizeof(*c->env));
    if (!c->env)
        return err_set(e, -ENOMEM, "no memory for %zu environment entries", count);
    memcpy(c->env, given, count * sizeof(*given));
    if (!env_value(given, "PATH"))
        c->env[count++] = "PATH=" LOOKUP_DEFAULT_PATH;
    snprintf(c->home, sizeof(c->home), "HOME=%s", c->ids.home);
    if (!env_value(given, "HOME"))
        c->env[count++] = c->home;
    if (c->plan->tty >= 0 && !env_value(given, "TERM"))
        c->env[count++] = "TERM=xterm";
    return 0;
}

static int run_command(struct child *c, struct err *e)
{
    char file[PATH_MAX];
    const char *const *argv = c->plan->request->argv;
    int ret = lookup_command(argv[0], env_value(c->env, "PATH"), file, e);
    if (ret < 0)
        return ret;
    /* execve() takes pointers to what it does not change. */
    execve(file, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)c->env);
    c->stage = STAGE_EXECVE;
    return lookup_explain(file, errno, e);
}

static const struct step {
    uint16_t stage;
    int (*run)(struct child *c, struct err *e);
} steps[] = {
    {STAGE_CGROUP, enter_tree}, /* first: all that follows is on the execution's account */
    {STAGE_RESOURCE, set_signals},
    {STAGE_RESOURCE, set_stdio},
    {STAGE_TTY, set_tty},       /* needs the session of enter_tree */
    {STAGE_RLIMIT, set_limits}, /* raising limits needs root */
    {STAGE_CWD, make_folder},   /* as root, whoever the user is */
    {STAGE_USER, set_user},
    {STAGE_CWD, set_folder},
    {STAGE_RESOURCE, set_environment}, /* needs the user's home */
    {STAGE_LOOKUP, run_command},       /* does not return when it succeeds */
};

_Noreturn void child_run(const struct child_plan *plan)
{
    struct child c = {.plan = plan};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct err e = {0};
        int ret = steps[i].run(&c, &e);
        if (ret == 0)
            continue;
        struct child_report report = {.stage = c.stage ? c.stage : steps[i].stage, .errnum = -ret};
        memcpy(report.text, e.text, sizeof(report.text));
        ssize_t ignored = write(plan->report, &report, sizeof(report));
        (void)ignored; /* the parent is gone then */
        break;
    }
    _exit(127);
}
