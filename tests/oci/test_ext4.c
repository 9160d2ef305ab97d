/* SPDX-License-Identifier: Apache-2.0 */
/* The ext4 writer: what it writes is what e2fsck and libext2fs read, blocks that were given back are used
 * again, and each failure has a code and names its object; an aborted image is removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image_reader.h"
#include "oci/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct place {
    char dir[64], path[128];
    struct ext4_image *img;
};

static const struct ext4_meta meta = {.mode = 0644, .uid = 70000, .gid = 4000000000u, .mtime = {.tv_sec = 1}};
static uint8_t block[65536];

static int set_up(void **state)
{
    static struct place p;
    strcpy(p.dir, "/tmp/cubby-test-XXXXXX");
    memset(block, 7, sizeof(block));
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.path, sizeof(p.path), "%s/img", p.dir);
    struct ext4_params params = {.uuid = "a test's own id", .label = "test"};
    *state = &p;
    return ext4_image_create(&p.img, p.path, &params, NULL);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    return rmdir(p->dir);
}

/* Closes the image, has it judged, opens it for reading. */
static ext2_filsys finish(struct place *p)
{
    struct err e = {0};
    assert_int_equal(ext4_image_close(p->img, &e), 0);
    assert_true(image_is_clean(p->path));
    ext2_filsys fs = image_open(p->path);
    assert_non_null(fs);
    return fs;
}

static uint32_t put_file(struct place *p, uint32_t parent, const char *name, size_t len)
{
    uint32_t node;
    struct err e = {0};
    assert_int_equal(ext4_image_file_begin(p->img, parent, name, &meta, &node, &e), 0);
    for (size_t at = 0; at < len; at += sizeof(block))
        assert_int_equal(
            ext4_image_file_write(p->img, at, block, len - at < sizeof(block) ? len - at : sizeof(block), &e),
            0);
    assert_int_equal(ext4_image_file_end(p->img, len, &e), 0);
    return node;
}

static void an_empty_image_is_clean(void **state)
{
    struct place *p = *state;
    ext2_filsys fs = finish(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    assert_true(image_stat(fs, "/", &ino, &inode));
    assert_int_equal(inode.i_links_count, 2);
    ext2fs_free(fs);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_size, 128 << 20);
    assert_true(st.st_blocks * 512 < 1 << 20);
}

static void a_name_is_given_once(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    uint32_t node = put_file(p, TREE_ROOT, "f", 0);
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, "f", &meta, NULL, &e), -EEXIST);
    assert_non_null(strstr(e.text, "create folder 'f'"));
    assert_non_null(strstr(e.text, p->path));
    assert_int_equal(ext4_image_symlink(p->img, TREE_ROOT, "f", "x", &meta, NULL, &e), -EEXIST);
    assert_int_equal(ext4_image_mknod(p->img, TREE_ROOT, "f", S_IFIFO, 0, &meta, NULL, &e), -EEXIST);
    assert_int_equal(ext4_image_link(p->img, TREE_ROOT, "f", node, NULL, &e), -EEXIST);
    assert_int_equal(ext4_image_file_begin(p->img, TREE_ROOT, "f", &meta, NULL, &e), -EEXIST);
    ext4_image_abort(p->img);
    assert_int_equal(access(p->path, F_OK), -1);
}

