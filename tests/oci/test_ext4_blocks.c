/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator of blocks: against a plain array, and at its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/ext4_blocks.h"

#include <errno.h>
#include <stdlib.h>

#define MAX 200000u /* blocks: more than six groups */

static void fresh_blocks_come_in_a_row(void **state)
{
    (void)state;
    struct ext4_blocks b;
    uint64_t at;
    ext4_blocks_init(&b, 10, 100);
    assert_int_equal(ext4_blocks_take(&b, 5, &at), 5);
    assert_int_equal(at, 10);
    assert_int_equal(ext4_blocks_take_row(&b, 80, &at), 0);
    assert_int_equal(at, 15);
    assert_int_equal(ext4_blocks_take_row(&b, 6, &at), -EOVERFLOW);
    assert_int_equal(ext4_blocks_take(&b, 100, &at), 5); /* what there is */
    assert_int_equal(ext4_blocks_take(&b, 1, &at), -EOVERFLOW);
    ext4_blocks_fini(&b);
}

static void freed_blocks_come_first(void **state)
{
    (void)state;
    struct ext4_blocks b;
    uint64_t at = 0;
    ext4_blocks_init(&b, 0, MAX);
    assert_int_equal(ext4_blocks_take_row(&b, 3 * GROUP_BLOCKS, &at), 0);
    assert_int_equal(ext4_blocks_next_free(&b, &at), 0);
    /* Across the border of two groups. */
    assert_int_equal(ext4_blocks_give(&b, GROUP_BLOCKS - 3, 70), 0);
    assert_int_equal(ext4_blocks_give(&b, 5, 1), 0);
    assert_int_equal(b.free, 71);
    assert_int_equal(ext4_blocks_next_free(&b, &at), 1);
    assert_int_equal(at, 5);
    assert_int_equal(ext4_blocks_take(&b, 10, &at), 1);
    assert_int_equal(at, 5);
    assert_int_equal(ext4_blocks_take(&b, 10, &at), 3);
    assert_int_equal(at, GROUP_BLOCKS - 3);
    assert_int_equal(ext4_blocks_take(&b, 10, &at), 10);
    assert_int_equal(at, GROUP_BLOCKS);
    assert_int_equal(ext4_blocks_take_row(&b, 2, &at), 0); /* a row is always fresh */
    assert_int_equal(at, 3 * GROUP_BLOCKS);
    assert_int_equal(ext4_blocks_take(&b, 1000, &at), 57);
    assert_int_equal(ext4_blocks_take(&b, 1000, &at), 1000);
    assert_int_equal(at, 3 * GROUP_BLOCKS + 2);
    ext4_blocks_fini(&b);
}

/* Takes and gives at random; nothing is ever in two hands, and the free ones are those that were given. */
static void it_agrees_with_a_plain_array(void **state)
{
    (void)state;
    static uint8_t used[MAX];
    static struct {
        uint64_t at, len;
    } held[2000];
    struct ext4_blocks b;
    unsigned holds = 0, seed = 7;
    ext4_blocks_init(&b, 0, MAX);
    for (int round = 0; round < 20000; round++) {
        unsigned r = (unsigned)rand_r(&seed);
        if (holds < 2000 && r % 3) {
            uint64_t at;
            int64_t n = ext4_blocks_take(&b, 1 + r % 200, &at);
            if (n < 0)
                continue;
            for (int64_t i = 0; i < n; i++)
                assert_int_equal(used[at + (uint64_t)i]++, 0);
            held[holds].at = at;
            held[holds++].len = (uint64_t)n;
        } else if (holds) {
            unsigned k = r % holds;
            for (uint64_t i = 0; i < held[k].len; i++)
                used[held[k].at + i]--;
            assert_int_equal(ext4_blocks_give(&b, held[k].at, held[k].len), 0);
            held[k] = held[--holds];
        }
    }
    uint64_t at = 0, n, expected = 0, told = 0;
    for (uint64_t i = 0; i < b.end; i++)
        expected += !used[i];
    for (; (n = ext4_blocks_next_free(&b, &at)) != 0; at += n) {
        told += n;
        for (uint64_t i = 0; i < n; i++)
            assert_int_equal(used[at + i], 0);
    }
    assert_int_equal(told, expected);
    assert_int_equal(b.free, expected);
    ext4_blocks_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_blocks_come_in_a_row),
        cmocka_unit_test(freed_blocks_come_first),
        cmocka_unit_test(it_agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
