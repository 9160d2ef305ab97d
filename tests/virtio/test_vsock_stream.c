/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a stream: whole and in order whatever the pieces, bounded by credit, never at the price of a busy
 * loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/virtio/vsock_peer.h"

#define GUEST 4000
#define HOST  1024
#define KIB   1024u

struct ends {
    struct peer *p;
    int host;
};

static int set_up(void **state)
{
    static struct ends x;
    x.p = peer_open(NULL);
    x.host = peer_connected(x.p, GUEST, HOST);
    *state = &x;
    return 0;
}

static int tear_down(void **state)
{
    struct ends *x = *state;
    fd_closep(&x->host);
    peer_close(x->p);
    return 0;
}

static struct vsock_conn *conn_of(struct ends *x)
{
    return (struct vsock_conn *)(void *)vsock_table_find(&x->p->mux.table, GUEST, HOST);
}

static void host_writes(struct ends *x, const void *data, size_t len)
{
    assert_int_equal(send(x->host, data, len, 0), len);
}

/* The guest has read all that was sent to it. */
static void guest_reads_on(struct ends *x)
{
    x->p->fwd_cnt = conn_of(x)->credit.sent;
    peer_send(x->p, UPDATE, GUEST, HOST);
}

/* A stream whose byte at each place is known. */
static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void fill_from(uint8_t *buf, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = byte_at(at + i);
}

static void assert_bytes(const uint8_t *buf, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (buf[i] != byte_at(at + i))
            fail_msg("byte %llu is wrong", (unsigned long long)(at + i));
}

static uint32_t pick(uint32_t *seed, uint32_t bound)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % bound;
}

/* --- Whole and in order --- */

static void bytes_of_the_guest_arrive_whole_at_a_host_of_any_speed(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[VSOCK_PAYLOAD_MAX];
    uint32_t seed = 1, known = 0; /* what the guest knows of our fwd_cnt */
    uint64_t sent = 0, got = 0, total = 8 << 20;
    while (got < total) {
        uint32_t credit = VSOCK_BUF_ALLOC - ((uint32_t)sent - known), len = pick(&seed, sizeof(buf)) + 1;
        if (len > credit)
            len = credit;
        if (len > total - sent)
            len = (uint32_t)(total - sent);
        fill_from(buf, sent, len);
        peer_send_data(x->p, RW, GUEST, HOST, buf, len);
        sent += len;
        /* The host reads now and then, and more than it should sometimes. */
        for (uint32_t n = pick(&seed, 4); n > 0; n--) {
            int part = host_read(x->host, buf, pick(&seed, sizeof(buf)) + 1);
            if (part > 0) {
                assert_bytes(buf, got, (size_t)part);
                got += (uint32_t)part;
            }
            peer_spin(x->p);
        }
        while (peer_next(x->p)) {
            assert_int_equal(x->p->h.op, UPDATE);
            known = x->p->h.fwd_cnt;
        }
    }
    assert_int_equal(sent, total);
}

static void bytes_of_the_host_arrive_whole_at_a_guest_of_any_speed(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[64 * 1024];
    uint32_t seed = 2, unread = 0;
    uint64_t sent = 0, got = 0, total = 8 << 20;
    while (got < total) {
        size_t len = pick(&seed, sizeof(buf)) + 1;
        if (len > total - sent)
            len = total - sent;
        fill_from(buf, sent, len);
        ssize_t n = send(x->host, buf, len, MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        peer_spin(x->p);
        for (uint32_t packets = pick(&seed, 30); packets > 0; packets--) {
            x->p->room = pick(&seed, 2) ? PEER_ROOM : pick(&seed, VSOCK_PAYLOAD_MAX) + 1;
            if (!peer_next(x->p))
                break;
            assert_int_equal(x->p->h.op, RW);
            assert_in_range(x->p->h.len, 1, x->p->room);
            assert_bytes(x->p->data, got, x->p->h.len);
            got += x->p->h.len;
            unread += x->p->h.len;
            assert_true(unread <= x->p->buf_alloc);
        }
        if (pick(&seed, 3) == 0) {
            guest_reads_on(x);
            unread = 0;
        }
    }
}

static void empty_packets_do_nothing(void **state)
{
    struct ends *x = *state;
    peer_send_data(x->p, RW, GUEST, HOST, "", 0);
    assert_true(host_open(x->host));
    assert_int_equal(peer_next(x->p), 0);
}

static void small_writes_of_the_host_become_one_packet(void **state)
{
    struct ends *x = *state;
    for (int i = 0; i < 100; i++)
        host_writes(x, "0123456789", 10);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 1000);
    assert_int_equal(peer_next(x->p), 0);
}

static void every_packet_carries_credit(void **state)
{
    struct ends *x = *state;
    peer_send_data(x->p, RW, GUEST, HOST, "12345", 5);
    host_writes(x, "hello", 5);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.buf_alloc, VSOCK_BUF_ALLOC);
    assert_int_equal(x->p->h.fwd_cnt, 5);
}

