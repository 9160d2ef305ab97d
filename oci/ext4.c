/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: libext2fs keeps the bitmaps, group descriptors and the superblock in memory and writes
 * inodes and blocks as they come; closing writes the rest. New objects are made in three steps: take a free
 * inode number, write the inode, link it into its folder (which grows by a block when it is full). Everything
 * that would depend on when or where the image is made (time, UUID, hash seed) comes from the caller.
 *
 * Format: ext4 disk layout as in Linux' Documentation/filesystems/ext4, features below; libext2fs of
 * e2fsprogs 1.47.
 */
#include "oci/ext4.h"

#include "base/own.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

_Static_assert(EXT4_ROOT_INO == EXT2_ROOT_INO, "the root folder's inode number");

#define INODE_SIZE 256u

struct ext4_image {
    ext2_filsys fs;
    char *path;
    /* The file that is being written. */
    ext2_file_t file;
    uint32_t file_ino;
};

/* libext2fs reports either an errno or a code of its own; both become a negative errno here. */
static int code_of(errcode_t rc)
{
    switch (rc) {
    case EXT2_ET_NO_MEMORY:
        return -ENOMEM;
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
    case EXT2_ET_EA_NO_SPACE:
        return -ENOSPC;
    case EXT2_ET_FILE_EXISTS:
    case EXT2_ET_DIR_EXISTS:
        return -EEXIST;
    case EXT2_ET_FILE_TOO_BIG:
        return -EFBIG;
    default:
        return rc > 0 && rc < 4096 ? -(int)rc : -EIO;
    }
}

/* "cannot <what> '<object>' in image '<path>': <why>" */
static int fail(struct ext4_image *img, errcode_t rc, const char *what, const char *object, struct err *e)
{
    return err_set(e, code_of(rc), "cannot %s '%s' in image '%s': %s", what, object, img->path,
                   error_message(rc));
}

uint64_t ext4_size_for(uint64_t blocks, uint32_t inodes)
{
    uint64_t tables = ((uint64_t)inodes + 64) * INODE_SIZE / EXT4_BLOCK;
    /* Bitmaps and descriptors of the groups, extent and folder blocks: a fortieth, and something to start
     * with. */
    uint64_t total = blocks + tables + (blocks + tables) / 40 + inodes / 16 + 2048;
    return total * EXT4_BLOCK;
}

static void set_features(struct ext2_super_block *sb, const struct ext4_params *p)
{
    sb->s_rev_level = EXT2_DYNAMIC_REV;
    sb->s_log_block_size = 2; /* 1024 << 2 */
    sb->s_inode_size = INODE_SIZE;
    sb->s_inodes_count = p->inodes + 16; /* the file system's own are the first ten */
    ext2fs_set_feature_filetype(sb);
    ext2fs_set_feature_extents(sb);
    ext2fs_set_feature_64bit(sb);
    ext2fs_set_feature_flex_bg(sb);
    ext2fs_set_feature_sparse_super(sb);
    ext2fs_set_feature_large_file(sb);
    ext2fs_set_feature_huge_file(sb);
    ext2fs_set_feature_dir_nlink(sb);
    ext2fs_set_feature_extra_isize(sb);
    ext2fs_set_feature_xattr(sb);
    sb->s_log_groups_per_flex = 4;
    ext2fs_blocks_count_set(sb, (p->size + EXT4_BLOCK - 1) / EXT4_BLOCK);
}

static void set_identity(ext2_filsys fs, const struct ext4_params *p)
{
    struct ext2_super_block *sb = fs->super;
    memcpy(sb->s_uuid, p->uuid, sizeof(sb->s_uuid));
    memcpy(sb->s_hash_seed, p->uuid, sizeof(p->uuid));
    sb->s_def_hash_version = EXT2_HASH_HALF_MD4;
    memcpy(sb->s_volume_name, p->label, strnlen(p->label, sizeof(sb->s_volume_name)));
    sb->s_mkfs_time = sb->s_wtime = sb->s_lastcheck = (__u32)p->created;
    sb->s_max_mnt_count = (__s16)-1;
    sb->s_errors = EXT2_ERRORS_RO;
    sb->s_creator_os = EXT2_OS_LINUX;
    sb->s_min_extra_isize = sb->s_want_extra_isize =
        sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
    sb->s_state |= EXT2_VALID_FS;
}

