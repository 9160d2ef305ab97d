/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an image whose size is not known until the last layer has come is written in two
 * parts. While objects come, their blocks and inodes go to the file at once, in a row from FIRST_BLOCK on
 * (oci/ext4_disk.c); only names stay in memory (oci/tree.c), and blocks and inodes that were given back
 * (oci/ext4_blocks.c). Closing writes the folders (oci/ext4_dir.c), which are known only then, and around
 * everything what makes a file system of it: superblock, group descriptors and bitmaps, by libext2fs
 * (oci/ext4_finish.c). Inodes, extents, attributes and folders are written by this layer itself, because
 * libext2fs looks up and marks each block by itself and cannot make a file system that grows.
 *
 * Everything that would depend on when or where the image is made (time, UUID, hash seed) comes from the
 * caller.
 *
 * Format: ext4 disk layout as in Linux' Documentation/filesystems/ext4, features as in oci/ext4_finish.c.
 */
#include "oci/ext4_image.h"

#include "base/own.h"
#include "oci/printable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FAST_TARGET_MAX 59u /* bytes of a target that fit the inode, with a NUL behind them */
#define MAJOR_MAX       0xfffu
#define MINOR_MAX       0xfffffu

const char *ext4_reason(int code)
{
    return code == -EOVERFLOW ? "larger than an image can be" : strerror(-code);
}

int ext4_fail(const struct ext4_image *img, int code, const char *what, const char *name, struct err *e)
{
    char text[PRINTABLE_CAP];
    return err_set(e, code, "cannot %s '%s' in image '%s': %s", what, printable(name, text), img->path,
                   ext4_reason(code));
}

int ext4_check_cancelled(const struct ext4_image *img, struct err *e)
{
    if (!img->params.cancelled || !img->params.cancelled(img->params.ctx))
        return 0;
    return err_set(e, -ECANCELED, "interrupted");
}

static void image_free(struct ext4_image *img)
{
    fd_closep(&img->fd);
    tree_free(&img->tree);
    ext4_blocks_fini(&img->blocks);
    free(img->map.full);
    free(img->groups);
    free(img->ino_free);
    free(img->out);
    free(img->path);
    free(img);
}

/* The root folder, and the numbers before FIRST_INODE, which belong to the file system itself. */
static int make_root(struct ext4_image *img)
{
    static const struct ext4_meta meta = {.mode = 0755};
    struct disk_inode inode;
    int ret = inode_add_group(img);
    if (ret < 0)
        return ret;
    img->next_ino = FIRST_INODE;
    img->groups[0].used = FIRST_INODE - 1;
    img->groups[0].folders = 1;
    tree_node(&img->tree, TREE_ROOT)->ino = EXT2_ROOT_INO;
    inode_init(&inode, &meta, S_IFDIR);
    return inode_put(img, EXT2_ROOT_INO, &inode);
}

int ext4_image_create(struct ext4_image **out, const char *path, const struct ext4_params *p, struct err *e)
{
    struct ext4_image *img = calloc(1, sizeof(*img));
    if (!img)
        return err_set(e, -ENOMEM, "cannot allocate the writer of image '%s'", path);
    img->params = *p;
    img->fd = -1;
    img->path = strdup(path);
    img->out = malloc(OUT_SIZE);
    ext4_blocks_init(&img->blocks, FIRST_BLOCK, EXT4_SIZE_MAX / EXT4_BLOCK);
    if (!img->path || !img->out || tree_init(&img->tree) < 0) {
        image_free(img);
        return err_set(e, -ENOMEM, "cannot allocate the writer of image '%s'", path);
    }
    img->fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    if (img->fd < 0) {
        int ret = err_sys(e, "cannot create image '%s'", path);
        image_free(img);
        return ret;
    }
    struct stat st;
    if (fstat(img->fd, &st) == 0 && !S_ISREG(st.st_mode)) { /* not a thing that may be removed on failure */
        image_free(img);
        return err_set(e, -EINVAL, "cannot create image '%s': it is not a regular file", path);
    }
    int ret = make_root(img);
    if (ret < 0) {
        ext4_fail(img, ret, "create", "/", e);
        ext4_image_abort(img);
        return ret;
    }
    *out = img;
    return 0;
}

void ext4_image_abort(struct ext4_image *img)
{
    if (!img)
        return;
    unlink(img->path);
    image_free(img);
}

