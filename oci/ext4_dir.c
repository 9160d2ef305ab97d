/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: folders are written when all names are known, in the order of their making. A folder
 * that fits a block is a plain list. A larger one is a hashed tree (Linux' Documentation/filesystems/ext4,
 * "Hash Tree Directories"), so that a look-up reads two or three blocks whatever the folder's size: the
 * entries are sorted by the hash of their name and packed into leaves; the first block is the root of the
 * index, disguised as a list of "." and ".."; more leaves than the root can name have one level of index
 * blocks, behind the leaves. Beyond that (tens of millions of names) the index is left out, and what remains
 * is a plain list again.
 */
#include "oci/ext4_image.h"

#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DOTS_LEN        24u /* of "." and ".." */
#define ENTRY_LEN(name) ((8u + (name) + 3u) & ~3u)
#define INFO_OFFSET     DOTS_LEN
#define ROOT_INDEX      (INFO_OFFSET + (unsigned)sizeof(struct ext2_dx_root_info))
#define NODE_INDEX      8u /* an index block begins with an empty entry */
#define ROOT_MAX        ((EXT4_BLOCK - ROOT_INDEX) / (unsigned)sizeof(struct ext2_dx_entry))
#define NODE_MAX        ((EXT4_BLOCK - NODE_INDEX) / (unsigned)sizeof(struct ext2_dx_entry))

struct hashed {
    uint32_t hash, minor, node;
};

/* A block of entries that is being filled. */
struct entry_block {
    uint8_t bytes[EXT4_BLOCK];
    unsigned used, last; /* last: where the last entry begins */
};

struct folder {
    struct ext4_image *img;
    uint32_t node, ino, parent_ino;
    uint32_t count, folders; /* names, and how many of them are folders */
    uint32_t blocks;         /* written so far */
    struct hashed *sorted;
    struct ext2_dx_entry *leaves; /* the index: first hash and number of each leaf */
    uint32_t leaf_count;
    struct entry_block block;
};

static void add_entry(struct entry_block *b, uint32_t ino, uint8_t type, const char *name, uint8_t len)
{
    struct ext2_dir_entry_2 entry = {
        .inode = ino, .rec_len = (__u16)ENTRY_LEN(len), .name_len = len, .file_type = type};
    memcpy(b->bytes + b->used, &entry, 8);
    memcpy(b->bytes + b->used + 8, name, len);
    b->last = b->used;
    b->used += entry.rec_len;
}

static bool has_room(const struct entry_block *b, uint8_t name_len)
{
    return b->used + ENTRY_LEN(name_len) <= EXT4_BLOCK;
}

/* The last entry reaches to the end of the block. */
static void end_block(struct entry_block *b)
{
    __u16 rest = (__u16)(EXT4_BLOCK - b->last);
    memcpy(b->bytes + b->last + offsetof(struct ext2_dir_entry_2, rec_len), &rest, sizeof(rest));
}

static void start_block(struct entry_block *b)
{
    memset(b, 0, sizeof(*b));
}

static void add_node(struct folder *f, uint32_t node)
{
    const struct tree_node *n = tree_node(&f->img->tree, node);
    add_entry(&f->block, n->ino, n->type, tree_name(&f->img->tree, node), n->name_len);
}

static void add_dots(struct folder *f)
{
    add_entry(&f->block, f->ino, EXT2_FT_DIR, ".", 1);
    add_entry(&f->block, f->parent_ino, EXT2_FT_DIR, "..", 2);
}

static int put_block(struct folder *f, const void *bytes)
{
    return extents_write(f->img, f->blocks++, bytes, 1);
}

/* Counts names; *fits tells whether they fill no more than a block. */
static void survey(struct folder *f, bool *fits)
{
    struct tree *t = &f->img->tree;
    uint64_t bytes = DOTS_LEN;
    for (uint32_t n = tree_first(t, f->node); n != TREE_NONE; n = tree_next(t, n)) {
        f->count++;
        f->folders += tree_node(t, n)->type == EXT2_FT_DIR;
        bytes += ENTRY_LEN(tree_node(t, n)->name_len);
    }
    *fits = bytes <= EXT4_BLOCK;
}

static int write_list(struct folder *f)
{
    struct tree *t = &f->img->tree;
    start_block(&f->block);
    add_dots(f);
    for (uint32_t n = tree_first(t, f->node); n != TREE_NONE; n = tree_next(t, n))
        add_node(f, n);
    end_block(&f->block);
    return put_block(f, f->block.bytes);
}

/* --- the hashed tree --- */

/* By hash; node numbers, given in the order of the layers, settle what is left. */
static int by_hash(const void *one, const void *two)
{
    const struct hashed *a = one, *b = two;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->minor != b->minor)
        return a->minor < b->minor ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

static int sort_names(struct folder *f)
{
    struct tree *t = &f->img->tree;
    uint32_t seed[4], i = 0;
    memcpy(seed, f->img->params.uuid, sizeof(seed));
    f->sorted = malloc(f->count * sizeof(*f->sorted));
    if (!f->sorted)
        return -ENOMEM;
    for (uint32_t n = tree_first(t, f->node); n != TREE_NONE; n = tree_next(t, n), i++) {
        f->sorted[i].node = n;
        if (ext2fs_dirhash2(EXT2_HASH_HALF_MD4_UNSIGNED, tree_name(t, n), tree_node(t, n)->name_len, NULL, 0,
                            seed, &f->sorted[i].hash, &f->sorted[i].minor))
            return -EIO;
    }
    qsort(f->sorted, f->count, sizeof(*f->sorted), by_hash);
    return 0;
}

