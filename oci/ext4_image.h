/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the ext4 writer, shared by its own files only (oci/ext4*.c). See oci/ext4.c for how they go
 * together.
 */
#ifndef CUBBY_OCI_EXT4_IMAGE_H
#define CUBBY_OCI_EXT4_IMAGE_H

#include "oci/ext4.h"
#include "oci/ext4_blocks.h"

#include <ext2fs/ext2fs.h>
#include <stdbool.h>

#define INODE_SIZE       256u
#define INODES_PER_BLOCK (EXT4_BLOCK / INODE_SIZE)
#define GROUP_INODES     8192u
#define TABLE_BLOCKS     (GROUP_INODES / INODES_PER_BLOCK)
/* The superblock and as many blocks of group descriptors (64 bytes each) as the largest image needs. */
#define GROUPS_MAX        (EXT4_SIZE_MAX / EXT4_BLOCK / GROUP_BLOCKS)
#define FIRST_BLOCK       (1 + GROUPS_MAX * 64 / EXT4_BLOCK)
#define FIRST_INODE       11u /* the ones before belong to the file system itself; 2 is the root */
#define SECTORS_PER_BLOCK (EXT4_BLOCK / 512)
#define EXTENTS_PER_BLOCK ((EXT4_BLOCK - sizeof(struct ext3_extent_header)) / sizeof(struct ext3_extent))
#define EXTENT_BLOCKS_MAX 32768u /* of an initialised extent */
#define OUT_SIZE          ((size_t)256 << 10)

/* An inode as it is on disk. */
struct disk_inode {
    struct ext2_inode_large f;
    uint8_t xattrs[INODE_SIZE - sizeof(struct ext2_inode_large)];
};
_Static_assert(sizeof(struct disk_inode) == INODE_SIZE, "an inode fills its place");

/* The map of one file while it is written: oci/ext4_extents.c. */
struct extent_map {
    struct ext3_extent leaf[EXTENTS_PER_BLOCK];
    unsigned count;
    struct ext3_extent_idx *full; /* leaves that are on disk already */
    size_t full_count, full_cap;
    uint64_t blocks; /* data and map */
};

/* The inodes of a group. */
struct inode_group {
    uint64_t table; /* its first block */
    uint32_t used, folders;
};

struct ext4_image {
    int fd;
    char *path;
    struct ext4_params params;
    struct tree tree;
    struct ext4_blocks blocks;

    /* Blocks on their way to the file: `out_count` of them from block `out_first` on. */
    uint8_t *out;
    uint64_t out_first;
    size_t out_count;

    struct inode_group *groups;
    size_t group_count;
    uint32_t next_ino;
    uint64_t *ino_free; /* a bit for each inode number that was given up */
    size_t ino_words;
    /* The block of the inode table at hand; 0: none. */
    uint64_t table_block;
    bool table_dirty;
    uint8_t table[EXT4_BLOCK];

    /* The file, or the folder's list, that is being written. */
    struct extent_map map;
    uint32_t file;    /* its node; TREE_NONE: no file is open */
    uint64_t file_at; /* end of what was written */
    uint64_t tail_at; /* where `tail` begins; whole blocks before it are on their way */
    size_t tail_len;  /* bytes of the block that is not full yet */
    uint8_t tail[EXT4_BLOCK];
};

/* Why, in words. */
const char *ext4_reason(int code);
/* "cannot <what> '<name>' in image '<path>': <why>" for a negative errno; returns it. */
int ext4_fail(const struct ext4_image *img, int code, const char *what, const char *name, struct err *e);

/* -ECANCELED when the caller has given up. */
int ext4_check_cancelled(const struct ext4_image *img, struct err *e);

/* A new object of any type: its number, its inode, its name. 0 or a negative errno. */
int object_new(struct ext4_image *img, uint32_t parent, const char *name, const struct disk_inode *inode,
               uint32_t *node);

/* --- oci/ext4_disk.c: blocks and inodes of the file. 0 or a negative errno. --- */

/* Writes `count` blocks at `block`, now or later. */
int disk_write(struct ext4_image *img, uint64_t block, const void *data, size_t count);
int disk_read(struct ext4_image *img, uint64_t block, void *data);
/* Writes out what is kept back. */
int disk_flush(struct ext4_image *img);
/* Frees the blocks' room in the file, so that they read as zeros. */
int disk_punch(struct ext4_image *img, uint64_t block, uint64_t count);

/* A table for the next GROUP_INODES inodes. */
int inode_add_group(struct ext4_image *img);

/* A fresh inode number. -EOVERFLOW when there are too many. */
int inode_new(struct ext4_image *img, bool folder, uint32_t *ino);
int inode_get(struct ext4_image *img, uint32_t ino, struct disk_inode *inode);
int inode_put(struct ext4_image *img, uint32_t ino, const struct disk_inode *inode);
/* Gives up a number; the inode becomes zeros. */
int inode_free(struct ext4_image *img, uint32_t ino, bool folder);
bool inode_is_used(const struct ext4_image *img, uint32_t ino);

/* --- oci/ext4_inode.c --- */

/* A fresh inode of `type` (S_IF*) with one link. */
void inode_init(struct disk_inode *inode, const struct ext4_meta *m, mode_t type);
/* Owner, permission bits and times. */
void inode_set_meta(struct disk_inode *inode, const struct ext4_meta *m);
void inode_set_size(struct disk_inode *inode, uint64_t size);
/* Adds to the count of 512-byte sectors; `blocks` may be negative. */
void inode_add_blocks(struct disk_inode *inode, int64_t blocks);
void inode_set_device(struct disk_inode *inode, dev_t rdev);
/* EXT2_FT_* of an S_IF*. */
uint8_t inode_entry_type(mode_t mode);

/* --- oci/ext4_extents.c --- */

void extents_begin(struct ext4_image *img);
/* Block `logical` of the file and the `count` ones behind it are at `physical`. Logical numbers rise. */
int extents_add(struct ext4_image *img, uint32_t logical, uint64_t physical, uint64_t count);
/* Puts the map into the inode and counts its blocks there. */
int extents_end(struct ext4_image *img, struct disk_inode *inode);
/* Gives back all blocks of the inode's map, and the map's own. */
int extents_free(struct ext4_image *img, const struct disk_inode *inode);
/* Takes blocks for `count` blocks of data, writes them, and adds them to the map. */
int extents_write(struct ext4_image *img, uint32_t logical, const uint8_t *data, size_t count);

/* --- oci/ext4_xattr.c --- */

int xattrs_set(struct ext4_image *img, struct disk_inode *inode, const struct ext4_xattr *list, size_t count);
int xattrs_clear(struct ext4_image *img, struct disk_inode *inode);

/* --- oci/ext4_dir.c, oci/ext4_finish.c --- */

/* Writes the entries of every folder. */
int folders_write(struct ext4_image *img, struct err *e);
/* Superblock, group descriptors, bitmaps. */
int image_finish(struct ext4_image *img, struct err *e);

#endif