int ext4_image_close(struct ext4_image *img, struct err *e)
{
    int ret = folders_write(img, e);
    if (ret == 0)
        ret = image_finish(img, e);
    if (ret < 0) {
        ext4_image_abort(img);
        return ret;
    }
    image_free(img);
    return 0;
}

struct tree *ext4_image_tree(struct ext4_image *img)
{
    return &img->tree;
}

/* For error texts. */
static const char *name_of(const struct ext4_image *img, uint32_t node, char buf[TREE_NAME_MAX + 1])
{
    size_t len = tree_node(&img->tree, node)->name_len;
    memcpy(buf, tree_name(&img->tree, node), len);
    buf[len] = '\0';
    return node == TREE_ROOT ? "/" : buf;
}

static int fail_node(const struct ext4_image *img, int code, const char *what, uint32_t node, struct err *e)
{
    char name[TREE_NAME_MAX + 1];
    return ext4_fail(img, code, what, name_of(img, node, name), e);
}

int ext4_image_set_meta(struct ext4_image *img, uint32_t node, const struct ext4_meta *m, struct err *e)
{
    struct disk_inode inode;
    uint32_t ino = tree_node(&img->tree, node)->ino;
    int ret = inode_get(img, ino, &inode);
    if (ret == 0)
        ret = xattrs_clear(img, &inode);
    if (ret == 0) {
        inode_set_meta(&inode, m);
        ret = inode_put(img, ino, &inode);
    }
    return ret < 0 ? fail_node(img, ret, "set the owner of", node, e) : 0;
}

int ext4_image_set_xattrs(struct ext4_image *img, uint32_t node, const struct ext4_xattr *list, size_t count,
                          struct err *e)
{
    struct disk_inode inode;
    uint32_t ino = tree_node(&img->tree, node)->ino;
    int ret = inode_get(img, ino, &inode);
    if (ret == 0)
        ret = xattrs_set(img, &inode, list, count);
    if (ret == 0)
        ret = inode_put(img, ino, &inode);
    return ret < 0 ? fail_node(img, ret, "set the extended attributes of", node, e) : 0;
}

/* The node for a new name. */
static int new_name(struct ext4_image *img, uint32_t parent, const char *name, uint32_t *node)
{
    int ret = tree_put(&img->tree, parent, name, strlen(name), node);
    if (ret == 0 && tree_node(&img->tree, *node)->type)
        ret = -EEXIST;
    return ret;
}

int object_new(struct ext4_image *img, uint32_t parent, const char *name, const struct disk_inode *inode,
               uint32_t *node)
{
    uint32_t fresh, ino = 0;
    int ret = new_name(img, parent, name, &fresh);
    if (ret == 0)
        ret = inode_new(img, S_ISDIR(inode->f.i_mode), &ino);
    if (ret == 0)
        ret = inode_put(img, ino, inode);
    if (ret < 0)
        return ret;
    tree_node(&img->tree, fresh)->ino = ino;
    tree_node(&img->tree, fresh)->type = inode_entry_type(inode->f.i_mode);
    if (node)
        *node = fresh;
    return 0;
}

int ext4_image_mkdir(struct ext4_image *img, uint32_t parent, const char *name, const struct ext4_meta *m,
                     uint32_t *node, struct err *e)
{
    struct disk_inode inode;
    inode_init(&inode, m, S_IFDIR);
    int ret = object_new(img, parent, name, &inode, node);
    return ret < 0 ? ext4_fail(img, ret, "create folder", name, e) : 0;
}

/* A target that does not fit the inode has a block. */
static int write_target(struct ext4_image *img, struct disk_inode *inode, const char *target, size_t len)
{
    uint8_t block[EXT4_BLOCK] = {0};
    inode_set_size(inode, len);
    if (len <= FAST_TARGET_MAX) {
        memcpy(inode->f.i_block, target, len);
        return 0;
    }
    memcpy(block, target, len);
    extents_begin(img);
    int ret = extents_write(img, 0, block, 1);
    return ret < 0 ? ret : extents_end(img, inode);
}

int ext4_image_symlink(struct ext4_image *img, uint32_t parent, const char *name, const char *target,
                       const struct ext4_meta *m, uint32_t *node, struct err *e)
{
    struct disk_inode inode;
    size_t len = strlen(target);
    int ret = len == 0 ? -EINVAL : len > EXT4_TARGET_MAX ? -ENAMETOOLONG : 0;
    inode_init(&inode, m, S_IFLNK);
    if (ret == 0)
        ret = write_target(img, &inode, target, len);
    if (ret == 0)
        ret = object_new(img, parent, name, &inode, node);
    return ret < 0 ? ext4_fail(img, ret, "create symbolic link", name, e) : 0;
}

