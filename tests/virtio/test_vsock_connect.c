/* SPDX-License-Identifier: Apache-2.0 */
/* The CONNECT line: every split of it, its bounds, and what is no CONNECT line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/vsock_connect.h"

#include <errno.h>
#include <string.h>

#define NO_PORT 0xdeadbeef

static int feed(struct vsock_line *l, const char *text, size_t len, size_t *taken, uint32_t *port)
{
    size_t ignored;
    *port = NO_PORT;
    return vsock_line_feed(l, text, len, taken ? taken : &ignored, port);
}

static void assert_port(const char *text, uint32_t expected)
{
    struct vsock_line l = {0};
    uint32_t port;
    assert_int_equal(feed(&l, text, strlen(text), NULL, &port), 1);
    assert_int_equal(port, expected);
}

static void assert_refused(const char *text, size_t len)
{
    struct vsock_line l = {0};
    uint32_t port;
    assert_int_equal(feed(&l, text, len, NULL, &port), -EPROTO);
    assert_int_equal(port, NO_PORT);
}

static void a_line_names_a_port(void **state)
{
    (void)state;
    assert_port("CONNECT 52\n", 52);
    assert_port("CONNECT 0\n", 0);
    assert_port("CONNECT 4294967294\n", 4294967294u);
    assert_port("CONNECT 00000000000000000001024\n", 1024);
}

static void clients_of_firecracker_may_write_it_their_way(void **state)
{
    (void)state;
    assert_port("connect 52\n", 52);
    assert_port("Connect \t 52\n", 52);
    assert_port("CONNECT 52 \n", 52);
    assert_port("CONNECT 52\r\n", 52);
}

static void every_split_gives_the_same_port(void **state)
{
    (void)state;
    const char *text = "CONNECT 1024\n";
    size_t len = strlen(text);
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct vsock_line l = {0};
            const size_t cut[] = {0, a, b, len};
            uint32_t port = NO_PORT;
            int ret = 0;
            for (int i = 0; i < 3 && ret == 0; i++) {
                size_t taken, part = cut[i + 1] - cut[i];
                ret = feed(&l, text + cut[i], part, &taken, &port);
                assert_int_equal(taken, part);
            }
            assert_int_equal(ret, 1);
            assert_int_equal(port, 1024);
        }
    }
}

static void bytes_behind_the_line_are_left_to_the_stream(void **state)
{
    (void)state;
    const char *text = "CONNECT 7\nGET / HTTP/1.0\n";
    struct vsock_line l = {0};
    size_t taken;
    uint32_t port;
    assert_int_equal(feed(&l, text, strlen(text), &taken, &port), 1);
    assert_int_equal(port, 7);
    assert_string_equal(text + taken, "GET / HTTP/1.0\n");
}

static void what_is_no_connect_line_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\n",           "CONNECT\n",       "CONNECT \n",         "CONNECT52\n",     "CONNECT x\n",
        "CONNECT 5x\n", "CONNECT -1\n",    "CONNECT +1\n",       "CONNECT 0x10\n",  " CONNECT 1\n",
        "CONNEC 1\n",   "CONNECT 1 2\n",   "CONNECT 1\r \n",     "CONNECT 1\r\r\n", "OK 1073741824\n",
        "\xff\xfe\n",   "CONNECTED 100\n", "GET / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(bad[i], strlen(bad[i]));
}

static void ports_beyond_32_bits_and_the_wildcard_are_refused(void **state)
{
    (void)state;
    assert_refused("CONNECT 4294967295\n", 19);
    assert_refused("CONNECT 4294967296\n", 19);
    assert_refused("CONNECT 18446744073709551668\n", 29); /* 2^64 + 52 */
    assert_refused("CONNECT 99999999999999999999999\n", 32);
}

static void a_nul_does_not_end_the_line(void **state)
{
    (void)state;
    assert_refused("CONNECT 5\0junk\n", 15);
    assert_refused("\0\n", 2);
}

static void the_longest_line_has_32_bytes(void **state)
{
    (void)state;
    const char *fits = "CONNECT 52                     \n", *longer = "CONNECT 52                      \n";
    assert_int_equal(strlen(fits), VSOCK_LINE_MAX);
    assert_port(fits, 52);
    assert_refused(longer, strlen(longer));
}

static void a_client_that_never_ends_its_line_is_refused_in_time(void **state)
{
    (void)state;
    struct vsock_line l = {0};
    uint32_t port;
    for (int i = 0; i < VSOCK_LINE_MAX - 1; i++)
        assert_int_equal(feed(&l, "C", 1, NULL, &port), 0);
    assert_int_equal(feed(&l, "C", 1, NULL, &port), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_a_port),
        cmocka_unit_test(clients_of_firecracker_may_write_it_their_way),
        cmocka_unit_test(every_split_gives_the_same_port),
        cmocka_unit_test(bytes_behind_the_line_are_left_to_the_stream),
        cmocka_unit_test(what_is_no_connect_line_is_refused),
        cmocka_unit_test(ports_beyond_32_bits_and_the_wildcard_are_refused),
        cmocka_unit_test(a_nul_does_not_end_the_line),
        cmocka_unit_test(the_longest_line_has_32_bytes),
        cmocka_unit_test(a_client_that_never_ends_its_line_is_refused_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