static void what_ext4_cannot_hold_is_refused(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char name[300];
    static char target[5000];
    memset(name, 'n', 256);
    name[256] = '\0';
    memset(target, 't', 4096);
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, name, &meta, NULL, &e), -ENAMETOOLONG);
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, "", &meta, NULL, &e), -ENAMETOOLONG);
    assert_int_equal(ext4_image_symlink(p->img, TREE_ROOT, "s", target, &meta, NULL, &e), -ENAMETOOLONG);
    assert_int_equal(ext4_image_symlink(p->img, TREE_ROOT, "s", "", &meta, NULL, &e), -EINVAL);
    assert_int_equal(ext4_image_mknod(p->img, TREE_ROOT, "d", S_IFCHR, makedev(4096, 0), &meta, NULL, &e),
                     -EINVAL);
    assert_int_equal(ext4_image_mknod(p->img, TREE_ROOT, "d", S_IFBLK, makedev(0, 1 << 20), &meta, NULL, &e),
                     -EINVAL);
    assert_int_equal(ext4_image_mknod(p->img, TREE_ROOT, "d", S_IFSOCK, 0, &meta, NULL, &e), -EINVAL);
    uint32_t dir, node;
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, "dir", &meta, &dir, &e), 0);
    assert_int_equal(ext4_image_link(p->img, TREE_ROOT, "l", dir, NULL, &e), -EPERM);
    assert_int_equal(ext4_image_file_write(p->img, 0, block, 1, &e), -EBADF);
    assert_int_equal(ext4_image_file_end(p->img, 0, &e), -EBADF);
    assert_int_equal(ext4_image_file_begin(p->img, dir, "f", &meta, &node, &e), 0);
    assert_int_equal(ext4_image_file_write(p->img, 100, block, 10, &e), 0);
    assert_int_equal(ext4_image_file_write(p->img, 109, block, 10, &e), -EINVAL); /* goes back */
    assert_int_equal(ext4_image_file_begin(p->img, dir, "g", &meta, &node, &e), 0);
    assert_int_equal(ext4_image_file_write(p->img, EXT4_SIZE_MAX, block, 1, &e), -EOVERFLOW);
    assert_non_null(strstr(e.text, "larger than an image can be"));
    assert_int_equal(ext4_image_file_begin(p->img, dir, "h", &meta, &node, &e), 0);
    assert_int_equal(ext4_image_file_write(p->img, 0, block, 10, &e), 0);
    assert_int_equal(ext4_image_file_end(p->img, 9, &e), -EINVAL); /* shorter than what was written */
    ext4_image_abort(p->img);
}

static void a_failed_object_leaves_no_name(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    assert_int_equal(ext4_image_mknod(p->img, TREE_ROOT, "d", S_IFSOCK, 0, &meta, NULL, &e), -EINVAL);
    assert_int_equal(ext4_image_symlink(p->img, TREE_ROOT, "s", "", &meta, NULL, &e), -EINVAL);
    assert_int_equal(ext4_image_link(p->img, TREE_ROOT, "l", TREE_ROOT, NULL, &e), -EPERM);
    assert_int_equal(tree_first(ext4_image_tree(p->img), TREE_ROOT), TREE_NONE);
    ext2fs_free(finish(p));
}

static void numbers_are_kept_whole(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    static const struct {
        struct timespec t;
        uint32_t low, extra;
    } times[] = {
        {{0, 0}, 0, 0},
        {{-1, 999999999}, 0xffffffffu, 999999999u << 2},
        {{INT32_MAX, 1}, 0x7fffffffu, 4},
        {{(int64_t)INT32_MAX + 1, 0}, 0x80000000u, 1},
        {{0x37fffffff, 5}, 0x7fffffffu, 5 << 2 | 3},
        {{0x380000000, 5}, 0x7fffffffu, 3}, /* beyond: the last second there is */
        {{INT32_MIN, 0}, 0x80000000u, 0},
        {{(int64_t)INT32_MIN - 1, 7}, 0x80000000u, 0},
    };
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char name[8];
        snprintf(name, sizeof(name), "t%u", i);
        struct ext4_meta m = {.mode = 07777, .uid = UINT32_MAX, .gid = UINT32_MAX - i, .mtime = times[i].t};
        assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, name, &m, NULL, &e), 0);
    }
    ext2_filsys fs = finish(p);
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char name[8];
        ext2_ino_t ino;
        struct ext2_inode_large inode;
        snprintf(name, sizeof(name), "/t%u", i);
        assert_true(image_stat(fs, name, &ino, &inode));
        assert_int_equal(inode.i_mtime, times[i].low);
        assert_int_equal(inode.i_mtime_extra, times[i].extra);
        assert_int_equal(inode_uid(inode), UINT32_MAX);
        assert_int_equal(inode_gid(inode), UINT32_MAX - i);
        assert_int_equal(inode.i_mode, S_IFDIR | 07777);
    }
    ext2fs_free(fs);
}

/* Every second block is a hole: one extent each, so that the map needs `depth` levels. */
static void write_comb(struct place *p, const char *name, unsigned teeth)
{
    struct err e = {0};
    assert_int_equal(ext4_image_file_begin(p->img, TREE_ROOT, name, &meta, NULL, &e), 0);
    for (unsigned i = 0; i < teeth; i++) {
        memcpy(block, &i, sizeof(i));
        block[4] = 1;
        assert_int_equal(ext4_image_file_write(p->img, (uint64_t)i * 8192 + 1, block, 4095, &e), 0);
    }
    assert_int_equal(ext4_image_file_end(p->img, (uint64_t)teeth * 8192, &e), 0);
}

