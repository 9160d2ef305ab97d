/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an ext4 file system into a file, front to back: no root, no mount, no temporary tree.
 *
 * Objects are made one after the other: a folder before what is in it, a file's bytes between begin and end.
 * They may be replaced and removed again until the image is closed; the blocks of what went away serve what
 * comes later. Names are any bytes but '/' and NUL, at most 255. The image grows as it is filled; the file is
 * sparse, and its size a multiple of 128 MiB. It has no journal (it is meant to be mounted read-only, or to
 * be the lower layer of an overlay), no lost+found, and is bit for bit the same for the same calls and the
 * same parameters.
 *
 * Memory: some fifty bytes and the name for each name that was ever given, whatever the contents are.
 *
 * One thread at a time per image. Every call returns 0, or a negative errno and a text in *e that names the
 * object: -ENOSPC, -EFBIG and the like from the host, -EOVERFLOW beyond EXT4_SIZE_MAX, -ENAMETOOLONG, and
 * what each call says. After a failure the only useful call is ext4_image_abort().
 */
#ifndef CUBBY_OCI_EXT4_H
#define CUBBY_OCI_EXT4_H

#include "base/err.h"
#include "oci/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define EXT4_BLOCK      4096u
#define EXT4_SIZE_MAX   ((uint64_t)4 << 40) /* of an image; a file ends there as well, holes included */
#define EXT4_LINK_MAX   65000u              /* names of one file */
#define EXT4_TARGET_MAX 4095u               /* bytes of a symbolic link's target */

struct ext4_image;

struct ext4_params {
    uint8_t uuid[16]; /* of the file system; also the seed of its folder hashes */
    char label[17];   /* at most 16 bytes, NUL-terminated */
    time_t created;   /* seconds since 1970, for the superblock */
    /* Asked now and then by ext4_image_close(), from its thread; true ends it with -ECANCELED. May be NULL.
     */
    bool (*cancelled)(void *ctx);
    void *ctx;
};

struct ext4_meta {
    mode_t mode; /* permission bits with setuid, setgid, sticky; the type is given by the call */
    uint32_t uid, gid;
    struct timespec mtime; /* also becomes atime and ctime; what ext4 cannot express (before 1901, after 2446)
                              becomes the nearest that it can */
};

/* One extended attribute, named and encoded as getxattr(2) shows it. */
struct ext4_xattr {
    const char *name;
    const void *value;
    size_t len;
};

/* Creates (or truncates) the file at `path`. */
int ext4_image_create(struct ext4_image **out, const char *path, const struct ext4_params *p, struct err *e);
/* Writes out everything and closes. The image is freed in any case; on failure the file is removed. */
int ext4_image_close(struct ext4_image *img, struct err *e);
/* Closes without finishing and removes the file. Safe on NULL. */
void ext4_image_abort(struct ext4_image *img);

/* The names given so far, for looking up and going through; TREE_ROOT is the root folder. The `layer` of a
 * node is the caller's, all else the image's. */
struct tree *ext4_image_tree(struct ext4_image *img);

/* Replaces owner, mode and times; removes all extended attributes. */
int ext4_image_set_meta(struct ext4_image *img, uint32_t node, const struct ext4_meta *m, struct err *e);

/* These put `name` into the folder `parent`; *node (may be NULL) is the new object. -EEXIST for a name that
 * is there already. */
int ext4_image_mkdir(struct ext4_image *img, uint32_t parent, const char *name, const struct ext4_meta *m,
                     uint32_t *node, struct err *e);
int ext4_image_symlink(struct ext4_image *img, uint32_t parent, const char *name, const char *target,
                       const struct ext4_meta *m, uint32_t *node, struct err *e);
/* `type` is S_IFCHR, S_IFBLK or S_IFIFO; `rdev` as of stat(2), with a major number below 4096 and a minor one
 * below 2^20 as in Linux. */
int ext4_image_mknod(struct ext4_image *img, uint32_t parent, const char *name, mode_t type, dev_t rdev,
                     const struct ext4_meta *m, uint32_t *node, struct err *e);
/* Another name for the object of `target`, which is no folder. -EMLINK beyond EXT4_LINK_MAX names. */
int ext4_image_link(struct ext4_image *img, uint32_t parent, const char *name, uint32_t target,
                    uint32_t *node, struct err *e);

/* Sets all extended attributes of an object that has none; a name that is given twice has the later value.
 * -E2BIG when they do not fit, -EINVAL for an access control list that is malformed, -ENOTSUP for a name
 * outside of user., trusted., security. and system.posix_acl_*. */
int ext4_image_set_xattrs(struct ext4_image *img, uint32_t node, const struct ext4_xattr *list, size_t count,
                          struct err *e);

/* A regular file: begin, any number of writes, each beginning where the one before ended or later (what is
 * not written is a hole, and so is a block of zeros), end. One file is open at a time. */
int ext4_image_file_begin(struct ext4_image *img, uint32_t parent, const char *name,
                          const struct ext4_meta *m, uint32_t *node, struct err *e);
int ext4_image_file_write(struct ext4_image *img, uint64_t offset, const void *data, size_t len,
                          struct err *e);
/* `size` is the file's length in bytes, also when it ends in a hole. */
int ext4_image_file_end(struct ext4_image *img, uint64_t size, struct err *e);

/* Takes the name away, of a folder with all that is in it; an object goes with its last name. Not for the
 * root. */
int ext4_image_remove(struct ext4_image *img, uint32_t node, struct err *e);

/* The target of a symbolic link, NUL-terminated. */
int ext4_image_readlink(struct ext4_image *img, uint32_t node, char target[EXT4_TARGET_MAX + 1],
                        struct err *e);

#endif
