/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a folder and the note of its owner appear together under an exclusive lock on the
 * folder of all boxes, and sweeping holds the same lock: so a folder without a note belongs to someone who
 * died in between. An owner is identified by pid and start time, which no later process shares in the same
 * boot; a pid of another pid namespace (a container that shares our folder) tells us nothing, so such a
 * folder is left alone.
 */
#include "runtime/folder.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST_NAME "vsock.sock_1024"
#define FILE_PREFIX  "cubby-" /* of files elsewhere that belong to a box */
#define NOTE_MAX     256

/* ---- the owner's note
 * ------------------------------------------------------------------------------------*/

/* Field 22 of /proc/<pid>/stat: the start time, in clock ticks since boot. Field 2 is a name in brackets that
 * may hold anything, so fields are counted from its last bracket. */
static int start_time(pid_t pid, unsigned long long *out)
{
    char path[64];
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int ret = read_file(path, 4096, &text, &len, NULL);
    if (ret < 0)
        return ret;
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %llu", out) == 1 ? 0 : -EINVAL;
}

/* "<pid namespace> <boot id>": within one of these, pid and start time name a process. */
static int scope(char out[NOTE_MAX])
{
    char ns[64];
    CLEANUP(mem_freep) char *boot = NULL;
    size_t len;
    ssize_t n = readlink("/proc/self/ns/pid", ns, sizeof(ns) - 1);
    if (n < 0 || read_file("/proc/sys/kernel/random/boot_id", 64, &boot, &len, NULL) < 0)
        return -ENOSYS;
    ns[n] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    snprintf(out, NOTE_MAX, "%s %s", ns, boot);
    return 0;
}

static int write_note(int dir, struct err *e)
{
    char where[NOTE_MAX], note[2 * NOTE_MAX];
    unsigned long long started;
    if (scope(where) < 0 || start_time(getpid(), &started) < 0)
        return err_set(e, -ENOSYS, "cannot read /proc; is it mounted?");
    int n = snprintf(note, sizeof(note), "%d %llu %s\n", (int)getpid(), started, where);
    CLEANUP(fd_closep) int fd = openat(dir, "owner", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write_full(fd, note, (size_t)n) < 0)
        return err_sys(e, "cannot write the note of a box's owner");
    return 0;
}

/* True when the owner of the folder `dir` is certainly gone. */
static bool owner_is_dead(int dir)
{
    char note[2 * NOTE_MAX] = "", where[NOTE_MAX];
    CLEANUP(fd_closep) int fd = openat(dir, "owner", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT;
    ssize_t n = read(fd, note, sizeof(note) - 1);
    if (n < 0 || scope(where) < 0)
        return false;
    int pid = 0, at = 0;
    unsigned long long noted, started;
    note[strcspn(note, "\n")] = '\0';
    if (sscanf(note, "%d %llu %n", &pid, &noted, &at) < 2 || pid <= 0 || at == 0)
        return true; /* cut short: its writer died while it wrote */
    if (strcmp(note + at, where) != 0) {
        /* Another boot: dead. Another pid namespace of this boot: not ours to judge. */
        const char *boot = strchr(where, ' '), *noted_boot = strchr(note + at, ' ');
        return boot && noted_boot && strcmp(boot, noted_boot) != 0;
    }
    int ret = start_time(pid, &started);
    return ret == -ENOENT || ret == -ESRCH || (ret == 0 && started != noted);
}

/* ---- removal
 * ---------------------------------------------------------------------------------------------*/

/* The file that the link names, if its name is one that we give. */
static void remove_planned(int dir, const char *link)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir, link, target, sizeof(target) - 1);
    if (n <= 0)
        return;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    if (slash && strncmp(slash + 1, FILE_PREFIX, strlen(FILE_PREFIX)) == 0)
        unlink(target);
}

/* Removes base/<id> with the files in it. There are no folders below. */
static void remove_below(int base, const char *id)
{
    int dir = openat(base, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) {
        unlinkat(base, id, AT_REMOVEDIR); /* for want of descriptors: it may still be empty */
        return;
    }
    remove_planned(dir, "image");
    remove_planned(dir, "disk");
    DIR *entries = fdopendir(dir);
    if (!entries) {
        close(dir);
        return;
    }
    for (struct dirent *d; (d = readdir(entries));) {
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            unlinkat(dir, d->d_name, 0);
    }
    closedir(entries);
    if (unlinkat(base, id, AT_REMOVEDIR) < 0)
        log_warn(LOG_BOX, "cannot remove the folder of box %s: %s", id, strerror(errno));
}

static bool is_id(const char *name)
{
    return strlen(name) == BOX_ID_LEN && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == BOX_ID_LEN;
}

/* With the lock held. */
static void sweep_locked(int base)
{
    int dup_fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = dup_fd >= 0 ? fdopendir(dup_fd) : NULL;
    if (!entries) {
        fd_closep(&dup_fd);
        return;
    }
    for (struct dirent *d; (d = readdir(entries));) {
        if (!is_id(d->d_name))
            continue;
        CLEANUP(fd_closep) int dir = openat(base, d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir >= 0 && owner_is_dead(dir)) {
            log_info(LOG_BOX, "removing what is left of box %s: its owner is gone", d->d_name);
            remove_below(base, d->d_name);
        }
    }
    closedir(entries);
}