static void set_times(struct ext2_inode_large *inode, const struct ext4_meta *m)
{
    /* Seconds beyond 2038 continue in the two low bits of the extra word, nanoseconds above them. */
    uint64_t sec = (uint64_t)m->mtime.tv_sec;
    uint32_t low = (uint32_t)sec;
    uint32_t epoch = (uint32_t)((sec - (uint64_t)(int64_t)(int32_t)low) >> 32) & 3;
    uint32_t extra = (uint32_t)m->mtime.tv_nsec << 2 | epoch;
    inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = low;
    inode->i_atime_extra = inode->i_ctime_extra = inode->i_mtime_extra = inode->i_crtime_extra = extra;
}

static void fill_inode(struct ext2_inode_large *inode, const struct ext4_meta *m, mode_t type)
{
    inode->i_mode = (__u16)((m->mode & 07777) | type);
    inode->i_uid = (__u16)m->uid;
    inode->i_gid = (__u16)m->gid;
    inode->osd2.linux2.l_i_uid_high = (__u16)(m->uid >> 16);
    inode->osd2.linux2.l_i_gid_high = (__u16)(m->gid >> 16);
    inode->i_extra_isize = sizeof(*inode) - EXT2_GOOD_OLD_INODE_SIZE;
    set_times(inode, m);
}

static errcode_t make_root(ext2_filsys fs)
{
    errcode_t rc = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
    /* e2fsck expects a lost+found; an image that is only read needs no room in it. */
    return rc ? rc : ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
}

/* The inodes that belong to the file system itself (1 to 10) are marked as used. */
static void reserve_inodes(ext2_filsys fs)
{
    for (ext2_ino_t i = 1; i < EXT2_FIRST_INODE(fs->super); i++)
        if (i != EXT2_ROOT_INO) /* counted when the root is made */
            ext2fs_inode_alloc_stats2(fs, i, +1, 0);
    ext2fs_mark_ib_dirty(fs);
}

static errcode_t format(struct ext4_image *img, const struct ext4_params *p)
{
    struct ext2_super_block sb = {0};
    set_features(&sb, p);
    errcode_t rc =
        ext2fs_initialize(img->path, EXT2_FLAG_EXCLUSIVE | EXT2_FLAG_64BITS, &sb, unix_io_manager, &img->fs);
    if (rc)
        return rc;
    ext2_filsys fs = img->fs;
    fs->now = p->created ? p->created : 1; /* 0 would mean the clock's time */
    set_identity(fs, p);
    rc = ext2fs_allocate_tables(fs);
    if (rc)
        return rc;
    /* The tables' blocks are holes of a fresh file and read as zeros: nothing to write. */
    for (dgrp_t g = 0; g < fs->group_desc_count; g++)
        ext2fs_bg_flags_set(fs, g, EXT2_BG_INODE_ZEROED);
    reserve_inodes(fs);
    return make_root(fs);
}

int ext4_image_create(struct ext4_image **out, const char *path, const struct ext4_params *p, struct err *e)
{
    struct ext4_image *img = calloc(1, sizeof(*img));
    if (!img || !(img->path = strdup(path))) {
        free(img);
        return err_set(e, -ENOMEM, "cannot allocate the writer of image '%s'", path);
    }
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    int ret = fd < 0 || ftruncate(fd, (off_t)p->size) < 0 ? err_sys(e, "cannot create image '%s'", path) : 0;
    if (fd >= 0)
        close(fd);
    if (ret == 0) {
        initialize_ext2_error_table();
        errcode_t rc = format(img, p);
        if (rc)
            ret = err_set(e, code_of(rc), "cannot format image '%s': %s", path, error_message(rc));
    } else if (fd < 0) {
        free(img->path); /* not ours: nothing to remove */
        img->path = NULL;
    }
    if (ret < 0) {
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
    if (img->file)
        ext2fs_file_close(img->file);
    if (img->fs)
        ext2fs_free(img->fs);
    if (img->path)
        unlink(img->path);
    free(img->path);
    free(img);
}

int ext4_image_close(struct ext4_image *img, struct err *e)
{
    errcode_t rc = ext2fs_close2(img->fs, EXT2_FLAG_FLUSH_NO_SYNC);
    if (rc) {
        int ret = err_set(e, code_of(rc), "cannot finish image '%s': %s", img->path, error_message(rc));
        ext4_image_abort(img);
        return ret;
    }
    free(img->path);
    free(img);
    return 0;
}

int ext4_image_set_meta(struct ext4_image *img, uint32_t ino, const struct ext4_meta *m, struct err *e)
{
    struct ext2_inode_large inode = {0};
    errcode_t rc = ext2fs_read_inode_full(img->fs, ino, (struct ext2_inode *)&inode, sizeof(inode));
    if (!rc) {
        fill_inode(&inode, m, inode.i_mode & S_IFMT);
        rc = ext2fs_write_inode_full(img->fs, ino, (struct ext2_inode *)&inode, sizeof(inode));
    }
    return rc ? fail(img, rc, "set the owner of", "a folder", e) : 0;
}

/* Links `ino` as `name`; a full folder grows by a block. ext2fs_link() itself does not look for the name. */
static errcode_t link_name(ext2_filsys fs, uint32_t parent, const char *name, uint32_t ino, int type)
{
    ext2_ino_t other;
    if (ext2fs_lookup(fs, parent, name, (int)strlen(name), NULL, &other) == 0)
        return EXT2_ET_FILE_EXISTS;
    errcode_t rc = ext2fs_link(fs, parent, name, ino, type);
    if (rc == EXT2_ET_DIR_NO_SPACE) {
        rc = ext2fs_expand_dir(fs, parent);
        if (!rc)
            rc = ext2fs_link(fs, parent, name, ino, type);
    }
    return rc;
}

static int entry_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return EXT2_FT_REG_FILE;
    case S_IFDIR:
        return EXT2_FT_DIR;
    case S_IFCHR:
        return EXT2_FT_CHRDEV;
    case S_IFBLK:
        return EXT2_FT_BLKDEV;
    case S_IFIFO:
        return EXT2_FT_FIFO;
    case S_IFSOCK:
        return EXT2_FT_SOCK;
    case S_IFLNK:
        return EXT2_FT_SYMLINK;
    default:
        return EXT2_FT_UNKNOWN;
    }
}

