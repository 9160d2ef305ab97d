/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tar archives become an image: whatever they hold, the merge refuses them or makes a file system that
 * libext2fs can walk. The first byte says where, in records, the first archive ends. Checksums of headers are
 * put right, so that mutations reach what is behind them.
 */
#include "oci/media_type.h"
#include "oci/merge.h"

#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct memory {
    const uint8_t *data;
    size_t left;
};

static ssize_t read_memory(void *ctx, void *buf, size_t n, struct err *e)
{
    struct memory *m = ctx;
    (void)e;
    n = n < m->left ? n : m->left;
    if (n)
        memcpy(buf, m->data, n);
    m->data += n;
    m->left -= n;
    return (ssize_t)n;
}

static void fix_checksums(uint8_t *data, size_t len)
{
    for (; len >= 512; data += 512, len -= 512) {
        if (memcmp(data + 257, "ustar", 5) != 0)
            continue;
        unsigned sum = 0;
        char text[8];
        memset(data + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
            sum += data[i];
        snprintf(text, sizeof(text), "%06o", sum & 0777777);
        memcpy(data + 148, text, 7);
    }
}

static int count_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref, int offset,
                       void *total)
{
    (void)count;
    (void)ref;
    (void)offset;
    if (*block >= ext2fs_blocks_count(fs->super) || !ext2fs_test_block_bitmap2(fs->block_map, *block))
        abort();
    ++*(uint64_t *)total;
    return 0;
}

static int check_entry(struct ext2_dir_entry *entry, int offset, int size, char *buf, void *fs)
{
    (void)offset;
    (void)size;
    (void)buf;
    if (!ext2fs_test_inode_bitmap2(((ext2_filsys)fs)->inode_map, entry->inode))
        abort();
    return 0;
}

/* Every inode's blocks are in use, and so is every inode that a folder names. */
static void walk(const char *path)
{
    ext2_filsys fs;
    if (ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs) || ext2fs_read_bitmaps(fs))
        abort();
    for (ext2_ino_t ino = EXT2_ROOT_INO; ino <= fs->super->s_inodes_count; ino++) {
        struct ext2_inode inode;
        uint64_t blocks = 0;
        if (ino != EXT2_ROOT_INO && ino < EXT2_FIRST_INODE(fs->super))
            continue;
        if (!ext2fs_test_inode_bitmap2(fs->inode_map, ino))
            continue;
        if (ext2fs_read_inode(fs, ino, &inode) || !inode.i_links_count)
            abort();
        if (ext2fs_inode_has_valid_blocks2(fs, &inode) &&
            ext2fs_block_iterate3(fs, ino, BLOCK_FLAG_READ_ONLY, NULL, count_block, &blocks))
            abort();
        if (LINUX_S_ISDIR(inode.i_mode) && ext2fs_dir_iterate(fs, ino, 0, NULL, check_entry, fs))
            abort();
    }
    ext2fs_free(fs);
}

static int merge_both(struct merge *m, const uint8_t *data, size_t len, size_t first)
{
    struct err e = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct memory memory = {i ? data + first : data, i ? len - first : first};
        struct byte_source source = {.read = read_memory, .ctx = &memory};
        struct layer_info info = {.index = i, .media_type = MEDIA_OCI_LAYER};
        if (merge_layer(m, &info, &source, &e) < 0) {
            if (e.code >= 0 || strncmp(e.text, "layer ", 6) != 0)
                abort(); /* an error without a name */
            return -1;
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct merge *m;
    struct err e = {0};
    char path[40];
    struct oci_limits limits;
    if (len < 1)
        return 0;
    oci_limits_init(&limits);
    limits.entries = 1000;
    int fd = memfd_create("image", MFD_CLOEXEC);
    uint8_t *copy = malloc(len);
    if (fd < 0 || !copy)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memcpy(copy, data + 1, len - 1);
    fix_checksums(copy, len - 1);
    size_t first = data[0] * (size_t)512 < len - 1 ? data[0] * (size_t)512 : len - 1;
    if (merge_create(&m, path, &(struct merge_params){.limits = &limits}, &e) < 0)
        abort();
    if (merge_both(m, copy, len - 1, first) < 0)
        merge_abort(m);
    else if (merge_finish(m, &e) < 0)
        abort();
    else
        walk(path);
    free(copy);
    close(fd);
    return 0;
}