static void check_comb(ext2_filsys fs, const char *path, unsigned teeth, unsigned depth, unsigned map_blocks)
{
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    struct ext3_extent_header header;
    assert_true(image_stat(fs, path, &ino, &inode));
    memcpy(&header, inode.i_block, sizeof(header));
    assert_int_equal(header.eh_depth, depth);
    assert_int_equal(image_sectors(&inode), (uint64_t)(teeth + map_blocks) * 8);
    for (unsigned i = 0; i < teeth; i += teeth / 4) {
        uint8_t got[8192];
        assert_int_equal(image_read(fs, path, (uint64_t)i * 8192, got, sizeof(got)), sizeof(got));
        assert_int_equal(got[0], 0);
        assert_memory_equal(got + 1, &i, sizeof(i));
        assert_int_equal(got[4095], 7);
        assert_int_equal(got[4096], 0);
    }
}

static void maps_of_every_depth_are_right(void **state)
{
    struct place *p = *state;
    write_comb(p, "four", 4);
    write_comb(p, "five", 5);
    write_comb(p, "leaf", 340);
    write_comb(p, "leaves", 1361); /* five leaves: one index block */
    ext2_filsys fs = finish(p);
    check_comb(fs, "/four", 4, 0, 0);
    check_comb(fs, "/five", 5, 1, 1);
    check_comb(fs, "/leaf", 340, 1, 1);
    check_comb(fs, "/leaves", 1361, 2, 6);
    ext2fs_free(fs);
}

static void blocks_are_used_again(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    for (int round = 0; round < 20; round++) {
        uint32_t comb, file = put_file(p, TREE_ROOT, "file", 20 << 20);
        write_comb(p, "comb", 1361);
        comb = tree_find(ext4_image_tree(p->img), TREE_ROOT, "comb", 4);
        assert_int_equal(ext4_image_remove(p->img, file, &e), 0);
        assert_int_equal(ext4_image_remove(p->img, comb, &e), 0);
    }
    put_file(p, TREE_ROOT, "last", 1 << 20);
    ext2_filsys fs = finish(p);
    assert_false(image_has(fs, "/file"));
    assert_int_equal(fs->super->s_inodes_count - fs->super->s_free_inodes_count, 11);
    ext2fs_free(fs);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_size, 128 << 20); /* 20 rounds of 25 MiB would need more */
    assert_true(st.st_blocks * 512 < 4 << 20);
}

/* What was removed is not left behind in the file. */
static void what_was_removed_is_gone(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    memset(block, 'S', sizeof(block));
    uint32_t secret = put_file(p, TREE_ROOT, "secret", 1 << 20);
    memset(block, 'o', sizeof(block));
    put_file(p, TREE_ROOT, "other", 1 << 20);
    assert_int_equal(ext4_image_remove(p->img, secret, &e), 0);
    ext2fs_free(finish(p));
    int fd = open(p->path, O_RDONLY);
    ssize_t n;
    while ((n = read(fd, block, sizeof(block))) > 0)
        assert_null(memmem(block, (size_t)n, "SSSSSSSS", 8));
    close(fd);
}

static void folders_of_every_size_are_right(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    static const unsigned sizes[] = {0, 1, 130, 300, 5000, 100000};
    for (unsigned i = 0; i < 6; i++) {
        char name[300];
        uint32_t dir;
        snprintf(name, sizeof(name), "d%u", i);
        assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, name, &meta, &dir, &e), 0);
        for (unsigned k = 0; k < sizes[i]; k++) {
            /* Long names in the largest, so that its index has two levels. */
            snprintf(name, sizeof(name), "%s%06u", i == 5 ? "a-name-that-is-long-enough" : "n", k);
            assert_int_equal(ext4_image_mknod(p->img, dir, name, S_IFIFO, 0, &meta, NULL, &e), 0);
        }
    }
    ext2_filsys fs = finish(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    for (unsigned i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof(name), "/d%u", i);
        assert_true(image_stat(fs, name, &ino, &inode));
        assert_int_equal(!!(inode.i_flags & EXT2_INDEX_FL), sizes[i] > 200);
        snprintf(name, sizeof(name), "/d%u/%s%06u", i, i == 5 ? "a-name-that-is-long-enough" : "n",
                 sizes[i] / 2);
        assert_int_equal(image_has(fs, name), sizes[i] > 0);
    }
    uint8_t root[4096];
    assert_true(image_stat(fs, "/d5", &ino, &inode));
    blk64_t first;
    assert_int_equal(ext2fs_bmap2(fs, ino, NULL, NULL, 0, 0, NULL, &first), 0);
    assert_int_equal(io_channel_read_blk64(fs->io, first, 1, root), 0);
    assert_int_equal(((struct ext2_dx_root_info *)(void *)(root + 24))->indirect_levels, 1);
    ext2fs_free(fs);
}