/* A new object of any type but a folder: inode, then name. */
static errcode_t make_object(struct ext4_image *img, uint32_t parent, const char *name,
                             struct ext2_inode_large *inode, uint32_t *ino)
{
    ext2_filsys fs = img->fs;
    ext2_ino_t fresh;
    errcode_t rc = ext2fs_new_inode(fs, parent, inode->i_mode, NULL, &fresh);
    if (rc)
        return rc;
    inode->i_links_count = 1;
    if (S_ISREG(inode->i_mode) || S_ISLNK(inode->i_mode))
        inode->i_flags |= EXT4_EXTENTS_FL;
    rc = link_name(fs, parent, name, fresh, entry_type(inode->i_mode));
    if (rc)
        return rc;
    ext2fs_inode_alloc_stats2(fs, fresh, +1, 0);
    if (inode->i_flags & EXT4_EXTENTS_FL) {
        ext2_extent_handle_t handle;
        rc = ext2fs_write_new_inode(fs, fresh, (struct ext2_inode *)inode);
        if (!rc)
            rc = ext2fs_write_inode_full(fs, fresh, (struct ext2_inode *)inode, sizeof(*inode));
        /* Opening an empty map writes the header of an empty extent tree. */
        if (!rc)
            rc = ext2fs_extent_open2(fs, fresh, (struct ext2_inode *)inode, &handle);
        if (!rc)
            ext2fs_extent_free(handle);
    }
    if (!rc)
        rc = ext2fs_write_inode_full(fs, fresh, (struct ext2_inode *)inode, sizeof(*inode));
    *ino = fresh;
    return rc;
}

int ext4_image_mkdir(struct ext4_image *img, uint32_t parent, const char *name, const struct ext4_meta *m,
                     uint32_t *ino, struct err *e)
{
    ext2_filsys fs = img->fs;
    ext2_ino_t fresh;
    errcode_t rc = ext2fs_new_inode(fs, parent, S_IFDIR, NULL, &fresh);
    if (!rc)
        rc = ext2fs_mkdir(fs, parent, fresh, name);
    if (rc == EXT2_ET_DIR_NO_SPACE) {
        rc = ext2fs_expand_dir(fs, parent);
        if (!rc)
            rc = ext2fs_mkdir(fs, parent, fresh, name);
    }
    if (rc)
        return fail(img, rc, "create folder", name, e);
    if (ino)
        *ino = fresh;
    return ext4_image_set_meta(img, fresh, m, e);
}

