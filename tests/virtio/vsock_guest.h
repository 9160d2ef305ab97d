/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's vsock driver over real rings (driver.h), in plain memory: receive buffers are put back when their
 * packet was taken, as Linux does, so a test may run for ever in bounded memory. One Unix socket in a folder
 * of its own.
 */
#ifndef CUBBY_TESTS_VIRTIO_VSOCK_GUEST_H
#define CUBBY_TESTS_VIRTIO_VSOCK_GUEST_H

#include "base/io.h"
#include "base/own.h"
#include "tests/virtio/driver.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#include <errno.h>
#include <sys/socket.h>

#define RST      VIRTIO_VSOCK_OP_RST
#define REQUEST  VIRTIO_VSOCK_OP_REQUEST
#define RESPONSE VIRTIO_VSOCK_OP_RESPONSE
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define RW       VIRTIO_VSOCK_OP_RW
#define UPDATE   VIRTIO_VSOCK_OP_CREDIT_UPDATE
#define ASK      VIRTIO_VSOCK_OP_CREDIT_REQUEST

#define RX_QUEUE    0
#define TX_QUEUE    1
#define EVENT_QUEUE 2

#define GUEST_QUEUE 64
#define GUEST_RX    3776 /* bytes of a receive buffer of Linux 6.12, header included */
#define GUEST_ALLOC (256u * 1024)

struct guest {
    struct drv g;
    char dir[32], path[64];
    gpa_t tx; /* GUEST_QUEUE slots of a header and the largest payload, used in turn */
    unsigned tx_next;
    /* The last packet taken. */
    struct vsock_header h;
    const uint8_t *data;
};

static inline void guest_create(struct guest *x, const struct vsock_limits *limits)
{
    *x = (struct guest){.dir = "/tmp/cubby-vsock-XXXXXX"};
    DRV_CHECK(mkdtemp(x->dir));
    snprintf(x->path, sizeof(x->path), "%s/v.sock", x->dir);
    drv_open(&x->g);
    struct vsock_config cfg = {.path = x->path, .limits = limits};
    struct vdev *dev;
    struct err e = {0};
    if (vsock_create(&dev, &cfg, &x->g.mem, x->g.loop, &e) < 0)
        fprintf(stderr, "vsock_create: %s\n", e.text);
    DRV_CHECK(e.code == 0);
    drv_attach(&x->g, dev);
}

static inline void guest_start(struct guest *x, uint64_t features)
{
    drv_start(&x->g, features, GUEST_QUEUE);
    if (!x->tx)
        x->tx = drv_alloc(&x->g, 32 * (VSOCK_HEADER_SIZE + VSOCK_PAYLOAD_MAX));
}

/* Offers `n` fresh receive buffers. */
static inline void guest_offer(struct guest *x, unsigned n, uint32_t len)
{
    for (unsigned i = 0; i < n; i++) {
        struct drv_buf b = drv_in(&x->g, len);
        drv_add(&x->g.q[RX_QUEUE], &b, 1);
    }
    drv_kick(&x->g, RX_QUEUE);
}

static inline void guest_open(struct guest *x, uint64_t features)
{
    guest_create(x, NULL);
    guest_start(x, features);
    guest_offer(x, GUEST_QUEUE, GUEST_RX);
}

static inline void guest_close(struct guest *x)
{
    drv_close(&x->g);
    /* The device has removed its socket: nothing is left. */
    if (rmdir(x->dir) < 0)
        perror(x->dir);
    DRV_CHECK(access(x->dir, F_OK) < 0);
}

static inline struct vsock_header guest_header(uint16_t op, uint32_t guest_port, uint32_t host_port,
                                               uint32_t len)
{
    return (struct vsock_header){.src_cid = VSOCK_GUEST_CID_DEFAULT,
                                 .dst_cid = VSOCK_HOST_CID,
                                 .src_port = guest_port,
                                 .dst_port = host_port,
                                 .len = len,
                                 .type = VIRTIO_VSOCK_TYPE_STREAM,
                                 .op = op,
                                 .buf_alloc = GUEST_ALLOC};
}

