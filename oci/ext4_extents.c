/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the map of a file, logical to physical blocks, is a tree of extents (Linux'
 * Documentation/filesystems/ext4, "Extent Tree"), built from the left: extents gather in one leaf; a full
 * leaf goes to disk and leaves an index entry behind. At the end up to four extents, or four index entries,
 * fit the inode; more index entries are packed into blocks, level by level, until they do. Memory is one leaf
 * and 12 bytes for each 340 extents, however broken up a file is.
 */
#include "oci/ext4_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structures go to disk as they are");

#define ROOT_ENTRIES 4u /* extents or index entries in the inode: (60 - 12) / 12 */

/* A node of the tree as a block. Extents and index entries are of the same size. */
struct extent_block {
    struct ext3_extent_header header;
    struct ext3_extent_idx entry[EXTENTS_PER_BLOCK];
    uint32_t tail;
};
_Static_assert(sizeof(struct extent_block) == EXT4_BLOCK, "a node of the tree fills its block");
_Static_assert(sizeof(struct ext3_extent) == sizeof(struct ext3_extent_idx), "entries are alike");

static struct ext3_extent_header header_of(size_t entries, size_t max, unsigned depth)
{
    return (struct ext3_extent_header){.eh_magic = EXT3_EXT_MAGIC,
                                       .eh_entries = (__u16)entries,
                                       .eh_max = (__u16)max,
                                       .eh_depth = (__u16)depth};
}

static uint64_t extent_start(const struct ext3_extent *x)
{
    return (uint64_t)x->ee_start_hi << 32 | x->ee_start;
}

void extents_begin(struct ext4_image *img)
{
    img->map.count = 0;
    img->map.full_count = 0;
    img->map.blocks = 0;
}

/* Writes a node of the tree; *up becomes the index entry that leads to it. */
static int write_node(struct ext4_image *img, const void *entries, size_t count, unsigned depth,
                      struct ext3_extent_idx *up)
{
    struct extent_block node = {.header = header_of(count, EXTENTS_PER_BLOCK, depth)};
    uint64_t block;
    int64_t ret = ext4_blocks_take(&img->blocks, 1, &block);
    if (ret < 0)
        return (int)ret;
    memcpy(node.entry, entries, count * sizeof(node.entry[0]));
    *up = (struct ext3_extent_idx){
        .ei_block = node.entry[0].ei_block, .ei_leaf = (__u32)block, .ei_leaf_hi = (__u16)(block >> 32)};
    img->map.blocks++;
    return disk_write(img, block, &node, 1);
}

