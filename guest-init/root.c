/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: in the initramfs the image is mounted read-only at /lower and the writable layer (a
 * disk or a tmpfs) at /upper; overlayfs joins both at /root, which then becomes "/" by MS_MOVE and chroot(2),
 * as switch_root(8) does. The initramfs holds nothing but PID 1's own binary, which stays mapped anyway, so
 * there is nothing worth deleting in it.
 *
 * /lower and /upper are hidden below the new root from then on. A descriptor of the writable disk's folder is
 * kept: through it the disk is made read-only at the end, which writes its journal out and leaves it clean.
 * (It cannot be unmounted, since PID 1 itself lives on it.)
 */
#include "guest-init/root.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE_WAIT_MS 2000

/* Devices of virtio-mmio are there before PID 1 starts. Should one be late, wait for its name to appear. */
static int wait_for_device(const char *path, struct err *e)
{
    if (access(path, F_OK) == 0)
        return 0;
    CLEANUP(fd_closep) int watch = inotify_init1(IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, "/dev", IN_CREATE) < 0)
        return err_sys(e, "cannot watch '/dev'");
    uint64_t end = now_ns() + DEVICE_WAIT_MS * NSEC_PER_MSEC;
    while (access(path, F_OK) < 0) {
        uint64_t now = now_ns();
        char events[4096];
        struct pollfd p = {.fd = watch, .events = POLLIN};
        if (now >= end)
            return err_set(e, -ENODEV, "there is no device '%s'", path);
        if (poll(&p, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) == 1 &&
            read(watch, events, sizeof(events)) < 0)
            return err_sys(e, "cannot watch '/dev'");
    }
    return 0;
}

static int mount_disk(const char *device, const char *at, const char *type, unsigned long flags,
                      struct err *e)
{
    int ret = wait_for_device(device, e);
    if (ret < 0)
        return ret;
    if (mkdir(at, 0755) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make '%s'", at);
    if (mount(device, at, type, flags, NULL) < 0)
        return err_sys(e, "cannot mount '%s' (%s)", device, type);
    return 0;
}

static int mount_upper(const struct boot_config *c, struct err *e)
{
    if (c->upper[0])
        return mount_disk(c->upper, "/upper", "ext4", MS_NOATIME, e);
    char options[64] = "mode=0755";
    if (c->upper_size[0])
        snprintf(options, sizeof(options), "mode=0755,size=%s", c->upper_size);
    if (mkdir("/upper", 0755) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make '/upper'");
    if (mount("tmpfs", "/upper", "tmpfs", 0, options) < 0)
        return err_sys(e, "cannot mount a tmpfs (%s)", options);
    return 0;
}

/* overlayfs shows the upper layer's "/" where both have one: give it the image's mode and owner, the first
 * time. */
static int make_layers(struct err *e)
{
    struct stat st;
    if (mkdir("/upper/work", 0755) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make the overlay's work folder");
    if (mkdir("/upper/data", 0755) < 0)
        return errno == EEXIST ? 0 : err_sys(e, "cannot make the overlay's upper folder");
    if (stat("/lower", &st) < 0 || chown("/upper/data", st.st_uid, st.st_gid) < 0 ||
        chmod("/upper/data", st.st_mode & 07777) < 0)
        return err_sys(e, "cannot set the mode of the root folder");
    return 0;
}

static int mount_overlay(const struct boot_config *c, struct err *e)
{
    int ret = mount_disk(c->root, "/lower", c->root_type, MS_RDONLY | MS_NOATIME, e);
    if (ret == 0)
        ret = mount_upper(c, e);
    if (ret == 0)
        ret = make_layers(e);
    if (ret < 0)
        return ret;
    /* A tmpfs is lost with the machine: there is nothing to sync for. */
    const char *options = c->upper[0] ? "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work"
                                      : "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work,volatile";
    if (mount("overlay", "/root", "overlay", 0, options) < 0)
        return err_sys(e, "cannot join image and upper layer by overlayfs");
    return 0;
}

/* The disk that the box writes to, or -1. */
static int open_writable(const struct boot_config *c)
{
    const char *path = c->root_rw ? "/root" : c->upper[0] ? "/upper" : NULL;
    return path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

int root_enter(const struct boot_config *c, int *disk, struct err *e)
{
    *disk = -1;
    if (!c->root[0])
        return 0;
    if (mkdir("/root", 0700) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make '/root'");
    int ret = c->root_rw ? mount_disk(c->root, "/root", c->root_type, MS_NOATIME, e) : mount_overlay(c, e);
    if (ret < 0)
        return ret;
    *disk = open_writable(c);
    if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return err_sys(e, "cannot move into the root file system");
    return 0;
}

void root_leave(int disk)
{
    char path[32];
    sync();
    if (disk < 0)
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
        log_warn(LOG_INIT, "cannot make the disk read-only: %s; its journal will be replayed",
                 strerror(errno));
}
