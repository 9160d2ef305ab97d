/* SPDX-License-Identifier: Apache-2.0 */
/* The host side on real Unix sockets: the listener, the CONNECT line from impatient and rude clients, and the
 * way to the host's own listeners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "tests/virtio/vsock_peer.h"
#include "virtio/vsock_host.h"

#include <sys/resource.h>
#include <sys/stat.h>

struct place {
    struct peer *p;
    struct vsock_host host;
    char dir[32], path[64];
};

static void open_at(struct place *x, const struct vsock_limits *limits)
{
    *x = (struct place){.p = peer_open(limits), .dir = "/tmp/cubby-vsock-XXXXXX"};
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->path, sizeof(x->path), "%s/v.sock", x->dir);
    struct err e = {0};
    if (vsock_host_listen(&x->host, &x->p->mux, x->path, &e) < 0)
        fail_msg("%s", e.text);
}

static void close_at(struct place *x)
{
    vsock_host_close(&x->host);
    peer_close(x->p);
    if (rmdir(x->dir) < 0) /* nothing is left in it */
        fail_msg("%s: %s", x->dir, strerror(errno));
}

static int set_up(void **state)
{
    static struct place x;
    open_at(&x, NULL);
    *state = &x;
    return 0;
}

static int tear_down(void **state)
{
    close_at(*state);
    return 0;
}

