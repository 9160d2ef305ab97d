/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the bytes of a file come in pieces of any size. Whole blocks go straight on, without a
 * copy; what is left of a piece waits in `tail` until its block is full or the file ends. A block takes room
 * only when it holds something but zeros, so holes are found whether the archive tells them or not. The
 * inode gets its size and map when the file is complete.
 */
#include "oci/ext4_image.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, EXT4_BLOCK - 1) == 0;
}

/* Whole blocks from `offset` on, which is a multiple of a block; in rows that hold something. */
static int put_blocks(struct ext4_image *img, uint64_t offset, const uint8_t *data, size_t count)
{
    uint32_t logical = (uint32_t)(offset / EXT4_BLOCK);
    size_t at = 0;
    while (at < count) {
        size_t row = 0;
        while (at < count && is_zero(data + at * EXT4_BLOCK))
            at++;
        while (at + row < count && !is_zero(data + (at + row) * EXT4_BLOCK))
            row++;
        int ret = extents_write(img, logical + (uint32_t)at, data + at * EXT4_BLOCK, row);
        if (ret < 0)
            return ret;
        at += row;
    }
    return 0;
}

static int flush_tail(struct ext4_image *img)
{
    if (img->tail_len == 0)
        return 0;
    memset(img->tail + img->tail_len, 0, EXT4_BLOCK - img->tail_len);
    img->tail_len = 0;
    return put_blocks(img, img->tail_at, img->tail, 1);
}

/* Goes on at `offset`, with zeros up to there. */
static int skip_to(struct ext4_image *img, uint64_t offset)
{
    uint64_t block = offset / EXT4_BLOCK * EXT4_BLOCK;
    size_t within = (size_t)(offset - block);
    if (block != img->tail_at) {
        int ret = flush_tail(img);
        if (ret < 0)
            return ret;
        img->tail_at = block;
    }
    memset(img->tail + img->tail_len, 0, within - img->tail_len);
    img->tail_len = within;
    return 0;
}

static int put_bytes(struct ext4_image *img, const uint8_t *data, size_t len)
{
    if (img->tail_len) {
        size_t n = EXT4_BLOCK - img->tail_len < len ? EXT4_BLOCK - img->tail_len : len;
        memcpy(img->tail + img->tail_len, data, n);
        img->tail_len += n;
        data += n;
        len -= n;
        if (img->tail_len < EXT4_BLOCK)
            return 0;
        int ret = flush_tail(img);
        if (ret < 0)
            return ret;
        img->tail_at += EXT4_BLOCK;
    }
    size_t whole = len / EXT4_BLOCK;
    int ret = put_blocks(img, img->tail_at, data, whole);
    img->tail_at += whole * EXT4_BLOCK;
    img->tail_len = len % EXT4_BLOCK;
    memcpy(img->tail, data + whole * EXT4_BLOCK, img->tail_len);
    return ret;
}

int ext4_image_file_begin(struct ext4_image *img, uint32_t parent, const char *name,
                          const struct ext4_meta *m, uint32_t *node, struct err *e)
{
    struct disk_inode inode;
    inode_init(&inode, m, S_IFREG);
    img->file = TREE_NONE;
    img->file_at = img->tail_at = img->tail_len = 0;
    extents_begin(img);
    int ret = object_new(img, parent, name, &inode, &img->file);
    if (ret < 0)
        return ext4_fail(img, ret, "create file", name, e);
    if (node)
        *node = img->file;
    return 0;
}

/* "cannot <what> file '<name>'…" about the open file */
static int fail_file(struct ext4_image *img, int code, const char *what, struct err *e)
{
    char name[TREE_NAME_MAX + 1];
    size_t len = tree_node(&img->tree, img->file)->name_len;
    memcpy(name, tree_name(&img->tree, img->file), len);
    name[len] = '\0';
    img->file = TREE_NONE;
    return ext4_fail(img, code, what, name, e);
}

int ext4_image_file_write(struct ext4_image *img, uint64_t offset, const void *data, size_t len,
                          struct err *e)
{
    if (img->file == TREE_NONE)
        return err_set(e, -EBADF, "no file of image '%s' is being written", img->path);
    int ret = 0;
    if (offset > EXT4_SIZE_MAX || len > EXT4_SIZE_MAX - offset)
        ret = -EOVERFLOW;
    else if (offset < img->file_at)
        ret = -EINVAL;
    else if (offset > img->file_at)
        ret = skip_to(img, offset);
    if (ret == 0)
        ret = put_bytes(img, data, len);
    img->file_at = offset + len;
    return ret < 0 ? fail_file(img, ret, "write to file", e) : 0;
}

int ext4_image_file_end(struct ext4_image *img, uint64_t size, struct err *e)
{
    if (img->file == TREE_NONE)
        return err_set(e, -EBADF, "no file of image '%s' is being written", img->path);
    struct disk_inode inode;
    uint32_t ino = tree_node(&img->tree, img->file)->ino;
    int ret = size > EXT4_SIZE_MAX ? -EOVERFLOW : size < img->file_at ? -EINVAL : flush_tail(img);
    if (ret == 0)
        ret = inode_get(img, ino, &inode);
    if (ret == 0)
        ret = extents_end(img, &inode);
    if (ret == 0) {
        inode_set_size(&inode, size);
        ret = inode_put(img, ino, &inode);
    }
    if (ret < 0)
        return fail_file(img, ret, "finish file", e);
    img->file = TREE_NONE;
    return 0;
}
