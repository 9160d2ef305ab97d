/* SPDX-License-Identifier: Apache-2.0 */
/* Files on their way into guest memory: what is no file, what changes meanwhile, what does not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/vmm/images.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int look_at(int fd, struct err *e)
{
    struct boot_file f;
    return boot_file_init(&f, "initrd", "x", fd, true, e);
}

static void only_regular_files_with_content_are_taken(void **state)
{
    (void)state;
    struct err e;
    CLEANUP(fd_closep) int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(look_at(folder, &e), -EISDIR);
    assert_string_equal(e.text, "initrd 'x' is a folder");

    CLEANUP(fd_closep) int device = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(look_at(device, &e), -EINVAL);
    assert_string_equal(e.text, "initrd 'x' is not a regular file");

    int pipe_fd[2];
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    assert_int_equal(look_at(pipe_fd[0], &e), -EINVAL);
    close(pipe_fd[0]);
    close(pipe_fd[1]);

    CLEANUP(fd_closep) int empty = image_file("", 0);
    assert_int_equal(look_at(empty, &e), -EINVAL);
    assert_string_equal(e.text, "initrd 'x' is empty");

    assert_int_equal(look_at(-1, &e), -EBADF);
    assert_non_null(strstr(e.text, "cannot look at initrd 'x': "));
}

static void a_file_that_may_not_be_read_is_an_error(void **state)
{
    (void)state;
    char path[] = "/tmp/boot-file-XXXXXX", byte;
    struct boot_file f;
    struct err e;
    CLEANUP(fd_closep) int made = mkstemp(path);
    assert_true(made >= 0);
    assert_int_equal(write_full(made, "abc", 3), 0);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
    unlink(path);
    assert_int_equal(boot_file_init(&f, "kernel", "x", fd, true, NULL), 0);
    assert_false(f.map); /* a file that cannot be mapped is read */
    assert_int_equal(boot_file_read(&f, 0, &byte, 1, &e), -EBADF);
    assert_non_null(strstr(e.text, "cannot read kernel 'x': "));
}

static void reads_stay_inside_the_file(void **state)
{
    (void)state;
    struct boot_file f;
    char buf[8];
    CLEANUP(fd_closep) int fd = image_file("abcdef", 6);
    assert_int_equal(boot_file_init(&f, "kernel", "x", fd, true, NULL), 0);
    assert_int_equal(f.size, 6);
    assert_int_equal(boot_file_read(&f, 2, buf, 4, NULL), 0);
    assert_memory_equal(buf, "cdef", 4);
    assert_int_equal(boot_file_read(&f, 6, buf, 0, NULL), 0);
    assert_int_equal(boot_file_read(&f, 2, buf, 5, NULL), -ENOEXEC);
    assert_int_equal(boot_file_read(&f, 7, buf, 0, NULL), -ENOEXEC);
    assert_int_equal(boot_file_read(&f, UINT64_MAX, buf, 2, NULL), -ENOEXEC);
}

static void a_file_that_shrinks_is_an_error(void **state)
{
    (void)state;
    struct boot_file f;
    struct err e;
    char buf[6];
    CLEANUP(fd_closep) int fd = image_file("abcdef", 6);
    assert_int_equal(boot_file_init(&f, "kernel", "x", fd, true, NULL), 0);
    assert_int_equal(ftruncate(fd, 3), 0);
    assert_int_equal(boot_file_read(&f, 0, buf, 6, &e), -ENOEXEC);
    assert_string_equal(e.text, "kernel 'x' was cut short while it was read");
}

static void pieces_outside_the_file_or_memory_are_refused(void **state)
{
    (void)state;
    struct image img;
    struct gmem m = {0};
    struct boot_file f;
    struct err e;
    image_fill(&img, 0x3000);
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    CLEANUP(fd_closep) int fd = image_file(img.bytes, img.len);
    assert_int_equal(boot_file_init(&f, "kernel", "x", fd, true, NULL), 0);
    static const struct {
        struct boot_piece piece;
        int code;
    } cases[] = {
        {{.offset = 0, .len = 0x3001, .gpa = 0x100000}, -ENOEXEC},
        {{.offset = 0x3000, .len = 1, .gpa = 0x100000}, -ENOEXEC},
        {{.offset = UINT64_MAX, .len = 0x1000, .gpa = 0x100000}, -ENOEXEC},
        {{.offset = 0, .len = UINT64_MAX, .gpa = 0x100000}, -ENOEXEC},
        {{.offset = 0, .len = 0x3000, .gpa = 0x1ffe000}, -EFAULT},
        {{.offset = 0, .len = 0x3000, .gpa = 0xfee00000}, -EFAULT},
        {{.offset = 0, .len = 0x3000, .gpa = UINT64_MAX - 0xfff}, -EFAULT},
        {{.offset = 0, .len = 0, .gpa = UINT64_MAX}, 0},
        {{.offset = 0, .len = 0x3000, .gpa = 0x1ffd000}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(boot_file_load(&f, &m, &cases[i].piece, &e), cases[i].code);
    gmem_fini(&m);
}

/* Every combination of alignment: the piece arrives, and nothing beside it changes. */
static void pieces_of_any_alignment_arrive_whole(void **state)
{
    (void)state;
    static const uint64_t at[] = {0, 1, 0x7ff, 0x1000}, lens[] = {1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000};
    struct image img;
    struct gmem m = {0};
    struct boot_file f;
    image_fill(&img, 0x5000);
    assert_int_equal(layout_add_ram(&m, 32, NULL), 0);
    CLEANUP(fd_closep) int fd = image_file(img.bytes, img.len);
    assert_int_equal(boot_file_init(&f, "kernel", "x", fd, true, NULL), 0);
    gpa_t area = 0x200000;
    for (unsigned i = 0; i < ARRAY_LEN(at) * ARRAY_LEN(at) * ARRAY_LEN(lens); i++, area += 0x8000) {
        struct boot_piece p = {
            .offset = at[i % 4], .gpa = area + 0x1000 + at[i / 4 % 4], .len = lens[i / 16]};
        uint8_t *around = gmem_ptr(&m, area, 0x8000);
        memset(around, 0xdb, 0x8000);
        assert_int_equal(boot_file_load(&f, &m, &p, NULL), 0);
        for (gpa_t a = area; a < area + 0x8000; a++) {
            bool inside = a >= p.gpa && a < p.gpa + p.len;
            assert_int_equal(around[a - area], inside ? image_byte(p.offset + (a - p.gpa)) : 0xdb);
        }
    }
    gmem_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_regular_files_with_content_are_taken),
        cmocka_unit_test(a_file_that_may_not_be_read_is_an_error),
        cmocka_unit_test(reads_stay_inside_the_file),
        cmocka_unit_test(a_file_that_shrinks_is_an_error),
        cmocka_unit_test(pieces_outside_the_file_or_memory_are_refused),
        cmocka_unit_test(pieces_of_any_alignment_arrive_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
