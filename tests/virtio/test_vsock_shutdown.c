/* SPDX-License-Identifier: Apache-2.0 */
/* How connections end: half closes in both directions, either side going away, and nothing lost on the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/virtio/vsock_peer.h"

#define GUEST 4000
#define HOST  1024

struct ends {
    struct peer *p;
    int host;
};

static void open_with(struct ends *x, const struct vsock_limits *limits)
{
    x->p = peer_open(limits);
    x->host = peer_connected(x->p, GUEST, HOST);
}

static int set_up(void **state)
{
    static struct ends x;
    open_with(&x, NULL);
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

static void guest_writes(struct ends *x, const char *text)
{
    peer_send_data(x->p, RW, GUEST, HOST, text, (uint32_t)strlen(text));
}

static void guest_shuts(struct ends *x, uint32_t flags)
{
    peer_send_shutdown(x->p, GUEST, HOST, flags);
}

static void assert_host_reads(int fd, const char *text)
{
    char buf[64] = "";
    int n = host_read(fd, buf, strlen(text));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static void assert_guest_reads(struct ends *x, const char *text)
{
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, strlen(text));
    assert_memory_equal(x->p->data, text, strlen(text));
}

static void assert_shutdown(struct ends *x, uint32_t flags)
{
    assert_int_equal(peer_next(x->p), SHUTDOWN);
    assert_int_equal(x->p->h.flags, flags);
}

static void assert_gone(struct ends *x)
{
    assert_int_equal(peer_next(x->p), 0);
    assert_int_equal(x->p->mux.slots, 0);
    assert_int_equal(x->p->mux.table.len, 0);
    assert_true(TAILQ_EMPTY(&x->p->mux.all));
}

/* --- The host closes --- */

