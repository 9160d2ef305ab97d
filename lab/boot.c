/* SPDX-License-Identifier: Apache-2.0
 *
 * How the lab comes up, in the order of events:
 *
 *   1. drivers: lab/prepare put those that are needed into the initrd, numbered
 *      in the order of their dependencies;
 *   2. the root: the host's own root over 9p, read-only, as the lower layer of
 *      an overlay whose upper layer is in memory; the initrd's root gives way
 *      to it (an initrd cannot be unmounted, only covered and left by chroot);
 *   3. /proc, /sys, /dev and so on, from a table;
 *   4. settings, from a table: write this into that file.
 *
 * See docs/lab.md for the why of each.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CLOCK_STEP_MS 10
#define CLOCK_TRIES   1000

#define P9 "trans=virtio,version=9p2000.L,msize=512000,"

struct mount_entry {
    const char *what, *where, *type;
    unsigned long flags;
    const char *data;
    bool optional; /* not every kernel has it, and few programs need it */
};

/* cache=loose keeps what was read and never asks the host again: fast, and
 * right as long as nobody changes the host's files during the session. */
static const struct mount_entry root_mounts[] = {
    {"host", "/host", "9p", MS_RDONLY, P9 "cache=loose", false},
    {"layer", "/layer", "tmpfs", 0, "size=90%,mode=755", false},
};

static const struct mount_entry system_mounts[] = {
    {"proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false},
    {"sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false},
    {"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755", false},
    {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,gid=5,ptmxmode=666", false},
    {"shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", false},
    {"mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true},
    {"run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755", false},
    {"cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate", false},
    {"securityfs", "/sys/kernel/security", "securityfs", 0, NULL, true},
    {"tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL, true},
    {"debugfs", "/sys/kernel/debug", "debugfs", 0, NULL, true},
};

/* Opening one of these makes the kernel load its driver. */
static const struct {
    const char *path;
    unsigned major, minor;
} nodes[] = {
    {"/dev/net/tun", 10, 200}, {"/dev/vhost-net", 10, 238},    {"/dev/vhost-vsock", 10, 241},
    {"/dev/fuse", 10, 229},    {"/dev/loop-control", 10, 237},
};

static const char *const links[][2] = {
    {"/proc/self/fd", "/dev/fd"},
    {"/proc/self/fd/0", "/dev/stdin"},
    {"/proc/self/fd/1", "/dev/stdout"},
    {"/proc/self/fd/2", "/dev/stderr"},
};

static const struct {
    const char *path, *value;
} settings[] = {
    {"/proc/sys/kernel/hostname", "lab"},
    {"/proc/sys/kernel/modprobe", "/sbin/modprobe"},
    /* A VM's memory in 2 MiB pages: each 4 KiB page costs a nested page fault. */
    {"/sys/kernel/mm/transparent_hugepage/enabled", "always"},
    {"/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise"},
    /* A VM may be larger than the lab as long as it does not touch it all. */
    {"/proc/sys/vm/overcommit_memory", "1"},
    /* One write each: a controller that is missing must not spoil the others. */
    {"/sys/fs/cgroup/cgroup.subtree_control", "+memory"},
    {"/sys/fs/cgroup/cgroup.subtree_control", "+pids"},
    {"/sys/fs/cgroup/cgroup.subtree_control", "+cpu"},
    {"/sys/fs/cgroup/cgroup.subtree_control", "+io"},
    {"/sys/fs/cgroup/cgroup.subtree_control", "+cpuset"},
};

_Noreturn void fatal(const char *what)
{
    fprintf(stderr, "lab-agent: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* The kernel measures the speed of its TSC roughly at first and refines that a
 * second later. KVM takes note of the speed when its module is loaded: if that
 * was the rough one, it gives guests a TSC of another speed than the CPU's by
 * means that QEMU's emulation lacks, and their timers go off by as much later
 * as the lab is old: "sleep 1" took 16 seconds. */
static void wait_for_clock(void)
{
    static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    char name[32] = "";

    mkdir("/sys", 0755);
    if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
        fatal("/sys");
    for (int tries = 0; tries < CLOCK_TRIES; tries++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);

        if (fd >= 0)
            close(fd);
        name[n > 0 ? n : 0] = '\0';
        if (strncmp(name, "tsc-early", 9) != 0 && !strstr(name, "jiffies"))
            return; /* refined, or a clock that is not refined */
        usleep(CLOCK_STEP_MS * 1000);
    }
}

static void load_modules(void)
{
    glob_t found;
    bool waited = false;

    if (glob("/modules/*.ko", 0, NULL, &found) != 0)
        fatal("no modules in the initrd");
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];

        if (strstr(path, "kvm") && !waited) {
            wait_for_clock();
            waited = true;
        }

        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
            fatal(path);
        close(fd);
        unlink(path); /* an initrd's files occupy memory for ever */
    }
    globfree(&found);
}

static void mount_all(const struct mount_entry *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct mount_entry *m = &list[i];

        mkdir(m->where, 0755);
        if (mount(m->what, m->where, m->type, m->flags, m->data) < 0 && !m->optional)
            fatal(m->where);
    }
}

static void enter_root(void)
{
    mount_all(root_mounts, sizeof(root_mounts) / sizeof(root_mounts[0]));
    mkdir("/layer/upper", 0755);
    mkdir("/layer/work", 0755);
    mkdir("/root", 0755);
    if (mount("root", "/root", "overlay", 0, "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work") < 0)
        fatal("overlay root");
    if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
        fatal("entering the root");
}

static void fill_dev(void)
{
    mkdir("/dev/net", 0755);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor));
        chmod(nodes[i].path, 0666); /* kernel or umask may have had another view */
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
            fatal(links[i][1]);
    if (chmod("/dev/kvm", 0666) < 0)
        fatal("/dev/kvm (the emulated CPU should have SVM)");
}

static void apply_settings(void)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        int fd = open(settings[i].path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, settings[i].value, strlen(settings[i].value)) < 0)
            fprintf(stderr, "lab-agent: %s: %s\n", settings[i].path, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
}

/* The kernel gives lo its addresses once it is up. */
static void loopback_up(void)
{
    struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        fatal("loopback");
    close(fd);
}

/* The modules that are not in the initrd, for modprobe. */
static void mount_modules(void)
{
    struct utsname u;
    char path[128];

    uname(&u);
    mkdir("/lib/modules", 0755);
    snprintf(path, sizeof(path), "/lib/modules/%s", u.release);
    mkdir(path, 0755);
    if (mount("modules", path, "9p", MS_RDONLY, P9 "cache=loose") < 0)
        fatal(path);
}

void boot_machine(void)
{
    umask(0);
    load_modules();
    enter_root();
    mount_all(system_mounts, sizeof(system_mounts) / sizeof(system_mounts[0]));
    fill_dev();
    mkdir("/run/lock", 01777);
    mkdir("/run/user", 0755);
    mkdir("/run/user/0", 0700);
    apply_settings();
    loopback_up();
    mount_modules();
    umask(022);
}

/* With cache=mmap a write() is on the host when it returns, so that results
 * survive even a machine that is killed. */
void boot_mount_share(int n, const char *path)
{
    char tag[32];

    snprintf(tag, sizeof(tag), "share%d", n);
    if (mount(tag, path, "9p", 0, P9 "cache=mmap,access=any") < 0)
        fatal(path);
}