/* --- Credit of the guest --- */

static void a_slow_host_costs_the_guest_its_credit(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[VSOCK_BUF_ALLOC];
    size_t in_socket = host_fill(&x->p->mux, GUEST, HOST);
    fill_from(buf, 0, sizeof(buf));
    peer_send_data(x->p, RW, GUEST, HOST, buf, sizeof(buf));
    assert_int_equal(peer_next(x->p), 0); /* no update: nothing has left our buffer */
    assert_true(peer_is_quiet(x->p));
    assert_int_equal(ring_len(&conn_of(x)->to_host), VSOCK_BUF_ALLOC);

    host_skip(x->host, in_socket);
    uint8_t back[VSOCK_BUF_ALLOC];
    for (size_t got = 0; got < sizeof(back);) {
        peer_spin(x->p);
        int n = host_read(x->host, back + got, sizeof(back) - got);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_memory_equal(back, buf, sizeof(buf));
    assert_int_equal(peer_next(x->p), UPDATE);
    assert_int_equal(x->p->h.fwd_cnt, VSOCK_BUF_ALLOC);
    assert_int_equal(peer_next(x->p), 0);
    assert_null(conn_of(x)->to_host.data); /* a quiet connection holds no buffer */
}

static void a_guest_that_ignores_credit_loses_its_connection(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[VSOCK_BUF_ALLOC];
    host_fill(&x->p->mux, GUEST, HOST);
    peer_send_data(x->p, RW, GUEST, HOST, buf, sizeof(buf));
    assert_int_equal(x->p->mux.slots, 1);
    peer_send_data(x->p, RW, GUEST, HOST, "x", 1);
    assert_int_equal(x->p->mux.slots, 0);
    assert_int_equal(peer_next(x->p), RST);
}

static void a_question_for_credit_is_answered_at_once(void **state)
{
    struct ends *x = *state;
    peer_send_data(x->p, RW, GUEST, HOST, "123", 3);
    assert_int_equal(peer_next(x->p), 0);
    peer_send(x->p, ASK, GUEST, HOST);
    assert_int_equal(peer_next(x->p), UPDATE);
    assert_int_equal(x->p->h.fwd_cnt, 3);
    peer_send(x->p, ASK, GUEST, HOST);
    assert_int_equal(peer_next(x->p), UPDATE);
    assert_int_equal(peer_next(x->p), 0);
}

static void a_guest_with_a_small_buffer_hears_early_enough(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[4096];
    x->p->buf_alloc = 4096; /* and so it never has more than that in flight */
    peer_send_data(x->p, RW, GUEST, HOST, buf, sizeof(buf));
    assert_int_equal(peer_next(x->p), UPDATE);
    assert_int_equal(x->p->h.fwd_cnt, 4096);
}

static void a_closed_host_gives_the_guest_its_credit_back(void **state)
{
    struct ends *x = *state;
    static uint8_t buf[VSOCK_BUF_ALLOC];
    host_fill(&x->p->mux, GUEST, HOST);
    peer_send_data(x->p, RW, GUEST, HOST, buf, sizeof(buf));
    shutdown(x->host, SHUT_RDWR);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), UPDATE);
    assert_int_equal(x->p->h.fwd_cnt, VSOCK_BUF_ALLOC);
    assert_int_equal(peer_next(x->p), SHUTDOWN);
}

/* --- Credit of ours --- */

static void without_credit_bytes_wait_in_the_socket(void **state)
{
    struct ends *x = *state;
    x->p->buf_alloc = 10;
    peer_send(x->p, UPDATE, GUEST, HOST);
    host_writes(x, "0123456789abcdef", 16);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 10);
    assert_int_equal(peer_next(x->p), 0);
    assert_true(peer_is_quiet(x->p));

    x->p->fwd_cnt = 4;
    peer_send(x->p, UPDATE, GUEST, HOST);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 4);
    assert_memory_equal(x->p->data, "abcd", 4);
    x->p->buf_alloc = 2; /* shrinks below what is in flight */
    peer_send(x->p, UPDATE, GUEST, HOST);
    assert_int_equal(peer_next(x->p), 0);
    assert_true(peer_is_quiet(x->p));
    guest_reads_on(x);
    assert_int_equal(peer_next(x->p), RW);
    assert_memory_equal(x->p->data, "ef", 2);
}

static void any_packet_may_bring_credit(void **state)
{
    struct ends *x = *state;
    x->p->buf_alloc = 0;
    peer_send(x->p, UPDATE, GUEST, HOST);
    host_writes(x, "hello", 5);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), 0);
    x->p->buf_alloc = 4096;
    peer_send_data(x->p, RW, GUEST, HOST, "x", 1);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 5);
}

