/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: contents are mostly written to blocks in a row, whatever files they belong to, and
 * inodes one behind the other. So blocks gather in a buffer for as long as they follow each other, and of the
 * inode table the block at hand is kept; thousands of small files cost a few large writes. A group's table is
 * placed among the contents when the first of its inodes is needed (flex_bg allows that); what is never
 * written there stays a hole and reads as zeros, which is what an unused inode looks like.
 */
#include "oci/ext4_image.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_BLOCKS (OUT_SIZE / EXT4_BLOCK)

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

static int flush_out(struct ext4_image *img)
{
    int ret = write_at(img->fd, img->out, img->out_count * EXT4_BLOCK, img->out_first * EXT4_BLOCK);
    if (ret == 0)
        img->out_count = 0;
    return ret;
}

static int flush_table(struct ext4_image *img)
{
    int ret = 0;
    if (img->table_dirty)
        ret = write_at(img->fd, img->table, EXT4_BLOCK, img->table_block * EXT4_BLOCK);
    if (ret == 0)
        img->table_dirty = false;
    return ret;
}

int disk_flush(struct ext4_image *img)
{
    int ret = flush_out(img);
    return ret < 0 ? ret : flush_table(img);
}

int disk_write(struct ext4_image *img, uint64_t block, const void *data, size_t count)
{
    int ret = 0;
    if (block != img->out_first + img->out_count || img->out_count + count > OUT_BLOCKS)
        ret = flush_out(img);
    if (ret < 0)
        return ret;
    /* What would fill a good part of the buffer goes out directly. */
    if (count >= OUT_BLOCKS / 4 && img->out_count == 0)
        return write_at(img->fd, data, count * EXT4_BLOCK, block * EXT4_BLOCK);
    if (img->out_count == 0)
        img->out_first = block;
    memcpy(img->out + img->out_count * EXT4_BLOCK, data, count * EXT4_BLOCK);
    img->out_count += count;
    return 0;
}

int disk_read(struct ext4_image *img, uint64_t block, void *data)
{
    if (block >= img->out_first && block < img->out_first + img->out_count) {
        memcpy(data, img->out + (block - img->out_first) * EXT4_BLOCK, EXT4_BLOCK);
        return 0;
    }
    int ret = pread_full(img->fd, data, EXT4_BLOCK, block * EXT4_BLOCK);
    if (ret == -ENODATA) { /* behind the end of the file so far: never written */
        memset(data, 0, EXT4_BLOCK);
        ret = 0;
    }
    return ret;
}

int disk_punch(struct ext4_image *img, uint64_t block, uint64_t count)
{
    static const uint8_t zeros[EXT4_BLOCK];
    if (fallocate(img->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(block * EXT4_BLOCK),
                  (off_t)(count * EXT4_BLOCK)) == 0)
        return 0;
    if (errno != EOPNOTSUPP)
        return -errno;
    int ret = 0;
    for (uint64_t i = 0; i < count && ret == 0; i++)
        ret = write_at(img->fd, zeros, EXT4_BLOCK, (block + i) * EXT4_BLOCK);
    return ret;
}

/* --- inodes --- */

static struct inode_group *group_of(const struct ext4_image *img, uint32_t ino)
{
    return &img->groups[(ino - 1) / GROUP_INODES];
}

/* Brings the block of the table that holds `ino` to hand; *at is the inode's place in it. */
static int table_load(struct ext4_image *img, uint32_t ino, uint8_t **at)
{
    uint32_t index = (ino - 1) % GROUP_INODES;
    uint64_t block = group_of(img, ino)->table + index / INODES_PER_BLOCK;
    *at = img->table + index % INODES_PER_BLOCK * INODE_SIZE;
    if (img->table_block == block)
        return 0;
    int ret = flush_table(img);
    if (ret < 0)
        return ret;
    img->table_block = 0;
    ret = disk_read(img, block, img->table);
    if (ret == 0)
        img->table_block = block;
    return ret;
}

int inode_add_group(struct ext4_image *img)
{
    size_t count = img->group_count + 1;
    if (count > GROUPS_MAX)
        return -EOVERFLOW;
    struct inode_group *groups = realloc(img->groups, count * sizeof(*groups));
    if (!groups)
        return -ENOMEM;
    img->groups = groups;
    uint64_t *map = realloc(img->ino_free, count * GROUP_INODES / 8);
    if (!map)
        return -ENOMEM;
    img->ino_free = map;
    memset(map + img->group_count * GROUP_INODES / 64, 0, GROUP_INODES / 8);
    groups[img->group_count] = (struct inode_group){0};
    int ret = ext4_blocks_take_row(&img->blocks, TABLE_BLOCKS, &groups[img->group_count].table);
    if (ret == 0)
        img->group_count = count;
    return ret;
}

int inode_new(struct ext4_image *img, bool folder, uint32_t *ino)
{
    if ((img->next_ino - 1) / GROUP_INODES == img->group_count) {
        int ret = inode_add_group(img);
        if (ret < 0)
            return ret;
    }
    *ino = img->next_ino++;
    group_of(img, *ino)->used++;
    group_of(img, *ino)->folders += folder;
    return 0;
}

int inode_get(struct ext4_image *img, uint32_t ino, struct disk_inode *inode)
{
    uint8_t *at;
    int ret = table_load(img, ino, &at);
    if (ret == 0)
        memcpy(inode, at, INODE_SIZE);
    return ret;
}

int inode_put(struct ext4_image *img, uint32_t ino, const struct disk_inode *inode)
{
    uint8_t *at;
    int ret = table_load(img, ino, &at);
    if (ret == 0) {
        memcpy(at, inode, INODE_SIZE);
        img->table_dirty = true;
    }
    return ret;
}

int inode_free(struct ext4_image *img, uint32_t ino, bool folder)
{
    static const struct disk_inode zeros;
    group_of(img, ino)->used--;
    group_of(img, ino)->folders -= folder;
    img->ino_free[(ino - 1) / 64] |= UINT64_C(1) << (ino - 1) % 64;
    return inode_put(img, ino, &zeros);
}

bool inode_is_used(const struct ext4_image *img, uint32_t ino)
{
    return ino < img->next_ino && !(img->ino_free[(ino - 1) / 64] >> (ino - 1) % 64 & 1);
}
