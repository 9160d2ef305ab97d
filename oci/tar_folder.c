/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the tree is walked in the order of names, one open folder a level; oci/tar_object.c
 * makes an entry of each object, and libarchive writes the headers. It converts names from the locale's
 * encoding to UTF-8: in the "C" locale, which the thread has meanwhile, it keeps other bytes than ASCII as
 * they are and says so (hdrcharset=BINARY).
 */
#include "oci/tar_inner.h"

#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 256   /* one descriptor a level */
#define BLOCK     10240 /* libarchive hands over whole records of this size */

int tar_no_memory(struct tar *t)
{
    return err_set(t->e, -ENOMEM, "no memory to read a folder");
}

int tar_sys_error(struct tar *t, const char *what)
{
    return err_sys(t->e, "cannot %s '%s' in it", what, t->path);
}

int tar_write_error(struct tar *t)
{
    const char *why = archive_error_string(t->a);
    if (t->sink_ret < 0)
        return t->sink_ret;
    return err_set(t->e, -EIO, "cannot write '%s' into a tar: %s", t->path, why ? why : "unknown error");
}

int tar_by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * Once failed, it fails for ever: what libarchive would still write while it is freed goes nowhere. It is not
 * told of a failure while it writes a header: it would then not free all that it holds (as of 3.6.2).
 */
static la_ssize_t write_to_sink(struct archive *a, void *context, const void *data, size_t len)
{
    struct tar *t = context;
    if (t->sink_ret == 0)
        t->sink_ret = t->failed ? -EIO : t->sink(t->context, data, len, t->e);
    if (t->sink_ret == 0 || t->in_header)
        return (la_ssize_t)len;
    archive_set_error(a, EIO, "the tar cannot be written");
    return -1;
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* All names of the folder but "." and "..", sorted. */
static int list_names(struct tar *t, DIR *d, char ***out, size_t *count)
{
    char **names = NULL;
    size_t used = 0, room = 0;
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (used == room) {
            room = room ? 2 * room : 64;
            char **bigger = realloc(names, room * sizeof(*names));
            if (!bigger)
                break;
            names = bigger;
        }
        names[used] = strdup(entry->d_name);
        if (!names[used])
            break;
        used++;
    }
    if (entry || errno) {
        int ret = entry ? tar_no_memory(t) : tar_sys_error(t, "list");
        free_names(names, used);
        return ret;
    }
    if (used)
        qsort(names, used, sizeof(*names), tar_by_name);
    *out = names;
    *count = used;
    return 0;
}

static int walk(struct tar *t, int fd, unsigned depth);

static int visit(struct tar *t, int dir, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return tar_sys_error(t, "look at");
    if (S_ISSOCK(st.st_mode) || (depth == 0 && strcmp(name, "lost+found") == 0))
        return 0;
    CLEANUP(fd_closep) int fd = -1;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return tar_sys_error(t, "open");
    }
    int ret = tar_write_object(t, dir, name, &st, S_ISREG(st.st_mode) ? fd : -1);
    return ret == 0 && S_ISDIR(st.st_mode) ? walk(t, STEAL_FD(fd), depth + 1) : ret;
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* What is in the folder `fd`, whose path is t->path. Takes the descriptor. */
static int walk(struct tar *t, int fd, unsigned depth)
{
    CLEANUP(dir_closep) DIR *d = fdopendir(fd);
    char **names = NULL;
    size_t count = 0, len = strlen(t->path);
    if (!d) {
        close(fd);
        return tar_no_memory(t);
    }
    if (depth == DEPTH_MAX)
        return err_set(t->e, -ELOOP, "folders in it are nested more than %d deep", DEPTH_MAX);
    int ret = list_names(t, d, &names, &count);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < count && ret == 0; i++) {
        int n = snprintf(t->path + len, sizeof(t->path) - len, "%s%s", len ? "/" : "", names[i]);
        ret = (size_t)n < sizeof(t->path) - len
                  ? visit(t, dirfd(d), names[i], depth)
                  : err_set(t->e, -ENAMETOOLONG, "'%.80s…' in it is too long", t->path);
        if (ret == 0)
            t->path[len] = '\0';
    }
    free_names(names, count);
    return ret;
}

/* The folder itself, whose mode and owner become the root's. */
static int write_root(struct tar *t, int dir)
{
    struct stat st;
    strcpy(t->path, ".");
    if (fstat(dir, &st) < 0)
        return tar_sys_error(t, "look at");
    int ret = tar_write_object(t, dir, ".", &st, -1);
    t->path[0] = '\0';
    return ret;
}

static int write_tree(struct tar *t, int dir)
{
    archive_write_set_format_pax(t->a);
    archive_write_add_filter_none(t->a);
    archive_write_set_bytes_per_block(t->a, BLOCK);
    if (archive_write_set_options(t->a, "xattrheader=SCHILY") < ARCHIVE_WARN ||
        archive_write_open2(t->a, t, NULL, write_to_sink, NULL, NULL) < ARCHIVE_WARN)
        return tar_write_error(t);
    int ret = write_root(t, dir);
    int fd = ret == 0 ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (ret == 0)
        ret = fd < 0 ? tar_sys_error(t, "open") : walk(t, fd, 0);
    if (ret == 0 && archive_write_close(t->a) < ARCHIVE_WARN)
        ret = tar_write_error(t);
    return ret;
}

int tar_write_folder(int dir, tar_sink_fn *sink, void *context, struct err *e)
{
    CLEANUP(mem_freep) struct tar *t = calloc(1, sizeof(*t));
    CLEANUP(mem_freep) char *copy = malloc(COPY_CHUNK);
    CLEANUP(mem_freep) char *zeros = calloc(1, COPY_CHUNK);
    struct archive *a = archive_write_new();
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", NULL);
    if (!t || !copy || !zeros || !a || !c_locale) {
        archive_write_free(a);
        if (c_locale)
            freelocale(c_locale);
        return err_set(e, -ENOMEM, "no memory to read a folder");
    }
    t->a = a;
    t->sink = sink;
    t->context = context;
    t->copy = copy;
    t->zeros = zeros;
    t->e = e;
    locale_t saved = uselocale(c_locale);
    int ret = write_tree(t, dir);
    uselocale(saved);
    freelocale(c_locale);
    t->failed = true;
    archive_write_free(a);
    tar_links_free(t);
    return ret;
}