/* Sends one byte after the other, each its own packet; how many until nothing comes any more. */
static int drip(struct ends *x)
{
    for (int n = 0;; n++) {
        host_writes(x, "x", 1);
        peer_spin(x->p);
        if (peer_next(x->p) != RW)
            return n;
        assert_true(n < 100000);
    }
}

static void many_tiny_packets_wait_until_the_guest_has_read(void **state)
{
    struct ends *x = *state;
    int n = drip(x);
    assert_true((n + 1) * 576 < (int)x->p->buf_alloc);
    assert_true(conn_of(x)->asking);
    /* A guest with an old kernel tells only when it is asked. */
    for (int i = 0; i < 3; i++) {
        peer_until(x->p, vsock_mux_has_output(&x->p->mux));
        assert_int_equal(peer_next(x->p), ASK);
        peer_send(x->p, UPDATE, GUEST, HOST); /* has not read yet */
        assert_int_equal(peer_next(x->p), 0);
    }
    guest_reads_on(x);
    assert_false(conn_of(x)->asking);
    assert_null(conn_of(x)->timer.loop);
    assert_int_equal(peer_next(x->p), RW);
}

static void nothing_is_asked_when_nothing_waits(void **state)
{
    struct ends *x = *state;
    int n = drip(x);
    assert_true(n > 0);
    guest_reads_on(x);
    assert_int_equal(peer_next(x->p), RW);
    assert_true(peer_is_quiet(x->p));
    assert_null(conn_of(x)->timer.loop);
}

/* A question's timer must not be taken for the deadline of a host that does not read. */
static void a_close_while_we_ask_for_credit_begins_a_new_wait(void **state)
{
    struct ends *x = *state;
    host_fill(&x->p->mux, GUEST, HOST);
    drip(x);
    assert_true(conn_of(x)->asking);
    uint64_t question = conn_of(x)->timer.when_ns;
    peer_send_data(x->p, RW, GUEST, HOST, "tail", 4);
    peer_send_shutdown(x->p, GUEST, HOST, BOTH);
    assert_false(conn_of(x)->asking);
    assert_true(conn_of(x)->timer.when_ns > question);
}

/* --- No receive buffers --- */

static void without_receive_buffers_the_loop_sleeps(void **state)
{
    struct ends *x = *state;
    host_writes(x, "waiting", 7);
    assert_true(peer_is_quiet(x->p)); /* peer_next() is not called: the guest offers nothing */
    host_writes(x, " still", 6);
    assert_true(peer_is_quiet(x->p));
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 13);
    host_writes(x, "again", 5); /* and EPOLLIN is back */
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 5);
}

static void an_end_without_receive_buffers_is_told_later(void **state)
{
    struct ends *x = *state;
    host_writes(x, "bye", 3);
    fd_closep(&x->host);
    assert_true(peer_is_quiet(x->p));
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(peer_next(x->p), SHUTDOWN);
    assert_int_equal(x->p->h.flags, BOTH);
}

/* --- Turns --- */

static void connections_take_turns(void **state)
{
    struct ends *x = *state;
    int host[4];
    static uint8_t buf[64 * 1024];
    for (uint32_t i = 0; i < 4; i++) {
        host[i] = peer_connected(x->p, 5000 + i, HOST);
        assert_int_equal(send(host[i], buf, sizeof(buf), 0), sizeof(buf));
    }
    peer_spin(x->p);
    uint32_t order[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(peer_next(x->p), RW);
        order[i] = x->p->h.dst_port;
        for (int k = 0; k < i; k++)
            assert_int_not_equal(order[i], order[k]);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(peer_next(x->p), RW);
        assert_int_equal(x->p->h.dst_port, order[i % 4]);
    }
    for (int i = 0; i < 4; i++)
        close(host[i]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_of_the_guest_arrive_whole_at_a_host_of_any_speed),
        TEST(bytes_of_the_host_arrive_whole_at_a_guest_of_any_speed),
        TEST(empty_packets_do_nothing),
        TEST(small_writes_of_the_host_become_one_packet),
        TEST(every_packet_carries_credit),
        TEST(a_slow_host_costs_the_guest_its_credit),
        TEST(a_guest_that_ignores_credit_loses_its_connection),
        TEST(a_question_for_credit_is_answered_at_once),
        TEST(a_guest_with_a_small_buffer_hears_early_enough),
        TEST(a_closed_host_gives_the_guest_its_credit_back),
        TEST(without_credit_bytes_wait_in_the_socket),
        TEST(any_packet_may_bring_credit),
        TEST(many_tiny_packets_wait_until_the_guest_has_read),
        TEST(nothing_is_asked_when_nothing_waits),
        TEST(a_close_while_we_ask_for_credit_begins_a_new_wait),
        TEST(without_receive_buffers_the_loop_sleeps),
        TEST(an_end_without_receive_buffers_is_told_later),
        TEST(connections_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