static int client(struct place *x)
{
    int fd = unix_connect(x->path, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void say(struct place *x, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    peer_spin(x->p);
}

/* --- The line --- */

static void a_line_becomes_a_request(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int fd = client(x);
    say(x, fd, "CONNECT 1234\n");
    assert_int_equal(peer_next(x->p), REQUEST);
    assert_int_equal(x->p->h.dst_port, 1234);
    peer_send(x->p, RESPONSE, 1234, x->p->h.src_port);
    char ok[32] = "";
    assert_int_equal(host_read(fd, ok, sizeof(ok) - 1), 14);
    assert_string_equal(ok, "OK 1073741824\n");
}

static void a_line_may_come_byte_by_byte_and_early_data_is_not_lost(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int fd = client(x);
    const char *line = "CONNECT 52\nearly bird";
    for (const char *c = line; *c; c++) {
        assert_int_equal(send(fd, c, 1, 0), 1);
        peer_spin(x->p);
    }
    assert_int_equal(peer_next(x->p), REQUEST);
    peer_send(x->p, RESPONSE, 52, x->p->h.src_port);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_int_equal(x->p->h.len, 10);
    assert_memory_equal(x->p->data, "early bird", 10);
}

static void line_and_data_in_one_write_are_told_apart(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int fd = client(x);
    say(x, fd, "CONNECT 52\nCONNECT 53\n");
    assert_int_equal(peer_next(x->p), REQUEST);
    assert_int_equal(x->p->h.dst_port, 52);
    assert_int_equal(peer_next(x->p), 0);
    peer_send(x->p, RESPONSE, 52, x->p->h.src_port);
    peer_spin(x->p);
    assert_int_equal(peer_next(x->p), RW);
    assert_memory_equal(x->p->data, "CONNECT 53\n", 11);
}

static void rude_clients_are_dropped(void **state)
{
    struct place *x = *state;
    static const char *const rude[] = {"GET / HTTP/1.1\r\n", "\n", "CONNECT 4294967296\n",
                                       "CONNECT 1 and then a line that never comes to its end"};
    for (size_t i = 0; i < ARRAY_LEN(rude); i++) {
        CLEANUP(fd_closep) int fd = client(x);
        say(x, fd, rude[i]);
        char c;
        int n = host_read(fd, &c, 1);
        assert_true(n == 0 || n == -ECONNRESET); /* of the last one, bytes were left unread */
        assert_int_equal(x->p->mux.slots, 0);
    }
    assert_int_equal(peer_next(x->p), 0);
}

static void a_partial_line_does_not_spin_the_loop(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int fd = client(x);
    say(x, fd, "CONNE");
    assert_true(peer_is_quiet(x->p));
    assert_true(host_open(fd));
}

static void a_client_that_vanishes_in_its_line_is_forgotten(void **state)
{
    struct place *x = *state;
    int fd = client(x);
    say(x, fd, "CONNECT 5");
    assert_int_equal(x->p->mux.slots, 1);
    close(fd);
    peer_spin(x->p);
    assert_int_equal(x->p->mux.slots, 0);
    close(client(x)); /* and one that says nothing */
    peer_spin(x->p);
    assert_int_equal(x->p->mux.slots, 0);
}

static void a_client_that_does_not_finish_its_line_is_dropped(void **state)
{
    (void)state;
    struct vsock_limits l = peer_limits;
    l.line_ms = 1;
    struct place x;
    open_at(&x, &l);
    CLEANUP(fd_closep) int fd = client(&x);
    peer_until(x.p, host_at_end(fd));
    assert_int_equal(x.p->mux.slots, 0);
    close_at(&x);
}

/* --- The listener --- */

static void when_all_slots_are_taken_a_client_learns_it_at_once(void **state)
{
    struct place *x = *state;
    int fd[8];
    for (int i = 0; i < 8; i++)
        fd[i] = client(x);
    peer_spin(x->p);
    CLEANUP(fd_closep) int late = client(x);
    peer_spin(x->p);
    assert_true(host_at_end(late));
    close(fd[0]);
    peer_spin(x->p);
    CLEANUP(fd_closep) int again = client(x);
    peer_spin(x->p);
    assert_true(host_open(again));
    for (int i = 1; i < 8; i++)
        close(fd[i]);
}

static void without_descriptors_the_loop_sleeps_and_goes_on_later(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int fd = client(x);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    few = old;
    few.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    bool quiet = peer_is_quiet(x->p);
    uint32_t taken = x->p->mux.slots;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(quiet);
    assert_int_equal(taken, 0);
    assert_int_equal(send(fd, "CONNECT 52\n", 11, 0), 11);
    peer_until(x->p, vsock_mux_has_output(&x->p->mux));
    assert_int_equal(peer_next(x->p), REQUEST);
}

static void the_socket_is_for_its_owner_only(void **state)
{
    struct place *x = *state;
    struct stat st;
    assert_int_equal(stat(x->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_socket_in_use_is_an_error(void **state)
{
    struct place *x = *state;
    struct vsock_host second;
    struct err e = {0};
    assert_int_equal(vsock_host_listen(&second, &x->p->mux, x->path, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, x->path));
    vsock_host_close(&second); /* and is still the first one's */
    CLEANUP(fd_closep) int fd = client(x);
    assert_true(host_open(fd));
}

static void a_path_that_no_socket_can_have_is_an_error(void **state)
{
    struct place *x = *state;
    char path[256];
    struct vsock_host second;
    struct err e = {0};
    int len = snprintf(path, sizeof(path), "%s/", x->dir);
    memset(path + len, 'x', 108 - (size_t)len);
    path[108] = '\0';
    assert_int_equal(vsock_host_listen(&second, &x->p->mux, path, &e), -ENAMETOOLONG);
    assert_int_equal(vsock_host_listen(&second, &x->p->mux, "", &e), -EINVAL);
    assert_int_equal(vsock_host_listen(&second, &x->p->mux, "/nonexistent/v.sock", &e), -ENOENT);
    path[107] = '\0'; /* 107 bytes fit */
    assert_int_equal(vsock_host_listen(&second, &x->p->mux, path, &e), 0);
    assert_int_equal(vsock_host_dial(&second, 1), -ENAMETOOLONG); /* with a suffix they do not */
    vsock_host_close(&second);
}

static void a_socket_that_replaced_ours_is_left_alone(void **state)
{
    struct place *x = *state;
    assert_int_equal(unlink(x->path), 0);
    CLEANUP(fd_closep) int other = unix_listen(x->path, 1, NULL);
    assert_true(other >= 0);
    vsock_host_close(&x->host);
    struct stat st;
    assert_int_equal(stat(x->path, &st), 0);
    assert_int_equal(unlink(x->path), 0);
    vsock_host_close(&x->host); /* safe twice */
}

static void waiting_clients_end_with_the_listener(void **state)
{
    struct place *x = *state;
    CLEANUP(fd_closep) int in_line = client(x);
    say(x, in_line, "CONN");
    vsock_host_close(&x->host);
    assert_true(host_at_end(in_line));
    assert_int_equal(x->p->mux.slots, 0);
}

/* --- Towards the host's listeners --- */

static void the_guest_reaches_the_socket_with_its_ports_suffix(void **state)
{
    struct place *x = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s_4294967294", x->path);
    CLEANUP(fd_closep) int listener = unix_listen(path, 4, NULL);
    CLEANUP(fd_closep) int fd = vsock_host_dial(&x->host, 4294967294u);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CLEANUP(fd_closep) int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(unlink(path), 0);
}

static void without_a_listener_dialling_fails(void **state)
{
    struct place *x = *state;
    assert_int_equal(vsock_host_dial(&x->host, 9), -ENOENT);
    char path[96];
    snprintf(path, sizeof(path), "%s_9", x->path);
    close(unix_listen(path, 1, NULL)); /* the file stays, nobody listens */
    assert_int_equal(vsock_host_dial(&x->host, 9), -ECONNREFUSED);
    assert_int_equal(unlink(path), 0);
}

static void a_full_backlog_is_told_apart(void **state)
{
    struct place *x = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s_9", x->path);
    CLEANUP(fd_closep) int listener = unix_listen(path, 0, NULL);
    assert_true(listener >= 0);
    int fd[16], n = 0, ret;
    while ((ret = vsock_host_dial(&x->host, 9)) >= 0 && n < 16)
        fd[n++] = ret;
    assert_int_equal(ret, -EAGAIN);
    while (n > 0)
        close(fd[--n]);
    assert_int_equal(unlink(path), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_becomes_a_request),
        TEST(a_line_may_come_byte_by_byte_and_early_data_is_not_lost),
        TEST(line_and_data_in_one_write_are_told_apart),
        TEST(rude_clients_are_dropped),
        TEST(a_partial_line_does_not_spin_the_loop),
        TEST(a_client_that_vanishes_in_its_line_is_forgotten),
        cmocka_unit_test(a_client_that_does_not_finish_its_line_is_dropped),
        TEST(when_all_slots_are_taken_a_client_learns_it_at_once),
        TEST(without_descriptors_the_loop_sleeps_and_goes_on_later),
        TEST(the_socket_is_for_its_owner_only),
        TEST(a_socket_in_use_is_an_error),
        TEST(a_path_that_no_socket_can_have_is_an_error),
        TEST(a_socket_that_replaced_ours_is_left_alone),
        TEST(waiting_clients_end_with_the_listener),
        TEST(the_guest_reaches_the_socket_with_its_ports_suffix),
        TEST(without_a_listener_dialling_fails),
        TEST(a_full_backlog_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
