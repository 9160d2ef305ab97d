/* SPDX-License-Identifier: Apache-2.0 */
/* The vsock device behind its register window: packets in rings of any shape, faults, reset, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/virtio/vsock_guest.h"

#include <linux/virtio_ids.h>
#include <pthread.h>
#include <sys/resource.h>

#define EVENT_IDX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)

static int set_up(void **state)
{
    static struct guest x;
    guest_open(&x, 0);
    *state = &x;
    return 0;
}

static int tear_down(void **state)
{
    guest_close(*state);
    return 0;
}

static void assert_end(int fd)
{
    char c;
    assert_int_equal(guest_read_host(fd, &c, 1), 0);
}

static void assert_reads(int fd, const char *text)
{
    char buf[64] = "";
    assert_int_equal(guest_read_host(fd, buf, sizeof(buf) - 1), strlen(text));
    assert_string_equal(buf, text);
}

static int answered_client(struct guest *x, uint32_t guest_port)
{
    int fd = guest_client(x, guest_port);
    uint32_t host_port = x->h.src_port;
    guest_send(x, RESPONSE, guest_port, host_port);
    char ok[32] = "";
    assert_true(guest_read_host(fd, ok, sizeof(ok) - 1) > 0);
    assert_memory_equal(ok, "OK ", 3);
    return fd;
}

/* --- What the driver sees --- */

