/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a format that writes next to nothing. Group checksums (metadata_csum) allow a group's
 * bitmaps and inodes to be "not initialised": they count as free without being there. The file is fresh, so
 * what is a hole reads as zeros, which is what the kernel's lazy initialisation would write; the groups are
 * marked as done (INODE_ZEROED), so that no thread of the guest does it. The journal, too, is a hole with a
 * superblock in front: an empty journal is one whose first block says so. Copies of the superblock would be
 * for repairs that nobody makes on a throw-away disk, and there are none (sparse_super2).
 *
 * Format: ext4 disk layout as in Linux' Documentation/filesystems/ext4; libext2fs of e2fsprogs 1.47.
 */
#include "oci/disk.h"

#include "base/own.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#define BLOCK           4096u
#define INODE_SIZE      256u
#define BYTES_PER_INODE 16384u
#define JOURNAL_MIN     1024u /* blocks; jbd2 takes no less */
#define JOURNAL_MAX     4096u /* 16 MiB: once it has been around, all its blocks are the host's */

static int code_of(errcode_t rc)
{
    if (rc == EXT2_ET_NO_MEMORY)
        return -ENOMEM;
    return rc > 0 && rc < 4096 ? -(int)rc : -EIO;
}

static int fail(errcode_t rc, const struct disk_params *p, struct err *e)
{
    return err_set(e, code_of(rc), "cannot format a disk of %u MiB: %s", p->mib, error_message(rc));
}

static void set_shape(struct ext2_super_block *sb, const struct disk_params *p)
{
    uint64_t blocks = (uint64_t)p->mib * (1024 * 1024 / BLOCK);
    sb->s_rev_level = EXT2_DYNAMIC_REV;
    sb->s_log_block_size = 2; /* 1024 << 2 */
    sb->s_inode_size = INODE_SIZE;
    sb->s_inodes_count = (__u32)(blocks * BLOCK / BYTES_PER_INODE);
    sb->s_log_groups_per_flex = 4;
    ext2fs_set_feature_filetype(sb);
    ext2fs_set_feature_extents(sb);
    ext2fs_set_feature_64bit(sb);
    ext2fs_set_feature_flex_bg(sb);
    ext2fs_set_feature_sparse_super2(sb);
    ext2fs_set_feature_large_file(sb);
    ext2fs_set_feature_huge_file(sb);
    ext2fs_set_feature_dir_nlink(sb);
    ext2fs_set_feature_dir_index(sb);
    ext2fs_set_feature_extra_isize(sb);
    ext2fs_set_feature_xattr(sb);
    ext2fs_set_feature_metadata_csum(sb);
    ext2fs_blocks_count_set(sb, blocks);
}

static void set_identity(ext2_filsys fs, const struct disk_params *p)
{
    struct ext2_super_block *sb = fs->super;
    memcpy(sb->s_uuid, p->uuid, sizeof(sb->s_uuid));
    memcpy(sb->s_hash_seed, p->uuid, sizeof(p->uuid));
    sb->s_checksum_type = EXT2_CRC32C_CHKSUM;
    ext2fs_init_csum_seed(fs);
    sb->s_def_hash_version = EXT2_HASH_HALF_MD4;
    memcpy(sb->s_volume_name, p->label, strnlen(p->label, sizeof(sb->s_volume_name)));
    sb->s_mkfs_time = sb->s_wtime = sb->s_lastcheck = (__u32)p->created;
    sb->s_max_mnt_count = (__s16)-1;
    /* A host that fails a write must not be followed by more writes on top of what is not there. */
    sb->s_errors = EXT2_ERRORS_RO;
    sb->s_creator_os = EXT2_OS_LINUX;
    sb->s_min_extra_isize = sb->s_want_extra_isize =
        sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    sb->s_state |= EXT2_VALID_FS;
}

/* The inodes that belong to the file system itself (1 to 10) are marked as used. */
static void reserve_inodes(ext2_filsys fs)
{
    for (ext2_ino_t i = 1; i < EXT2_FIRST_INODE(fs->super); i++)
        if (i != EXT2_ROOT_INO) /* counted when the root is made */
            ext2fs_inode_alloc_stats2(fs, i, +1, 0);
    ext2fs_mark_ib_dirty(fs);
}

static errcode_t make_folders(ext2_filsys fs)
{
    errcode_t rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
    return rc ? rc : ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found"); /* e2fsck expects it */
}

static errcode_t make_journal(ext2_filsys fs)
{
    uint64_t size = ext2fs_blocks_count(fs->super) / 32;
    size = size < JOURNAL_MIN ? JOURNAL_MIN : size > JOURNAL_MAX ? JOURNAL_MAX : size;
    return ext2fs_add_journal_inode(fs, (blk_t)size, EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
}

/* With the superblock set up, all that follows from it. */
static errcode_t fill(ext2_filsys fs, const struct disk_params *p)
{
    fs->now = p->created ? p->created : 1; /* 0 would mean the clock's time */
    set_identity(fs, p);
    errcode_t rc = ext2fs_allocate_tables(fs);
    if (rc)
        return rc;
    for (dgrp_t g = 0; g < fs->group_desc_count; g++)
        ext2fs_bg_flags_set(fs, g, EXT2_BG_INODE_ZEROED);
    reserve_inodes(fs);
    rc = make_folders(fs);
    if (!rc)
        rc = make_journal(fs);
    return rc ? rc : ext2fs_set_gdt_csum(fs);
}

static int check_empty(int fd, const struct disk_params *p, struct err *e)
{
    struct stat st;
    if (p->mib < DISK_MIB_MIN || p->mib > DISK_MIB_MAX)
        return err_set(e, -EINVAL, "a disk of %u MiB is not possible; choose %u to %u", p->mib, DISK_MIB_MIN,
                       DISK_MIB_MAX);
    if (fstat(fd, &st) < 0)
        return err_sys(e, "cannot look at the file of a disk");
    if (!S_ISREG(st.st_mode) || st.st_size != 0)
        return err_set(e, -EEXIST, "the file of a disk is not empty");
    if (ftruncate(fd, (off_t)p->mib * 1024 * 1024) < 0)
        return err_sys(e, "cannot make a file of %u MiB", p->mib);
    return 0;
}

int disk_format(int fd, const struct disk_params *p, struct err *e)
{
    struct ext2_super_block sb = {0};
    ext2_filsys fs;
    char path[32];
    int ret = check_empty(fd, p, e);
    if (ret < 0)
        return ret;
    /* libext2fs opens by name: this one leads to the file even when it has no other. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    initialize_ext2_error_table();
    set_shape(&sb, p);
    errcode_t rc = ext2fs_initialize(path, EXT2_FLAG_64BITS, &sb, unix_io_manager, &fs);
    if (rc)
        return fail(rc, p, e);
    rc = fill(fs, p);
    if (rc) {
        ext2fs_free(fs);
        return fail(rc, p, e);
    }
    rc = ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC); /* frees it in any case but a failed flush */
    if (rc)
        ext2fs_free(fs);
    return rc ? fail(rc, p, e) : 0;
}
