/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's vsock driver that stands right at the mux, without virtqueues: it hands packets in and takes
 * packets out one by one, so that a test sees every one of them in order. The host's side are socket pairs.
 */
#ifndef CUBBY_TESTS_VIRTIO_VSOCK_PEER_H
#define CUBBY_TESTS_VIRTIO_VSOCK_PEER_H

#include "base/loop.h"
#include "virtio/vsock_mux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_CHECK(cond)                                                                                     \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "%s:%d: vsock peer: %s\n", __FILE__, __LINE__, #cond);                           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#define RST      VIRTIO_VSOCK_OP_RST
#define REQUEST  VIRTIO_VSOCK_OP_REQUEST
#define RESPONSE VIRTIO_VSOCK_OP_RESPONSE
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define RW       VIRTIO_VSOCK_OP_RW
#define UPDATE   VIRTIO_VSOCK_OP_CREDIT_UPDATE
#define ASK      VIRTIO_VSOCK_OP_CREDIT_REQUEST
#define RCV      VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND     VIRTIO_VSOCK_SHUTDOWN_SEND
#define BOTH     VSOCK_SHUTDOWN_BOTH

#define PEER_ROOM 3732 /* payload of a receive buffer of Linux 6.12 */

struct peer {
    struct vdev dev;
    struct vsock_mux mux; /* ops->dial and ->run find the peer from here */
    int runs;             /* events that the loop delivered */
    int dial_error;       /* what the next dials give; 0: a socket pair, whose other end is `dialled` */
    int dialled;
    int dial_fd; /* ≥ 0: what the next dial gives */
    uint32_t dials, dialled_port;
    uint32_t buf_alloc, fwd_cnt; /* put into every packet sent */
    /* The last packet taken. */
    struct vsock_header h;
    uint8_t data[VSOCK_PAYLOAD_MAX];
    uint32_t room; /* for the payload of the next one */
};

static inline struct peer *peer_of(struct vsock_mux *m)
{
    return CONTAINER_OF(m, struct peer, mux);
}

static inline int peer_dial(struct vsock_mux *m, uint32_t port)
{
    struct peer *p = peer_of(m);
    int pair[2];
    p->dials++;
    p->dialled_port = port;
    if (p->dial_error)
        return p->dial_error;
    if (p->dial_fd >= 0)
        return STEAL_FD(p->dial_fd);
    PEER_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    p->dialled = pair[0];
    return pair[1];
}

static inline void peer_run(struct vsock_mux *m)
{
    peer_of(m)->runs++;
}

static const struct vsock_mux_ops peer_ops = {.dial = peer_dial, .run = peer_run};

static const struct vsock_limits peer_limits = {
    .conns = 8, .line_ms = 60000, .open_ms = 60000, .dial_ms = 60000, .close_ms = 60000, .linger_ms = 60000};

/* NULL: limits that no test reaches in time. */
static inline struct peer *peer_open(const struct vsock_limits *limits)
{
    struct peer *p = calloc(1, sizeof(*p));
    PEER_CHECK(p);
    struct vsock_config cfg = {.limits = limits ? limits : &peer_limits};
    p->dialled = p->dial_fd = -1;
    p->buf_alloc = 256 * 1024;
    p->room = PEER_ROOM;
    PEER_CHECK(loop_create(&p->dev.loop, NULL) == 0);
    PEER_CHECK(vsock_mux_init(&p->mux, &peer_ops, &p->dev, &cfg, NULL) == 0);
    return p;
}

static inline void peer_close(struct peer *p)
{
    vsock_mux_fini(&p->mux);
    PEER_CHECK(p->mux.slots == 0 && p->mux.dead == 0);
    loop_destroy(p->dev.loop);
    free(p);
}

/* --- The guest --- */

static inline void peer_send_data(struct peer *p, uint16_t op, uint32_t guest_port, uint32_t host_port,
                                  const void *data, uint32_t len)
{
    struct vsock_header h = {.src_cid = 3,
                             .dst_cid = VSOCK_HOST_CID,
                             .src_port = guest_port,
                             .dst_port = host_port,
                             .len = len,
                             .type = VIRTIO_VSOCK_TYPE_STREAM,
                             .op = op,
                             .buf_alloc = p->buf_alloc,
                             .fwd_cnt = p->fwd_cnt};
    /* Pieces of odd lengths, as a driver may make them. */
    struct iovec iov[3];
    struct vsock_pieces pieces = {.iov = iov, .len = len};
    for (uint32_t at = 0; at < len; pieces.count++) {
        uint32_t part = pieces.count == 2 ? len - at : (len - at + 2) / 3;
        iov[pieces.count] = (struct iovec){.iov_base = (uint8_t *)(uintptr_t)data + at, .iov_len = part};
        at += part;
    }
    vsock_mux_input(&p->mux, &h, &pieces);
}

