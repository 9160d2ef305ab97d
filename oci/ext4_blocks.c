/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: fresh blocks come from the end, one row after the other, so that what is written in
 * order lies in order. Blocks that were given back are bits of their group's bitmap and are taken first, from
 * the lowest number up; small gaps are filled rather than kept, at the price of one more extent here and
 * there.
 */
#include "oci/ext4_blocks.h"

#include <errno.h>
#include <stdlib.h>

#define WORD_BITS 64u
#define MAP_WORDS (GROUP_BLOCKS / WORD_BITS)

void ext4_blocks_init(struct ext4_blocks *b, uint64_t first, uint64_t max)
{
    *b = (struct ext4_blocks){.end = first, .max = max, .hint = first};
}

void ext4_blocks_fini(struct ext4_blocks *b)
{
    for (size_t i = 0; i < b->group_count; i++)
        free(b->groups[i].map);
    free(b->groups);
    *b = (struct ext4_blocks){0};
}

int ext4_blocks_take_row(struct ext4_blocks *b, uint64_t count, uint64_t *start)
{
    if (count > b->max - b->end)
        return -EOVERFLOW;
    *start = b->end;
    b->end += count;
    return 0;
}

/* The first bit at or behind `from` whose value is `wanted`, or GROUP_BLOCKS. */
static uint32_t find_bit(const uint64_t *map, uint32_t from, int wanted)
{
    for (uint32_t w = from / WORD_BITS; w < MAP_WORDS; w++) {
        uint64_t bits = wanted ? map[w] : ~map[w];
        if (w == from / WORD_BITS)
            bits &= ~UINT64_C(0) << from % WORD_BITS;
        if (bits)
            return w * WORD_BITS + (uint32_t)__builtin_ctzll(bits);
    }
    return GROUP_BLOCKS;
}

uint64_t ext4_blocks_next_free(const struct ext4_blocks *b, uint64_t *start)
{
    uint32_t from = (uint32_t)(*start % GROUP_BLOCKS);
    for (uint64_t g = *start / GROUP_BLOCKS; g < b->group_count; g++, from = 0) {
        if (b->groups[g].count == 0)
            continue;
        uint32_t first = find_bit(b->groups[g].map, from, 1);
        if (first == GROUP_BLOCKS)
            continue;
        *start = g * GROUP_BLOCKS + first;
        return find_bit(b->groups[g].map, first, 0) - first;
    }
    return 0;
}

static void set_bits(uint64_t *map, uint32_t from, uint32_t count, int value)
{
    while (count) {
        uint32_t shift = from % WORD_BITS, n = WORD_BITS - shift < count ? WORD_BITS - shift : count;
        uint64_t mask = ~UINT64_C(0) >> (WORD_BITS - n) << shift;
        if (value)
            map[from / WORD_BITS] |= mask;
        else
            map[from / WORD_BITS] &= ~mask;
        from += n;
        count -= n;
    }
}

int64_t ext4_blocks_take(struct ext4_blocks *b, uint64_t want, uint64_t *start)
{
    if (b->free == 0) {
        uint64_t room = b->max - b->end, n = want < room ? want : room;
        return ext4_blocks_take_row(b, n, start) < 0 || n == 0 ? -EOVERFLOW : (int64_t)n;
    }
    *start = b->hint;
    uint64_t n = ext4_blocks_next_free(b, start);
    if (n > want)
        n = want;
    struct free_group *g = &b->groups[*start / GROUP_BLOCKS];
    set_bits(g->map, (uint32_t)(*start % GROUP_BLOCKS), (uint32_t)n, 0);
    g->count -= (uint32_t)n;
    b->free -= n;
    b->hint = *start + n;
    return (int64_t)n;
}

/* Makes sure that group `g` has a bitmap. */
static int need_map(struct ext4_blocks *b, uint64_t g)
{
    if (g >= b->group_count) {
        size_t count = g + 1;
        struct free_group *bigger = realloc(b->groups, count * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        for (size_t i = b->group_count; i < count; i++)
            bigger[i] = (struct free_group){0};
        b->groups = bigger;
        b->group_count = count;
    }
    if (!b->groups[g].map)
        b->groups[g].map = calloc(MAP_WORDS, sizeof(uint64_t));
    return b->groups[g].map ? 0 : -ENOMEM;
}

int ext4_blocks_give(struct ext4_blocks *b, uint64_t start, uint64_t count)
{
    if (count && start < b->hint)
        b->hint = start;
    while (count) {
        uint64_t g = start / GROUP_BLOCKS, from = start % GROUP_BLOCKS;
        uint64_t n = GROUP_BLOCKS - from < count ? GROUP_BLOCKS - from : count;
        if (need_map(b, g) < 0)
            return -ENOMEM;
        set_bits(b->groups[g].map, (uint32_t)from, (uint32_t)n, 1);
        b->groups[g].count += (uint32_t)n;
        b->free += n;
        start += n;
        count -= n;
    }
    return 0;
}
