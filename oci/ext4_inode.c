/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: how ext4 spells what stat(2) shows (Linux' Documentation/filesystems/ext4, "Index
 * Nodes"): numbers that grew beyond their first field continue in a second one.
 */
#include "oci/ext4_image.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* 34 bits of seconds, from -2^31 on: 1901 to 2446. */
#define SECONDS_MIN INT64_C(-0x80000000)
#define SECONDS_MAX INT64_C(0x37fffffff)

void inode_set_meta(struct disk_inode *inode, const struct ext4_meta *m)
{
    struct ext2_inode_large *f = &inode->f;
    f->i_mode = (__u16)((f->i_mode & S_IFMT) | (m->mode & 07777));
    f->i_uid = (__u16)m->uid;
    f->i_gid = (__u16)m->gid;
    f->osd2.linux2.l_i_uid_high = (__u16)(m->uid >> 16);
    f->osd2.linux2.l_i_gid_high = (__u16)(m->gid >> 16);
    /* Seconds beyond 2038 continue in the two low bits of the extra word, nanoseconds above them. */
    int64_t sec = m->mtime.tv_sec;
    uint32_t nsec = (uint32_t)m->mtime.tv_nsec;
    if (sec < SECONDS_MIN || sec > SECONDS_MAX) {
        sec = sec < SECONDS_MIN ? SECONDS_MIN : SECONDS_MAX;
        nsec = 0;
    }
    uint32_t low = (uint32_t)sec, epoch = (uint32_t)((sec - (int32_t)low) >> 32) & 3;
    f->i_atime = f->i_ctime = f->i_mtime = f->i_crtime = low;
    f->i_atime_extra = f->i_ctime_extra = f->i_mtime_extra = f->i_crtime_extra = nsec << 2 | epoch;
}

void inode_init(struct disk_inode *inode, const struct ext4_meta *m, mode_t type)
{
    memset(inode, 0, sizeof(*inode));
    inode->f.i_mode = (__u16)type;
    inode->f.i_links_count = 1;
    inode->f.i_extra_isize = sizeof(inode->f) - EXT2_GOOD_OLD_INODE_SIZE;
    inode_set_meta(inode, m);
}

void inode_set_size(struct disk_inode *inode, uint64_t size)
{
    inode->f.i_size = (__u32)size;
    inode->f.i_size_high = (__u32)(size >> 32);
}

void inode_add_blocks(struct disk_inode *inode, int64_t blocks)
{
    uint64_t sectors = (uint64_t)inode->f.osd2.linux2.l_i_blocks_hi << 32 | inode->f.i_blocks;
    sectors += (uint64_t)(blocks * (int64_t)SECTORS_PER_BLOCK);
    inode->f.i_blocks = (__u32)sectors;
    inode->f.osd2.linux2.l_i_blocks_hi = (__u16)(sectors >> 32);
}

void inode_set_device(struct disk_inode *inode, dev_t rdev)
{
    /* The two encodings of fs/ext4/ext4.h: small numbers in the first word, large ones in the second. */
    unsigned maj = major(rdev), min = minor(rdev);
    if (maj < 256 && min < 256)
        inode->f.i_block[0] = maj << 8 | min;
    else
        inode->f.i_block[1] = (min & 0xff) | maj << 8 | (min & ~0xffu) << 12;
}

uint8_t inode_entry_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return EXT2_FT_REG_FILE;
    case S_IFDIR:
        return EXT2_FT_DIR;
    case S_IFCHR:
        return EXT2_FT_CHRDEV;
    case S_IFBLK:
        return EXT2_FT_BLKDEV;
    case S_IFIFO:
        return EXT2_FT_FIFO;
    case S_IFLNK:
        return EXT2_FT_SYMLINK;
    default:
        return EXT2_FT_UNKNOWN;
    }
}
