/* SPDX-License-Identifier: Apache-2.0 */
/* How connections begin, are refused, and are forgotten; and what a guest gets for nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/virtio/vsock_peer.h"

#include <fcntl.h>

#define FIRST VSOCK_HOST_PORT_FIRST

static int set_up(void **state)
{
    *state = peer_open(NULL);
    return 0;
}

static int tear_down(void **state)
{
    peer_close(*state);
    return 0;
}

/* --- A client of the host asks --- */

static void a_client_gets_ok_when_the_guest_has_accepted(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int client = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    assert_int_equal(p->h.src_cid, VSOCK_HOST_CID);
    assert_int_equal(p->h.dst_cid, 3);
    assert_int_equal(p->h.src_port, FIRST);
    assert_int_equal(p->h.dst_port, 52);
    assert_int_equal(p->h.type, VIRTIO_VSOCK_TYPE_STREAM);
    assert_int_equal(p->h.buf_alloc, VSOCK_BUF_ALLOC);
    peer_spin(p);
    assert_true(host_open(client));

    peer_send(p, RESPONSE, 52, FIRST);
    char ok[64] = "";
    assert_int_equal(host_read(client, ok, sizeof(ok) - 1), 14);
    assert_string_equal(ok, "OK 1073741824\n");
}

static void a_refused_client_sees_the_end_without_ok(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int client = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    peer_send(p, RST, 52, FIRST);
    assert_true(host_at_end(client));
    assert_int_equal(peer_next(p), 0);
    assert_int_equal(p->mux.slots, 0);
}

static void bytes_behind_the_line_reach_the_guest_after_its_answer(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int client = peer_client(p, 52);
    assert_int_equal(send(client, "early", 5, 0), 5);
    peer_spin(p);
    assert_int_equal(peer_next(p), REQUEST);
    assert_int_equal(peer_next(p), 0);
    peer_send(p, RESPONSE, 52, FIRST);
    peer_spin(p);
    assert_int_equal(peer_next(p), RW);
    assert_int_equal(p->h.len, 5);
    assert_memory_equal(p->data, "early", 5);
}

static void a_client_that_vanishes_before_the_request_leaves_no_trace(void **state)
{
    struct peer *p = *state;
    close(peer_client(p, 52));
    peer_spin(p);
    assert_int_equal(peer_next(p), 0);
    assert_int_equal(p->mux.slots, 0);
    assert_int_equal(p->mux.table.len, 0);
}

static void a_client_that_vanishes_before_the_answer_is_taken_back(void **state)
{
    struct peer *p = *state;
    int client = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    close(client);
    peer_spin(p);
    peer_send(p, RESPONSE, 52, FIRST); /* crossed our RST */
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->h.dst_port, 52);
    assert_int_equal(peer_next(p), 0);
    assert_int_equal(p->mux.table.len, 0);
}

static void a_client_that_vanishes_as_the_answer_comes_gets_no_signal(void **state)
{
    struct peer *p = *state;
    int client = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    close(client);
    peer_send(p, RESPONSE, 52, FIRST); /* "OK" meets a closed socket before the loop hears of it */
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->mux.slots, 0);
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    struct vsock_limits l = peer_limits;
    l.open_ms = 1;
    struct peer *p = peer_open(&l);
    CLEANUP(fd_closep) int told = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    CLEANUP(fd_closep) int untold = peer_client(p, 53);
    peer_until(p, p->mux.slots == 0);
    assert_true(host_at_end(told));
    assert_true(host_at_end(untold));
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->h.dst_port, 52);
    assert_int_equal(peer_next(p), 0);
    peer_close(p);
}

static void data_instead_of_an_answer_ends_the_attempt(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int client = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    peer_send_data(p, RW, 52, FIRST, "x", 1);
    assert_true(host_at_end(client));
    assert_int_equal(peer_next(p), RST);
}

static void a_guest_cannot_answer_what_it_was_not_asked(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int client = peer_client(p, 52);
    peer_send(p, RESPONSE, 52, FIRST); /* guessed; REQUEST has not left yet */
    assert_true(host_at_end(client));
    assert_int_equal(p->mux.slots, 0);
}

