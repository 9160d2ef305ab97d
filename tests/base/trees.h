/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees of files for tests: one that has a bit of everything, and a listing that two trees have in common
 * only if they are the same in all that a copy keeps.
 */
#ifndef CUBBY_TESTS_BASE_TREES_H
#define CUBBY_TESTS_BASE_TREES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TREE_PATH 8192

/* printf() into one of a few static buffers: "%s/%s" for calls that take a path. */
__attribute__((format(printf, 1, 2))) static inline const char *pathf(const char *fmt, ...)
{
    static char ring[8][TREE_PATH];
    static unsigned next;
    char *at = ring[next++ % 8];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(at, TREE_PATH, fmt, ap);
    va_end(ap);
    return at;
}

static inline void tree_write(const char *path, const void *data, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, data, len), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void tree_text(const char *path, const char *text)
{
    tree_write(path, text, strlen(text), 0644);
}

/* The text of a small file, or "" when it cannot be read; valid until the next call. */
static inline const char *tree_read(const char *path)
{
    static char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

static inline int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void tree_remove(const char *path)
{
    nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* How many names a folder has whose beginning is `prefix`. */
static inline int tree_count(const char *path, const char *prefix)
{
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
             strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return n;
}

static inline void tree_stamp(const char *path, time_t s, long ns)
{
    const struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = s, .tv_nsec = ns}};
    assert_int_equal(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

/* A file of `size` bytes with `text` at each of its ends, a megabyte or more apart, and nothing between. */
static inline void tree_sparse(const char *path, off_t size, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    assert_int_equal(pwrite(fd, text, strlen(text), size - (off_t)strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Some file systems (tmpfs before Linux 6.6) hold no attributes of users. */
static inline void tree_optional_xattr(const char *path, const char *name, const void *value, size_t len)
{
    if (setxattr(path, name, value, len, 0) < 0)
        assert_int_equal(errno, ENOTSUP);
}

/* A capability and an ACL, as linux/capability.h and linux/posix_acl_xattr.h lay them out. */
static inline void tree_fill_privileged(const char *dir)
{
    static const uint8_t cap[20] = {1, 0, 0, 2, 0, 32}; /* effective, version 2; CAP_NET_RAW */
    static const uint8_t acl[] = {2,  0, 0, 0, 1,   0,   7,   0,   255, 255, 255, 255, /* the owner: rwx */
                                  2,  0, 4, 0, 57,  5,   0,   0,                       /* user 1337: r */
                                  4,  0, 5, 0, 255, 255, 255, 255,                     /* the group: r x */
                                  16, 0, 5, 0, 255, 255, 255, 255,                     /* the mask: r x */
                                  32, 0, 5, 0, 255, 255, 255, 255};                    /* others: r x */
    tree_optional_xattr(pathf("%s/big", dir), "security.capability", cap, sizeof(cap));
    tree_optional_xattr(pathf("%s/empty", dir), "system.posix_acl_access", acl, sizeof(acl));
    tree_optional_xattr(pathf("%s/sub/empty", dir), "system.posix_acl_default", acl, sizeof(acl));
}

static inline void tree_fill_special(const char *dir)
{
    assert_int_equal(symlink("small", pathf("%s/link", dir)), 0);
    assert_int_equal(symlink("/nowhere/at/all", pathf("%s/link-dangling", dir)), 0);
    assert_int_equal(symlink("../../../..", pathf("%s/link-up", dir)), 0);
    assert_int_equal(symlink("\xff\n\t \x01", pathf("%s/link-bytes", dir)), 0);
    assert_int_equal(link(pathf("%s/small", dir), pathf("%s/sub/small-too", dir)), 0);
    assert_int_equal(link(pathf("%s/small", dir), pathf("%s/zzz-small", dir)), 0);
    assert_int_equal(mkfifo(pathf("%s/fifo", dir), 0620), 0);
    tree_stamp(pathf("%s/link", dir), 1000000001, 999999999);
    tree_stamp(pathf("%s/fifo", dir), 4, 5);
    if (geteuid() != 0)
        return;
    assert_int_equal(mknod(pathf("%s/char", dir), S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(mknod(pathf("%s/block", dir), S_IFBLK | 0600, makedev(253, 0x12345)), 0);
    assert_int_equal(chown(pathf("%s/small", dir), 1234, 5678), 0);
    assert_int_equal(lchown(pathf("%s/link-dangling", dir), 77, 88), 0);
    assert_int_equal(chown(pathf("%s/setuid", dir), 99, 98), 0);
    assert_int_equal(chmod(pathf("%s/setuid", dir), 06755), 0);
    assert_int_equal(setxattr(pathf("%s/sub", dir), "trusted.note", "t", 1, 0), 0);
    assert_int_equal(chown(pathf("%s/sub/closed", dir), 1, 2), 0);
    assert_int_equal(lsetxattr(pathf("%s/link", dir), "trusted.link", "l", 1, 0), 0);
    tree_stamp(pathf("%s/link", dir), 1000000001, 999999999);
    tree_fill_privileged(dir);
}

/* Fills the folder `dir`, which exists. Devices and owners only as root. */
static inline void tree_fill(const char *path)
{
    static char big[300001];
    char dir[256], name[256];
    snprintf(dir, sizeof(dir), "%s", path); /* it may be of pathf() */
    for (size_t i = 0; i < 300001; i++)
        big[i] = (char)(i * i >> 3);
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_int_equal(mkdir(pathf("%s/sub", dir), 0755), 0);
    assert_int_equal(mkdir(pathf("%s/sub/closed", dir), 0700), 0);
    assert_int_equal(mkdir(pathf("%s/sub/empty", dir), 01777), 0);
    tree_write(pathf("%s/empty", dir), "", 0, 0400);
    tree_write(pathf("%s/small", dir), "small\n", 6, 0644);
    tree_write(pathf("%s/big", dir), big, 300001, 0755);
    tree_write(pathf("%s/setuid", dir), "s", 1, 0755);
    tree_write(pathf("%s/%s", dir, name), "long", 4, 0644);
    tree_write(pathf("%s/line\nfeed \xff\xfe\x01 end", dir), "bytes", 5, 0644);
    tree_write(pathf("%s/ leading", dir), "", 0, 0644);
    tree_write(pathf("%s/-rf", dir), "dash", 4, 0644);
    tree_write(pathf("%s/...", dir), "dots", 4, 0644);
    tree_write(pathf("%s/sub/closed/secret", dir), "secret", 6, 0000);
    tree_sparse(pathf("%s/sparse", dir), 5 << 20, "end");
    tree_sparse(pathf("%s/sub/ends", dir), 4096, "x");
    assert_int_equal(truncate(pathf("%s/sub/ends", dir), 3 << 20), 0); /* a hole at the end */
    tree_optional_xattr(pathf("%s/small", dir), "user.one", "1", 1);
    tree_optional_xattr(pathf("%s/small", dir), "user.none", "", 0);
    tree_optional_xattr(pathf("%s/big", dir), "user.bytes", big, 3000);
    tree_optional_xattr(pathf("%s/sub", dir), "user.folder", "\0\1", 2);
    tree_fill_special(dir);
    tree_stamp(pathf("%s/small", dir), 1234567890, 123456789);
    tree_stamp(pathf("%s/big", dir), -5, 7);           /* before 1970 */
    tree_stamp(pathf("%s/empty", dir), 5000000000, 1); /* after 2038 */
    assert_int_equal(chmod(pathf("%s/sub/closed", dir), 0500), 0);
    tree_stamp(pathf("%s/sub/closed", dir), 11, 22);
    tree_stamp(pathf("%s/sub", dir), 33, 44);
    tree_stamp(dir, 55, 66);
}

/* ---- the listing ---- */

struct tree_listing {
    char *text;
    size_t len;
    FILE *f;
    bool owners; /* with owners, set-id bits, devices, privileged xattrs */
    struct {
        ino_t ino;
        char path[512];
    } seen[64];
    size_t seen_count;
};

static inline uint64_t tree_hash(const char *path, off_t *data)
{
    static unsigned char buf[65536];
    uint64_t h = 14695981039346656037u;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0;)
        for (ssize_t i = 0; i < n; i++)
            h = (h ^ buf[i]) * 1099511628211u;
    *data = lseek(fd, 0, SEEK_DATA); /* where the first data is */
    close(fd);
    return h;
}

static inline int tree_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void tree_list_xattrs(struct tree_listing *l, const char *path)
{
    static char names[65536], value[65536];
    char *sorted[64];
    size_t count = 0;
    ssize_t len = llistxattr(path, names, sizeof(names));
    for (char *n = names; n < names + len; n += strlen(n) + 1)
        if (l->owners || strncmp(n, "user.", 5) == 0)
            sorted[count++] = n;
    if (count)
        qsort(sorted, count, sizeof(*sorted), tree_order);
    for (size_t i = 0; i < count; i++) {
        ssize_t n = lgetxattr(path, sorted[i], value, sizeof(value));
        fprintf(l->f, " %s=%zd:", sorted[i], n);
        for (ssize_t k = 0; k < n && k < 16; k++)
            fprintf(l->f, "%02x", (unsigned char)value[k]);
    }
}

/* The first path of a file with several names, as listed. */
static inline const char *tree_first_name(struct tree_listing *l, const struct stat *st, const char *path)
{
    for (size_t i = 0; i < l->seen_count; i++)
        if (l->seen[i].ino == st->st_ino)
            return l->seen[i].path;
    assert_true(l->seen_count < ARRAY_LEN(l->seen));
    l->seen[l->seen_count].ino = st->st_ino;
    snprintf(l->seen[l->seen_count++].path, sizeof(l->seen[0].path), "%s", path);
    return path;
}

static inline void tree_list_one(struct tree_listing *l, const char *root, const char *rel);

static inline void tree_list_folder(struct tree_listing *l, const char *root, const char *rel)
{
    struct dirent **names;
    int n = scandir(*rel ? pathf("%s/%s", root, rel) : root, &names, NULL, NULL);
    assert_true(n >= 0);
    char **sorted = calloc((size_t)n, sizeof(*sorted));
    for (int i = 0; i < n; i++)
        sorted[i] = names[i]->d_name;
    qsort(sorted, (size_t)n, sizeof(*sorted), tree_order);
    for (int i = 0; i < n; i++) {
        if (strcmp(sorted[i], ".") == 0 || strcmp(sorted[i], "..") == 0)
            continue;
        char *below = strdup(pathf("%s%s%s", rel, *rel ? "/" : "", sorted[i]));
        tree_list_one(l, root, below);
        free(below);
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(sorted);
}

static inline void tree_list_one(struct tree_listing *l, const char *root, const char *rel)
{
    struct stat st;
    char target[4096] = "";
    const char *path = *rel ? pathf("%s/%s", root, rel) : root;
    assert_int_equal(lstat(path, &st), 0);
    bool device = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode);
    if (S_ISSOCK(st.st_mode) || (device && !l->owners))
        return;
    for (const char *c = rel; *c; c++)
        fprintf(l->f, *c > 32 && *c < 127 ? "%c" : "\\x%02x", (unsigned char)*c);
    fprintf(l->f, " mode=%o", st.st_mode & (l->owners ? ~0u : ~06000u));
    if (l->owners)
        fprintf(l->f, " owner=%u:%u", st.st_uid, st.st_gid);
    fprintf(l->f, " time=%lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (device)
        fprintf(l->f, " device=%u:%u", major(st.st_rdev), minor(st.st_rdev));
    if (S_ISLNK(st.st_mode) && readlink(path, target, sizeof(target) - 1) > 0)
        fprintf(l->f, " -> %s", target);
    if (S_ISREG(st.st_mode)) {
        off_t data;
        uint64_t hash = tree_hash(path, &data);
        fprintf(l->f, " size=%lld data-at=%lld hash=%016llx", (long long)st.st_size, (long long)data,
                (unsigned long long)hash);
        if (st.st_nlink > 1)
            fprintf(l->f, " same-as=%s", tree_first_name(l, &st, rel));
    }
    tree_list_xattrs(l, path);
    fputc('\n', l->f);
    if (S_ISDIR(st.st_mode))
        tree_list_folder(l, root, rel);
}

/* All of a tree as text, the caller's; its root included. */
static inline char *tree_list(const char *root, bool owners)
{
    struct tree_listing l = {.owners = owners};
    l.f = open_memstream(&l.text, &l.len);
    assert_non_null(l.f);
    tree_list_one(&l, root, "");
    fclose(l.f);
    return l.text;
}

static inline void assert_same_trees(const char *a, const char *b, bool owners)
{
    char one[256], two[256]; /* they may be of pathf() */
    snprintf(one, sizeof(one), "%s", a);
    snprintf(two, sizeof(two), "%s", b);
    char *first = tree_list(one, owners), *second = tree_list(two, owners);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

#endif
