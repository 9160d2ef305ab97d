/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: nodes and names live in chunks that never move; a hash table of node numbers (open
 * addressing, linear probing, at most three quarters full) finds them by parent and name. Nothing is ever
 * taken out of the table, which is what makes linear probing without tombstones right. The children of a
 * folder form a list, the latest first. The table's order depends on a random key, and
 * therefore nothing that is written may: whoever goes through the tree follows the lists or the numbers.
 */
#include "oci/tree.h"

#include "base/cursor.h"

#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NAME_CHUNK  ((uint32_t)1 << 16)
#define FIRST_SLOTS 1024u

/* --- SipHash-2-4 of a 32-bit parent and a name (Aumasson and Bernstein, 2012) --- */

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static uint32_t hash_of(const struct tree *t, uint32_t parent, const char *name, size_t len)
{
    uint64_t v[4] = {t->key[0] ^ 0x736f6d6570736575, t->key[1] ^ 0x646f72616e646f6d,
                     t->key[0] ^ 0x6c7967656e657261, t->key[1] ^ 0x7465646279746573};
    uint8_t last[8] = {0};
    sip_word(v, parent);
    size_t at = 0;
    for (; at + 8 <= len; at += 8)
        sip_word(v, load_le64(name + at));
    memcpy(last, name + at, len - at);
    last[7] = (uint8_t)len;
    sip_word(v, load_le64(last));
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* --- storage --- */

/* Adds a chunk of `size` bytes to a list of chunks. */
static void *add_chunk(void ***list, uint32_t *count, size_t size)
{
    void **bigger = realloc(*list, (*count + (size_t)1) * sizeof(void *));
    if (!bigger)
        return NULL;
    *list = bigger;
    void *chunk = calloc(1, size);
    if (chunk)
        bigger[(*count)++] = chunk;
    return chunk;
}

static int new_node(struct tree *t, uint32_t *node)
{
    if (t->count == UINT32_MAX - 1)
        return -ENOMEM;
    if (t->count == t->node_chunks * TREE_CHUNK &&
        !add_chunk(&t->nodes, &t->node_chunks, TREE_CHUNK * sizeof(struct tree_node)))
        return -ENOMEM;
    *node = t->count++;
    return 0;
}

/* Names do not cross chunks; what is left of one is lost. */
static int keep_name(struct tree *t, const char *name, size_t len, uint32_t *place)
{
    uint32_t room = t->name_chunks * NAME_CHUNK - t->names_used;
    if (room < len) {
        if (t->name_chunks == UINT32_MAX / NAME_CHUNK || !add_chunk(&t->names, &t->name_chunks, NAME_CHUNK))
            return -ENOMEM;
        t->names_used = (t->name_chunks - 1) * NAME_CHUNK;
    }
    *place = t->names_used;
    memcpy((char *)t->names[*place / NAME_CHUNK] + *place % NAME_CHUNK, name, len);
    t->names_used += (uint32_t)len;
    return 0;
}

const char *tree_name(const struct tree *t, uint32_t node)
{
    uint32_t place = tree_node(t, node)->name;
    return (const char *)t->names[place / NAME_CHUNK] + place % NAME_CHUNK;
}

/* --- table --- */

/* The slot that holds the name, or the empty one where it belongs. */
static uint32_t *slot_of(const struct tree *t, uint32_t parent, const char *name, size_t len)
{
    uint32_t mask = t->slot_count - 1;
    for (uint32_t i = hash_of(t, parent, name, len) & mask;; i = (i + 1) & mask) {
        uint32_t node = t->slots[i];
        if (node == TREE_NONE)
            return &t->slots[i];
        const struct tree_node *n = tree_node(t, node);
        if (n->parent == parent && n->name_len == len && memcmp(tree_name(t, node), name, len) == 0)
            return &t->slots[i];
    }
}

static int grow_table(struct tree *t)
{
    struct tree bigger = *t;
    if (t->slot_count > UINT32_MAX / 2)
        return -ENOMEM;
    bigger.slot_count = 2 * t->slot_count;
    bigger.slots = calloc(bigger.slot_count, sizeof(uint32_t));
    if (!bigger.slots)
        return -ENOMEM;
    for (uint32_t i = TREE_ROOT + 1; i < t->count; i++)
        *slot_of(&bigger, tree_node(t, i)->parent, tree_name(t, i), tree_node(t, i)->name_len) = i;
    free(t->slots);
    *t = bigger;
    return 0;
}

int tree_init(struct tree *t)
{
    uint32_t none, root;
    *t = (struct tree){.slot_count = FIRST_SLOTS};
    /* Without randomness the table is only easier to slow down. */
    if (getrandom(t->key, sizeof(t->key), GRND_NONBLOCK) < 0)
        memset(t->key, 0, sizeof(t->key));
    t->slots = calloc(FIRST_SLOTS, sizeof(uint32_t));
    /* The root has no name, but a place where one could be read. */
    if (!t->slots || !add_chunk(&t->names, &t->name_chunks, NAME_CHUNK) || new_node(t, &none) < 0 ||
        new_node(t, &root) < 0) {
        tree_free(t);
        return -ENOMEM;
    }
    tree_node(t, root)->parent = root;
    tree_node(t, root)->type = EXT2_FT_DIR;
    return 0;
}

void tree_free(struct tree *t)
{
    for (uint32_t i = 0; i < t->node_chunks; i++)
        free(t->nodes[i]);
    for (uint32_t i = 0; i < t->name_chunks; i++)
        free(t->names[i]);
    free(t->nodes);
    free(t->names);
    free(t->slots);
    *t = (struct tree){0};
}

uint32_t tree_find(const struct tree *t, uint32_t parent, const char *name, size_t len)
{
    if (len == 0 || len > TREE_NAME_MAX)
        return TREE_NONE;
    uint32_t node = *slot_of(t, parent, name, len);
    return node != TREE_NONE && tree_node(t, node)->type ? node : TREE_NONE;
}

/* From *link on, the first child that is there. Those that are not leave the list, so that going through a
 * folder again and again costs no more than what it holds. */
static uint32_t skip_absent(struct tree *t, uint32_t *link)
{
    while (*link != TREE_NONE && !tree_node(t, *link)->type) {
        uint32_t absent = *link;
        *link = tree_node(t, absent)->next;
        tree_node(t, absent)->next = absent;
    }
    return *link;
}

uint32_t tree_first(struct tree *t, uint32_t folder)
{
    return skip_absent(t, &tree_node(t, folder)->child);
}

uint32_t tree_next(struct tree *t, uint32_t node)
{
    return skip_absent(t, &tree_node(t, node)->next);
}

static void list_node(struct tree *t, uint32_t node)
{
    struct tree_node *n = tree_node(t, node), *folder = tree_node(t, n->parent);
    n->next = folder->child;
    folder->child = node;
}

int tree_put(struct tree *t, uint32_t parent, const char *name, size_t len, uint32_t *node)
{
    if (len == 0 || len > TREE_NAME_MAX)
        return -ENAMETOOLONG;
    if (t->count >= t->slot_count / 4 * 3 && grow_table(t) < 0)
        return -ENOMEM;
    uint32_t *slot = slot_of(t, parent, name, len);
    if (*slot == TREE_NONE) {
        uint32_t place;
        if (keep_name(t, name, len, &place) < 0 || new_node(t, node) < 0)
            return -ENOMEM;
        *tree_node(t, *node) =
            (struct tree_node){.parent = parent, .name = place, .name_len = (uint8_t)len, .next = *node};
        *slot = *node;
    }
    *node = *slot;
    if (tree_node(t, *node)->next == *node)
        list_node(t, *node);
    return 0;
}