/* Opens `base` and locks it until the descriptor is closed. */
static int open_locked(const char *base, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot open '%s'", base);
    while (flock(fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return err_sys(e, "cannot lock '%s'", base);
    }
    return STEAL_FD(fd);
}

void folder_sweep(const char *base)
{
    CLEANUP(fd_closep) int fd = open_locked(base, NULL);
    if (fd >= 0)
        sweep_locked(fd);
}

void folder_remove(struct box_folder *f)
{
    if (!f->path[0])
        return;
    CLEANUP(fd_closep) int base = open_locked(f->base, NULL);
    if (base >= 0)
        remove_below(base, f->id);
    f->path[0] = '\0';
}

/* ---- creation
 * --------------------------------------------------------------------------------------------*/

/* In /tmp anybody may have been there first: the folder must be ours and closed to others. */
static int make_private(const char *base, struct err *e)
{
    struct stat st;
    if (mkdir(base, 0700) < 0 && errno != EEXIST)
        return err_sys(e, "cannot make the runtime folder '%s'", base);
    if (lstat(base, &st) < 0)
        return err_sys(e, "cannot look at the runtime folder '%s'", base);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "the runtime folder '%s' is not a folder", base);
    if (st.st_uid != geteuid())
        return err_set(e, -EPERM,
                       "the runtime folder '%s' belongs to another user; set XDG_RUNTIME_DIR to one of yours",
                       base);
    if ((st.st_mode & 077) && chmod(base, 0700) < 0)
        return err_sys(e, "cannot close the runtime folder '%s' to others", base);
    return 0;
}

int folder_base(char base[BOX_PATH_MAX], struct err *e)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    char wanted[PATH_MAX];
    struct stat st;
    bool usable =
        xdg && xdg[0] == '/' && stat(xdg, &st) == 0 && S_ISDIR(st.st_mode) && access(xdg, W_OK | X_OK) == 0;
    int n = usable ? snprintf(wanted, sizeof(wanted), "%s/cubby", xdg)
                   : snprintf(wanted, sizeof(wanted), "/tmp/cubby-%u", (unsigned)geteuid());
    size_t need = (size_t)n + 1 + BOX_ID_LEN + 1 + strlen(LONGEST_NAME);
    if (need >= BOX_PATH_MAX)
        return err_set(e, -ENAMETOOLONG,
                       "XDG_RUNTIME_DIR is too long: a socket below it would have a path of %zu bytes, and a "
                       "Unix socket "
                       "takes at most %d; set it to a shorter folder",
                       need, BOX_PATH_MAX - 1);
    memcpy(base, wanted, (size_t)n + 1);
    return make_private(base, e);
}

static int choose_id(char id[BOX_ID_LEN + 1], struct err *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345"; /* 32: each bit pattern is as likely */
    unsigned char bytes[BOX_ID_LEN];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_sys(e, "cannot get random bytes for an id");
    for (int i = 0; i < BOX_ID_LEN; i++)
        id[i] = letters[bytes[i] & 31];
    id[BOX_ID_LEN] = '\0';
    return 0;
}

static int make_folder(struct box_folder *f, int base, struct err *e)
{
    int ret = choose_id(f->id, e);
    if (ret < 0)
        return ret;
    if (mkdirat(base, f->id, 0700) < 0)
        return err_sys(e, "cannot make a folder in '%s'", f->base);
    CLEANUP(fd_closep) int dir = openat(base, f->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ret = dir < 0 ? err_sys(e, "cannot open a folder in '%s'", f->base) : write_note(dir, e);
    if (ret < 0)
        remove_below(base, f->id);
    return ret;
}

int folder_create(struct box_folder *f, struct err *e)
{
    *f = (struct box_folder){0};
    int ret = folder_base(f->base, e);
    if (ret < 0)
        return ret;
    CLEANUP(fd_closep) int base = open_locked(f->base, e);
    if (base < 0)
        return base;
    sweep_locked(base);
    ret = make_folder(f, base, e);
    if (ret == 0)
        snprintf(f->path, sizeof(f->path), "%.80s/%s", f->base, f->id);
    return ret;
}

void folder_file(const struct box_folder *f, const char *name, char out[BOX_PATH_MAX])
{
    snprintf(out, BOX_PATH_MAX, "%.91s/%.15s", f->path, name);
}

void folder_refresh(const struct box_folder *f)
{
    static const char *const files[] = {"vsock.sock", "vsock.sock_1024", "vmm.log", "timeline.json"};
    char path[BOX_PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        folder_file(f, files[i], path);
        unlink(path);
    }
}

/* `kind` is the link's name, `dir` the folder that $variable leads to. */
static int plan(struct box_folder *f, const char *kind, const char *dir, const char *variable,
                char out[PLANNED_PATH_MAX], struct err *e)
{
    char link[BOX_PATH_MAX];
    int n = snprintf(out, PLANNED_PATH_MAX, "%s/" FILE_PREFIX "%s-%s.ext4", dir, kind, f->id);
    if (n >= PLANNED_PATH_MAX)
        return err_set(e, -ENAMETOOLONG, "%s is too long", variable);
    folder_file(f, kind, link);
    if (symlink(out, link) < 0)
        return err_sys(e, "cannot note the %s's file in '%s'", kind, f->path);
    /* Made here, empty: others in a shared folder can neither put their own there nor read what goes in. */
    CLEANUP(fd_closep) int fd = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(e, "cannot create the file '%s'; set %s to another folder", out, variable) : 0;
}

int folder_plan_image(struct box_folder *f, char out[PLANNED_PATH_MAX], struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    return plan(f, "image", tmp && tmp[0] == '/' ? tmp : "/tmp", "TMPDIR", out, e);
}

int folder_plan_disk(struct box_folder *f, const char *dir, char out[PLANNED_PATH_MAX], struct err *e)
{
    return plan(f, "disk", dir, "CUBBY_HOME", out, e);
}
