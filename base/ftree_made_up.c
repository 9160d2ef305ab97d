/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: statfs(2) tells a file system by its magic number, whatever is mounted where. */
#include "base/ftree_parts.h"
#include "base/own.h"

#include <linux/magic.h>
#include <sys/vfs.h>

/* Not in linux/magic.h: ipc/mqueue.c, fs/configfs/mount.c and fs/fuse/control.c have them. */
#define MQUEUE_MAGIC   0x19800202
#define CONFIGFS_MAGIC 0x62656570
#define FUSECTL_MAGIC  0x65735543

bool ftree_made_up(int fd)
{
    static const unsigned long magics[] = {
        PROC_SUPER_MAGIC, SYSFS_MAGIC,        CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC,
        TRACEFS_MAGIC,    SECURITYFS_MAGIC,   BPF_FS_MAGIC,       PSTOREFS_MAGIC,      EFIVARFS_MAGIC,
        BINFMTFS_MAGIC,   DEVPTS_SUPER_MAGIC, SELINUX_MAGIC,      NSFS_MAGIC,          MQUEUE_MAGIC,
        CONFIGFS_MAGIC,   FUSECTL_MAGIC,
    };
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(magics); i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    return false;
}