static void host_ports_go_round_and_skip_those_in_use(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int a = peer_client(p, 52);
    p->mux.next_port = VSOCK_HOST_PORT_END - 1;
    CLEANUP(fd_closep) int b = peer_client(p, 52);
    CLEANUP(fd_closep) int c = peer_client(p, 52);
    assert_true(host_open(a) && host_open(b) && host_open(c));
    static const uint32_t expected[] = {FIRST, VSOCK_HOST_PORT_END - 1, FIRST + 1};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(peer_next(p), REQUEST);
        assert_int_equal(p->h.src_port, expected[i]);
    }
}

/* --- The guest asks --- */

static void the_guest_reaches_a_listener_of_the_host(void **state)
{
    struct peer *p = *state;
    peer_send(p, REQUEST, 4000, 1024);
    assert_int_equal(p->dialled_port, 1024);
    CLEANUP(fd_closep) int host = p->dialled;
    assert_int_equal(send(host, "hello", 5, 0), 5);
    peer_spin(p);
    assert_int_equal(peer_next(p), RESPONSE);
    assert_int_equal(p->h.src_port, 1024);
    assert_int_equal(p->h.dst_port, 4000);
    peer_spin(p);
    assert_int_equal(peer_next(p), RW);
    assert_memory_equal(p->data, "hello", 5);
    peer_send_data(p, RW, 4000, 1024, "world", 5);
    char buf[8];
    assert_int_equal(host_read(host, buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "world", 5);
}

static void without_a_listener_the_guest_is_refused_at_once(void **state)
{
    struct peer *p = *state;
    static const int error[] = {-ENOENT, -ECONNREFUSED, -EACCES, -ENAMETOOLONG, -EMFILE};
    for (uint32_t i = 0; i < ARRAY_LEN(error); i++) {
        p->dial_error = error[i];
        peer_send(p, REQUEST, 4000 + i, 1024);
        assert_int_equal(peer_next(p), RST);
        assert_int_equal(p->h.dst_port, 4000 + i);
        assert_int_equal(p->mux.slots, 0);
    }
}

/* epoll takes no regular files: a stand-in for a loop that has no memory for another source. */
static void a_descriptor_that_cannot_be_watched_is_a_refusal(void **state)
{
    struct peer *p = *state;
    p->dial_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int number = p->dial_fd;
    peer_send(p, REQUEST, 4000, 1024);
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(vsock_mux_take_slot(&p->mux));
    assert_int_equal(vsock_mux_open(&p->mux, fd, 52), -EPERM);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(p->mux.slots, 0);
    assert_int_equal(peer_next(p), 0);
}

static void a_full_backlog_is_tried_again(void **state)
{
    struct peer *p = *state;
    p->dial_error = -EAGAIN;
    peer_send(p, REQUEST, 4000, 1024);
    assert_int_equal(peer_next(p), 0);
    peer_until(p, p->dials == 3);
    p->dial_error = 0;
    peer_until(p, p->dialled >= 0);
    assert_int_equal(peer_next(p), RESPONSE);
    close(p->dialled);
}

static void a_backlog_that_stays_full_is_a_refusal(void **state)
{
    (void)state;
    struct vsock_limits l = peer_limits;
    l.dial_ms = 50;
    struct peer *p = peer_open(&l);
    p->dial_error = -EAGAIN;
    peer_send(p, REQUEST, 4000, 1024);
    peer_until(p, p->mux.slots == 0);
    assert_true(p->dials > 1);
    assert_int_equal(peer_next(p), RST);
    peer_close(p);
}

static void a_guest_may_give_up_while_we_dial(void **state)
{
    struct peer *p = *state;
    p->dial_error = -EAGAIN;
    peer_send(p, REQUEST, 4000, 1024);
    peer_send(p, RST, 4000, 1024);
    assert_int_equal(p->mux.slots, 0);
    assert_int_equal(peer_next(p), 0);
    peer_send(p, REQUEST, 4001, 1024);
    peer_send_data(p, RW, 4001, 1024, "x", 1); /* too early */
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->mux.slots, 0);
}

static void more_connections_than_allowed_are_refused(void **state)
{
    struct peer *p = *state;
    int host[8];
    for (uint32_t i = 0; i < 8; i++)
        host[i] = peer_connected(p, 4000 + i, 1024);
    peer_send(p, REQUEST, 5000, 1024);
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->h.dst_port, 5000);
    assert_int_equal(p->dials, 8);
    peer_send(p, RST, 4003, 1024);
    close(peer_connected(p, 5000, 1024));
    for (int i = 0; i < 8; i++)
        close(host[i]);
}

