/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: everything that can be found wrong without a VM is found here, before one is started,
 * so that the text names the caller's own words. The root file system is opened once and handed to the VMM as
 * a descriptor. An image that was made of a folder, and the disk that the box writes to, lose their names as
 * soon as they are open: however the box ends, their blocks are freed.
 */
#include "runtime/box.h"

#include "base/cursor.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/disk.h"
#include "oci/rootfs.h"
#include "runtime/assets.h"
#include "runtime/errors.h"
#include "runtime/home.h"
#include "runtime/options.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The superblock's magic number: Linux fs/ext4/ext4.h, EXT4_SUPER_MAGIC; the superblock is at byte 1024. */
#define EXT4_MAGIC_AT 1080
#define EXT4_MAGIC    0xEF53

static int check_numbers(struct box_setup *s, const struct cubby_box_options *o, struct cubby_error *error)
{
    s->cpus = o->cpus ? o->cpus : 1;
    s->memory_mib = o->memory_mib ? o->memory_mib : CUBBY_MEMORY_MIB_DEFAULT;
    s->boot_timeout_ms = o->boot_timeout_ms ? o->boot_timeout_ms : CUBBY_BOOT_TIMEOUT_MS;
    s->flags = o->flags;
    if (s->cpus > CUBBY_CPUS_MAX)
        return fail(error, CUBBY_EARGUMENT, "a box cannot have %u CPUs; choose 1 to %d", s->cpus,
                    CUBBY_CPUS_MAX);
    if (s->memory_mib < CUBBY_MEMORY_MIB_MIN || s->memory_mib > CUBBY_MEMORY_MIB_MAX)
        return fail(error, CUBBY_EARGUMENT, "a box cannot have %u MiB of memory; choose %d to %d",
                    s->memory_mib, CUBBY_MEMORY_MIB_MIN, CUBBY_MEMORY_MIB_MAX);
    if (o->disk_mib && (o->disk_mib < CUBBY_DISK_MIB_MIN || o->disk_mib > CUBBY_DISK_MIB_MAX))
        return fail(error, CUBBY_EARGUMENT, "a box cannot have a disk of %u MiB; choose %d to %d",
                    o->disk_mib, CUBBY_DISK_MIB_MIN, CUBBY_DISK_MIB_MAX);
    if (s->boot_timeout_ms > (unsigned)INT_MAX)
        return fail(error, CUBBY_EARGUMENT, "a boot timeout of %u ms is too long", s->boot_timeout_ms);
    if (s->flags & ~(CUBBY_BOX_TIMELINE | CUBBY_BOX_LOG))
        return fail(error, CUBBY_EARGUMENT, "unknown flags 0x%x for a box", s->flags);
    return 0;
}

