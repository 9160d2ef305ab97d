/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: the accessor's bounds, regions, files mapped over it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/gmem.h"
#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (UINT64_C(1) << 20)

static void the_accessor_checks_both_ends(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(gmem_add(&m, 1 * MIB, 2 * MIB, NULL), 0);
    assert_non_null(gmem_ptr(&m, 1 * MIB, 1));
    assert_non_null(gmem_ptr(&m, 1 * MIB, 2 * MIB));
    assert_non_null(gmem_ptr(&m, 3 * MIB - 1, 1));
    assert_null(gmem_ptr(&m, 1 * MIB, 2 * MIB + 1));
    assert_null(gmem_ptr(&m, 1 * MIB - 1, 1));
    assert_null(gmem_ptr(&m, 1 * MIB - 1, 2));
    assert_null(gmem_ptr(&m, 3 * MIB, 1));
    assert_null(gmem_ptr(&m, 3 * MIB - 1, 2));
    assert_null(gmem_ptr(&m, 2 * MIB, UINT64_MAX));
    assert_null(gmem_ptr(&m, UINT64_MAX, 2));
    assert_null(gmem_ptr(&m, 1 * MIB, 0));
    gmem_fini(&m);
    assert_null(gmem_ptr(&m, 1 * MIB, 1));
}

static void a_range_never_spans_two_regions(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(gmem_add(&m, 0, MIB, NULL), 0);
    assert_int_equal(gmem_add(&m, MIB, MIB, NULL), 0);
    assert_non_null(gmem_ptr(&m, MIB - 1, 1));
    assert_null(gmem_ptr(&m, MIB - 1, 2));
    gmem_fini(&m);
}

static void regions_that_overlap_wrap_or_are_too_many_are_refused(void **state)
{
    (void)state;
    static uint8_t bytes[16];
    struct gmem m = {0};
    assert_int_equal(gmem_add_extern(&m, 100, 16, bytes), 0);
    assert_int_equal(gmem_add_extern(&m, 115, 16, bytes), -EEXIST);
    assert_int_equal(gmem_add_extern(&m, 85, 16, bytes), -EEXIST);
    assert_int_equal(gmem_add_extern(&m, 0, 1000, bytes), -EEXIST);
    assert_int_equal(gmem_add_extern(&m, UINT64_MAX - 4, 16, bytes), -EINVAL);
    assert_int_equal(gmem_add_extern(&m, 0, 0, bytes), -EINVAL);
    assert_int_equal(gmem_add_extern(&m, 116, 16, bytes), 0);
    assert_int_equal(gmem_add_extern(&m, 84, 16, bytes), 0);
    assert_int_equal(gmem_add_extern(&m, 200, 16, bytes), 0);
    assert_int_equal(gmem_add_extern(&m, 300, 16, bytes), -ENOSPC);
    gmem_fini(&m);
}

static void an_unaligned_or_impossible_size_is_an_error_with_text(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct err e = {0};
    assert_int_equal(gmem_add(&m, 0, 4095, &e), -EINVAL);
    assert_non_null(strstr(e.text, "page-aligned"));
    assert_true(gmem_add(&m, 0, UINT64_C(1) << 62, &e) < 0);
    assert_non_null(strstr(e.text, "cannot reserve"));
    assert_int_equal(m.count, 0);
}

static void reads_and_writes_are_all_or_nothing(void **state)
{
    (void)state;
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct gmem m = {0};
    assert_int_equal(gmem_add_extern(&m, 0, 8, bytes), 0);
    uint8_t out[4] = {9, 9, 9, 9};
    assert_int_equal(gmem_read(&m, 6, out, 4), -EFAULT);
    assert_int_equal(out[0], 9);
    assert_int_equal(gmem_write(&m, 6, out, 4), -EFAULT);
    assert_int_equal(bytes[6], 7);
    assert_int_equal(gmem_read(&m, 4, out, 4), 0);
    assert_int_equal(out[3], 8);
    assert_int_equal(gmem_read(&m, 100, out, 0), 0);
}

static void a_mapped_file_is_seen_and_not_written(void **state)
{
    (void)state;
    CLEANUP(fd_closep) int fd = memfd_create("file", MFD_CLOEXEC);
    uint8_t page[8192];
    memset(page, 0xAB, sizeof(page));
    assert_int_equal(write_full(fd, page, sizeof(page)), 0);
    struct gmem m = {0};
    assert_int_equal(gmem_add(&m, 0, 1 * MIB, NULL), 0);
    assert_int_equal(gmem_map_file(&m, 0x3000, fd, 4096, 100, NULL), 0);
    uint8_t *p = gmem_ptr(&m, 0x3000, 4096);
    assert_int_equal(p[99], 0xAB);
    assert_int_equal(p[100], 0);
    assert_int_equal(p[4095], 0);
    p[0] = 1;
    uint8_t first;
    assert_int_equal(pread_full(fd, &first, 1, 4096), 0);
    assert_int_equal(first, 0xAB);
    struct err e = {0};
    assert_int_equal(gmem_map_file(&m, 0x3001, fd, 4096, 100, &e), -EINVAL);
    assert_int_equal(gmem_map_file(&m, 0x3000, fd, 7, 100, &e), -EINVAL);
    assert_int_equal(gmem_map_file(&m, 1 * MIB - 4096, fd, 0, 4097, &e), -EFAULT);
    assert_int_equal(gmem_map_file(&m, 0, fd, 0, UINT64_MAX, &e), -EFAULT);
    assert_int_equal(gmem_map_file(&m, 0, -1, 0, 10, &e), -EBADF);
    gmem_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_accessor_checks_both_ends),
        cmocka_unit_test(a_range_never_spans_two_regions),
        cmocka_unit_test(regions_that_overlap_wrap_or_are_too_many_are_refused),
        cmocka_unit_test(an_unaligned_or_impossible_size_is_an_error_with_text),
        cmocka_unit_test(reads_and_writes_are_all_or_nothing),
        cmocka_unit_test(a_mapped_file_is_seen_and_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
