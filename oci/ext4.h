/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an ext4 file system into a file, front to back, with libext2fs: no root, no mount, no temporary
 * tree.
 *
 * Objects are made one after the other: a folder before what is in it, a file's bytes between begin and end.
 * Names are any bytes but '/' and NUL, at most 255. The result has no journal (it is meant to be mounted
 * read-only, or to be the lower layer of an overlay) and is bit for bit the same for the same calls and the
 * same parameters.
 *
 * One thread at a time per image. Every call returns 0, or a negative errno and a text in *e that names the
 * object; after a failure the only useful call is ext4_image_abort().
 */
#ifndef CUBBY_OCI_EXT4_H
#define CUBBY_OCI_EXT4_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define EXT4_BLOCK    4096u
#define EXT4_ROOT_INO 2u

struct ext4_image;

struct ext4_params {
    uint64_t size;    /* bytes; rounded up to whole blocks; the file is sparse */
    uint32_t inodes;  /* how many objects it can hold, besides the file system's own */
    uint8_t uuid[16]; /* of the file system; also the seed of its folder hashes */
    char label[17];   /* at most 16 bytes, NUL-terminated */
    time_t created;   /* seconds since 1970, for the superblock */
};

struct ext4_meta {
    mode_t mode; /* permission bits with setuid, setgid, sticky; the type is given by the call */
    uint32_t uid, gid;
    struct timespec mtime; /* also becomes atime and ctime */
};

/* The smallest sensible size in bytes for `inodes` objects whose contents take `blocks` blocks of EXT4_BLOCK.
 */
uint64_t ext4_size_for(uint64_t blocks, uint32_t inodes);

/* Creates (or truncates) the file at `path`. */
int ext4_image_create(struct ext4_image **out, const char *path, const struct ext4_params *p, struct err *e);
/* Writes out everything and closes. The image is freed in any case. */
int ext4_image_close(struct ext4_image *img, struct err *e);
/* Closes without finishing and removes the file. Safe on NULL. */
void ext4_image_abort(struct ext4_image *img);

/* Replaces owner, mode and times of a folder (the root's are set this way). */
int ext4_image_set_meta(struct ext4_image *img, uint32_t ino, const struct ext4_meta *m, struct err *e);

/* These put `name` into folder `parent`; *ino (may be NULL) is the new object's number. -EEXIST for a name
 * that is there already. */
int ext4_image_mkdir(struct ext4_image *img, uint32_t parent, const char *name, const struct ext4_meta *m,
                     uint32_t *ino, struct err *e);
int ext4_image_symlink(struct ext4_image *img, uint32_t parent, const char *name, const char *target,
                       const struct ext4_meta *m, struct err *e);
/* `type` is S_IFCHR, S_IFBLK, S_IFIFO or S_IFSOCK; `rdev` as of stat(2). */
int ext4_image_mknod(struct ext4_image *img, uint32_t parent, const char *name, mode_t type, dev_t rdev,
                     const struct ext4_meta *m, struct err *e);
/* Another name for an object that exists. */
int ext4_image_link(struct ext4_image *img, uint32_t parent, const char *name, uint32_t ino, struct err *e);
int ext4_image_set_xattr(struct ext4_image *img, uint32_t ino, const char *name, const void *value,
                         size_t len, struct err *e);

/* A regular file: begin, any number of writes at rising or falling offsets (what is not written is a hole),
 * end. One file is open at a time. */
int ext4_image_file_begin(struct ext4_image *img, uint32_t parent, const char *name,
                          const struct ext4_meta *m, uint32_t *ino, struct err *e);
int ext4_image_file_write(struct ext4_image *img, uint64_t offset, const void *data, size_t len,
                          struct err *e);
/* `size` is the file's length in bytes, also when it ends in a hole. */
int ext4_image_file_end(struct ext4_image *img, uint64_t size, struct err *e);

#endif
