/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each entry says what is to be at a path. The folder of the path is found, or made;
 * what is there already goes, unless both are folders; then the new object is made. The object and the
 * folders above it are stamped with the number of the layer, and that is how a whiteout knows what belongs to
 * lower layers: it removes what does not carry the present stamp, and looks inside of what does.
 */
#include "oci/merge_inner.h"

#include "oci/oci_error.h"
#include "oci/printable.h"

#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define WHITEOUT      ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_ALL  ".wh..wh..opq"

/* What is at the place, or TREE_NONE. */
static uint32_t child_of(const struct merge *m, const struct place *at)
{
    if (at->name[0] == '\0')
        return TREE_ROOT;
    return at->folder == TREE_NONE ? TREE_NONE : tree_find(m->tree, at->folder, at->name, strlen(at->name));
}

/* --- whiteouts --- */

/* The next node after `node` and all below it, within `top`; TREE_NONE at the end. */
static uint32_t next_outside(struct tree *t, uint32_t node, uint32_t top)
{
    while (node != top) {
        uint32_t next = tree_next(t, node);
        if (next != TREE_NONE)
            return next;
        node = tree_node(t, node)->parent;
    }
    return TREE_NONE;
}

/* Removes what is below `top` and comes from lower layers. */
static int prune(struct merge *m, uint32_t top, struct err *e)
{
    for (uint32_t node = tree_first(m->tree, top), next; node != TREE_NONE; node = next) {
        bool lower = tree_node(m->tree, node)->layer != m->layer;
        next = lower ? TREE_NONE : tree_first(m->tree, node);
        if (next == TREE_NONE)
            next = next_outside(m->tree, node, top);
        int ret = merge_step(m, e);
        if (ret == 0 && lower)
            ret = ext4_image_remove(m->img, node, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static bool is_whiteout(const char *name)
{
    return strncmp(name, WHITEOUT, sizeof(WHITEOUT) - 1) == 0;
}

static int apply_whiteout(struct merge *m, const struct place *at, struct err *e)
{
    const char *name = at->name + sizeof(WHITEOUT) - 1;
    if (strcmp(at->name, WHITEOUT_ALL) == 0)
        return at->folder == TREE_NONE ? 0 : prune(m, at->folder, e);
    /* Other marks of that kind are AUFS' own and mean nothing elsewhere. */
    if (strncmp(at->name, WHITEOUT_META, sizeof(WHITEOUT_META) - 1) == 0)
        return 0;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, OCI_E_FORMAT, "a whiteout cannot take away the folder that it is in");
    uint32_t node = at->folder == TREE_NONE ? TREE_NONE : tree_find(m->tree, at->folder, name, strlen(name));
    if (node == TREE_NONE)
        return 0;
    if (tree_node(m->tree, node)->layer == m->layer)
        return prune(m, node, e);
    return ext4_image_remove(m->img, node, e);
}

/* --- objects --- */

static void stamp(struct merge *m, uint32_t node)
{
    for (;; node = tree_node(m->tree, node)->parent) {
        struct tree_node *n = tree_node(m->tree, node);
        if (n->layer == m->layer && node != TREE_ROOT && tree_node(m->tree, n->parent)->layer == m->layer)
            return;
        n->layer = m->layer;
        if (node == TREE_ROOT)
            return;
    }
}

/* libarchive reads a pax time of -1.25 as -1 s and then 0.25 s on top. */
static struct timespec read_mtime(struct archive_entry *entry)
{
    struct timespec t = {.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
    if (t.tv_nsec < 0 || t.tv_nsec >= 1000000000)
        t.tv_nsec = 0;
    if (t.tv_sec < 0 && t.tv_nsec > 0) {
        t.tv_sec--;
        t.tv_nsec = 1000000000 - t.tv_nsec;
    }
    return t;
}

static int read_meta(struct archive_entry *entry, struct ext4_meta *meta, struct err *e)
{
    int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
        return err_set(e, OCI_E_FORMAT, "its owner %lld:%lld is beyond 32 bits", (long long)uid,
                       (long long)gid);
    *meta = (struct ext4_meta){.mode = archive_entry_perm(entry),
                               .uid = (uint32_t)uid,
                               .gid = (uint32_t)gid,
                               .mtime = read_mtime(entry)};
    return 0;
}

/* What went wrong in libarchive: in our own source below it, or in the archive. */
static int read_error(struct layer *l, struct err *e)
{
    if (l->err.code < 0) {
        if (e)
            *e = l->err;
        return l->err.code;
    }
    const char *why = archive_error_string(l->tar);
    return err_set(e, archive_errno(l->tar) == ENOMEM ? -ENOMEM : OCI_E_FORMAT, "%s",
                   why ? why : "damaged tar archive");
}

static int copy_data(struct layer *l, int64_t size, struct err *e)
{
    const void *data;
    size_t len;
    la_int64_t at;
    for (;;) {
        int rc = archive_read_data_block(l->tar, &data, &len, &at);
        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc != ARCHIVE_OK)
            return read_error(l, e);
        if (l->padded) /* filled up in the midst of data */
            return err_set(e, OCI_E_FORMAT, "truncated: the layer ends before its data does");
        if (at < 0 || at > size || (int64_t)len > size - at)
            return err_set(e, OCI_E_FORMAT, "its data lies beyond its size of %lld bytes", (long long)size);
        int ret = ext4_image_file_write(l->m->img, (uint64_t)at, data, len, e);
        if (ret < 0)
            return ret;
    }
}

static int make_file(struct layer *l, struct archive_entry *entry, uint32_t folder, const char *name,
                     const struct ext4_meta *meta, uint32_t *node, struct err *e)
{
    int64_t size = archive_entry_size(entry);
    if (size < 0 || (uint64_t)size > EXT4_SIZE_MAX)
        return err_set(e, OCI_E_LIMIT, "a file of %lld bytes is too large", (long long)size);
    int ret = ext4_image_file_begin(l->m->img, folder, name, meta, node, e);
    if (ret == 0)
        ret = copy_data(l, size, e);
    return ret < 0 ? ret : ext4_image_file_end(l->m->img, (uint64_t)size, e);
}

static int make_link(struct merge *m, const char *to, uint32_t folder, const char *name, uint32_t *node,
                     struct err *e)
{
    char text[PRINTABLE_CAP];
    struct place at;
    int ret = path_clean(m, to, m->target, &at, e);
    if (ret == 0)
        ret = path_resolve(m, &at, false, e);
    if (ret < 0)
        return ret;
    uint32_t target = child_of(m, &at);
    if (target == TREE_NONE)
        return err_set(e, OCI_E_FORMAT, "a hard link to '%s', which is not there", printable(to, text));
    if (tree_node(m->tree, target)->type == EXT2_FT_DIR)
        return err_set(e, OCI_E_FORMAT, "a hard link to '%s', which is a folder", printable(to, text));
    return ext4_image_link(m->img, folder, name, target, node, e);
}

static int make_special(struct merge *m, struct archive_entry *entry, uint32_t folder, const char *name,
                        const struct ext4_meta *meta, uint32_t *node, struct err *e)
{
    mode_t type = archive_entry_filetype(entry);
    dev_t rdev = 0;
    if (type != AE_IFIFO)
        rdev = makedev((unsigned)archive_entry_rdevmajor(entry), (unsigned)archive_entry_rdevminor(entry));
    return ext4_image_mknod(m->img, folder, name, type, rdev, meta, node, e);
}

/* Makes the object, in a place where there is nothing. */
static int make_object(struct layer *l, struct archive_entry *entry, uint32_t folder, const char *name,
                       const struct ext4_meta *meta, uint32_t *node, struct err *e)
{
    struct ext4_image *img = l->m->img;
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return make_file(l, entry, folder, name, meta, node, e);
    case AE_IFDIR:
        return ext4_image_mkdir(img, folder, name, meta, node, e);
    case AE_IFLNK:
        return ext4_image_symlink(img, folder, name,
                                  archive_entry_symlink(entry) ? archive_entry_symlink(entry) : "", meta,
                                  node, e);
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        return make_special(l->m, entry, folder, name, meta, node, e);
    default:
        return err_set(e, OCI_E_UNSUPPORTED, "it is of a kind that no file system has");
    }
}

/* The object that an entry is about, new or, for a folder, maybe old; with all but its attributes. */
static int place_object(struct layer *l, struct archive_entry *entry, const struct place *at, uint32_t *node,
                        struct err *e)
{
    struct merge *m = l->m;
    const char *link = archive_entry_hardlink(entry);
    bool folder = !link && archive_entry_filetype(entry) == AE_IFDIR;
    struct ext4_meta meta;
    int ret = read_meta(entry, &meta, e);
    if (ret < 0)
        return ret;
    *node = child_of(m, at);
    if (*node != TREE_NONE && folder && tree_node(m->tree, *node)->type == EXT2_FT_DIR)
        return ext4_image_set_meta(m->img, *node, &meta, e);
    if (*node == TREE_ROOT)
        return err_set(e, OCI_E_FORMAT, "the root can only be a folder");
    if (*node != TREE_NONE)
        ret = ext4_image_remove(m->img, *node, e);
    if (ret < 0)
        return ret;
    if (link)
        return make_link(m, link, at->folder, at->name, node, e);
    return make_object(l, entry, at->folder, at->name, &meta, node, e);
}

int merge_entry(struct layer *l, struct archive_entry *entry, struct err *e)
{
    struct merge *m = l->m;
    const char *path = archive_entry_pathname(entry);
    struct place at;
    uint32_t node;
    if (!path)
        return err_set(e, OCI_E_FORMAT, "an entry without a name");
    if (!archive_entry_hardlink(entry) && archive_entry_filetype(entry) == AE_IFSOCK)
        return 0;
    int ret = path_clean(m, path, m->clean, &at, e);
    if (ret == 0)
        ret = path_resolve(m, &at, !is_whiteout(at.name), e);
    if (ret < 0)
        return ret;
    if (is_whiteout(at.name))
        return apply_whiteout(m, &at, e);
    ret = place_object(l, entry, &at, &node, e);
    if (ret == 0 && !archive_entry_hardlink(entry))
        ret = merge_attributes(m, entry, node, e);
    if (ret == 0)
        stamp(m, node);
    return ret;
}