static void the_device_is_a_vsock_with_three_queues(void **state)
{
    struct guest *x = *state;
    assert_int_equal(drv_r32(&x->g, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_VSOCK);
    assert_int_equal(vmmio_queues(x->g.mmio), 3);
    assert_int_equal(drv_r32(&x->g, VIRTIO_MMIO_CONFIG), VSOCK_GUEST_CID_DEFAULT);
    assert_int_equal(drv_r32(&x->g, VIRTIO_MMIO_CONFIG + 4), 0);
    assert_int_equal(drv_r32(&x->g, VIRTIO_MMIO_CONFIG + 8), 0); /* beyond */
    assert_false(drv_offered(&x->g) & (UINT64_C(1) << VIRTIO_VSOCK_F_SEQPACKET));
}

static void a_client_talks_with_the_guest(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    uint32_t host_port = x->h.src_port;
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    assert_int_equal(guest_recv(x), RW);
    assert_int_equal(x->h.src_cid, VSOCK_HOST_CID);
    assert_int_equal(x->h.dst_cid, VSOCK_GUEST_CID_DEFAULT);
    assert_int_equal(x->h.src_port, host_port);
    assert_int_equal(x->h.dst_port, 52);
    assert_int_equal(x->h.len, 4);
    assert_memory_equal(x->data, "ping", 4);
    struct vsock_header h = guest_header(RW, 52, host_port, 4);
    guest_send_header(x, &h, "pong", 4);
    assert_reads(fd, "pong");
}

static void the_guest_reaches_a_listener(void **state)
{
    struct guest *x = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s_1024", x->path);
    CLEANUP(fd_closep) int listener = unix_listen(path, 4, NULL);
    guest_send(x, REQUEST, 4000, 1024);
    assert_int_equal(guest_recv(x), RESPONSE);
    CLEANUP(fd_closep) int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    struct vsock_header h = guest_header(RW, 4000, 1024, 5);
    guest_send_header(x, &h, "ready", 5);
    assert_reads(fd, "ready");
    assert_int_equal(unlink(path), 0);
    guest_send(x, REQUEST, 4001, 1024);
    assert_int_equal(guest_recv(x), RST);
    assert_int_equal(x->h.dst_port, 4001);
}

static void it_works_with_event_indices_too(void **state)
{
    (void)state;
    struct guest x;
    guest_open(&x, EVENT_IDX);
    CLEANUP(fd_closep) int fd = answered_client(&x, 52);
    char buf[100] = "";
    for (int i = 0; i < 70000; i++) { /* past the wrap of the 16-bit indices */
        assert_int_equal(send(fd, buf, 1, 0), 1);
        assert_int_equal(guest_recv(&x), RW);
        struct vsock_header h = guest_header(UPDATE, 52, x.h.src_port, 0);
        h.fwd_cnt = (uint32_t)i + 1;
        guest_send_header(&x, &h, NULL, 0);
    }
    guest_close(&x);
}

static void packets_raise_an_interrupt_unless_it_is_not_wanted(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    drv_irqs(&x->g);
    assert_int_equal(send(fd, "a", 1, 0), 1);
    assert_int_equal(guest_recv(x), RW);
    assert_int_equal(drv_irqs(&x->g), 1);
    drv_set_avail_flags(&x->g.q[RX_QUEUE], VRING_AVAIL_F_NO_INTERRUPT);
    assert_int_equal(send(fd, "b", 1, 0), 1);
    assert_int_equal(guest_recv(x), RW);
    assert_int_equal(drv_irqs(&x->g), 0);
}

/* --- Shapes of chains --- */

static void a_packet_may_be_split_anywhere(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    uint8_t raw[VSOCK_HEADER_SIZE + 6];
    struct vsock_header h = guest_header(RW, 52, x->h.src_port, 6);
    vsock_header_encode(&h, raw);
    memcpy(raw + VSOCK_HEADER_SIZE, "abcdef", 6);
    gpa_t at = drv_alloc(&x->g, sizeof(raw));
    memcpy(drv_ptr(&x->g, at), raw, sizeof(raw));
    for (uint32_t cut = 1; cut < sizeof(raw); cut++) {
        uint32_t second = ((uint32_t)sizeof(raw) - cut + 1) / 2;
        struct drv_buf b[] = {{.gpa = at, .len = cut},
                              {.gpa = at + cut, .len = second},
                              {.gpa = at + cut + second, .len = (uint32_t)sizeof(raw) - cut - second}};
        drv_add(&x->g.q[TX_QUEUE], b, b[2].len ? 3 : 2);
        drv_kick(&x->g, TX_QUEUE);
        drv_until(&x->g, drv_used(&x->g.q[TX_QUEUE], NULL, NULL));
        assert_reads(fd, "abcdef");
    }
}

static void a_receive_buffer_may_be_split_anywhere(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    guest_start(&x, 0);
    guest_offer(&x, 1, GUEST_RX); /* for REQUEST */
    CLEANUP(fd_closep) int fd = answered_client(&x, 52);
    struct drv_queue *q = &x.g.q[RX_QUEUE];
    for (uint32_t cut = 1; cut < 60; cut++) {
        gpa_t at = drv_alloc(&x.g, 64);
        struct drv_buf b[] = {{.gpa = at, .len = cut, .write = true},
                              {.gpa = at + cut, .len = 60 - cut, .write = true}};
        uint32_t id, len;
        /* The buffer of the REQUEST was put back: it comes first, once. */
        drv_add(q, b, 2);
        drv_kick(&x.g, RX_QUEUE);
        assert_int_equal(send(fd, "0123456789abcdefghij", 20, 0), 20);
        drv_until(&x.g, drv_used(q, &id, &len));
        if (cut == 1) {
            assert_int_equal(len, VSOCK_HEADER_SIZE + 20);
            assert_int_equal(send(fd, "0123456789abcdefghij", 20, 0), 20);
            drv_until(&x.g, drv_used(q, &id, &len));
        }
        assert_int_equal(len, 60);
        struct vsock_header h;
        vsock_header_decode(&h, drv_ptr(&x.g, at));
        assert_int_equal(h.len, 16);
        assert_memory_equal((uint8_t *)drv_ptr(&x.g, at) + VSOCK_HEADER_SIZE, "0123456789abcdef", 16);
        /* The rest comes with the next buffer. */
        struct drv_buf rest = drv_in(&x.g, 64);
        drv_add(q, &rest, 1);
        drv_kick(&x.g, RX_QUEUE);
        drv_until(&x.g, drv_used(q, &id, &len));
        assert_int_equal(len, VSOCK_HEADER_SIZE + 4);
    }
    guest_close(&x);
}

static void a_packet_of_64_kib_passes(void **state)
{
    struct guest *x = *state;
    static uint8_t data[VSOCK_PAYLOAD_MAX], back[VSOCK_PAYLOAD_MAX];
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31);
    struct vsock_header h = guest_header(RW, 52, x->h.src_port, sizeof(data));
    guest_send_header(x, &h, data, sizeof(data));
    assert_int_equal(guest_recv(x), UPDATE);
    assert_int_equal(x->h.fwd_cnt, sizeof(data));
    assert_int_equal(guest_read_host(fd, back, sizeof(back)), sizeof(back));
    assert_memory_equal(data, back, sizeof(data));
}

