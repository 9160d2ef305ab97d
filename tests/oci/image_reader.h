/* SPDX-License-Identifier: Apache-2.0 */
/* Looks into an ext4 image with libext2fs, and lets e2fsck judge it. For tests. */
#ifndef CUBBY_TESTS_OCI_IMAGE_READER_H
#define CUBBY_TESTS_OCI_IMAGE_READER_H

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* True when `e2fsck -fn` finds nothing; prints what it finds. */
static inline bool image_is_clean(const char *path)
{
    char command[512];
    snprintf(command, sizeof(command),
             "PATH=$PATH:/sbin:/usr/sbin; e2fsck -fn '%s' >'%s.fsck' 2>&1 || { cat '%s.fsck'; exit 1; }",
             path, path, path);
    bool clean = system(command) == 0;
    snprintf(command, sizeof(command), "%s.fsck", path);
    remove(command);
    return clean;
}

static inline ext2_filsys image_open(const char *path)
{
    ext2_filsys fs = NULL;
    return ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs) ? NULL : fs;
}

/* The inode of a path (the last part is not followed); false when it is not there. */
static inline bool image_stat(ext2_filsys fs, const char *path, ext2_ino_t *ino,
                              struct ext2_inode_large *inode)
{
    if (ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ino))
        return false;
    return ext2fs_read_inode_full(fs, *ino, (struct ext2_inode *)inode, sizeof(*inode)) == 0;
}

static inline bool image_has(ext2_filsys fs, const char *path)
{
    ext2_ino_t ino;
    return ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) == 0;
}

/* Reads at most `cap` bytes of a file at `offset`; how many, or -1. */
static inline int image_read(ext2_filsys fs, const char *path, uint64_t offset, void *buf, unsigned cap)
{
    ext2_ino_t ino;
    ext2_file_t file;
    unsigned got = 0;
    if (ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) || ext2fs_file_open(fs, ino, 0, &file))
        return -1;
    errcode_t rc = ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, NULL);
    if (!rc)
        rc = ext2fs_file_read(file, buf, cap, &got);
    ext2fs_file_close(file);
    return rc ? -1 : (int)got;
}

static inline bool image_file_is(ext2_filsys fs, const char *path, const char *text)
{
    char buf[256] = {0};
    int n = image_read(fs, path, 0, buf, sizeof(buf) - 1);
    return n >= 0 && (size_t)n == strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

/* 512-byte sectors of a file. */
static inline uint64_t image_sectors(const struct ext2_inode_large *inode)
{
    return (uint64_t)inode->osd2.linux2.l_i_blocks_hi << 32 | inode->i_blocks;
}

#endif