static int write_leaves(struct folder *f)
{
    /* No leaf is less than half full: the longest entry is a fifteenth of a block. */
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->count; i++)
        bytes += ENTRY_LEN(tree_node(&f->img->tree, f->sorted[i].node)->name_len);
    f->leaves = malloc((bytes / (EXT4_BLOCK / 2) + 2) * sizeof(*f->leaves));
    if (!f->leaves)
        return -ENOMEM;
    for (uint32_t i = 0; i < f->count;) {
        uint32_t hash = f->sorted[i].hash;
        /* The low bit says that names of this hash are in the leaf before as well. */
        if (i && f->sorted[i - 1].hash == hash)
            hash |= 1;
        f->leaves[f->leaf_count++] = (struct ext2_dx_entry){.hash = hash, .block = f->blocks};
        start_block(&f->block);
        while (i < f->count && has_room(&f->block, tree_node(&f->img->tree, f->sorted[i].node)->name_len))
            add_node(f, f->sorted[i++].node);
        end_block(&f->block);
        int ret = put_block(f, f->block.bytes);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* Index entries with their count in front, in the place of the first one's hash. */
static void put_index(uint8_t *at, unsigned max, const struct ext2_dx_entry *list, uint32_t count)
{
    struct ext2_dx_countlimit head = {.limit = (__le16)max, .count = (__le16)count};
    memcpy(at, list, count * sizeof(*list));
    memcpy(at, &head, sizeof(head));
}

/* Replaces the list of leaves by a list of index blocks. */
static int write_index_blocks(struct folder *f)
{
    uint32_t packed = 0;
    for (uint32_t at = 0; at < f->leaf_count; at += NODE_MAX) {
        uint32_t n = f->leaf_count - at < NODE_MAX ? f->leaf_count - at : NODE_MAX;
        struct ext2_dx_entry up = {.hash = f->leaves[at].hash, .block = f->blocks};
        struct ext2_dir_entry_2 empty = {.rec_len = EXT4_BLOCK};
        start_block(&f->block);
        memcpy(f->block.bytes, &empty, NODE_INDEX);
        put_index(f->block.bytes + NODE_INDEX, NODE_MAX, f->leaves + at, n);
        int ret = put_block(f, f->block.bytes);
        if (ret < 0)
            return ret;
        f->leaves[packed++] = up;
    }
    f->leaf_count = packed;
    return 0;
}

/* Writes the tree; *indexed is false for a folder that is too large for an index. */
static int write_tree(struct folder *f, bool *indexed)
{
    struct ext2_dx_root_info info = {.hash_version = EXT2_HASH_HALF_MD4, .info_length = sizeof(info)};
    uint64_t root;
    /* The root is block 0, but its content is known last. */
    int64_t taken = ext4_blocks_take(&f->img->blocks, 1, &root);
    int ret = taken < 0 ? (int)taken : extents_add(f->img, f->blocks++, root, 1);
    if (ret == 0)
        ret = sort_names(f);
    if (ret == 0)
        ret = write_leaves(f);
    *indexed = f->leaves && f->leaf_count <= ROOT_MAX * NODE_MAX;
    if (ret == 0 && *indexed && f->leaf_count > ROOT_MAX) {
        info.indirect_levels = 1;
        ret = write_index_blocks(f);
    }
    if (ret < 0)
        return ret;
    start_block(&f->block);
    add_dots(f);
    end_block(&f->block);
    if (*indexed) {
        memcpy(f->block.bytes + INFO_OFFSET, &info, sizeof(info));
        put_index(f->block.bytes + ROOT_INDEX, ROOT_MAX, f->leaves, f->leaf_count);
    }
    return disk_write(f->img, root, f->block.bytes, 1);
}

static int write_folder(struct folder *f)
{
    struct disk_inode inode;
    bool fits, indexed = false;
    survey(f, &fits);
    extents_begin(f->img);
    int ret = fits ? write_list(f) : write_tree(f, &indexed);
    if (ret == 0)
        ret = inode_get(f->img, f->ino, &inode);
    if (ret == 0)
        ret = extents_end(f->img, &inode);
    if (ret < 0)
        return ret;
    inode_set_size(&inode, (uint64_t)f->blocks * EXT4_BLOCK);
    if (indexed)
        inode.f.i_flags |= EXT2_INDEX_FL;
    /* Its name and ".", and the ".." of each folder in it; 1 says that there are too many to count
     * (dir_nlink). */
    inode.f.i_links_count = (__u16)(f->folders + 2 > EXT4_LINK_MAX - 1 ? 1 : f->folders + 2);
    return inode_put(f->img, f->ino, &inode);
}

int folders_write(struct ext4_image *img, struct err *e)
{
    const struct tree *t = &img->tree;
    for (uint32_t node = TREE_ROOT; node < t->count; node++) {
        const struct tree_node *n = tree_node(t, node);
        if (n->type != EXT2_FT_DIR)
            continue;
        struct folder f = {
            .img = img, .node = node, .ino = n->ino, .parent_ino = tree_node(t, n->parent)->ino};
        int ret = ext4_check_cancelled(img, e);
        if (ret < 0)
            return ret;
        ret = write_folder(&f);
        free(f.sorted);
        free(f.leaves);
        if (ret < 0) {
            char name[TREE_NAME_MAX + 1] = "/";
            if (node != TREE_ROOT) {
                memcpy(name, tree_name(t, node), n->name_len);
                name[n->name_len] = '\0';
            }
            return ext4_fail(img, ret, "write folder", name, e);
        }
    }
    return 0;
}