/* --- Hostile packets --- */

static void packets_of_other_addresses_are_dropped(void **state)
{
    struct guest *x = *state;
    struct vsock_header h = guest_header(REQUEST, 4000, 1024, 0);
    h.dst_cid = 4;
    guest_send_header(x, &h, NULL, 0);
    h.dst_cid = VSOCK_HOST_CID;
    h.src_cid = 4;
    guest_send_header(x, &h, NULL, 0);
    drv_spin(&x->g);
    assert_int_equal(guest_take(x), 0);
    assert_false(drv_broken(&x->g));
}

static void a_length_beyond_the_chain_is_refused(void **state)
{
    struct guest *x = *state;
    static const uint32_t claimed[] = {5, VSOCK_PAYLOAD_MAX, VSOCK_PAYLOAD_MAX + 1, UINT32_MAX};
    for (uint32_t i = 0; i < ARRAY_LEN(claimed); i++) {
        CLEANUP(fd_closep) int fd = answered_client(x, 52);
        struct vsock_header h = guest_header(RW, 52, x->h.src_port, claimed[i]);
        guest_send_header(x, &h, "abcd", 4);
        assert_int_equal(guest_recv(x), RST);
        assert_end(fd);
    }
}

static void bytes_beyond_the_length_are_ignored(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    struct vsock_header h = guest_header(RW, 52, x->h.src_port, 3);
    guest_send_header(x, &h, "abcdefgh", 8);
    assert_reads(fd, "abc");
}

/* --- The driver's faults: the device asks for a reset, connections end, the VMM lives --- */

static void assert_starts_again(struct guest *x)
{
    guest_start(x, 0);
    guest_offer(x, GUEST_QUEUE, GUEST_RX);
    CLEANUP(fd_closep) int fd = answered_client(x, 99);
    assert_int_equal(send(fd, "again", 5, 0), 5);
    assert_int_equal(guest_recv(x), RW);
    assert_memory_equal(x->data, "again", 5);
}

static void a_chain_without_a_whole_header_breaks_the_device(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    struct drv_buf b = drv_out(&x->g, "short", 5);
    drv_add(&x->g.q[TX_QUEUE], &b, 1);
    drv_kick(&x->g, TX_QUEUE);
    drv_spin(&x->g);
    assert_true(drv_broken(&x->g));
    assert_end(fd);
    assert_starts_again(x);
}

static void a_header_that_only_we_may_write_breaks_the_device(void **state)
{
    struct guest *x = *state;
    struct drv_buf b = drv_in(&x->g, VSOCK_HEADER_SIZE);
    drv_add(&x->g.q[TX_QUEUE], &b, 1);
    drv_kick(&x->g, TX_QUEUE);
    drv_spin(&x->g);
    assert_true(drv_broken(&x->g));
}

static void a_bad_ring_breaks_the_device(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    drv_post(&x->g.q[TX_QUEUE], GUEST_QUEUE); /* no such descriptor */
    drv_kick(&x->g, TX_QUEUE);
    drv_spin(&x->g);
    assert_true(drv_broken(&x->g));
    assert_end(fd);
    assert_starts_again(x);
}

/* The fault is found while the host's socket is served, not in a kick. */
static void a_bad_receive_ring_breaks_the_device(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    guest_start(&x, 0);
    guest_offer(&x, 1, GUEST_RX);
    CLEANUP(fd_closep) int fd = answered_client(&x, 52);
    for (int i = 0; i < GUEST_QUEUE; i++)
        x.g.q[RX_QUEUE].desc[i].addr = UINT64_MAX - 1;
    assert_int_equal(send(fd, "a", 1, 0), 1);
    drv_until(&x.g, drv_broken(&x.g));
    assert_end(fd);
    assert_starts_again(&x);
    guest_close(&x);
}