int ext4_image_symlink(struct ext4_image *img, uint32_t parent, const char *name, const char *target,
                       const struct ext4_meta *m, struct err *e)
{
    ext2_filsys fs = img->fs;
    ext2_ino_t fresh = 0, other;
    errcode_t rc = EXT2_ET_FILE_EXISTS;
    if (ext2fs_lookup(fs, parent, name, (int)strlen(name), NULL, &other) != 0) {
        rc = ext2fs_new_inode(fs, parent, S_IFLNK | 0777, NULL, &fresh);
        if (!rc)
            rc = ext2fs_symlink(fs, parent, fresh, name, target);
        if (rc == EXT2_ET_DIR_NO_SPACE) {
            rc = ext2fs_expand_dir(fs, parent);
            if (!rc)
                rc = ext2fs_symlink(fs, parent, fresh, name, target);
        }
    }
    return rc ? fail(img, rc, "create symbolic link", name, e) : ext4_image_set_meta(img, fresh, m, e);
}

int ext4_image_mknod(struct ext4_image *img, uint32_t parent, const char *name, mode_t type, dev_t rdev,
                     const struct ext4_meta *m, struct err *e)
{
    struct ext2_inode_large inode = {0};
    uint32_t ino;
    fill_inode(&inode, m, type);
    if (type == S_IFCHR || type == S_IFBLK) {
        /* The two encodings of fs/ext4/ext4.h: small numbers in the first word, large ones in the second. */
        unsigned maj = major(rdev), min = minor(rdev);
        if (maj < 256 && min < 256)
            inode.i_block[0] = maj << 8 | min;
        else
            inode.i_block[1] = (min & 0xff) | maj << 8 | (min & ~0xffu) << 12;
    }
    errcode_t rc = make_object(img, parent, name, &inode, &ino);
    return rc ? fail(img, rc, "create device or pipe", name, e) : 0;
}

int ext4_image_link(struct ext4_image *img, uint32_t parent, const char *name, uint32_t ino, struct err *e)
{
    struct ext2_inode_large inode = {0};
    errcode_t rc = ext2fs_read_inode_full(img->fs, ino, (struct ext2_inode *)&inode, sizeof(inode));
    if (!rc && inode.i_links_count >= 65000)
        return err_set(e, -EMLINK, "cannot create hard link '%s' in image '%s': too many links", name,
                       img->path);
    if (!rc)
        rc = link_name(img->fs, parent, name, ino, entry_type(inode.i_mode));
    if (!rc) {
        inode.i_links_count++;
        rc = ext2fs_write_inode_full(img->fs, ino, (struct ext2_inode *)&inode, sizeof(inode));
    }
    return rc ? fail(img, rc, "create hard link", name, e) : 0;
}

int ext4_image_set_xattr(struct ext4_image *img, uint32_t ino, const char *name, const void *value,
                         size_t len, struct err *e)
{
    struct ext2_xattr_handle *handle;
    errcode_t rc = ext2fs_xattrs_open(img->fs, ino, &handle);
    if (rc)
        return fail(img, rc, "set extended attribute", name, e);
    rc = ext2fs_xattrs_read(handle);
    if (!rc)
        rc = ext2fs_xattr_set(handle, name, value, len); /* writes the attributes back as well */
    ext2fs_xattrs_close(&handle);
    return rc ? fail(img, rc, "set extended attribute", name, e) : 0;
}

int ext4_image_file_begin(struct ext4_image *img, uint32_t parent, const char *name,
                          const struct ext4_meta *m, uint32_t *ino, struct err *e)
{
    struct ext2_inode_large inode = {0};
    fill_inode(&inode, m, S_IFREG);
    errcode_t rc = make_object(img, parent, name, &inode, &img->file_ino);
    if (!rc)
        rc = ext2fs_file_open(img->fs, img->file_ino, EXT2_FILE_WRITE, &img->file);
    if (rc)
        return fail(img, rc, "create file", name, e);
    if (ino)
        *ino = img->file_ino;
    return 0;
}

int ext4_image_file_write(struct ext4_image *img, uint64_t offset, const void *data, size_t len,
                          struct err *e)
{
    errcode_t rc = ext2fs_file_llseek(img->file, offset, EXT2_SEEK_SET, NULL);
    while (!rc && len) {
        unsigned want = len > (1u << 30) ? 1u << 30 : (unsigned)len, got = 0;
        rc = ext2fs_file_write(img->file, data, want, &got);
        data = (const char *)data + got;
        len -= got;
    }
    return rc ? fail(img, rc, "write to", "a file", e) : 0;
}

int ext4_image_file_end(struct ext4_image *img, uint64_t size, struct err *e)
{
    errcode_t rc = ext2fs_file_set_size2(img->file, (ext2_off64_t)size);
    errcode_t closed = ext2fs_file_close(img->file);
    img->file = NULL;
    if (!rc)
        rc = closed;
    return rc ? fail(img, rc, "finish", "a file", e) : 0;
}
