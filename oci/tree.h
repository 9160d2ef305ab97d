/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a file system that is being made, in memory: a tree of nodes, each a name in a folder and the
 * inode it stands for. Some forty bytes a name, whatever the inode is.
 *
 * A node is the place of a path and stays for good: when the path goes away, the node is only marked as not
 * there, and a later object of that path takes it again. One thread at a time.
 */
#ifndef CUBBY_OCI_TREE_H
#define CUBBY_OCI_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_NONE     0u
#define TREE_ROOT     1u
#define TREE_NAME_MAX 255u
/* Nodes and names are held in chunks of this many, so that growing never copies. */
#define TREE_CHUNK ((uint32_t)1 << 14)

struct tree_node {
    uint32_t parent; /* the root's is the root */
    uint32_t name;   /* place in the names */
    uint32_t next;   /* the next child in its folder's list; TREE_NONE at the end; itself: not in the list */
    uint32_t child;  /* the first one of a folder's list */
    uint32_t ino;
    uint16_t layer; /* for the tree's user: which layer touched it last */
    uint8_t name_len;
    uint8_t type; /* EXT2_FT_*, 0: not there */
};

struct tree {
    void **nodes;                /* chunks of struct tree_node */
    uint32_t count, node_chunks; /* count: node numbers given out, TREE_NONE's included */
    void **names;                /* chunks of bytes */
    uint32_t names_used, name_chunks;
    uint32_t *slots; /* open addressing: node numbers, by parent and name */
    uint32_t slot_count;
    uint64_t key[2]; /* of the hash: random, so that no layer can aim at one slot */
};

/* A tree with its root, a folder. 0 or -ENOMEM. */
int tree_init(struct tree *t);
/* Safe on a zeroed tree and after a failed tree_init(). */
void tree_free(struct tree *t);

static inline struct tree_node *tree_node(const struct tree *t, uint32_t node)
{
    return (struct tree_node *)t->nodes[node / TREE_CHUNK] + node % TREE_CHUNK;
}

/* The name, name_len bytes without a NUL; "" for the root. */
const char *tree_name(const struct tree *t, uint32_t node);

/* The node of `name` in `parent` when it is there, or TREE_NONE. */
uint32_t tree_find(const struct tree *t, uint32_t parent, const char *name, size_t len);

/* The first child of a folder that is there, or TREE_NONE; and the one after `node` in its folder. */
uint32_t tree_first(struct tree *t, uint32_t folder);
uint32_t tree_next(struct tree *t, uint32_t node);

/*
 * The node of `name` (1 to 255 bytes) in `parent`, made when there is none; the caller sets type and ino. 0,
 * -ENAMETOOLONG or -ENOMEM. Pointers to nodes stay valid.
 */
int tree_put(struct tree *t, uint32_t parent, const char *name, size_t len, uint32_t *node);

#endif
