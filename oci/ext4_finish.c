/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: when all contents are in the file, libext2fs makes a file system around them. It is
 * told the geometry (whole groups of 128 MiB, GROUP_INODES inodes each, no backup of the superblock, which is
 * what keeps the contents' space free), then where each group's inode table is, which blocks and inodes are
 * in use; it counts what is free and writes superblock, descriptors and bitmaps. Bitmaps go behind the
 * contents, as do the tables of groups in which no inode was used, which stay holes. Blocks that were given
 * back and not taken again are cut out of the file, so that nothing that a layer deleted is left in it.
 */
#include "oci/ext4_image.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static errcode_t make_fs(struct ext4_image *img, uint64_t groups, ext2_filsys *fs)
{
    struct ext2_super_block sb = {0};
    sb.s_rev_level = EXT2_DYNAMIC_REV;
    sb.s_log_block_size = 2; /* 1024 << 2 */
    sb.s_inode_size = INODE_SIZE;
    sb.s_inodes_count = (__u32)(groups * GROUP_INODES);
    ext2fs_blocks_count_set(&sb, groups * GROUP_BLOCKS);
    ext2fs_set_feature_filetype(&sb);
    ext2fs_set_feature_extents(&sb);
    ext2fs_set_feature_64bit(&sb);
    ext2fs_set_feature_flex_bg(&sb);
    ext2fs_set_feature_sparse_super(&sb);
    ext2fs_set_feature_sparse_super2(&sb);
    ext2fs_set_feature_large_file(&sb);
    ext2fs_set_feature_huge_file(&sb);
    ext2fs_set_feature_dir_nlink(&sb);
    ext2fs_set_feature_dir_index(&sb);
    ext2fs_set_feature_extra_isize(&sb);
    ext2fs_set_feature_xattr(&sb);
    sb.s_log_groups_per_flex = 4;
    initialize_ext2_error_table();
    return ext2fs_initialize(img->path, EXT2_FLAG_64BITS, &sb, unix_io_manager, fs);
}

static void set_identity(ext2_filsys fs, const struct ext4_params *p)
{
    struct ext2_super_block *sb = fs->super;
    fs->now = p->created ? p->created : 1; /* 0 would mean the clock's time */
    memcpy(sb->s_uuid, p->uuid, sizeof(sb->s_uuid));
    memcpy(sb->s_hash_seed, p->uuid, sizeof(p->uuid));
    sb->s_def_hash_version = EXT2_HASH_HALF_MD4;
    sb->s_flags |= EXT2_FLAGS_UNSIGNED_HASH;
    memcpy(sb->s_volume_name, p->label, strnlen(p->label, sizeof(sb->s_volume_name)));
    sb->s_mkfs_time = sb->s_wtime = sb->s_lastcheck = (__u32)p->created;
    sb->s_max_mnt_count = (__s16)-1;
    sb->s_errors = EXT2_ERRORS_RO;
    sb->s_creator_os = EXT2_OS_LINUX;
    sb->s_min_extra_isize = sb->s_want_extra_isize =
        sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    sb->s_state |= EXT2_VALID_FS;
}

/* Bitmaps and the missing inode tables, in a row behind the contents. Settles how many groups there are. */
static int place_tables(struct ext4_image *img, uint64_t *groups, uint64_t *bitmaps)
{
    uint64_t used_groups = img->group_count, each = 2 + TABLE_BLOCKS, end = img->blocks.end;
    /* A group takes GROUP_BLOCKS and asks for `each` of them, less what is there: this grows until it fits.
     */
    *groups = used_groups;
    while (*groups * GROUP_BLOCKS < end + *groups * each - used_groups * TABLE_BLOCKS)
        ++*groups;
    if (*groups > GROUPS_MAX)
        return -EOVERFLOW;
    while (img->group_count < *groups) {
        int ret = inode_add_group(img);
        if (ret < 0)
            return ret;
    }
    return ext4_blocks_take_row(&img->blocks, 2 * *groups, bitmaps);
}

static void mark_blocks(struct ext4_image *img, ext2_filsys fs)
{
    uint64_t at = FIRST_BLOCK;
    while (at < img->blocks.end) {
        uint64_t gap = at, gap_len = ext4_blocks_next_free(&img->blocks, &gap);
        uint64_t stop = gap_len ? gap : img->blocks.end;
        for (uint64_t n; at < stop; at += n) { /* the count of a call has 32 bits */
            n = stop - at < GROUP_BLOCKS ? stop - at : GROUP_BLOCKS;
            ext2fs_block_alloc_stats_range(fs, at, (blk_t)n, +1);
        }
        at = stop + gap_len;
    }
}

static void mark_inodes(struct ext4_image *img, ext2_filsys fs)
{
    for (ext2_ino_t ino = 1; ino < img->next_ino; ino++)
        if (inode_is_used(img, ino))
            ext2fs_mark_inode_bitmap2(fs->inode_map, ino);
    uint32_t used = 0;
    for (dgrp_t g = 0; g < fs->group_desc_count; g++) {
        ext2fs_bg_free_inodes_count_set(fs, g, GROUP_INODES - img->groups[g].used);
        ext2fs_bg_used_dirs_count_set(fs, g, img->groups[g].folders);
        used += img->groups[g].used;
    }
    fs->super->s_free_inodes_count = fs->super->s_inodes_count - used;
    ext2fs_mark_ib_dirty(fs);
}

static int punch_gaps(struct ext4_image *img)
{
    uint64_t at = FIRST_BLOCK;
    for (uint64_t n; (n = ext4_blocks_next_free(&img->blocks, &at)) != 0; at += n) {
        int ret = disk_punch(img, at, n);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int write_fs(struct ext4_image *img, uint64_t groups, uint64_t bitmaps, struct err *e)
{
    ext2_filsys fs = NULL;
    errcode_t rc = make_fs(img, groups, &fs);
    if (!rc && (fs->group_desc_count != groups || EXT2_INODES_PER_GROUP(fs->super) != GROUP_INODES))
        rc = EXT2_ET_UNIMPLEMENTED;
    if (!rc) {
        set_identity(fs, &img->params);
        for (dgrp_t g = 0; g < groups; g++) {
            ext2fs_block_bitmap_loc_set(fs, g, bitmaps + 2 * g);
            ext2fs_inode_bitmap_loc_set(fs, g, bitmaps + 2 * g + 1);
            ext2fs_inode_table_loc_set(fs, g, img->groups[g].table);
            ext2fs_bg_flags_set(fs, g, EXT2_BG_INODE_ZEROED);
        }
        mark_blocks(img, fs);
        mark_inodes(img, fs);
        rc = ext2fs_close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
        if (!rc)
            return 0;
    }
    if (fs)
        ext2fs_free(fs);
    int code = rc > 0 && rc < 4096 ? -(int)rc : rc == EXT2_ET_NO_MEMORY ? -ENOMEM : -EIO;
    return err_set(e, code, "cannot finish image '%s': %s", img->path, error_message(rc));
}

int image_finish(struct ext4_image *img, struct err *e)
{
    uint64_t groups = 0, bitmaps = 0;
    int ret = place_tables(img, &groups, &bitmaps);
    if (ret == 0)
        ret = disk_flush(img);
    if (ret == 0)
        ret = punch_gaps(img);
    if (ret == 0 && ftruncate(img->fd, (off_t)(groups * GROUP_BLOCKS * EXT4_BLOCK)) < 0)
        ret = -errno;
    if (ret < 0)
        return err_set(e, ret, "cannot finish image '%s': %s", img->path, ext4_reason(ret));
    ret = ext4_check_cancelled(img, e);
    return ret < 0 ? ret : write_fs(img, groups, bitmaps, e);
}