static void link_counts_stop_where_ext4_does(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char name[16];
    uint32_t many, node = put_file(p, TREE_ROOT, "f", 5);
    int ret = 0;
    for (unsigned i = 1; i < EXT4_LINK_MAX; i++) {
        snprintf(name, sizeof(name), "l%u", i);
        assert_int_equal(ext4_image_link(p->img, TREE_ROOT, name, node, NULL, &e), 0);
    }
    ret = ext4_image_link(p->img, TREE_ROOT, "one-too-many", node, NULL, &e);
    assert_int_equal(ret, -EMLINK);
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, "many", &meta, &many, &e), 0);
    for (unsigned i = 0; i < 65100; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        assert_int_equal(ext4_image_mkdir(p->img, many, name, &meta, NULL, &e), 0);
    }
    ext2_filsys fs = finish(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    assert_true(image_stat(fs, "/f", &ino, &inode));
    assert_int_equal(inode.i_links_count, 65000);
    assert_true(image_stat(fs, "/many", &ino, &inode));
    assert_int_equal(inode.i_links_count, 1);
    ext2fs_free(fs);
}

static void links_keep_an_object(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    uint32_t dir, a = put_file(p, TREE_ROOT, "a", 5), b;
    assert_int_equal(ext4_image_mkdir(p->img, TREE_ROOT, "dir", &meta, &dir, &e), 0);
    assert_int_equal(ext4_image_link(p->img, dir, "b", a, &b, &e), 0);
    assert_int_equal(ext4_image_remove(p->img, a, &e), 0);
    assert_int_equal(ext4_image_link(p->img, TREE_ROOT, "c", a, NULL, &e), -ENOENT);
    assert_int_equal(ext4_image_link(p->img, TREE_ROOT, "c", b, NULL, &e), 0);
    assert_int_equal(ext4_image_remove(p->img, dir, &e), 0);
    ext2_filsys fs = finish(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    assert_true(image_stat(fs, "/c", &ino, &inode));
    assert_int_equal(inode.i_links_count, 1);
    assert_false(image_has(fs, "/dir"));
    ext2fs_free(fs);
}

static void deep_trees_go_without_recursion(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    uint32_t top = TREE_NONE, at = TREE_ROOT;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(ext4_image_mkdir(p->img, at, "d", &meta, &at, &e), 0);
        if (i == 0)
            top = at;
    }
    assert_int_equal(ext4_image_remove(p->img, top, &e), 0);
    ext2fs_free(finish(p));
}

static void targets_are_read_back(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    static const unsigned lens[] = {1, 58, 59, 60, 61, 4095};
    char target[EXT4_TARGET_MAX + 1], got[EXT4_TARGET_MAX + 1];
    for (unsigned i = 0; i < 6; i++) {
        char name[8];
        uint32_t node;
        snprintf(name, sizeof(name), "l%u", i);
        memset(target, 'a' + (int)i, lens[i]);
        target[lens[i]] = '\0';
        assert_int_equal(ext4_image_symlink(p->img, TREE_ROOT, name, target, &meta, &node, &e), 0);
        put_file(p, TREE_ROOT, target + lens[i] - 1, 1 << 20); /* pushes it out of the buffer */
        assert_int_equal(ext4_image_readlink(p->img, node, got, &e), 0);
        assert_string_equal(got, target);
    }
    uint32_t file = put_file(p, TREE_ROOT, "file", 1);
    assert_int_equal(ext4_image_readlink(p->img, file, got, &e), -EINVAL);
    ext2fs_free(finish(p));
}

