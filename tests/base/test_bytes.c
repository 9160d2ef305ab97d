/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors and rings: the two places through which every byte of a stream or a message goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cursor.h"
#include "base/own.h"
#include "base/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void numbers_are_little_endian_at_any_alignment(void **state)
{
    (void)state;
    uint8_t buf[16];
    struct writer w = writer_of(buf + 1, 15);
    write_u8(&w, 0x11);
    write_u16(&w, 0x2233);
    write_u32(&w, 0x44556677);
    write_u64(&w, UINT64_C(0x8899AABBCCDDEEFF));
    assert_false(w.failed);
    assert_int_equal(writer_len(&w), 15);
    static const uint8_t expect[] = {0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xFF,
                                     0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0x99, 0x88};
    assert_memory_equal(buf + 1, expect, sizeof(expect));
    struct reader r = reader_of(buf + 1, 15);
    assert_int_equal(read_u8(&r), 0x11);
    assert_int_equal(read_u16(&r), 0x2233);
    assert_int_equal(read_u32(&r), 0x44556677);
    assert_true(read_u64(&r) == UINT64_C(0x8899AABBCCDDEEFF));
    assert_true(reader_done(&r));
}

static void a_read_beyond_the_end_fails_for_good(void **state)
{
    (void)state;
    uint8_t buf[3] = {1, 2, 3};
    struct reader r = reader_of(buf, 3);
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(read_u8(&r), 0); /* would fit, but the flag is sticky */
    assert_false(reader_done(&r));
    r = reader_of(buf, 3);
    assert_null(read_bytes(&r, SIZE_MAX));
    assert_true(r.failed);
    r = reader_of(NULL, 0);
    assert_true(reader_done(&r));
    r = reader_of(buf, 3);
    read_u16(&r);
    assert_false(reader_done(&r)); /* one byte is left over */
}

static void a_write_beyond_the_end_fails_for_good(void **state)
{
    (void)state;
    uint8_t buf[3] = {0};
    struct writer w = writer_of(buf, 3);
    write_u16(&w, 0xFFFF);
    write_u16(&w, 0xEEEE);
    write_u8(&w, 0xDD);
    assert_true(w.failed);
    assert_int_equal(writer_len(&w), 2);
    assert_int_equal(buf[2], 0);
}

static void a_ring_keeps_order_over_its_edge(void **state)
{
    (void)state;
    struct ring r;
    assert_int_equal(ring_init(&r, 7), 0);
    uint8_t next_in = 0, next_out = 0;
    for (int round = 0; round < 1000; round++) {
        uint8_t in[5], out[5];
        size_t want = (size_t)(round * 3 % 5 + 1);
        for (size_t i = 0; i < want; i++)
            in[i] = (uint8_t)(next_in + i);
        next_in = (uint8_t)(next_in + ring_put(&r, in, want));
        size_t got = ring_get(&r, out, (size_t)(round * 2 % 5 + 1));
        for (size_t i = 0; i < got; i++)
            assert_int_equal(out[i], next_out++);
        assert_true(ring_len(&r) + ring_space(&r) == 7);
    }
    ring_fini(&r);
    ring_fini(&r);
}

static void a_full_ring_takes_what_fits_or_drops_the_oldest(void **state)
{
    (void)state;
    struct ring r;
    assert_int_equal(ring_init(&r, 4), 0);
    assert_int_equal(ring_put(&r, "abcdef", 6), 4);
    assert_int_equal(ring_put(&r, "x", 1), 0);
    assert_int_equal(ring_put_drop_oldest(&r, "ef", 2), 2);
    char out[8] = "";
    assert_int_equal(ring_peek(&r, out, 8), 4);
    assert_memory_equal(out, "cdef", 4);
    assert_int_equal(ring_put_drop_oldest(&r, "0123456789", 10), 10);
    assert_int_equal(ring_get(&r, out, 8), 4);
    assert_memory_equal(out, "6789", 4);
    ring_drop(&r, 100);
    assert_int_equal(ring_len(&r), 0);
    ring_fini(&r);
}

static void a_ring_moves_bytes_between_descriptors(void **state)
{
    (void)state;
    int a[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a), 0);
    struct ring r;
    assert_int_equal(ring_init(&r, 4), 0);
    assert_int_equal(ring_drain_to(&r, a[0]), 0);
    assert_int_equal(ring_fill_from(&r, a[1]), -EAGAIN);
    assert_int_equal(ring_put(&r, "wxyz", 4), 4);
    assert_int_equal(ring_fill_from(&r, a[1]), -ENOBUFS);
    assert_int_equal(ring_drain_to(&r, a[0]), 4);
    assert_int_equal(ring_fill_from(&r, a[1]), 4);
    close(a[1]);
    assert_int_equal(ring_drain_to(&r, a[0]), -EPIPE); /* and no SIGPIPE */
    close(a[0]);
    ring_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_at_any_alignment),
        cmocka_unit_test(a_read_beyond_the_end_fails_for_good),
        cmocka_unit_test(a_write_beyond_the_end_fails_for_good),
        cmocka_unit_test(a_ring_keeps_order_over_its_edge),
        cmocka_unit_test(a_full_ring_takes_what_fits_or_drops_the_oldest),
        cmocka_unit_test(a_ring_moves_bytes_between_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
