/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of a growing image are in use: all below `end`, except for those that were given back. Memory
 * is one bitmap for each group of blocks in which something was given back. One thread at a time.
 */
#ifndef CUBBY_OCI_EXT4_BLOCKS_H
#define CUBBY_OCI_EXT4_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define GROUP_BLOCKS 32768u /* of 4 KiB: what a bitmap of one block holds */

struct ext4_blocks {
    uint64_t end;  /* first block that was never used */
    uint64_t max;  /* blocks an image may have */
    uint64_t free; /* blocks below `end` that were given back */
    uint64_t hint; /* no free block lies before */
    struct free_group {
        uint64_t *map; /* a bit set for each free block; NULL: none */
        uint32_t count;
    } * groups;
    size_t group_count;
};

void ext4_blocks_init(struct ext4_blocks *b, uint64_t first, uint64_t max);
void ext4_blocks_fini(struct ext4_blocks *b);

/* Takes 1 to `want` blocks in a row: freed ones first, then fresh ones. Returns how many, or -EOVERFLOW. */
int64_t ext4_blocks_take(struct ext4_blocks *b, uint64_t want, uint64_t *start);
/* Takes `count` fresh blocks in a row. 0 or -EOVERFLOW. */
int ext4_blocks_take_row(struct ext4_blocks *b, uint64_t count, uint64_t *start);
/* Gives blocks back. 0 or -ENOMEM. */
int ext4_blocks_give(struct ext4_blocks *b, uint64_t start, uint64_t count);
/* The next row of free blocks at or behind *start, within one group: sets *start and returns its length, 0
 * when there is none. */
uint64_t ext4_blocks_next_free(const struct ext4_blocks *b, uint64_t *start);

#endif
