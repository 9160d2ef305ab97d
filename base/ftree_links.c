/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: an open-addressing hash table that doubles when it is three quarters full. */
#include "base/ftree_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64u

/* The slot that holds the file, or the free one where it belongs. `cap` is a power of two. */
static struct ftree_link *slot_of(struct ftree_link *slots, size_t cap, dev_t dev, ino_t ino)
{
    uint64_t hash = ((uint64_t)ino ^ (uint64_t)dev << 32) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(hash >> 32) & (cap - 1);
    while (slots[i].ino && (slots[i].ino != ino || slots[i].dev != dev))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

const struct ftree_link *ftree_links_find(const struct ftree_links *l, const struct stat *st)
{
    if (!l->cap)
        return NULL;
    const struct ftree_link *found = slot_of(l->slots, l->cap, st->st_dev, st->st_ino);
    return found->ino ? found : NULL;
}

static int grow(struct ftree_links *l)
{
    size_t cap = l->cap ? 2 * l->cap : FIRST_CAP;
    struct ftree_link *slots = calloc(cap, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < l->cap; i++)
        if (l->slots[i].ino)
            *slot_of(slots, cap, l->slots[i].dev, l->slots[i].ino) = l->slots[i];
    free(l->slots);
    l->slots = slots;
    l->cap = cap;
    return 0;
}

int ftree_links_add(struct ftree_links *l, const struct stat *st, const char *path)
{
    if (l->count == FTREE_LINKS_MAX || !st->st_ino)
        return -E2BIG;
    if (4 * (l->count + 1) > 3 * l->cap && grow(l) < 0)
        return -ENOMEM;
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return -ENOMEM;
    *slot_of(l->slots, l->cap, st->st_dev, st->st_ino) =
        (struct ftree_link){.dev = st->st_dev, .ino = st->st_ino, .path = copy};
    l->count++;
    return 0;
}

void ftree_links_fini(struct ftree_links *l)
{
    for (size_t i = 0; i < l->cap; i++)
        free(l->slots[i].path);
    free(l->slots);
    *l = (struct ftree_links){0};
}
