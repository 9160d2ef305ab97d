/* SPDX-License-Identifier: Apache-2.0 */
/* Many connections: ten thousand one after the other without growth, hundreds at once without a byte lost,
 * and as many as are allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ring.h"
#include "tests/virtio/vsock_guest.h"
#include "virtio/vsock_credit.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>

/* Both ends of each connection are in this process. */
static void allow_descriptors(void)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    l.rlim_cur = l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Bytes in use on the heap; 0 under a sanitizer that has its own heap (which then looks for leaks itself). */
static size_t heap_in_use(void)
{
    return mallinfo2().uordblks;
}

static void expect_text(int fd, const char *text)
{
    char buf[64] = "";
    assert_int_equal(guest_read_host(fd, buf, sizeof(buf) - 1), strlen(text));
    assert_string_equal(buf, text);
}

/* A client asks, the guest answers and closes. */
static void one_from_the_host(struct guest *x, uint32_t guest_port)
{
    CLEANUP(fd_closep) int fd = guest_client(x, guest_port);
    uint32_t host_port = x->h.src_port;
    guest_send(x, RESPONSE, guest_port, host_port);
    char ok[32];
    snprintf(ok, sizeof(ok), "OK %u\n", host_port);
    expect_text(fd, ok);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    assert_int_equal(guest_recv(x), RW);
    struct vsock_header h = guest_header(SHUTDOWN, guest_port, host_port, 0);
    h.flags = VSOCK_SHUTDOWN_BOTH;
    guest_send_header(x, &h, NULL, 0);
    assert_int_equal(guest_recv(x), RST);
    expect_text(fd, "");
}

/* The guest asks, the host closes. */
static void one_from_the_guest(struct guest *x, int listener, uint32_t guest_port)
{
    guest_send(x, REQUEST, guest_port, 1024);
    assert_int_equal(guest_recv(x), RESPONSE);
    int fd = accept(listener, NULL, NULL);
    struct vsock_header h = guest_header(RW, guest_port, 1024, 5);
    guest_send_header(x, &h, "hello", 5);
    expect_text(fd, "hello");
    close(fd);
    assert_int_equal(guest_recv(x), SHUTDOWN);
    assert_int_equal(x->h.flags, VSOCK_SHUTDOWN_BOTH);
    guest_send(x, RST, guest_port, 1024);
}

static void ten_thousand_in_sequence_leave_nothing(void **state)
{
    (void)state;
    struct guest x;
    guest_open(&x, 0);
    char path[96];
    snprintf(path, sizeof(path), "%s_1024", x.path);
    CLEANUP(fd_closep) int listener = unix_listen(path, 16, NULL);
    int descriptors = 0;
    size_t heap = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        if (i % 2)
            one_from_the_host(&x, 52);
        else
            one_from_the_guest(&x, listener, 1024 + i % 60000);
        if (i == 100) {
            descriptors = open_descriptors();
            heap = heap_in_use();
        }
    }
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(heap_in_use(), heap);
    assert_int_equal(unlink(path), 0);
    guest_close(&x);
}

static void as_many_as_allowed_can_be_open(void **state)
{
    (void)state;
    allow_descriptors();
    struct guest x;
    guest_open(&x, 0);
    char path[96];
    snprintf(path, sizeof(path), "%s_1024", x.path);
    CLEANUP(fd_closep) int listener = unix_listen(path, 16, NULL);
    static int fd[4096];
    uint32_t n = vsock_limits_default.conns;
    assert_int_equal(n, ARRAY_LEN(fd));
    for (uint32_t i = 0; i < n; i++) {
        guest_send(&x, REQUEST, 10000 + i, 1024);
        assert_int_equal(guest_recv(&x), RESPONSE);
        fd[i] = accept(listener, NULL, NULL);
        assert_true(fd[i] >= 0);
    }
    guest_send(&x, REQUEST, 9999, 1024);
    assert_int_equal(guest_recv(&x), RST);
    for (uint32_t i = 0; i < n; i += 97) {
        assert_int_equal(send(fd[i], "x", 1, 0), 1);
        assert_int_equal(guest_recv(&x), RW);
        assert_int_equal(x.h.dst_port, 10000 + i);
    }
    for (uint32_t i = 0; i < n; i++)
        close(fd[i]);
    assert_int_equal(unlink(path), 0);
    guest_close(&x);
}

/* --- Hundreds at once, echoed by the guest --- */

#define CROWD 256
#define TOTAL (256u * 1024) /* bytes through each, there and back */