static void a_receive_buffer_without_room_for_a_byte_breaks_the_device(void **state)
{
    (void)state;
    static const uint32_t len[] = {1, VSOCK_HEADER_SIZE - 1, VSOCK_HEADER_SIZE};
    for (size_t i = 0; i < ARRAY_LEN(len); i++) {
        struct guest x;
        guest_create(&x, NULL);
        guest_start(&x, 0);
        struct drv_buf b = drv_in(&x.g, len[i]);
        drv_add(&x.g.q[RX_QUEUE], &b, 1);
        guest_send(&x, REQUEST, 4000, 1); /* is refused: RST owed */
        drv_until(&x.g, drv_broken(&x.g));
        guest_close(&x);
    }
}

/* --- Without receive buffers --- */

static void packets_are_taken_without_receive_buffers(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    guest_start(&x, 0);
    for (uint32_t i = 0; i < 1000; i++)
        guest_send(&x, REQUEST, 4000 + i, 1);
    guest_offer(&x, GUEST_QUEUE, GUEST_RX);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(guest_recv(&x), RST);
        assert_int_equal(x.h.dst_port, 4000 + i);
    }
    guest_close(&x);
}

static void a_flood_is_served_in_turns(void **state)
{
    struct guest *x = *state;
    struct vsock_header h = guest_header(UPDATE, 1, 2, 0);
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    uint32_t sent = 0, rst = 0;
    while (sent < 5000) {
        for (int i = 0; i < 16; i++) {
            h.src_port = sent++;
            guest_put(x, &h, NULL, 0);
        }
        drv_kick(&x->g, TX_QUEUE);
        for (int used = 0; used < 16;) {
            assert_int_equal(loop_once(x->g.loop, 0), 0);
            used += drv_used(&x->g.q[TX_QUEUE], NULL, NULL);
        }
        while (guest_take(x) == RST)
            rst++;
    }
    while (rst < sent) {
        assert_int_equal(guest_recv(x), RST);
        rst++;
    }
    assert_int_equal(send(fd, "alive", 5, 0), 5);
    assert_int_equal(guest_recv(x), RW);
}

/* A full ring is more than one turn: the loop's other work comes between, and nothing is forgotten. */
static void a_full_ring_takes_several_turns(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    drv_start(&x.g, 0, 256);
    for (uint32_t i = 0; i < 256; i++) {
        struct vsock_header h = guest_header(UPDATE, i, 2, 0);
        uint8_t raw[VSOCK_HEADER_SIZE];
        vsock_header_encode(&h, raw);
        struct drv_buf out = drv_out(&x.g, raw, sizeof(raw)), in = drv_in(&x.g, 64);
        drv_add(&x.g.q[TX_QUEUE], &out, 1);
        drv_add(&x.g.q[RX_QUEUE], &in, 1);
    }
    drv_kick(&x.g, TX_QUEUE);
    assert_int_equal(loop_once(x.g.loop, 0), 0);
    assert_in_range(drv_used_idx(&x.g.q[TX_QUEUE]), 1, 255);
    assert_in_range(drv_used_idx(&x.g.q[RX_QUEUE]), 1, 255);
    drv_spin(&x.g);
    assert_int_equal(drv_used_idx(&x.g.q[TX_QUEUE]), 256);
    assert_int_equal(drv_used_idx(&x.g.q[RX_QUEUE]), 256);
    guest_close(&x);
}

/* --- Before, after and between drivers --- */

static void a_client_may_come_before_the_driver(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    CLEANUP(fd_closep) int fd = unix_connect(x.path, NULL);
    assert_int_equal(send(fd, "CONNECT 52\n", 11, 0), 11);
    drv_spin(&x.g);
    guest_start(&x, 0); /* resets first */
    guest_offer(&x, GUEST_QUEUE, GUEST_RX);
    assert_int_equal(guest_recv(&x), REQUEST);
    guest_send(&x, RESPONSE, 52, x.h.src_port);
    assert_reads(fd, "OK 1073741824\n");
    guest_close(&x);
}

