/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: extended attributes (Linux' Documentation/filesystems/ext4, "Extended Attributes") go
 * into the rest of the inode as long as they fit, the others into one block of their own. Both are laid out
 * alike: entries from the front, values from the back, a zero word between. The block's entries are sorted
 * and hashed; the kernel relies on the order when it looks one up. The prefix of a name is a number; the
 * access control lists have a shorter form on disk than in getxattr(2).
 */
#include "oci/ext4_image.h"

#include "base/cursor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LISTS_MAX        256u /* attributes of one object */
#define INDEX_USER       1
#define INDEX_ACL        2
#define INDEX_ACL_FOLDER 3
#define INDEX_TRUSTED    4
#define INDEX_SECURITY   6

/* The two forms of an access control list (include/uapi/linux/posix_acl_xattr.h, fs/ext4/acl.h). */
#define ACL_XATTR_VERSION 2u
#define ACL_DISK_VERSION  1u
enum acl_tag {
    ACL_USER_OBJ = 1,
    ACL_USER = 2,
    ACL_GROUP_OBJ = 4,
    ACL_GROUP = 8,
    ACL_MASK = 16,
    ACL_OTHER = 32
};

struct attribute {
    uint8_t index;
    const char *name; /* without the prefix */
    size_t name_len;
    const void *value;
    size_t len;
    void *owned; /* a converted value */
    size_t order;
    bool placed;
};

/* A place for entries: `base` is what offsets of values count from. */
struct area {
    uint8_t *base, *next, *end; /* next: the next entry's; end: the first value's */
};

static int split_name(struct attribute *a, const char *name)
{
    static const struct {
        const char *prefix;
        uint8_t index;
        bool whole; /* the prefix is all of the name */
    } known[] = {
        {"user.", INDEX_USER, false},
        {"trusted.", INDEX_TRUSTED, false},
        {"security.", INDEX_SECURITY, false},
        {"system.posix_acl_access", INDEX_ACL, true},
        {"system.posix_acl_default", INDEX_ACL_FOLDER, true},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = strlen(known[i].prefix);
        if (strncmp(name, known[i].prefix, n) != 0 || (known[i].whole ? name[n] != '\0' : name[n] == '\0'))
            continue;
        a->index = known[i].index;
        a->name = name + n;
        a->name_len = strlen(a->name);
        return a->name_len > TREE_NAME_MAX ? -EINVAL : 0;
    }
    return -ENOTSUP;
}

/* What an access control list says about the permission bits: the mask, or else the group's own, stand in the
 * place of the group's. */
struct acl_mode {
    unsigned user, group, other;
    bool extended, masked; /* holds more than the bits can say; has a mask */
};

static int acl_add(struct acl_mode *m, uint16_t tag, uint16_t perm)
{
    if (perm > 7)
        return -EINVAL;
    switch (tag) {
    case ACL_USER_OBJ:
        m->user = perm;
        return 0;
    case ACL_GROUP_OBJ:
        m->group = m->masked ? m->group : perm;
        return 0;
    case ACL_MASK:
        m->group = perm;
        m->masked = m->extended = true;
        return 0;
    case ACL_OTHER:
        m->other = perm;
        return 0;
    case ACL_USER:
    case ACL_GROUP:
        m->extended = true;
        return 0;
    default:
        return -EINVAL;
    }
}

/* Entries of tag, permissions and id; on disk only named users and groups have an id. */
static int convert_acl(struct attribute *a, struct acl_mode *mode)
{
    struct reader r = reader_of(a->value, a->len);
    if (read_u32(&r) != ACL_XATTR_VERSION || reader_left(&r) % 8 != 0)
        return -EINVAL;
    a->owned = malloc(a->len);
    if (!a->owned)
        return -ENOMEM;
    struct writer w = writer_of(a->owned, a->len);
    write_u32(&w, ACL_DISK_VERSION);
    while (reader_left(&r)) {
        uint16_t tag = read_u16(&r), perm = read_u16(&r);
        uint32_t id = read_u32(&r);
        int ret = acl_add(mode, tag, perm);
        if (ret < 0)
            return ret;
        write_u16(&w, tag);
        write_u16(&w, perm);
        if (tag == ACL_USER || tag == ACL_GROUP)
            write_u32(&w, id);
    }
    a->value = a->owned;
    a->len = writer_len(&w);
    return r.failed || w.failed ? -EINVAL : 0;
}

/* As setxattr(2) does: the list for access sets the permission bits, and is kept only when it says more than
 * they do. */
static int take_acl(struct attribute *a, struct disk_inode *inode)
{
    struct acl_mode mode = {0};
    int ret = convert_acl(a, &mode);
    if (ret == 0 && a->index == INDEX_ACL) {
        inode->f.i_mode = (__u16)((inode->f.i_mode & ~0777u) | mode.user << 6 | mode.group << 3 | mode.other);
        a->placed = !mode.extended;
    }
    return ret;
}

/* The order of a block; what was given first comes first among equal names. */
static int by_name(const void *one, const void *two)
{
    const struct attribute *a = one, *b = two;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    if (a->name_len != b->name_len)
        return a->name_len < b->name_len ? -1 : 1;
    int c = memcmp(a->name, b->name, a->name_len);
    return c ? c : a->order < b->order ? -1 : 1;
}

static bool same_name(const struct attribute *a, const struct attribute *b)
{
    return a->index == b->index && a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

/* Adds an entry; false when there is no room, with the final zero word counted in. */
static bool place(struct area *area, struct attribute *a, bool hashed)
{
    size_t entry_len = EXT2_EXT_ATTR_LEN(a->name_len), value_len = EXT2_EXT_ATTR_SIZE(a->len);
    size_t room = (size_t)(area->end - area->next);
    if (a->len > EXT4_BLOCK || entry_len + value_len + sizeof(uint32_t) > room)
        return false;
    area->end -= value_len;
    struct ext2_ext_attr_entry *entry = (struct ext2_ext_attr_entry *)(void *)area->next;
    memset(entry, 0, entry_len);
    memset(area->end, 0, value_len);
    entry->e_name_len = (__u8)a->name_len;
    entry->e_name_index = a->index;
    entry->e_value_offs = a->len ? (__u16)(area->end - area->base) : 0;
    entry->e_value_size = (__u32)a->len;
    memcpy(EXT2_EXT_ATTR_NAME(entry), a->name, a->name_len);
    if (a->len)
        memcpy(area->end, a->value, a->len);
    if (hashed)
        entry->e_hash = ext2fs_ext_attr_hash_entry(entry, area->end);
    area->next += entry_len;
    a->placed = true;
    return true;
}

static void fill_inode(struct disk_inode *inode, struct attribute *list, size_t count)
{
    store_le32(inode->xattrs, EXT2_EXT_ATTR_MAGIC);
    uint8_t *first = inode->xattrs + sizeof(uint32_t);
    struct area area = {.base = first, .next = first, .end = inode->xattrs + sizeof(inode->xattrs)};
    for (size_t i = 0; i < count; i++)
        place(&area, &list[i], false);
    if (area.next == first)
        memset(inode->xattrs, 0, sizeof(uint32_t)); /* none fitted: no magic either */
}

static int fill_block(struct ext4_image *img, struct disk_inode *inode, struct attribute *list, size_t count)
{
    union {
        struct ext2_ext_attr_header header;
        uint8_t bytes[EXT4_BLOCK];
    } block = {.header = {.h_magic = EXT2_EXT_ATTR_MAGIC, .h_refcount = 1, .h_blocks = 1}};
    struct area area = {.base = block.bytes,
                        .next = block.bytes + sizeof(block.header),
                        .end = block.bytes + sizeof(block.bytes)};
    for (size_t i = 0; i < count; i++)
        if (!list[i].placed && !place(&area, &list[i], true))
            return -E2BIG;
    if (area.next == block.bytes + sizeof(block.header))
        return 0;
    ext2fs_ext_attr_block_rehash(&block.header, (struct ext2_ext_attr_entry *)(void *)area.next);
    uint64_t at;
    int64_t n = ext4_blocks_take(&img->blocks, 1, &at);
    if (n < 0)
        return (int)n;
    inode->f.i_file_acl = (__u32)at;
    inode->f.osd2.linux2.l_i_file_acl_high = (__u16)(at >> 32);
    inode_add_blocks(inode, 1);
    return disk_write(img, at, &block, 1);
}

int xattrs_set(struct ext4_image *img, struct disk_inode *inode, const struct ext4_xattr *list, size_t count)
{
    struct attribute attributes[LISTS_MAX];
    if (count > LISTS_MAX)
        return -E2BIG;
    size_t used = 0;
    int ret = 0;
    for (; used < count && ret == 0; used++) {
        struct attribute *a = &attributes[used];
        *a = (struct attribute){.value = list[used].value, .len = list[used].len, .order = used};
        ret = split_name(a, list[used].name);
        if (ret == 0 && (a->index == INDEX_ACL || a->index == INDEX_ACL_FOLDER))
            ret = take_acl(a, inode);
    }
    if (ret == 0 && used) {
        qsort(attributes, used, sizeof(attributes[0]), by_name);
        /* Of equal names only the last counts. */
        for (size_t i = 0; i + 1 < used; i++)
            attributes[i].placed = attributes[i].placed || same_name(&attributes[i], &attributes[i + 1]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < used && ret == 0; i++)
        if (!attributes[i].placed) {
            struct attribute swap = attributes[kept];
            attributes[kept++] = attributes[i];
            attributes[i] = swap;
        }
    if (ret == 0) {
        fill_inode(inode, attributes, kept);
        ret = fill_block(img, inode, attributes, kept);
    }
    for (size_t i = 0; i < used; i++)
        free(attributes[i].owned);
    return ret;
}

int xattrs_clear(struct ext4_image *img, struct disk_inode *inode)
{
    memset(inode->xattrs, 0, sizeof(inode->xattrs));
    uint64_t block = (uint64_t)inode->f.osd2.linux2.l_i_file_acl_high << 32 | inode->f.i_file_acl;
    if (block == 0)
        return 0;
    inode->f.i_file_acl = 0;
    inode->f.osd2.linux2.l_i_file_acl_high = 0;
    inode_add_blocks(inode, -1);
    return ext4_blocks_give(&img->blocks, block, 1);
}