struct talker {
    int fd;
    uint32_t host_port;
    uint64_t sent, got; /* by the client */
    bool ok;
    /* The guest's half: what it has received and not echoed yet. */
    struct ring echo;
    uint32_t tx_cnt, fwd_cnt, told, peer_fwd, peer_alloc;
};

static uint8_t byte_at(unsigned who, uint64_t at)
{
    return (uint8_t)((((uint64_t)who << 32) + at) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static uint32_t pick(uint32_t *seed, uint32_t bound)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % bound;
}

static void client_turn(struct talker *t, unsigned who, uint32_t *seed)
{
    uint8_t buf[8192];
    uint32_t len = pick(seed, sizeof(buf)) + 1;
    if (len > TOTAL - t->sent)
        len = (uint32_t)(TOTAL - t->sent);
    for (uint32_t i = 0; i < len; i++)
        buf[i] = byte_at(who, t->sent + i);
    ssize_t n = len ? send(t->fd, buf, len, MSG_DONTWAIT) : 0;
    if (n > 0)
        t->sent += (uint64_t)n;
    int got = guest_read_host(t->fd, buf, pick(seed, sizeof(buf)) + 1);
    int at = 0;
    while (at < got && !t->ok)
        t->ok = buf[at++] == '\n'; /* the OK line */
    for (; at < got; at++, t->got++)
        if (buf[at] != byte_at(who, t->got))
            fail_msg("client %u: byte %llu is wrong", who, (unsigned long long)t->got);
}

static void guest_answers(struct guest *x, struct talker *t, unsigned who, uint16_t op, const uint8_t *data,
                          uint32_t len)
{
    struct vsock_header h = guest_header(op, who, t->host_port, len);
    h.fwd_cnt = t->told = t->fwd_cnt;
    guest_send_header(x, &h, data, len);
}

static void guest_takes(struct guest *x, struct talker *crowd)
{
    while (guest_take(x)) {
        struct talker *t = &crowd[x->h.dst_port];
        t->peer_fwd = x->h.fwd_cnt;
        t->peer_alloc = x->h.buf_alloc;
        t->host_port = x->h.src_port;
        if (x->h.op == REQUEST)
            guest_answers(x, t, x->h.dst_port, RESPONSE, NULL, 0);
        else if (x->h.op == RW)
            assert_int_equal(ring_put(&t->echo, x->data, x->h.len), x->h.len);
        else if (x->h.op == ASK)
            guest_answers(x, t, x->h.dst_port, UPDATE, NULL, 0);
        else
            assert_int_equal(x->h.op, UPDATE);
    }
}

static void guest_echoes(struct guest *x, struct talker *t, unsigned who, uint32_t *seed)
{
    uint8_t buf[16384];
    uint32_t credit = t->peer_alloc - (t->tx_cnt - t->peer_fwd), len = pick(seed, sizeof(buf)) + 1;
    if (len > credit)
        len = credit;
    len = (uint32_t)ring_get(&t->echo, buf, len);
    t->fwd_cnt += len;
    t->tx_cnt += len;
    if (len)
        guest_answers(x, t, who, RW, buf, len);
}

static void hundreds_at_once_get_their_own_bytes_back(void **state)
{
    (void)state;
    allow_descriptors();
    struct guest x;
    guest_open(&x, UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
    static struct talker crowd[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        char line[32];
        int len = snprintf(line, sizeof(line), "CONNECT %u\n", i);
        crowd[i] = (struct talker){.fd = unix_connect(x.path, NULL)};
        assert_int_equal(ring_init(&crowd[i].echo, GUEST_ALLOC), 0);
        assert_int_equal(send(crowd[i].fd, line, (size_t)len, 0), len);
        drv_spin(&x.g);
    }
    uint32_t seed = 3, done = 0;
    while (done < CROWD) {
        done = 0;
        for (unsigned i = 0; i < CROWD; i++) {
            client_turn(&crowd[i], i, &seed);
            done += crowd[i].got == TOTAL;
            assert_int_equal(loop_once(x.g.loop, 0), 0);
            guest_takes(&x, crowd);
            unsigned other = pick(&seed, CROWD);
            if (crowd[other].host_port)
                guest_echoes(&x, &crowd[other], other, &seed);
        }
    }
    for (unsigned i = 0; i < CROWD; i++) {
        close(crowd[i].fd);
        ring_fini(&crowd[i].echo);
    }
    guest_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_in_sequence_leave_nothing),
        cmocka_unit_test(as_many_as_allowed_can_be_open),
        cmocka_unit_test(hundreds_at_once_get_their_own_bytes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