static void a_reset_ends_all_connections_and_the_socket_stays(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    drv_w32(&x->g, VIRTIO_MMIO_STATUS, 0);
    drv_spin(&x->g);
    assert_end(fd);
    assert_starts_again(x);
}

static void the_end_of_the_device_ends_all_connections(void **state)
{
    (void)state;
    struct guest x;
    guest_open(&x, 0);
    CLEANUP(fd_closep) int open = answered_client(&x, 52);
    CLEANUP(fd_closep) int asked = guest_client(&x, 53);
    CLEANUP(fd_closep) int silent = unix_connect(x.path, NULL);
    drv_spin(&x.g);
    guest_close(&x);
    assert_end(open);
    assert_end(asked);
    assert_end(silent);
}

static void a_transport_reset_is_told_before_anything_else(void **state)
{
    struct guest *x = *state;
    CLEANUP(fd_closep) int fd = answered_client(x, 52);
    vsock_transport_reset(x->g.dev);
    assert_end(fd);
    CLEANUP(fd_closep) int next = unix_connect(x->path, NULL);
    assert_int_equal(send(next, "CONNECT 53\n", 11, 0), 11);
    drv_spin(&x->g);
    assert_int_equal(guest_take(x), 0); /* the driver offers no event buffer yet */
    struct drv_buf b = drv_in(&x->g, sizeof(struct virtio_vsock_event));
    memset(drv_ptr(&x->g, b.gpa), 0xff, b.len);
    drv_add(&x->g.q[EVENT_QUEUE], &b, 1);
    drv_kick(&x->g, EVENT_QUEUE);
    uint32_t len;
    drv_until(&x->g, drv_used(&x->g.q[EVENT_QUEUE], NULL, &len));
    assert_int_equal(len, 4);
    uint32_t id;
    memcpy(&id, drv_ptr(&x->g, b.gpa), 4);
    assert_int_equal(id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
    assert_int_equal(guest_recv(x), REQUEST);
    assert_int_equal(x->h.dst_port, 53);
}

static void an_event_buffer_that_is_too_small_breaks_the_device(void **state)
{
    struct guest *x = *state;
    struct drv_buf b = drv_in(&x->g, 3);
    drv_add(&x->g.q[EVENT_QUEUE], &b, 1);
    vsock_transport_reset(x->g.dev);
    assert_true(drv_broken(&x->g));
}

static void a_transport_reset_without_a_driver_owes_nothing(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    vsock_transport_reset(x.g.dev);
    guest_start(&x, 0);
    guest_offer(&x, GUEST_QUEUE, GUEST_RX);
    close(answered_client(&x, 52));
    guest_close(&x);
}

/* --- Creation --- */

static int try_create(const char *path, uint64_t cid, struct err *e)
{
    struct drv g;
    struct vdev *dev = NULL;
    struct vsock_config cfg = {.path = path, .guest_cid = cid};
    drv_open(&g);
    int ret = vsock_create(&dev, &cfg, &g.mem, g.loop, e);
    if (ret == 0)
        drv_attach(&g, dev);
    drv_close(&g);
    return ret;
}

static void reserved_cids_are_refused(void **state)
{
    struct guest *x = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s.2", x->path);
    static const uint64_t bad[] = {1, 2, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};
        assert_int_equal(try_create(path, bad[i], &e), -EINVAL);
        assert_non_null(strstr(e.text, "CID"));
    }
    assert_int_equal(try_create(path, 3, NULL), 0);
    assert_int_equal(try_create(path, 0xfffffffe, NULL), 0);
}

static void a_path_in_use_is_refused(void **state)
{
    struct guest *x = *state;
    struct err e = {0};
    assert_int_equal(try_create(x->path, 0, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, x->path));
    close(answered_client(x, 52)); /* the first one works on */
}

/* Each descriptor that creation needs fails once; nothing is left behind (LeakSanitizer and rmdir see to it).
 */