static inline void peer_send(struct peer *p, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    peer_send_data(p, op, guest_port, host_port, NULL, 0);
}

static inline void peer_send_shutdown(struct peer *p, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
    struct vsock_header h = {.src_cid = 3,
                             .dst_cid = VSOCK_HOST_CID,
                             .src_port = guest_port,
                             .dst_port = host_port,
                             .type = VIRTIO_VSOCK_TYPE_STREAM,
                             .op = SHUTDOWN,
                             .flags = flags,
                             .buf_alloc = p->buf_alloc,
                             .fwd_cnt = p->fwd_cnt};
    vsock_mux_input(&p->mux, &h, &(struct vsock_pieces){0});
}

/* Takes the next packet into p->h and p->data; its operation, or 0 when there is none. */
static inline uint16_t peer_next(struct peer *p)
{
    struct iovec iov[2] = {{.iov_base = p->data, .iov_len = (p->room + 1) / 2},
                           {.iov_base = p->data + (p->room + 1) / 2, .iov_len = p->room / 2}};
    struct vsock_pieces room = {.iov = iov, .count = 2, .len = p->room};
    return vsock_mux_output(&p->mux, &p->h, &room) ? p->h.op : 0;
}

/* --- The host --- */

/* Lets the loop deliver what is there. */
static inline void peer_spin(struct peer *p)
{
    for (int i = 0; i < 16; i++)
        PEER_CHECK(loop_once(p->dev.loop, 0) == 0);
}

/* Waits for a timer or an event until `cond`. */
#define peer_until(p, cond)                                                                                  \
    do {                                                                                                     \
        for (int tries_ = 0; !(cond); tries_++) {                                                            \
            PEER_CHECK(tries_ < 10000);                                                                      \
            PEER_CHECK(loop_once((p)->dev.loop, 100) == 0);                                                  \
        }                                                                                                    \
    } while (0)

/* Does the loop sleep, now that all that can be done is done? */
static inline int peer_is_quiet(struct peer *p)
{
    peer_spin(p);
    int before = p->runs;
    peer_spin(p);
    return p->runs == before;
}

/* A client that has sent its CONNECT line for `guest_port`; returns its end. */
static inline int peer_client(struct peer *p, uint32_t guest_port)
{
    int pair[2];
    PEER_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    PEER_CHECK(vsock_mux_take_slot(&p->mux));
    PEER_CHECK(vsock_mux_open(&p->mux, pair[1], guest_port) == 0);
    return pair[0];
}

/* Bytes that are there now: their count, 0 for the end of file, -EAGAIN when the stream goes on. */
static inline int host_read(int fd, void *buf, size_t len)
{
    ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);
    return n < 0 ? -errno : (int)n;
}

/* Is there nothing but the end of the file? */
static inline int host_at_end(int fd)
{
    char c;
    return host_read(fd, &c, 1) == 0;
}

static inline int host_open(int fd)
{
    char c;
    return host_read(fd, &c, 1) == -EAGAIN;
}

/* An open connection that the guest asked for, its RESPONSE taken; returns the host's end. */
static inline int peer_connected(struct peer *p, uint32_t guest_port, uint32_t host_port)
{
    peer_send(p, REQUEST, guest_port, host_port);
    PEER_CHECK(peer_next(p) == RESPONSE);
    int fd = p->dialled;
    p->dialled = -1;
    return fd;
}

/* Makes the socket towards the host full: what the guest sends from now on is kept until it is read. Returns
 * how many bytes are in it. */
static inline size_t host_fill(struct vsock_mux *m, uint32_t guest_port, uint32_t host_port)
{
    struct vsock_conn *c = (struct vsock_conn *)(void *)vsock_table_find(&m->table, guest_port, host_port);
    char junk[4096];
    size_t total = 0;
    memset(junk, '-', sizeof(junk));
    for (size_t part = sizeof(junk); part > 0;) {
        ssize_t n = send(c->fd, junk, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            part /= 2;
        else
            total += (size_t)n;
    }
    return total;
}

static inline void host_skip(int fd, size_t len)
{
    char junk[4096];
    while (len > 0) {
        int n = host_read(fd, junk, len < sizeof(junk) ? len : sizeof(junk));
        PEER_CHECK(n > 0);
        len -= (size_t)n;
    }
}

#endif