static void the_hosts_half_close_leaves_the_other_half(void **state)
{
    struct ends *x = *state;
    assert_int_equal(send(x->host, "question", 8, 0), 8);
    shutdown(x->host, SHUT_WR);
    peer_spin(x->p);
    assert_guest_reads(x, "question");
    peer_spin(x->p);
    assert_shutdown(x, SEND);
    assert_true(peer_is_quiet(x->p));
    guest_writes(x, "answer");
    assert_host_reads(x->host, "answer");
    assert_true(host_open(x->host));
    guest_shuts(x, SEND);
    assert_true(host_at_end(x->host));
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void a_host_program_that_exits_tells_the_guest_both(void **state)
{
    struct ends *x = *state;
    assert_int_equal(send(x->host, "last words", 10, 0), 10);
    fd_closep(&x->host);
    peer_spin(x->p);
    assert_guest_reads(x, "last words");
    assert_shutdown(x, BOTH);
    assert_true(peer_is_quiet(x->p));
    guest_writes(x, "crossed"); /* void, but no offence */
    peer_send(x->p, UPDATE, GUEST, HOST);
    assert_int_equal(peer_next(x->p), 0);
    peer_send(x->p, RST, GUEST, HOST);
    assert_gone(x);
}

static void a_guest_that_does_not_confirm_is_reset(void **state)
{
    (void)state;
    struct vsock_limits l = peer_limits;
    l.close_ms = 1;
    struct ends x;
    open_with(&x, &l);
    fd_closep(&x.host);
    peer_spin(x.p);
    assert_shutdown(&x, BOTH);
    peer_until(x.p, x.p->mux.slots == 0);
    assert_int_equal(peer_next(x.p), RST);
    assert_gone(&x);
    peer_close(x.p);
}

static void a_guest_that_confirms_by_its_own_shutdown_gets_its_rst(void **state)
{
    struct ends *x = *state;
    fd_closep(&x->host);
    peer_spin(x->p);
    assert_shutdown(x, BOTH);
    guest_shuts(x, RCV);
    assert_int_equal(peer_next(x->p), 0);
    guest_shuts(x, SEND);
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void a_host_that_reads_no_more_tells_the_guest_so(void **state)
{
    struct ends *x = *state;
    shutdown(x->host, SHUT_RD);
    guest_writes(x, "into the void"); /* EPIPE, and no SIGPIPE */
    assert_shutdown(x, RCV);
    assert_true(peer_is_quiet(x->p));
    guest_writes(x, "more"); /* sent before it heard */
    assert_int_equal(send(x->host, "still here", 10, 0), 10);
    peer_spin(x->p);
    assert_guest_reads(x, "still here");
    shutdown(x->host, SHUT_WR);
    peer_spin(x->p);
    assert_shutdown(x, BOTH);
    peer_send(x->p, RST, GUEST, HOST);
    assert_gone(x);
}

static void what_the_host_sent_before_it_exited_waits_for_credit(void **state)
{
    (void)state;
    struct ends x = {.p = peer_open(NULL)};
    x.p->buf_alloc = 4;
    x.host = peer_connected(x.p, GUEST, HOST);
    assert_int_equal(send(x.host, "abcdefgh", 8, 0), 8);
    fd_closep(&x.host);
    peer_spin(x.p);
    assert_guest_reads(&x, "abcd");
    assert_shutdown(&x, RCV); /* the guest's writing end is broken already */
    assert_int_equal(peer_next(x.p), 0);
    assert_true(peer_is_quiet(x.p)); /* although epoll would report EPOLLHUP for ever */
    x.p->fwd_cnt = 4;
    peer_send(x.p, UPDATE, GUEST, HOST);
    assert_guest_reads(&x, "efgh");
    x.p->fwd_cnt = 8;
    peer_send(x.p, UPDATE, GUEST, HOST);
    assert_shutdown(&x, BOTH);
    peer_send(x.p, RST, GUEST, HOST);
    assert_gone(&x);
    peer_close(x.p);
}

static void a_host_that_dies_with_unread_bytes_is_just_gone(void **state)
{
    struct ends *x = *state;
    guest_writes(x, "unread"); /* our next read gives ECONNRESET */
    fd_closep(&x->host);
    peer_spin(x->p);
    assert_shutdown(x, BOTH);
    peer_send(x->p, RST, GUEST, HOST);
    assert_gone(x);
}

static void a_death_may_be_found_by_reading(void **state)
{
    struct ends *x = *state;
    x->p->room = 3;
    assert_int_equal(send(x->host, "abc", 3, 0), 3);
    peer_spin(x->p);
    guest_writes(x, "unread");
    fd_closep(&x->host);
    assert_guest_reads(x, "abc"); /* filled the room: there may be more */
    assert_shutdown(x, BOTH);
    peer_send(x->p, RST, GUEST, HOST);
    assert_gone(x);
}

/* --- The guest closes --- */

static void the_guests_half_close_leaves_the_other_half(void **state)
{
    struct ends *x = *state;
    guest_writes(x, "question");
    guest_shuts(x, SEND);
    assert_host_reads(x->host, "question");
    assert_true(host_at_end(x->host));
    assert_int_equal(peer_next(x->p), 0);
    assert_true(peer_is_quiet(x->p));
    assert_int_equal(send(x->host, "answer", 6, 0), 6);
    peer_spin(x->p);
    assert_guest_reads(x, "answer");
    fd_closep(&x->host);
    peer_spin(x->p);
    assert_shutdown(x, SEND);
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void a_guest_that_reads_no_more_stops_the_hosts_writer(void **state)
{
    struct ends *x = *state;
    guest_shuts(x, RCV);
    assert_int_equal(send(x->host, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    assert_true(peer_is_quiet(x->p));
    guest_writes(x, "I still talk");
    assert_host_reads(x->host, "I still talk");
    assert_true(host_open(x->host));
    guest_shuts(x, SEND); /* the flags add up */
    assert_true(host_at_end(x->host));
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void flags_of_later_versions_are_ignored(void **state)
{
    struct ends *x = *state;
    guest_shuts(x, ~(uint32_t)BOTH);
    guest_shuts(x, 0);
    assert_true(host_open(x->host));
    guest_writes(x, "on");
    assert_host_reads(x->host, "on");
}

static void data_after_shutdown_is_a_fault(void **state)
{
    struct ends *x = *state;
    guest_shuts(x, SEND);
    guest_writes(x, "x");
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

/* close() in a Linux guest: SHUTDOWN of both, then it waits up to 8 s for our RST. */
static void the_guests_close_is_confirmed_at_once(void **state)
{
    struct ends *x = *state;
    guest_writes(x, "bye");
    guest_shuts(x, BOTH);
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
    assert_host_reads(x->host, "bye");
    assert_true(host_at_end(x->host));
}

static void a_slow_host_gets_all_bytes_before_the_close_is_confirmed(void **state)
{
    struct ends *x = *state;
    size_t in_socket = host_fill(&x->p->mux, GUEST, HOST);
    guest_writes(x, "the tail");
    guest_shuts(x, BOTH);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), 0);
    assert_true(peer_is_quiet(x->p));
    host_skip(x->host, in_socket);
    peer_spin(x->p);
    assert_host_reads(x->host, "the tail");
    assert_true(host_at_end(x->host));
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void a_half_close_waits_for_a_slow_host_too(void **state)
{
    struct ends *x = *state;
    size_t in_socket = host_fill(&x->p->mux, GUEST, HOST);
    guest_writes(x, "the tail");
    guest_shuts(x, SEND);
    host_skip(x->host, in_socket);
    peer_spin(x->p);
    assert_host_reads(x->host, "the tail");
    assert_true(host_at_end(x->host));
    assert_int_equal(peer_next(x->p), 0);
    assert_int_equal(x->p->mux.slots, 1);
}

/* Linux sends RST when its 8 s are over, and may use the ports again. */
static void a_guest_that_waits_no_longer_takes_nothing_from_the_host(void **state)
{
    struct ends *x = *state;
    size_t in_socket = host_fill(&x->p->mux, GUEST, HOST);
    guest_writes(x, "the tail");
    guest_shuts(x, BOTH);
    peer_send(x->p, RST, GUEST, HOST);
    assert_int_equal(x->p->mux.table.len, 0);
    assert_true(peer_is_quiet(x->p));
    int again = peer_connected(x->p, GUEST, HOST);
    host_skip(x->host, in_socket);
    peer_spin(x->p);
    assert_host_reads(x->host, "the tail");
    assert_true(host_at_end(x->host));
    peer_send(x->p, RST, GUEST, HOST);
    assert_true(host_at_end(again));
    close(again);
    assert_gone(x);
}

static void a_reset_of_the_driver_leaves_the_host_its_bytes(void **state)
{
    struct ends *x = *state;
    size_t in_socket = host_fill(&x->p->mux, GUEST, HOST);
    guest_writes(x, "the tail");
    vsock_mux_forget_all(&x->p->mux);
    vsock_mux_settle(&x->p->mux);
    vsock_mux_forget_all(&x->p->mux); /* once more: it stays */
    vsock_mux_settle(&x->p->mux);
    host_skip(x->host, in_socket);
    peer_spin(x->p);
    assert_host_reads(x->host, "the tail");
    assert_true(host_at_end(x->host));
    assert_gone(x);
}

static void a_host_that_never_reads_is_given_up(void **state)
{
    struct vsock_limits l = peer_limits;
    (void)state;
    l.linger_ms = 1;
    for (int reset = 0; reset < 2; reset++) {
        struct ends x;
        open_with(&x, &l);
        size_t in_socket = host_fill(&x.p->mux, GUEST, HOST);
        guest_writes(&x, "never read");
        guest_shuts(&x, BOTH);
        if (reset)
            peer_send(x.p, RST, GUEST, HOST);
        peer_until(x.p, x.p->mux.slots == 0);
        assert_int_equal(peer_next(x.p), reset ? 0 : RST);
        assert_gone(&x);
        host_skip(x.host, in_socket);
        assert_true(host_at_end(x.host));
        close(x.host);
        peer_close(x.p);
    }
}

static void a_lingering_connection_ends_with_its_host(void **state)
{
    struct ends *x = *state;
    host_fill(&x->p->mux, GUEST, HOST);
    guest_writes(x, "never read");
    guest_shuts(x, BOTH);
    peer_send(x->p, RST, GUEST, HOST);
    assert_int_equal(x->p->mux.slots, 1);
    fd_closep(&x->host);
    peer_spin(x->p);
    assert_gone(x);
}

static void a_guest_that_did_not_read_all_does_not_break_the_hosts_read(void **state)
{
    struct ends *x = *state;
    assert_int_equal(send(x->host, "not wanted", 10, 0), 10);
    guest_writes(x, "result");
    guest_shuts(x, BOTH);
    assert_int_equal(peer_next(x->p), RST);
    assert_host_reads(x->host, "result");
    assert_true(host_at_end(x->host)); /* and not ECONNRESET */
}

static void an_rst_ends_both_directions_at_once(void **state)
{
    struct ends *x = *state;
    assert_int_equal(send(x->host, "not read", 8, 0), 8);
    guest_writes(x, "before");
    peer_send(x->p, RST, GUEST, HOST);
    assert_gone(x);
    assert_host_reads(x->host, "before");
    assert_true(host_at_end(x->host));
}

static void both_may_close_at_the_same_time(void **state)
{
    struct ends *x = *state;
    fd_closep(&x->host);
    guest_shuts(x, BOTH);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RST);
    assert_gone(x);
}

static void an_end_before_the_response_left_is_told_after_it(void **state)
{
    (void)state;
    struct peer *p = peer_open(NULL);
    peer_send(p, REQUEST, GUEST, HOST);
    assert_int_equal(send(p->dialled, "hi", 2, 0), 2);
    close(p->dialled);
    peer_spin(p);
    static const uint16_t expected[] = {RESPONSE, RW, SHUTDOWN, 0};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_int_equal(peer_next(p), expected[i]);
    assert_int_equal(p->h.flags, BOTH);
    peer_close(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_hosts_half_close_leaves_the_other_half),
        TEST(a_host_program_that_exits_tells_the_guest_both),
        cmocka_unit_test(a_guest_that_does_not_confirm_is_reset),
        TEST(a_guest_that_confirms_by_its_own_shutdown_gets_its_rst),
        TEST(a_host_that_reads_no_more_tells_the_guest_so),
        cmocka_unit_test(what_the_host_sent_before_it_exited_waits_for_credit),
        TEST(a_host_that_dies_with_unread_bytes_is_just_gone),
        TEST(a_death_may_be_found_by_reading),
        TEST(the_guests_half_close_leaves_the_other_half),
        TEST(a_guest_that_reads_no_more_stops_the_hosts_writer),
        TEST(flags_of_later_versions_are_ignored),
        TEST(data_after_shutdown_is_a_fault),
        TEST(the_guests_close_is_confirmed_at_once),
        TEST(a_slow_host_gets_all_bytes_before_the_close_is_confirmed),
        TEST(a_half_close_waits_for_a_slow_host_too),
        TEST(a_guest_that_waits_no_longer_takes_nothing_from_the_host),
        TEST(a_reset_of_the_driver_leaves_the_host_its_bytes),
        cmocka_unit_test(a_host_that_never_reads_is_given_up),
        TEST(a_lingering_connection_ends_with_its_host),
        TEST(a_guest_that_did_not_read_all_does_not_break_the_hosts_read),
        TEST(an_rst_ends_both_directions_at_once),
        TEST(both_may_close_at_the_same_time),
        cmocka_unit_test(an_end_before_the_response_left_is_told_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
