/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table. A mount that fails is fatal only when nothing works without it; an image
 * whose /tmp is a plain file still boots. The mounts of the initramfs stay where they are: the new root is
 * mounted over them, and mounting /proc and /dev again costs less than moving them into an image whose /proc
 * may be anything.
 */
#include "guest-init/mounts.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

struct mount_entry {
    const char *type, *path;
    mode_t mode; /* of the folder, when it has to be made */
    unsigned long flags;
    const char *options;
    bool vital;
};

static const struct mount_entry final[] = {
    {"proc", "/proc", 0555, SAFE, NULL, true},
    {"sysfs", "/sys", 0555, SAFE, NULL, true},
    {"devtmpfs", "/dev", 0755, MS_NOSUID, "mode=0755", true},
    /* ptmxmode: programs may use /dev/pts/ptmx; gid 5 is tty in every distribution. */
    {"devpts", "/dev/pts", 0755, MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", true},
    {"tmpfs", "/dev/shm", 01777, MS_NOSUID | MS_NODEV, "mode=1777", false},
    {"mqueue", "/dev/mqueue", 01777, SAFE, NULL, false},
    {"tmpfs", "/run", 0755, MS_NOSUID | MS_NODEV, "mode=0755", false},
    {"tmpfs", "/tmp", 01777, MS_NOSUID | MS_NODEV, "mode=1777", false},
    {"cgroup2", "/sys/fs/cgroup", 0755, SAFE, NULL, false},
};

static const struct {
    const char *target, *path;
} links[] = {
    {"/proc/self/fd", "/dev/fd"},
    {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"},
    {"/proc/self/fd/2", "/dev/stderr"},
};

static int mount_entry(const struct mount_entry *m, struct err *e)
{
    if (mount(m->type, m->path, m->type, m->flags, m->options) == 0)
        return 0;
    if (errno == EBUSY)
        return 0; /* without a root of its own we still are where mounts_early() was */
    /* The folder is there in almost every image: made only when the mount says that it is not. */
    if (errno == ENOENT && mkdir(m->path, m->mode) == 0 &&
        mount(m->type, m->path, m->type, m->flags, m->options) == 0)
        return 0;
    return err_sys(e, "cannot mount %s at '%s'", m->type, m->path);
}

int mounts_early(struct err *e)
{
    static const struct mount_entry early[] = {
        {"devtmpfs", "/dev", 0755, MS_NOSUID, "mode=0755", true},
        {"proc", "/proc", 0555, SAFE, NULL, true},
    };
    int ret = 0;
    for (size_t i = 0; i < ARRAY_LEN(early) && ret == 0; i++)
        ret = mount_entry(&early[i], e);
    return ret;
}

int mounts_final(struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(final); i++) {
        int ret = mount_entry(&final[i], e);
        if (ret < 0 && final[i].vital)
            return ret;
        if (ret < 0)
            log_warn(LOG_INIT, "%s", e->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(links); i++)
        if (symlink(links[i].target, links[i].path) < 0 && errno != EEXIST)
            log_warn(LOG_INIT, "cannot link '%s': %s", links[i].path, strerror(errno));
    return 0;
}
