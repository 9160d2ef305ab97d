/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a path of a layer is first cleaned as text, ".." included, so that it cannot lead out
 * of the root. Then its folders are looked up one by one in the image's tree. Where one is a symbolic link,
 * the link's target is put in front of what is left, an absolute one starting at the image's root again; ".."
 * in a target stops at the root. From the first folder that is missing on, the rest is only remembered (a
 * ".." takes back what was remembered last), and made at the end if it is wanted. Nothing of this looks at
 * the host's file system.
 *
 * What is left to look up is kept at the end of a buffer, so that there is always room in front of it.
 */
#include "oci/merge_inner.h"

#include "oci/oci_error.h"
#include "oci/printable.h"

#include <errno.h>
#include <ext2fs/ext2_fs.h>
#include <stdlib.h>
#include <string.h>

int path_buffers_create(struct merge *m, struct err *e)
{
    size_t path = m->limits.path_bytes + 1;
    m->walk_size = path + (LINKS_MAX + 1) * (EXT4_TARGET_MAX + 2);
    m->clean = malloc(path);
    m->target = malloc(path);
    m->walk = malloc(m->walk_size);
    m->missing = malloc(m->walk_size);
    if (!m->clean || !m->target || !m->walk || !m->missing)
        return err_set(e, -ENOMEM, "cannot allocate the buffers of the merge");
    return 0;
}

void path_buffers_destroy(struct merge *m)
{
    free(m->clean);
    free(m->target);
    free(m->walk);
    free(m->missing);
}

/* "a//b/./c/../d" becomes "a/b/d"; what would lead out of the root stays at the root. */
static int clean_text(const char *path, char *out, struct err *e)
{
    size_t len = 0;
    while (*path) {
        size_t n = strcspn(path, "/");
        if (n > TREE_NAME_MAX)
            return err_set(e, OCI_E_FORMAT, "a name of %zu bytes is longer than %u", n, TREE_NAME_MAX);
        if (n == 2 && memcmp(path, "..", 2) == 0) {
            while (len && out[len - 1] != '/')
                len--;
            len -= len > 0;
        } else if (n && !(n == 1 && *path == '.')) {
            if (len)
                out[len++] = '/';
            memcpy(out + len, path, n);
            len += n;
        }
        path += n + (path[n] == '/');
    }
    out[len] = '\0';
    return 0;
}

int path_clean(const struct merge *m, const char *path, char *buf, struct place *out, struct err *e)
{
    size_t len = strlen(path);
    if (len > m->limits.path_bytes)
        return err_set(e, OCI_E_LIMIT, "a path of %zu bytes is longer than allowed (path_bytes)", len);
    int ret = clean_text(path, buf, e);
    if (ret < 0)
        return ret;
    const char *slash = strrchr(buf, '/');
    *out = (struct place){.folders = buf,
                          .folders_len = slash ? (size_t)(slash - buf) : 0,
                          .name = slash ? slash + 1 : buf,
                          .folder = TREE_NONE};
    return 0;
}

/* A walk down the tree. */
struct walk {
    struct merge *m;
    uint32_t folder;
    char *rest; /* what is left, NUL-terminated, up to the end of m->walk */
    unsigned links;
    size_t missing_len; /* of m->missing: "a/b" below `folder` */
};

static int follow_link(struct walk *w, uint32_t link, struct err *e)
{
    char target[EXT4_TARGET_MAX + 1];
    if (++w->links > LINKS_MAX)
        return err_set(e, OCI_E_FORMAT, "its folders lead through more than %u symbolic links", LINKS_MAX);
    int ret = ext4_image_readlink(w->m->img, link, target, e);
    if (ret < 0)
        return ret;
    size_t len = strlen(target);
    *--w->rest = '/';
    w->rest -= len;
    memcpy(w->rest, target, len);
    if (target[0] == '/')
        w->folder = TREE_ROOT;
    return 0;
}

static void walk_up(struct walk *w)
{
    if (w->missing_len == 0) {
        w->folder = tree_node(w->m->tree, w->folder)->parent;
        return;
    }
    while (w->missing_len && w->m->missing[w->missing_len - 1] != '/')
        w->missing_len--;
    w->missing_len -= w->missing_len > 0;
}

static void walk_missing(struct walk *w, const char *name, size_t len)
{
    if (w->missing_len)
        w->m->missing[w->missing_len++] = '/';
    memcpy(w->m->missing + w->missing_len, name, len);
    w->missing_len += len;
}

static int not_a_folder(const char *name, size_t len, struct err *e)
{
    char part[TREE_NAME_MAX + 1], text[PRINTABLE_CAP];
    memcpy(part, name, len); /* a name that was found is no longer than that */
    part[len] = '\0';
    return err_set(e, OCI_E_FORMAT, "'%s' on its way is not a folder", printable(part, text));
}

static int walk_down(struct walk *w, const char *name, size_t len, struct err *e)
{
    uint32_t child = w->missing_len ? TREE_NONE : tree_find(w->m->tree, w->folder, name, len);
    if (child == TREE_NONE) {
        walk_missing(w, name, len);
        return 0;
    }
    switch (tree_node(w->m->tree, child)->type) {
    case EXT2_FT_DIR:
        w->folder = child;
        return 0;
    case EXT2_FT_SYMLINK:
        return follow_link(w, child, e);
    default:
        return not_a_folder(name, len, e);
    }
}

static int walk_all(struct walk *w, struct err *e)
{
    int ret = 0;
    while (*w->rest && ret == 0) {
        const char *name = w->rest;
        size_t len = strcspn(name, "/");
        w->rest += len + (name[len] == '/');
        ret = merge_step(w->m, e);
        if (ret < 0 || len == 0 || (len == 1 && name[0] == '.'))
            continue;
        if (len == 2 && memcmp(name, "..", 2) == 0)
            walk_up(w);
        else
            ret = walk_down(w, name, len, e);
    }
    return ret;
}

/* Folders that no entry of any layer made. */
static int make_missing(struct walk *w, struct err *e)
{
    static const struct ext4_meta meta = {.mode = 0755};
    char *name = w->m->missing;
    name[w->missing_len] = '\0';
    while (*name) {
        size_t len = strcspn(name, "/");
        bool last = name[len] == '\0';
        name[len] = '\0';
        w->m->folders_made++;
        int ret = merge_count(w->m, e);
        if (ret == 0)
            ret = ext4_image_mkdir(w->m->img, w->folder, name, &meta, &w->folder, e);
        if (ret < 0)
            return ret;
        name += len + !last;
    }
    return 0;
}

int path_resolve(struct merge *m, struct place *at, bool make, struct err *e)
{
    struct walk w = {.m = m, .folder = TREE_ROOT, .rest = m->walk + m->walk_size - 1};
    *w.rest = '\0';
    w.rest -= at->folders_len;
    memcpy(w.rest, at->folders, at->folders_len);
    int ret = walk_all(&w, e);
    if (ret == 0 && w.missing_len && make)
        ret = make_missing(&w, e);
    else if (w.missing_len)
        w.folder = TREE_NONE;
    at->folder = w.folder;
    return ret;
}
