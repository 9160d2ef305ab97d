/* SPDX-License-Identifier: Apache-2.0 */
/* Credit arithmetic: wrapping counters, a peer that shrinks or lies, updates in time, packets in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/vsock_credit.h"

#include <errno.h>

#define KIB 1024u

static void nothing_may_be_sent_before_the_guest_speaks(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    assert_int_equal(vsock_credit_room(&c), 0);
    assert_false(vsock_credit_gated(&c));
}

static void room_is_the_buffer_less_what_is_in_flight(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 1000, 0);
    assert_int_equal(vsock_credit_room(&c), 1000);
    vsock_credit_sent(&c, 400);
    assert_int_equal(vsock_credit_room(&c), 600);
    vsock_credit_learn(&c, 1000, 300);
    assert_int_equal(vsock_credit_room(&c), 900);
    vsock_credit_sent(&c, 900);
    assert_int_equal(vsock_credit_room(&c), 0);
}

static void counters_wrap(void **state)
{
    (void)state;
    struct vsock_credit c = {.sent = UINT32_MAX - 9, .mark = UINT32_MAX - 9};
    vsock_credit_learn(&c, 100, UINT32_MAX - 9);
    assert_int_equal(vsock_credit_room(&c), 100);
    vsock_credit_sent(&c, 50);
    assert_int_equal(c.sent, 40);
    assert_int_equal(vsock_credit_room(&c), 50);
    vsock_credit_learn(&c, 100, 30);
    assert_int_equal(vsock_credit_room(&c), 90);

    struct vsock_credit in = {.received = UINT32_MAX - 9,
                              .forwarded = UINT32_MAX - 9,
                              .told = UINT32_MAX - 9,
                              .peer_alloc = 64 * KIB};
    assert_int_equal(vsock_credit_receive(&in, VSOCK_BUF_ALLOC), 0);
    assert_int_equal(vsock_credit_receive(&in, 1), -ENOBUFS);
    vsock_credit_forward(&in, VSOCK_BUF_ALLOC);
    assert_true(vsock_credit_update_due(&in));
    assert_int_equal(in.forwarded, VSOCK_BUF_ALLOC - 10);
}

static void a_peer_may_shrink_its_buffer(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 1000, 0);
    vsock_credit_sent(&c, 800);
    vsock_credit_learn(&c, 500, 0);
    assert_int_equal(vsock_credit_room(&c), 0);
    vsock_credit_learn(&c, 500, 400);
    assert_int_equal(vsock_credit_room(&c), 100);
    vsock_credit_learn(&c, 0, 800);
    assert_int_equal(vsock_credit_room(&c), 0);
}

static void a_peer_that_claims_to_have_read_the_future_gets_nothing(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 1000, 0);
    vsock_credit_sent(&c, 10);
    vsock_credit_learn(&c, 1000, 11);
    assert_int_equal(vsock_credit_room(&c), 0);
    vsock_credit_learn(&c, UINT32_MAX, 11);
    assert_int_equal(vsock_credit_room(&c), 0);
}

static void an_absurd_buffer_is_taken_for_a_large_one(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, UINT32_MAX, 0);
    assert_int_equal(vsock_credit_room(&c), UINT32_C(1) << 30);
}

static void a_guest_without_credit_is_refused(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    assert_int_equal(vsock_credit_receive(&c, VSOCK_BUF_ALLOC - 1), 0);
    assert_int_equal(vsock_credit_receive(&c, 2), -ENOBUFS);
    assert_int_equal(c.received, VSOCK_BUF_ALLOC - 1);
    assert_int_equal(vsock_credit_receive(&c, 1), 0);
    vsock_credit_forward(&c, 5);
    assert_int_equal(vsock_credit_receive(&c, 6), -ENOBUFS);
    assert_int_equal(vsock_credit_receive(&c, UINT32_MAX), -ENOBUFS);
    assert_int_equal(vsock_credit_receive(&c, 5), 0);
}

static void an_update_is_due_after_a_quarter_of_the_buffer(void **state)
{
    (void)state;
    struct vsock_credit c = {.peer_alloc = 256 * KIB};
    assert_int_equal(vsock_credit_receive(&c, 32 * KIB), 0);
    assert_false(vsock_credit_update_due(&c));
    vsock_credit_forward(&c, 16 * KIB - 1);
    assert_false(vsock_credit_update_due(&c));
    vsock_credit_forward(&c, 1);
    assert_true(vsock_credit_update_due(&c));
    vsock_credit_told(&c);
    assert_false(vsock_credit_update_due(&c));
}

/* Linux limits what it sends to its own buffer's size; with a fixed threshold of ours both sides would wait.
 */