int ext4_image_readlink(struct ext4_image *img, uint32_t node, char target[EXT4_TARGET_MAX + 1],
                        struct err *e)
{
    struct disk_inode inode;
    uint8_t block[EXT4_BLOCK];
    int ret = inode_get(img, tree_node(&img->tree, node)->ino, &inode);
    if (ret == 0 && !S_ISLNK(inode.f.i_mode))
        ret = -EINVAL;
    if (ret == 0 && inode.f.i_size <= FAST_TARGET_MAX) {
        memcpy(block, inode.f.i_block, sizeof(inode.f.i_block));
    } else if (ret == 0) {
        struct ext3_extent first;
        memcpy(&first, (char *)inode.f.i_block + sizeof(struct ext3_extent_header), sizeof(first));
        ret = disk_read(img, (uint64_t)first.ee_start_hi << 32 | first.ee_start, block);
    }
    if (ret < 0)
        return fail_node(img, ret, "read symbolic link", node, e);
    memcpy(target, block, inode.f.i_size);
    target[inode.f.i_size] = '\0';
    return 0;
}

int ext4_image_mknod(struct ext4_image *img, uint32_t parent, const char *name, mode_t type, dev_t rdev,
                     const struct ext4_meta *m, uint32_t *node, struct err *e)
{
    struct disk_inode inode;
    inode_init(&inode, m, type);
    int ret = 0;
    if (type == S_IFCHR || type == S_IFBLK) {
        if (major(rdev) > MAJOR_MAX || minor(rdev) > MINOR_MAX)
            ret = -EINVAL;
        inode_set_device(&inode, rdev);
    } else if (type != S_IFIFO) {
        ret = -EINVAL;
    }
    if (ret == 0)
        ret = object_new(img, parent, name, &inode, node);
    return ret < 0 ? ext4_fail(img, ret, "create device or pipe", name, e) : 0;
}

int ext4_image_link(struct ext4_image *img, uint32_t parent, const char *name, uint32_t target,
                    uint32_t *node, struct err *e)
{
    struct disk_inode inode;
    const struct tree_node *old = tree_node(&img->tree, target);
    uint32_t fresh;
    int ret = old->type == EXT2_FT_DIR ? -EPERM : old->type ? 0 : -ENOENT;
    if (ret == 0)
        ret = new_name(img, parent, name, &fresh);
    if (ret == 0)
        ret = inode_get(img, old->ino, &inode);
    if (ret == 0 && inode.f.i_links_count >= EXT4_LINK_MAX)
        ret = -EMLINK;
    if (ret == 0) {
        inode.f.i_links_count++;
        ret = inode_put(img, old->ino, &inode);
    }
    if (ret < 0)
        return ext4_fail(img, ret, "create hard link", name, e);
    tree_node(&img->tree, fresh)->ino = old->ino;
    tree_node(&img->tree, fresh)->type = old->type;
    if (node)
        *node = fresh;
    return 0;
}

/* --- removal --- */

/* Takes one name away; a folder is empty by now. */
static int remove_name(struct ext4_image *img, uint32_t node)
{
    struct tree_node *n = tree_node(&img->tree, node);
    struct disk_inode inode;
    bool folder = n->type == EXT2_FT_DIR;
    n->type = 0;
    int ret = inode_get(img, n->ino, &inode);
    if (ret == 0 && !folder && inode.f.i_links_count > 1) {
        inode.f.i_links_count--;
        return inode_put(img, n->ino, &inode);
    }
    if (ret == 0)
        ret = extents_free(img, &inode);
    if (ret == 0)
        ret = xattrs_clear(img, &inode);
    return ret < 0 ? ret : inode_free(img, n->ino, folder);
}

/* Children before their folder, without recursion: a layer decides how deep a tree is. */
int ext4_image_remove(struct ext4_image *img, uint32_t node, struct err *e)
{
    struct tree *t = &img->tree;
    for (uint32_t at = node;;) {
        for (uint32_t child; (child = tree_first(t, at)) != TREE_NONE;)
            at = child;
        uint32_t next = tree_next(t, at), parent = tree_node(t, at)->parent;
        int ret = remove_name(img, at);
        if (ret < 0)
            return fail_node(img, ret, "remove", at, e);
        if (at == node)
            return 0;
        at = next != TREE_NONE ? next : parent;
    }
}
