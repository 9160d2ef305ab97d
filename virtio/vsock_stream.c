/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation:
 *
 * Towards the host, the pieces of a packet go to sendmsg() as they lie in guest memory. Only when the socket
 * is full is the rest copied to a ring, which is as large as the credit that the guest has, so that it always
 * fits; it is freed when it is empty, so that thousands of quiet connections cost nothing.
 *
 * Towards the guest, nothing is ever buffered here: bytes stay in the socket until a receive buffer and
 * credit are there, then readv() puts them into guest memory. The socket's own buffer makes the host's writer
 * wait.
 *
 * epoll is level-triggered. EPOLLIN stays armed while we can read; when an event tells what we knew already
 * (no receive buffer, no turn yet), it is muted until the bytes are dealt with. EPOLLHUP cannot be muted, so
 * a socket whose peer is gone leaves the loop; what is left in it is read without being told to.
 */
#include "virtio/vsock_stream.h"

#include "virtio/virtq.h"
#include "virtio/vsock_mux.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The host reads no more: what is left for it is dropped, and counts as forwarded, so that a guest which
 * waits for credit goes on and finds out. */
static void end_output(struct vsock_conn *c)
{
    c->out_ended = true;
    vsock_credit_forward(&c->credit, (uint32_t)ring_len(&c->to_host));
    ring_fini(&c->to_host);
}

/* Keeps the bytes of `data` from `skip` on. They fit: the guest's credit is the ring's size. */
static int keep(struct vsock_conn *c, const struct vsock_pieces *data, uint32_t skip)
{
    if (!c->to_host.data && ring_init(&c->to_host, VSOCK_BUF_ALLOC) < 0)
        return -ENOMEM;
    for (int i = 0; i < data->count; i++) {
        const struct iovec *v = &data->iov[i];
        if (skip >= v->iov_len) {
            skip -= (uint32_t)v->iov_len;
            continue;
        }
        ring_put(&c->to_host, (const uint8_t *)v->iov_base + skip, v->iov_len - skip);
        skip = 0;
    }
    return 0;
}

static bool is_later(int err)
{
    return err == EAGAIN || err == EWOULDBLOCK;
}

/* One sendmsg(): bytes taken by the host, possibly 0; ends the output when the host is gone. */
static uint32_t send_now(struct vsock_conn *c, const struct vsock_pieces *data)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)data->iov, .msg_iovlen = (size_t)data->count};
    ssize_t n;
    do
        n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !is_later(errno))
        end_output(c);
    return n > 0 ? (uint32_t)n : 0;
}

int vsock_stream_write(struct vsock_conn *c, const struct vsock_pieces *data)
{
    int ret = vsock_credit_receive(&c->credit, data->len);
    if (ret < 0 || data->len == 0)
        return ret;
    uint32_t done = 0;
    if (!c->out_ended && ring_len(&c->to_host) == 0)
        done = send_now(c, data);
    if (c->out_ended)
        done = data->len;
    vsock_credit_forward(&c->credit, done);
    return done < data->len ? keep(c, data, done) : 0;
}

void vsock_stream_drain(struct vsock_conn *c)
{
    if (ring_len(&c->to_host) == 0)
        return;
    ssize_t n = ring_drain_to(&c->to_host, c->fd);
    if (n < 0 && !is_later((int)-n)) {
        end_output(c);
        return;
    }
    if (n > 0)
        vsock_credit_forward(&c->credit, (uint32_t)n);
    if (ring_len(&c->to_host) == 0)
        ring_fini(&c->to_host);
}

/* The first `len` bytes of `from`; returns the number of pieces. */
static int clip(struct iovec to[VIRTQ_SIZE_MAX], const struct vsock_pieces *from, uint32_t len)
{
    int n = 0;
    while (len > 0 && n < from->count && n < VIRTQ_SIZE_MAX) {
        to[n] = from->iov[n];
        if (to[n].iov_len > len)
            to[n].iov_len = len;
        len -= (uint32_t)to[n].iov_len;
        n++;
    }
    return n;
}

static void end_input(struct vsock_conn *c)
{
    c->in_ended = true;
    c->readable = c->muted = false;
}

/* The socket is empty, so far. One whose peer is gone tells no more: it is read until its end. */
static void input_is_empty(struct vsock_conn *c)
{
    c->readable = c->hung_up;
    c->muted = false;
}

uint32_t vsock_stream_read(struct vsock_conn *c, const struct vsock_pieces *room)
{
    uint32_t len = vsock_credit_room(&c->credit);
    if (len > room->len)
        len = room->len;
    if (len == 0)
        return 0;
    struct iovec iov[VIRTQ_SIZE_MAX];
    int count = clip(iov, room, len);
    ssize_t n;
    do
        n = readv(c->fd, iov, count);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        vsock_credit_sent(&c->credit, (uint32_t)n);
        if ((uint32_t)n < len)
            input_is_empty(c);
        return (uint32_t)n;
    }
    if (n < 0 && is_later(errno) && !c->hung_up) {
        input_is_empty(c);
        return 0;
    }
    /* ECONNRESET: the host's program went away without reading all that it was sent. */
    if (n < 0 && !c->out_ended)
        end_output(c);
    end_input(c);
    return 0;
}

void vsock_stream_shut(struct vsock_conn *c)
{
    if ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->out_ended && ring_len(&c->to_host) == 0) {
        shutdown(c->fd, SHUT_WR);
        c->out_ended = true;
    }
    if ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) && !c->in_ended) {
        shutdown(c->fd, SHUT_RD);
        end_input(c);
    }
}

void vsock_stream_event(struct vsock_conn *c, uint32_t events)
{
    if (events & EPOLLIN) {
        c->muted = c->readable;
        c->readable = !c->in_ended;
    }
    if (events & (EPOLLHUP | EPOLLERR)) {
        loop_remove(&c->source);
        c->hung_up = true;
        c->readable = !c->in_ended;
        if (!c->out_ended)
            end_output(c);
    }
}

void vsock_stream_watch(struct vsock_conn *c)
{
    if (!c->source.loop)
        return;
    uint32_t events = 0;
    bool blocked = c->readable && (c->muted || vsock_credit_room(&c->credit) == 0);
    if (c->state == VSOCK_OPEN && !c->in_ended && !blocked)
        events |= EPOLLIN;
    if (ring_len(&c->to_host) > 0)
        events |= EPOLLOUT;
    loop_modify(&c->source, events);
}

/* A Unix socket that is closed with unread bytes makes its peer's read fail with ECONNRESET, even behind the
 * last bytes that it was sent. Clients expect the end of the file there, so the bytes are taken out first;
 * that they went nowhere is told to whoever writes more. */
static void discard_input(int fd)
{
    char sink[16 * 1024];
    for (int i = 0; i < 32; i++)
        if (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) <= 0)
            return;
}

void vsock_stream_close(struct vsock_conn *c)
{
    loop_remove(&c->source);
    if (c->fd >= 0 && !c->hung_up)
        discard_input(c->fd);
    fd_closep(&c->fd);
    ring_fini(&c->to_host);
    c->readable = c->muted = false;
}