static void creation_fails_cleanly_without_descriptors(void **state)
{
    struct guest *x = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s.2", x->path);
    struct drv g;
    drv_open(&g);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest = dup(0), failures = 0, ret;
    close(lowest);
    struct vdev *dev = NULL;
    for (rlim_t more = 0;; more++) {
        struct vsock_config cfg = {.path = path};
        struct err e = {0};
        few = old;
        few.rlim_cur = (rlim_t)lowest + more;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        ret = vsock_create(&dev, &cfg, &g.mem, g.loop, &e);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (ret == 0)
            break;
        assert_int_equal(ret, -EMFILE);
        assert_true(e.text[0]);
        failures++;
    }
    assert_int_equal(failures, 2);
    drv_attach(&g, dev);
    drv_close(&g);
}

/* --- Threads: the loop on one, the registers on another --- */

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void resets_may_come_while_the_loop_works(void **state)
{
    (void)state;
    struct guest x;
    guest_create(&x, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_loop, x.g.loop), 0);
    for (int round = 0; round < 100; round++) {
        x.g.next_gpa = DRV_RAM_GPA; /* the rings of the last round are not in use any more */
        x.tx = 0;
        guest_start(&x, 0);
        guest_offer(&x, 8, GUEST_RX);
        int fd[4];
        for (int i = 0; i < 4; i++) {
            fd[i] = unix_connect(x.path, NULL);
            assert_int_equal(send(fd[i], "CONNECT 52\n", 11, 0), 11);
        }
        for (uint32_t i = 0; i < 4; i++) {
            struct vsock_header h = guest_header(REQUEST, 4000 + i, 1, 0);
            guest_put(&x, &h, NULL, 0);
            drv_kick(&x.g, TX_QUEUE);
        }
        if (round % 2)
            while (!drv_used(&x.g.q[RX_QUEUE], NULL, NULL))
                sched_yield();
        drv_w32(&x.g, VIRTIO_MMIO_STATUS, 0);
        for (int i = 0; i < 4; i++)
            close(fd[i]);
    }
    loop_stop(x.g.loop);
    pthread_join(thread, NULL);
    guest_close(&x);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_device_is_a_vsock_with_three_queues),
        TEST(a_client_talks_with_the_guest),
        TEST(the_guest_reaches_a_listener),
        cmocka_unit_test(it_works_with_event_indices_too),
        TEST(packets_raise_an_interrupt_unless_it_is_not_wanted),
        TEST(a_packet_may_be_split_anywhere),
        cmocka_unit_test(a_receive_buffer_may_be_split_anywhere),
        TEST(a_packet_of_64_kib_passes),
        TEST(packets_of_other_addresses_are_dropped),
        TEST(a_length_beyond_the_chain_is_refused),
        TEST(bytes_beyond_the_length_are_ignored),
        TEST(a_chain_without_a_whole_header_breaks_the_device),
        TEST(a_header_that_only_we_may_write_breaks_the_device),
        TEST(a_bad_ring_breaks_the_device),
        cmocka_unit_test(a_bad_receive_ring_breaks_the_device),
        cmocka_unit_test(a_receive_buffer_without_room_for_a_byte_breaks_the_device),
        cmocka_unit_test(packets_are_taken_without_receive_buffers),
        TEST(a_flood_is_served_in_turns),
        cmocka_unit_test(a_full_ring_takes_several_turns),
        cmocka_unit_test(a_client_may_come_before_the_driver),
        TEST(a_reset_ends_all_connections_and_the_socket_stays),
        cmocka_unit_test(the_end_of_the_device_ends_all_connections),
        TEST(a_transport_reset_is_told_before_anything_else),
        TEST(an_event_buffer_that_is_too_small_breaks_the_device),
        cmocka_unit_test(a_transport_reset_without_a_driver_owes_nothing),
        TEST(reserved_cids_are_refused),
        TEST(a_path_in_use_is_refused),
        TEST(creation_fails_cleanly_without_descriptors),
        cmocka_unit_test(resets_may_come_while_the_loop_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
