/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: PID 1 stays in the root group, where no limit reaches it; <root>/cubby holds all
 * workloads, and its memory.max makes the kernel look for a victim among them before the machine itself runs
 * out. (It is taken of what is free at boot: what the kernel holds by then is on no group's account.)
 * Programs inside may make groups of their own below theirs, so signals, kill and removal go down the tree,
 * to a bounded depth.
 */
#include "guest-init/cgroup.h"

#include "base/own.h"
#include "guest-init/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BOX_NAME    "cubby"
#define DEPTH_MAX   64
#define CPU_PERIOD  100000u /* microseconds: the kernel's default */
#define CPU_MIN_US  1000u   /* the least quota that the kernel takes */
#define CONTROLLERS "+memory +pids +cpu"

uint64_t cgroup_reserve(uint64_t free_memory)
{
    uint64_t reserve = free_memory / 16, least = 4u << 20, most = 64u << 20;
    return reserve < least ? least : reserve > most ? most : reserve;
}

static int open_group(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int cgroup_make_box(const char *root, uint64_t free_memory, uint64_t *memory, struct err *e)
{
    CLEANUP(fd_closep) int top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return err_sys(e, "cannot open '%s'", root);
    int ret = file_put(top, "cgroup.subtree_control", CONTROLLERS);
    if (ret < 0)
        return err_set(e, ret, "cannot enable controllers in '%s': %s", root, strerror(-ret));
    if (mkdirat(top, BOX_NAME, 0755) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make group '%s/%s'", root, BOX_NAME);
    CLEANUP(fd_closep) int box = open_group(top, BOX_NAME);
    if (box < 0)
        return err_set(e, box, "cannot open group '%s/%s': %s", root, BOX_NAME, strerror(-box));
    uint64_t reserve = cgroup_reserve(free_memory);
    *memory = free_memory > 2 * reserve ? free_memory - reserve : 0;
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)*memory);
    ret = *memory ? file_put(box, "memory.max", text) : 0;
    if (ret == 0)
        ret = file_put(box, "cgroup.subtree_control", CONTROLLERS);
    if (ret < 0)
        return err_set(e, ret, "cannot set up group '%s/%s': %s", root, BOX_NAME, strerror(-ret));
    return STEAL_FD(box);
}

static int set_limits(int group, const struct cgroup_limits *l, struct err *e)
{
    char text[48];
    if (l->memory_max) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)l->memory_max);
        int ret = file_put(group, "memory.max", text);
        if (ret < 0)
            return err_set(e, ret, "cannot limit memory to %s bytes: %s", text, strerror(-ret));
    }
    if (l->pids_max) {
        snprintf(text, sizeof(text), "%u", l->pids_max);
        int ret = file_put(group, "pids.max", text);
        if (ret < 0)
            return err_set(e, ret, "cannot limit processes to %s: %s", text, strerror(-ret));
    }
    if (l->cpu_millis) {
        uint64_t quota = (uint64_t)l->cpu_millis * CPU_PERIOD / 1000;
        snprintf(text, sizeof(text), "%llu %u", (unsigned long long)(quota < CPU_MIN_US ? CPU_MIN_US : quota),
                 CPU_PERIOD);
        int ret = file_put(group, "cpu.max", text);
        if (ret < 0)
            return err_set(e, ret, "cannot limit the processor time to '%s': %s", text, strerror(-ret));
    }
    return 0;
}

int cgroup_make(int parent, const char *name, const struct cgroup_limits *limits, struct err *e)
{
    if (mkdirat(parent, name, 0755) < 0)
        return err_sys(e, "cannot make the control group '%s'", name);
    CLEANUP(fd_closep) int group = open_group(parent, name);
    int ret = group < 0 ? err_set(e, group, "cannot open the control group '%s': %s", name, strerror(-group))
                        : set_limits(group, limits, e);
    if (ret < 0) {
        unlinkat(parent, name, AT_REMOVEDIR);
        return ret;
    }
    return STEAL_FD(group);
}

int cgroup_kill(int group)
{
    return file_put(group, "cgroup.kill", "1");
}

/* Calls fn(directory, name of a group in it, arg) for each group below `group`. */
static void for_groups_below(int group, void (*fn)(int parent, const char *name, void *arg), void *arg)
{
    int copy = openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        fd_closep(&copy);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(d)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            fn(group, entry->d_name, arg);
    closedir(d);
}

struct signal_walk {
    int signo, depth;
    unsigned count;
};

static void signal_group(int group, struct signal_walk *w);

static void signal_child(int parent, const char *name, void *arg)
{
    struct signal_walk *w = arg;
    CLEANUP(fd_closep) int group = open_group(parent, name);
    if (group >= 0)
        signal_group(group, w);
}

static void signal_group(int group, struct signal_walk *w)
{
    int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    if (!f)
        fd_closep(&fd);
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1)
        /* 0 stands for a process of another pid namespace: to kill(2) it would be ourselves. */
        if (pid > 1 && kill(pid, w->signo) == 0)
            w->count++;
    if (f)
        fclose(f);
    if (w->depth < DEPTH_MAX) {
        w->depth++;
        for_groups_below(group, signal_child, w);
        w->depth--;
    }
}

unsigned cgroup_signal(int group, int signo)
{
    struct signal_walk w = {.signo = signo};
    signal_group(group, &w);
    return w.count;
}

struct remove_walk {
    int depth;
};

static void remove_child(int parent, const char *name, void *arg)
{
    struct remove_walk *w = arg;
    CLEANUP(fd_closep) int group = open_group(parent, name);
    if (group >= 0 && w->depth < DEPTH_MAX) {
        w->depth++;
        for_groups_below(group, remove_child, w);
        w->depth--;
    }
    unlinkat(parent, name, AT_REMOVEDIR);
}

bool cgroup_remove(int parent, const char *name)
{
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    CLEANUP(fd_closep) int group = open_group(parent, name);
    char text[256];
    /* Groups below keep it busy too; they are only taken away when nothing lives in any of them. */
    if (group < 0 || file_get(group, "cgroup.events", text, sizeof(text)) < 0 ||
        keyed_value(text, "populated") != 0)
        return false;
    struct remove_walk w = {0};
    for_groups_below(group, remove_child, &w);
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

void cgroup_read_stats(int group, struct cgroup_stats *stats)
{
    char text[512];
    *stats = (struct cgroup_stats){0};
    if (file_get(group, "memory.peak", text, sizeof(text)) == 0)
        stats->mem_peak = strtoull(text, NULL, 10);
    if (file_get(group, "memory.events", text, sizeof(text)) == 0)
        stats->oom_kills = keyed_value(text, "oom_kill");
    /* "oom" counts where the limit is, "oom_kill" also where the victims are: see mem_cgroup_oom() in Linux.
     */
    if (stats->oom_kills && file_get(group, "memory.events.local", text, sizeof(text)) == 0)
        stats->own_ooms = keyed_value(text, "oom");
    if (file_get(group, "pids.events", text, sizeof(text)) == 0)
        stats->pids_denied = keyed_value(text, "max");
}
