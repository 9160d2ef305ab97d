/* SPDX-License-Identifier: Apache-2.0 */
/* The ext4 writer's refusals: each failure has a code and names its object, and an aborted image is removed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/ext4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64], path[128];
    struct ext4_image *img;
};

static const struct ext4_meta meta = {.mode = 0644, .uid = 70000, .gid = 4000000000u, .mtime = {.tv_sec = 1}};

static int set_up(void **state)
{
    static struct place p;
    strcpy(p.dir, "/tmp/cubby-test-XXXXXX");
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.path, sizeof(p.path), "%s/img", p.dir);
    struct ext4_params params = {.size = 4 << 20, .inodes = 100, .label = "test"};
    *state = &p;
    return ext4_image_create(&p.img, p.path, &params, NULL);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    return rmdir(p->dir);
}

static void a_name_is_given_once(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    uint32_t ino;
    assert_int_equal(ext4_image_file_begin(p->img, EXT4_ROOT_INO, "f", &meta, &ino, &e), 0);
    assert_int_equal(ext4_image_file_end(p->img, 0, &e), 0);
    assert_int_equal(ext4_image_mkdir(p->img, EXT4_ROOT_INO, "f", &meta, NULL, &e), -EEXIST);
    assert_non_null(strstr(e.text, "create folder 'f'"));
    assert_non_null(strstr(e.text, p->path));
    assert_int_equal(ext4_image_symlink(p->img, EXT4_ROOT_INO, "f", "x", &meta, &e), -EEXIST);
    assert_int_equal(ext4_image_mknod(p->img, EXT4_ROOT_INO, "f", S_IFIFO, 0, &meta, &e), -EEXIST);
    assert_int_equal(ext4_image_link(p->img, EXT4_ROOT_INO, "f", ino, &e), -EEXIST);
    assert_int_equal(ext4_image_file_begin(p->img, EXT4_ROOT_INO, "f", &meta, NULL, &e), -EEXIST);
    ext4_image_abort(p->img);
    assert_int_equal(access(p->path, F_OK), -1);
}

static void a_full_image_says_no_space(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    static char block[65536];
    assert_int_equal(ext4_image_file_begin(p->img, EXT4_ROOT_INO, "f", &meta, NULL, &e), 0);
    memset(block, 7, sizeof(block));
    int ret = 0;
    for (uint64_t at = 0; at < 8 << 20 && ret == 0; at += sizeof(block))
        ret = ext4_image_file_write(p->img, at, block, sizeof(block), &e);
    assert_int_equal(ret, -ENOSPC);
    ext4_image_abort(p->img);
    assert_int_equal(access(p->path, F_OK), -1);
}

static void too_many_objects_say_no_space(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    int ret = 0;
    for (int i = 0; i < 1000 && ret == 0; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        ret = ext4_image_mknod(p->img, EXT4_ROOT_INO, name, S_IFIFO, 0, &meta, &e);
    }
    assert_int_equal(ret, -ENOSPC);
    ext4_image_abort(p->img);
}

static void a_link_to_nothing_is_refused(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    uint32_t ino;
    assert_int_equal(ext4_image_file_begin(p->img, EXT4_ROOT_INO, "f", &meta, &ino, &e), 0);
    assert_int_equal(ext4_image_file_end(p->img, 0, &e), 0);
    assert_int_equal(ext4_image_link(p->img, EXT4_ROOT_INO, "g", 99999, &e), -EIO);
    assert_int_equal(ext4_image_close(p->img, &e), 0);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_size, 4 << 20);
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct ext4_image *img = NULL;
    struct ext4_params params = {.size = 4 << 20, .inodes = 100};
    assert_int_equal(ext4_image_create(&img, "/nonexistent/img", &params, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/img"));
    assert_int_equal(ext4_image_create(&img, p->dir, &params, &e), -EISDIR);
    params.size = 4096;
    char tiny[160];
    snprintf(tiny, sizeof(tiny), "%s/tiny", p->dir);
    assert_true(ext4_image_create(&img, tiny, &params, &e) < 0);
    assert_int_equal(access(tiny, F_OK), -1);
    assert_null(img);
    ext4_image_abort(p->img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_is_given_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_image_says_no_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_objects_say_no_space, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_to_nothing_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_that_cannot_be_written_is_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