static int find_programs(struct box_setup *s, const struct cubby_box_options *o, struct cubby_error *error)
{
    struct err e;
    if (asset_find(ASSET_VMM, o->assets, s->vmm, &e) < 0 ||
        asset_find(ASSET_INITRD, o->assets, s->initrd, &e) < 0 || file_check("initrd", s->initrd, &e) < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    if (o->kernel) {
        if (strlen(o->kernel) >= sizeof(s->kernel))
            return fail(error, CUBBY_EARGUMENT, "the kernel's path is too long");
        strcpy(s->kernel, o->kernel);
    } else if (asset_find(ASSET_KERNEL, o->assets, s->kernel, &e) < 0) {
        return fail_err(error, CUBBY_ECONFIG, &e);
    }
    return file_check("kernel", s->kernel, &e) < 0 ? fail_err(error, CUBBY_ECONFIG, &e) : 0;
}

static int open_image(struct box_setup *s, const char *path, struct cubby_error *error)
{
    struct err e;
    uint8_t magic[2];
    if (file_check("root file system", path, &e) < 0)
        return fail_err(error, CUBBY_EIMAGE, &e);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(error, CUBBY_EIMAGE, "cannot open root file system '%s': %s", path, strerror(errno));
    if (pread_full(fd, magic, sizeof(magic), EXT4_MAGIC_AT) < 0 || load_le16(magic) != EXT4_MAGIC)
        return fail(error, CUBBY_EIMAGE, "root file system '%s' is not an ext4 image; give one, or a folder",
                    path);
    s->rootfs_fd = STEAL_FD(fd);
    return 0;
}

static bool is_cancelled(void *cancel_fd)
{
    struct pollfd pfd = {.fd = *(int *)cancel_fd, .events = POLLIN};
    return pfd.fd > 0 && poll(&pfd, 1, 0) > 0;
}

/* Only root can own files of others, on the host and in what is read back from it. */
static int make_image(struct box_setup *s, const struct cubby_box_options *o, struct box_folder *folder,
                      struct cubby_error *error)
{
    struct err e;
    char path[PLANNED_PATH_MAX];
    int cancel_fd = o->cancel_fd;
    struct rootfs_options how = {
        .all_root = geteuid() != 0, .cancelled = is_cancelled, .context = &cancel_fd};
    if (folder_plan_image(folder, path, &e) < 0)
        return fail_err(error, CUBBY_ESTORAGE, &e);
    int ret = rootfs_image_from_dir(o->rootfs, path, &how, &e);
    if (ret == -ECANCELED)
        return fail(error, CUBBY_ESTOPPED, "interrupted while an image of '%s' was made", o->rootfs);
    if (ret == -ENOSPC)
        return fail(error, CUBBY_ESTORAGE, "%s; set TMPDIR to a folder with more space", e.text);
    if (ret < 0)
        return fail_err(error, CUBBY_EIMAGE, &e);
    ret = open_image(s, path, error);
    unlink(path);
    return ret;
}

static int open_oci_image(struct box_setup *s, const struct cubby_box_options *o, struct cubby_error *error)
{
    if (o->rootfs)
        return fail(error, CUBBY_EARGUMENT, "a box has either a root file system or an image, not both");
    int fd = box_image_open(&s->image, o, error);
    if (fd < 0)
        return fd;
    s->rootfs_fd = fd;
    return 0;
}

static int find_rootfs(struct box_setup *s, const struct cubby_box_options *o, struct box_folder *folder,
                       struct cubby_error *error)
{
    char path[PATH_MAX];
    struct err e;
    struct stat st;
    if (o->image)
        return open_oci_image(s, o, error);
    if (!o->rootfs) {
        if (asset_find(ASSET_ROOTFS, o->assets, path, &e) < 0)
            return fail_err(error, CUBBY_ECONFIG, &e);
        return open_image(s, path, error);
    }
    if (stat(o->rootfs, &st) < 0) {
        int code = errno == ENOENT || errno == ENOTDIR ? CUBBY_EIMAGE_NOT_FOUND : CUBBY_EIMAGE;
        return fail(error, code, "cannot find root file system '%s': %s; give a folder or an ext4 image",
                    o->rootfs, strerror(errno));
    }
    return S_ISDIR(st.st_mode) ? make_image(s, o, folder, error) : open_image(s, o->rootfs, error);
}

_Static_assert(CUBBY_DISK_MIB_MIN == DISK_MIB_MIN && CUBBY_DISK_MIB_MAX == DISK_MIB_MAX,
               "what the options allow can be made");

/* The box's own disk: a file that loses its name as soon as it is open, as a temporary image does. */
static int make_disk(struct box_setup *s, const struct cubby_box_options *o, struct box_folder *folder,
                     struct cubby_error *error)
{
    struct err e;
    char home[PATH_MAX], path[PLANNED_PATH_MAX];
    struct disk_params p = {.mib = o->disk_mib, .label = "cubby-box", .created = time(NULL)};
    if (getrandom(p.uuid, sizeof(p.uuid), 0) != sizeof(p.uuid))
        return fail(error, CUBBY_ERESOURCE, "no random bytes for the name of a disk: %s", strerror(errno));
    if (home_folder("boxes", home, &e) < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    if (folder_plan_disk(folder, home, path, &e) < 0)
        return fail_err(error, CUBBY_ESTORAGE, &e);
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return fail(error, CUBBY_ESTORAGE, "cannot open the box's disk '%s': %s", path, strerror(errno));
    unlink(path);
    if (disk_format(fd, &p, &e) < 0)
        return fail(error, CUBBY_ESTORAGE, "%s; it would be in '%s', which CUBBY_HOME can change", e.text,
                    home);
    s->disk_fd = STEAL_FD(fd);
    return 0;
}

int box_set_up(struct box_setup *s, const struct cubby_box_options *options, struct box_folder *folder,
               struct cubby_error *error)
{
    *s = (struct box_setup){.rootfs_fd = -1, .disk_fd = -1};
    int ret = check_numbers(s, options, error);
    if (ret == 0)
        ret = box_image_set_env(&s->image, options->env, error);
    if (ret == 0)
        ret = find_programs(s, options, error);
    if (ret == 0)
        ret = find_rootfs(s, options, folder, error);
    if (ret == 0 && options->disk_mib)
        ret = make_disk(s, options, folder, error);
    return ret;
}

void box_setup_fini(struct box_setup *s)
{
    fd_closep(&s->rootfs_fd);
    fd_closep(&s->disk_fd);
    box_image_fini(&s->image);
}
