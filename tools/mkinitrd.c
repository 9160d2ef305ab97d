/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkinitrd OUT INIT: an initramfs that holds INIT as /init, the folders that it mounts on, and /dev/console.
 *
 * Theory of operation: writes the "newc" cpio format (Linux Documentation/driver-api/early-userspace/
 * buffer-format.rst) itself, so that the device node needs no root, and the same input gives the same bytes:
 * owners and times are zero, inode numbers count up.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
    const char *name;
    unsigned mode; /* as st_mode */
    unsigned major, minor;
};

static const struct entry entries[] = {
    {"dev", S_IFDIR | 0755, 0, 0},   {"dev/console", S_IFCHR | 0600, 5, 1}, {"proc", S_IFDIR | 0555, 0, 0},
    {"sys", S_IFDIR | 0555, 0, 0},   {"root", S_IFDIR | 0755, 0, 0},        {"lower", S_IFDIR | 0755, 0, 0},
    {"upper", S_IFDIR | 0755, 0, 0},
};

static void pad(FILE *f, size_t len)
{
    static const char zeros[4];
    fwrite(zeros, 1, (4 - len % 4) % 4, f);
}

static void put(FILE *f, unsigned inode, const struct entry *e, const void *data, size_t len)
{
    unsigned links = S_ISDIR(e->mode) ? 2 : 1;
    size_t name = strlen(e->name) + 1;
    /* magic, inode, mode, uid, gid, links, mtime, size, device, device of a node, name's length, checksum */
    int header = fprintf(f, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", inode, e->mode,
                         0u, 0u, links, 0u, len, 0u, 0u, e->major, e->minor, name, 0u);
    fwrite(e->name, 1, name, f);
    pad(f, (size_t)header + name);
    fwrite(data, 1, len, f);
    pad(f, len);
}

/* The whole file in a heap block, or NULL. */
static char *load(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) < 0)
        return NULL;
    long size = ftell(f);
    char *data = size < 0 ? NULL : malloc((size_t)size + 1);
    rewind(f);
    *len = data ? fread(data, 1, (size_t)size, f) : 0;
    int bad = ferror(f) || !data || *len != (size_t)size;
    fclose(f);
    if (!bad)
        return data;
    free(data);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: mkinitrd OUT INIT\n");
        return 2;
    }
    size_t len = 0;
    char *init = load(argv[2], &len);
    FILE *f = init ? fopen(argv[1], "wb") : NULL;
    if (!f) {
        fprintf(stderr, "mkinitrd: '%s': %s\n", init ? argv[1] : argv[2], strerror(errno));
        free(init);
        return 1;
    }
    unsigned inode = 1;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        put(f, inode++, &entries[i], "", 0);
    put(f, inode, &(struct entry){"init", S_IFREG | 0755, 0, 0}, init, len);
    put(f, 0, &(struct entry){"TRAILER!!!", 0, 0, 0}, "", 0);
    free(init);
    int bad = ferror(f);
    if (fclose(f) != 0 || bad) {
        fprintf(stderr, "mkinitrd: cannot write '%s'\n", argv[1]);
        return 1;
    }
    return 0;
}