static int flush_leaf(struct ext4_image *img)
{
    struct extent_map *map = &img->map;
    if (map->full_count == map->full_cap) {
        size_t cap = map->full_cap ? 2 * map->full_cap : 16;
        struct ext3_extent_idx *bigger = realloc(map->full, cap * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        map->full = bigger;
        map->full_cap = cap;
    }
    int ret = write_node(img, map->leaf, map->count, 0, &map->full[map->full_count]);
    map->full_count++;
    map->count = 0;
    return ret;
}

int extents_add(struct ext4_image *img, uint32_t logical, uint64_t physical, uint64_t count)
{
    struct extent_map *map = &img->map;
    map->blocks += count;
    if (map->count) {
        struct ext3_extent *last = &map->leaf[map->count - 1];
        if (last->ee_block + last->ee_len == logical && extent_start(last) + last->ee_len == physical) {
            uint64_t room = EXTENT_BLOCKS_MAX - last->ee_len, n = count < room ? count : room;
            last->ee_len = (__u16)(last->ee_len + n);
            logical += (uint32_t)n;
            physical += n;
            count -= n;
        }
    }
    while (count) {
        uint64_t n = count < EXTENT_BLOCKS_MAX ? count : EXTENT_BLOCKS_MAX;
        if (map->count == EXTENTS_PER_BLOCK) {
            int ret = flush_leaf(img);
            if (ret < 0)
                return ret;
        }
        map->leaf[map->count++] = (struct ext3_extent){.ee_block = logical,
                                                       .ee_len = (__u16)n,
                                                       .ee_start_hi = (__u16)(physical >> 32),
                                                       .ee_start = (__u32)physical};
        logical += (uint32_t)n;
        physical += n;
        count -= n;
    }
    return 0;
}

/* Packs the index entries into blocks until the rest fits the inode. Returns the depth of the root. */
static int pack_index(struct ext4_image *img)
{
    struct extent_map *map = &img->map;
    unsigned depth = 1;
    while (map->full_count > ROOT_ENTRIES) {
        size_t packed = 0;
        for (size_t at = 0; at < map->full_count; at += EXTENTS_PER_BLOCK, packed++) {
            size_t n = map->full_count - at < EXTENTS_PER_BLOCK ? map->full_count - at : EXTENTS_PER_BLOCK;
            struct ext3_extent_idx up;
            int ret = write_node(img, map->full + at, n, depth, &up);
            if (ret < 0)
                return ret;
            map->full[packed] = up; /* at or before what was just written */
        }
        map->full_count = packed;
        depth++;
    }
    return (int)depth;
}

int extents_end(struct ext4_image *img, struct disk_inode *inode)
{
    struct extent_map *map = &img->map;
    int depth = 0;
    const void *entries = map->leaf;
    size_t count = map->count;
    if (map->full_count || map->count > ROOT_ENTRIES) {
        int ret = map->count ? flush_leaf(img) : 0;
        depth = ret < 0 ? ret : pack_index(img);
        if (depth < 0)
            return depth;
        entries = map->full;
        count = map->full_count;
    }
    struct ext3_extent_header header = header_of(count, ROOT_ENTRIES, (unsigned)depth);
    memset(inode->f.i_block, 0, sizeof(inode->f.i_block));
    memcpy(inode->f.i_block, &header, sizeof(header));
    if (count)
        memcpy((char *)inode->f.i_block + sizeof(header), entries, count * sizeof(struct ext3_extent));
    inode->f.i_flags |= EXT4_EXTENTS_FL;
    inode_add_blocks(inode, (int64_t)map->blocks);
    return 0;
}

int extents_write(struct ext4_image *img, uint32_t logical, const uint8_t *data, size_t count)
{
    while (count) {
        uint64_t block;
        int64_t n = ext4_blocks_take(&img->blocks, count, &block);
        if (n < 0)
            return (int)n;
        int ret = disk_write(img, block, data, (size_t)n);
        if (ret == 0)
            ret = extents_add(img, logical, block, (uint64_t)n);
        if (ret < 0)
            return ret;
        logical += (uint32_t)n;
        data += (size_t)n * EXT4_BLOCK;
        count -= (size_t)n;
    }
    return 0;
}

/* Gives back what a node of the tree leads to. The tree is of our own making: its depth is right. */
static int free_node(struct ext4_image *img, const struct ext3_extent_header *header, const void *entries)
{
    for (unsigned i = 0; i < header->eh_entries; i++) {
        int ret;
        if (header->eh_depth == 0) {
            const struct ext3_extent *x = (const struct ext3_extent *)entries + i;
            ret = ext4_blocks_give(&img->blocks, extent_start(x), x->ee_len);
        } else {
            const struct ext3_extent_idx *x = (const struct ext3_extent_idx *)entries + i;
            uint64_t block = (uint64_t)x->ei_leaf_hi << 32 | x->ei_leaf;
            struct extent_block node;
            ret = disk_read(img, block, &node);
            if (ret == 0)
                ret = free_node(img, &node.header, node.entry);
            if (ret == 0)
                ret = ext4_blocks_give(&img->blocks, block, 1);
        }
        if (ret < 0)
            return ret;
    }
    return 0;
}

int extents_free(struct ext4_image *img, const struct disk_inode *inode)
{
    if (!(inode->f.i_flags & EXT4_EXTENTS_FL))
        return 0;
    struct ext3_extent_header header;
    memcpy(&header, inode->f.i_block, sizeof(header));
    return free_node(img, &header, (const char *)inode->f.i_block + sizeof(header));
}