/* A packet in one piece per part: header, payload. Not kicked. At most 16 may be in flight. */
static inline void guest_put(struct guest *x, const struct vsock_header *h, const void *data, uint32_t len)
{
    gpa_t at = x->tx + (x->tx_next++ % 32) * (uint64_t)(VSOCK_HEADER_SIZE + VSOCK_PAYLOAD_MAX);
    uint8_t *p = drv_ptr(&x->g, at);
    vsock_header_encode(h, p);
    if (len)
        memcpy(p + VSOCK_HEADER_SIZE, data, len);
    struct drv_buf b[] = {{.gpa = at, .len = VSOCK_HEADER_SIZE}, {.gpa = at + VSOCK_HEADER_SIZE, .len = len}};
    drv_add(&x->g.q[TX_QUEUE], b, len ? 2 : 1);
}

/* Puts, kicks, and waits until the device has taken it. */
static inline void guest_send_header(struct guest *x, const struct vsock_header *h, const void *data,
                                     uint32_t len)
{
    guest_put(x, h, data, len);
    drv_kick(&x->g, TX_QUEUE);
    uint32_t used_len = 0;
    for (int i = 0; !drv_used(&x->g.q[TX_QUEUE], NULL, &used_len); i++) {
        DRV_CHECK(i < 1000 && !drv_broken(&x->g));
        DRV_CHECK(loop_once(x->g.loop, 0) == 0);
    }
    DRV_CHECK(used_len == 0);
}

static inline void guest_send(struct guest *x, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_header h = guest_header(op, guest_port, host_port, 0);
    guest_send_header(x, &h, NULL, 0);
}

/* drv_must_kick() without its fence: the loop runs on this thread, and gcc's ThreadSanitizer knows no fences.
 */
static inline bool guest_must_kick(const struct drv_queue *q, uint16_t old)
{
    if (!q->event_idx)
        return !(drv_used_flags(q) & VRING_USED_F_NO_NOTIFY);
    return (uint16_t)(q->avail_idx - drv_avail_event(q) - 1) < (uint16_t)(q->avail_idx - old);
}

/* Takes the next packet into x->h and x->data (valid until the next call); its operation, or 0. */
static inline uint16_t guest_take(struct guest *x)
{
    struct drv_queue *q = &x->g.q[RX_QUEUE];
    uint32_t id, len;
    if (!drv_used(q, &id, &len))
        return 0;
    DRV_CHECK(id < q->size && len >= VSOCK_HEADER_SIZE);
    struct drv_buf b = {.gpa = q->desc[id].addr, .len = q->desc[id].len, .write = true};
    const uint8_t *p = drv_ptr(&x->g, b.gpa);
    vsock_header_decode(&x->h, p);
    x->data = p + VSOCK_HEADER_SIZE;
    DRV_CHECK(len == VSOCK_HEADER_SIZE + x->h.len);
    /* The device fills it again only after a kick or a turn of the loop. */
    uint16_t old = q->avail_idx;
    drv_add(q, &b, 1);
    if (guest_must_kick(q, old))
        drv_kick(&x->g, RX_QUEUE);
    return x->h.op;
}

/* Waits for the next packet. */
static inline uint16_t guest_recv(struct guest *x)
{
    uint16_t op;
    for (int i = 0; !(op = guest_take(x)); i++) {
        DRV_CHECK(i < 1000 && !drv_broken(&x->g));
        DRV_CHECK(loop_once(x->g.loop, 100) == 0);
    }
    return op;
}

/* A client of the host whose line is sent, and REQUEST taken by the guest. x->h.src_port is the host port. */
static inline int guest_client(struct guest *x, uint32_t guest_port)
{
    char line[32];
    int fd = unix_connect(x->path, NULL), len = snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);
    DRV_CHECK(fd >= 0 && send(fd, line, (size_t)len, 0) == len);
    DRV_CHECK(guest_recv(x) == REQUEST && x->h.dst_port == guest_port);
    return fd;
}

static inline int guest_read_host(int fd, void *buf, size_t len)
{
    ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);
    return n < 0 ? -errno : (int)n;
}

#endif