static void the_smaller_of_both_buffers_decides(void **state)
{
    (void)state;
    struct vsock_credit c = {.peer_alloc = 4 * KIB};
    assert_int_equal(vsock_credit_receive(&c, 4 * KIB), 0);
    vsock_credit_forward(&c, KIB - 1);
    assert_false(vsock_credit_update_due(&c));
    vsock_credit_forward(&c, 1);
    assert_true(vsock_credit_update_due(&c));

    struct vsock_credit none = {0};
    assert_false(vsock_credit_update_due(&none));
    assert_int_equal(vsock_credit_receive(&none, 1), 0);
    vsock_credit_forward(&none, 1);
    assert_true(vsock_credit_update_due(&none));
}

/* A guest whose credit is used up has had an update, or gets one with the next bytes that leave. */
static void no_sender_is_left_without_an_update(void **state)
{
    (void)state;
    for (uint32_t step = 1; step < 70 * KIB; step = step * 3 + 1) {
        struct vsock_credit c = {.peer_alloc = 256 * KIB};
        uint32_t guest_sent = 0, guest_knows = 0;
        for (int round = 0; round < 100; round++) {
            uint32_t can = VSOCK_BUF_ALLOC - (guest_sent - guest_knows);
            assert_true(can > 0);
            assert_int_equal(vsock_credit_receive(&c, can), 0);
            guest_sent += can;
            while (c.forwarded != c.received) {
                uint32_t left = c.received - c.forwarded;
                vsock_credit_forward(&c, left < step ? left : step);
                if (vsock_credit_update_due(&c)) {
                    guest_knows = c.forwarded;
                    vsock_credit_told(&c);
                }
            }
        }
    }
}

/* --- Packets in flight --- */

static uint32_t send_tiny_until_stopped(struct vsock_credit *c)
{
    uint32_t n = 0;
    while (vsock_credit_room(c) > 0) {
        vsock_credit_sent(c, 1);
        n++;
        assert_true(n < 100000);
    }
    return n;
}

/* Linux 6.12.92 … resets the connection when (packets + 1) * 576 exceeds its buffer. */
static void tiny_packets_stay_below_what_linux_takes(void **state)
{
    (void)state;
    for (uint32_t buffer = 4 * KIB; buffer <= 1024 * KIB; buffer *= 2) {
        struct vsock_credit c = {0};
        vsock_credit_learn(&c, buffer, 0);
        uint32_t n = send_tiny_until_stopped(&c);
        assert_true((n + 1) * 576 <= buffer);
        assert_true(n >= 2);
        assert_true(vsock_credit_gated(&c));
    }
}

static void packets_that_were_read_make_place(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 256 * KIB, 0);
    assert_int_equal(send_tiny_until_stopped(&c), 256);
    vsock_credit_learn(&c, 256 * KIB, 127);
    assert_true(vsock_credit_gated(&c));
    vsock_credit_learn(&c, 256 * KIB, 128);
    assert_false(vsock_credit_gated(&c));
    assert_int_equal(send_tiny_until_stopped(&c), 128);
    vsock_credit_learn(&c, 256 * KIB, c.sent);
    assert_int_equal(send_tiny_until_stopped(&c), 256);
}

static void large_packets_are_not_held_up(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 256 * KIB, 0);
    for (int i = 0; i < 100000; i++) {
        while (vsock_credit_room(&c) >= 3732)
            vsock_credit_sent(&c, 3732);
        assert_false(vsock_credit_gated(&c));
        vsock_credit_learn(&c, 256 * KIB, c.peer_fwd + 3732);
    }
}

static void without_bytes_of_credit_packets_are_not_the_reason(void **state)
{
    (void)state;
    struct vsock_credit c = {0};
    vsock_credit_learn(&c, 256 * KIB, 0);
    send_tiny_until_stopped(&c);
    vsock_credit_learn(&c, 0, 0);
    assert_false(vsock_credit_gated(&c));
    assert_int_equal(vsock_credit_room(&c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_may_be_sent_before_the_guest_speaks),
        cmocka_unit_test(room_is_the_buffer_less_what_is_in_flight),
        cmocka_unit_test(counters_wrap),
        cmocka_unit_test(a_peer_may_shrink_its_buffer),
        cmocka_unit_test(a_peer_that_claims_to_have_read_the_future_gets_nothing),
        cmocka_unit_test(an_absurd_buffer_is_taken_for_a_large_one),
        cmocka_unit_test(a_guest_without_credit_is_refused),
        cmocka_unit_test(an_update_is_due_after_a_quarter_of_the_buffer),
        cmocka_unit_test(the_smaller_of_both_buffers_decides),
        cmocka_unit_test(no_sender_is_left_without_an_update),
        cmocka_unit_test(tiny_packets_stay_below_what_linux_takes),
        cmocka_unit_test(packets_that_were_read_make_place),
        cmocka_unit_test(large_packets_are_not_held_up),
        cmocka_unit_test(without_bytes_of_credit_packets_are_not_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