static void attributes_are_kept(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    static char large[3000], huge[5000];
    memset(large, 'L', sizeof(large));
    uint32_t node = put_file(p, TREE_ROOT, "f", 1);
    const struct ext4_xattr list[] = {{"user.zz", "first", 5},
                                      {"security.capability", "\1\0\0\2cap", 7},
                                      {"user.large", large, 3000},
                                      {"trusted.t", "", 0},
                                      {"user.zz", "second", 6}};
    assert_int_equal(ext4_image_set_xattrs(p->img, node, list, 5, &e), 0);
    uint32_t other = put_file(p, TREE_ROOT, "g", 1);
    const struct ext4_xattr bad[] = {{"user.huge", huge, 5000},
                                     {"system.other", "", 0},
                                     {"user.", "", 0},
                                     {"system.posix_acl_access", "\2\0\0\0\1\0", 6},
                                     {"system.posix_acl_access", "\3\0\0\0", 4}};
    static const int codes[] = {-E2BIG, -ENOTSUP, -ENOTSUP, -EINVAL, -EINVAL};
    for (int i = 0; i < 5; i++)
        assert_int_equal(ext4_image_set_xattrs(p->img, other, &bad[i], 1, &e), codes[i]);
    assert_non_null(strstr(e.text, "'g'"));
    ext2_filsys fs = finish(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    struct ext2_xattr_handle *h;
    void *value;
    size_t len;
    assert_true(image_stat(fs, "/f", &ino, &inode));
    assert_int_equal(ext2fs_xattrs_open(fs, ino, &h), 0);
    assert_int_equal(ext2fs_xattrs_read(h), 0);
    assert_int_equal(ext2fs_xattr_get(h, "user.zz", &value, &len), 0);
    assert_int_equal(len, 6);
    assert_memory_equal(value, "second", 6);
    ext2fs_free_mem(&value);
    assert_int_equal(ext2fs_xattr_get(h, "user.large", &value, &len), 0);
    assert_int_equal(len, 3000);
    ext2fs_free_mem(&value);
    ext2fs_xattrs_close(&h);
    ext2fs_free(fs);
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct ext4_image *img = NULL;
    struct ext4_params params = {.label = "x"};
    assert_int_equal(ext4_image_create(&img, "/nonexistent/img", &params, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/img"));
    assert_int_equal(ext4_image_create(&img, p->dir, &params, &e), -EISDIR);
    assert_int_equal(ext4_image_create(&img, "/dev/zero", &params, &e), -EINVAL);
    assert_int_equal(access("/dev/zero", F_OK), 0);
    assert_null(img);
    ext4_image_abort(NULL);
    ext4_image_abort(p->img);
}

/* The host does not take the bytes (a limit on the size of files stands for a full disk). */
static void a_write_that_fails_is_told(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct rlimit old, small = {.rlim_cur = 4 << 20};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(ext4_image_file_begin(p->img, TREE_ROOT, "f", &meta, NULL, &e), 0);
    int ret = 0;
    for (uint64_t at = 0; at < 8 << 20 && ret == 0; at += sizeof(block))
        ret = ext4_image_file_write(p->img, at, block, sizeof(block), &e);
    assert_int_equal(ret, -EFBIG);
    assert_non_null(strstr(e.text, "write to file 'f'"));
    ext4_image_abort(p->img);
    assert_int_equal(access(p->path, F_OK), -1);
    /* And when closing is what fails. */
    struct ext4_params params = {.label = "x"};
    assert_int_equal(ext4_image_create(&p->img, p->path, &params, &e), 0);
    assert_int_equal(ext4_image_close(p->img, &e), -EFBIG);
    assert_non_null(strstr(e.text, "cannot finish image"));
    assert_int_equal(access(p->path, F_OK), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
}

int main(void)
{
#define WITH_IMAGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_IMAGE(an_empty_image_is_clean),
        WITH_IMAGE(a_name_is_given_once),
        WITH_IMAGE(what_ext4_cannot_hold_is_refused),
        WITH_IMAGE(a_failed_object_leaves_no_name),
        WITH_IMAGE(numbers_are_kept_whole),
        WITH_IMAGE(maps_of_every_depth_are_right),
        WITH_IMAGE(blocks_are_used_again),
        WITH_IMAGE(what_was_removed_is_gone),
        WITH_IMAGE(folders_of_every_size_are_right),
        WITH_IMAGE(link_counts_stop_where_ext4_does),
        WITH_IMAGE(links_keep_an_object),
        WITH_IMAGE(deep_trees_go_without_recursion),
        WITH_IMAGE(targets_are_read_back),
        WITH_IMAGE(attributes_are_kept),
        WITH_IMAGE(a_place_that_cannot_be_written_is_named),
        WITH_IMAGE(a_write_that_fails_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