/* --- Packets that fit no connection --- */

static void strays_are_answered_with_rst(void **state)
{
    struct peer *p = *state;
    static const uint16_t stray[] = {RESPONSE, SHUTDOWN,  RW, UPDATE, ASK, VIRTIO_VSOCK_OP_INVALID,
                                     8,        UINT16_MAX};
    for (size_t i = 0; i < ARRAY_LEN(stray); i++) {
        peer_send(p, stray[i], 7, 8);
        assert_int_equal(peer_next(p), RST);
        assert_int_equal(p->h.src_port, 8);
        assert_int_equal(p->h.dst_port, 7);
        assert_int_equal(p->h.len, 0);
        assert_int_equal(peer_next(p), 0);
    }
}

static void an_rst_is_never_answered_with_rst(void **state)
{
    struct peer *p = *state;
    peer_send(p, RST, 7, 8);
    struct vsock_header h = {.src_port = 7, .dst_port = 8, .op = RST, .type = 77};
    vsock_mux_input(&p->mux, &h, &(struct vsock_pieces){0});
    vsock_mux_reject(&p->mux, &h, "in a test");
    assert_int_equal(peer_next(p), 0);
}

/* Linux finds the socket of an RST by its type, too. */
static void other_types_are_refused_in_their_own_type(void **state)
{
    struct peer *p = *state;
    struct vsock_header h = {
        .src_port = 7, .dst_port = 8, .op = REQUEST, .type = VIRTIO_VSOCK_TYPE_SEQPACKET, .buf_alloc = 4096};
    vsock_mux_input(&p->mux, &h, &(struct vsock_pieces){0});
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(p->h.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
    assert_int_equal(p->dials, 0);
}

static void strays_of_one_pair_are_answered_once(void **state)
{
    struct peer *p = *state;
    for (int i = 0; i < 1000; i++)
        peer_send(p, UPDATE, 7, 8);
    assert_int_equal(p->mux.dead, 1);
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(peer_next(p), 0);
}

static void a_flood_of_strays_uses_bounded_memory(void **state)
{
    struct peer *p = *state;
    for (uint32_t i = 0; i < 100000; i++)
        peer_send(p, RW, i, 8);
    assert_int_equal(p->mux.dead, 8);
    assert_int_equal(p->mux.table.len, 8);
    /* A connection that ends now loses its RST, but nothing else. */
    CLEANUP(fd_closep) int host = -1;
    peer_send(p, REQUEST, 200000, 1024);
    host = p->dialled;
    peer_send(p, REQUEST, 200000, 1024);
    assert_true(host_at_end(host));
    assert_int_equal(p->mux.slots, 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(peer_next(p), RST);
    assert_int_equal(peer_next(p), 0);
}

static void nonsense_on_an_open_connection_ends_it(void **state)
{
    struct peer *p = *state;
    static const uint16_t nonsense[] = {REQUEST, RESPONSE, VIRTIO_VSOCK_OP_INVALID, 8, UINT16_MAX};
    for (uint32_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        CLEANUP(fd_closep) int host = peer_connected(p, 4000 + i, 1024);
        peer_send(p, nonsense[i], 4000 + i, 1024);
        assert_true(host_at_end(host));
        assert_int_equal(peer_next(p), RST);
        assert_int_equal(p->mux.table.len, 0);
    }
}

static void a_rejected_packet_ends_its_connection(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int host = peer_connected(p, 4000, 1024);
    struct vsock_header h = {.src_port = 4000, .dst_port = 1024, .op = RW, .type = 1, .len = 70000};
    vsock_mux_reject(&p->mux, &h, "in a test");
    vsock_mux_reject(&p->mux, &h, "in a test");
    assert_true(host_at_end(host));
    assert_int_equal(peer_next(p), RST);
    assert_int_equal(peer_next(p), 0);
}

static void only_packets_from_the_guest_to_us_are_ours(void **state)
{
    struct peer *p = *state;
    struct vsock_header h = {.src_cid = 3, .dst_cid = 2};
    assert_true(vsock_mux_is_ours(&p->mux, &h));
    static const uint64_t other[] = {0, 1, 3, 4, UINT32_MAX, (UINT64_C(1) << 32) + 2};
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        h.dst_cid = other[i];
        assert_false(vsock_mux_is_ours(&p->mux, &h));
    }
    h = (struct vsock_header){.src_cid = 4, .dst_cid = 2};
    assert_false(vsock_mux_is_ours(&p->mux, &h));
}

static void ports_may_be_used_again_while_an_rst_is_owed(void **state)
{
    struct peer *p = *state;
    int host = peer_connected(p, 4000, 1024);
    peer_send(p, REQUEST, 4000, 1024); /* nonsense: an RST is owed now */
    close(host);
    assert_int_equal(p->mux.dead, 1);
    CLEANUP(fd_closep) int again = peer_connected(p, 4000, 1024); /* RESPONSE comes, not the old RST */
    assert_true(host_open(again));
    assert_int_equal(peer_next(p), 0);
}

static void the_guests_rst_settles_what_is_owed(void **state)
{
    struct peer *p = *state;
    peer_send(p, RW, 7, 8);
    peer_send(p, RST, 7, 8);
    assert_int_equal(p->mux.dead, 0);
    assert_int_equal(peer_next(p), 0);
}

/* --- The driver goes away --- */

static void a_reset_ends_connections_on_the_loops_thread(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int open = peer_connected(p, 4000, 1024);
    CLEANUP(fd_closep) int asked = peer_client(p, 52);
    assert_int_equal(peer_next(p), REQUEST);
    CLEANUP(fd_closep) int unasked = peer_client(p, 53);
    peer_send(p, RW, 7, 8);
    vsock_mux_forget_all(&p->mux);
    assert_true(host_open(open));
    assert_true(vsock_mux_enter(&p->mux, NULL));
    vsock_mux_leave(&p->mux);
    assert_true(host_at_end(open));
    assert_true(host_at_end(asked));
    /* A client that the old driver never heard of waits for the next one. */
    assert_true(host_open(unasked));
    assert_int_equal(peer_next(p), REQUEST);
    assert_int_equal(p->h.dst_port, 53);
    assert_int_equal(peer_next(p), 0);
    assert_int_equal(p->mux.table.len, 1);
}

static void an_event_that_meets_a_reset_is_not_delivered(void **state)
{
    struct peer *p = *state;
    CLEANUP(fd_closep) int host = peer_connected(p, 4000, 1024);
    assert_int_equal(send(host, "late", 4, 0), 4);
    vsock_mux_forget_all(&p->mux);
    peer_spin(p); /* the event finds its connection gone */
    assert_int_equal(peer_next(p), 0);
    assert_int_equal(p->mux.slots, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_client_gets_ok_when_the_guest_has_accepted),
        TEST(a_refused_client_sees_the_end_without_ok),
        TEST(bytes_behind_the_line_reach_the_guest_after_its_answer),
        TEST(a_client_that_vanishes_before_the_request_leaves_no_trace),
        TEST(a_client_that_vanishes_before_the_answer_is_taken_back),
        TEST(a_client_that_vanishes_as_the_answer_comes_gets_no_signal),
        cmocka_unit_test(a_guest_that_does_not_answer_is_given_up),
        TEST(data_instead_of_an_answer_ends_the_attempt),
        TEST(a_guest_cannot_answer_what_it_was_not_asked),
        TEST(host_ports_go_round_and_skip_those_in_use),
        TEST(the_guest_reaches_a_listener_of_the_host),
        TEST(without_a_listener_the_guest_is_refused_at_once),
        TEST(a_descriptor_that_cannot_be_watched_is_a_refusal),
        TEST(a_full_backlog_is_tried_again),
        cmocka_unit_test(a_backlog_that_stays_full_is_a_refusal),
        TEST(a_guest_may_give_up_while_we_dial),
        TEST(more_connections_than_allowed_are_refused),
        TEST(strays_are_answered_with_rst),
        TEST(an_rst_is_never_answered_with_rst),
        TEST(other_types_are_refused_in_their_own_type),
        TEST(strays_of_one_pair_are_answered_once),
        TEST(a_flood_of_strays_uses_bounded_memory),
        TEST(nonsense_on_an_open_connection_ends_it),
        TEST(a_rejected_packet_ends_its_connection),
        TEST(only_packets_from_the_guest_to_us_are_ours),
        TEST(ports_may_be_used_again_while_an_rst_is_owed),
        TEST(the_guests_rst_settles_what_is_owed),
        TEST(a_reset_ends_connections_on_the_loops_thread),
        TEST(an_event_that_meets_a_reset_is_not_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
