/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the device moves packets between the virtqueues and the mux, and knows nothing of
 * connections. Queues (virtio 1.2 §5.10.2): 0 brings packets to the guest, 1 from it, 2 brings it events.
 *
 *     kick of queue 1 ─ take_packets() ─► vsock_mux_input() ─┐
 *     a host socket, a timer ─ the mux's callbacks ──────────┼─► give_packets() ─► queue 0
 *     kick of queue 0: new receive buffers ──────────────────┘
 *
 * Packets of the guest are always taken, also when it offers no receive buffer: what they cause is remembered
 * in the connections (a flag per kind of packet), never in a list that could grow. So neither side ever waits
 * for the other with both queues full (§5.10.6.1). Without receive buffers the mux's queue stands still,
 * kicks of queue 0 are asked for, and host sockets that go on being readable are muted.
 *
 * Both directions stop after a budget of packets and come back after the loop's other work, so that a flood
 * delays other devices by a bounded time.
 */
#include "virtio/vsock.h"

#include "base/cursor.h"
#include "virtio/vsock_host.h"
#include "virtio/vsock_mux.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUES };

#define BUDGET   128 /* packets per turn and direction */
#define CID_LAST UINT64_C(0xfffffffe)

const struct vsock_limits vsock_limits_default = {
    .conns = 4096,
    .line_ms = 5 * 1000,
    .open_ms = 10 * 1000,
    .dial_ms = 2 * 1000,
    .close_ms = 2 * 1000,
    .linger_ms = 10 * 60 * 1000,
};

/* The lock is dev.lock; all but reset() and activate() run on the loop's thread. */
struct vsock {
    struct vdev dev; /* first member */
    struct vsock_mux mux;
    struct vsock_host host;
    int wake_fd; /* eventfd: a vCPU's thread has something for the loop's */
    struct loop_source wake;
    bool event_owed; /* TRANSPORT_RESET; no packet goes to the guest before it */
    /* Scratch of the packet at hand. */
    struct virtq_chain chain;
    struct iovec iov[VIRTQ_SIZE_MAX];
};

static struct vsock *vsock_of(struct vdev *d)
{
    return (struct vsock *)(void *)d;
}

/* --- Packets --- */

/* Bytes [skip, skip + len) of `count` pieces. They must be there. */
static struct vsock_pieces slice(struct vsock *v, const struct iovec *from, int count, uint64_t skip,
                                 uint32_t len)
{
    struct vsock_pieces p = {.iov = v->iov, .len = len};
    for (int i = 0; i < count && len > 0; i++) {
        if (skip >= from[i].iov_len) {
            skip -= from[i].iov_len;
            continue;
        }
        size_t part = from[i].iov_len - skip;
        if (part > len)
            part = len;
        v->iov[p.count++] = (struct iovec){.iov_base = (uint8_t *)from[i].iov_base + skip, .iov_len = part};
        len -= (uint32_t)part;
        skip = 0;
    }
    return p;
}

/* One packet of the guest, in v->chain. A chain that holds no header is the driver's fault; anything else is
 * between the guest and its connection. */
static int take_packet(struct vsock *v)
{
    uint8_t raw[VSOCK_HEADER_SIZE];
    struct vsock_header h;
    if (virtq_read_out(&v->chain, 0, raw, sizeof(raw)) < sizeof(raw))
        return -EPROTO;
    vsock_header_decode(&h, raw);
    if (!vsock_mux_is_ours(&v->mux, &h)) {
        log_warn_limited(&v->dev.faults, LOG_VSOCK,
                         "a packet of the guest from CID %llu to CID %llu: dropped",
                         (unsigned long long)h.src_cid, (unsigned long long)h.dst_cid);
        return 0;
    }
    if (h.len > VSOCK_PAYLOAD_MAX || h.len > v->chain.out_len - sizeof(raw)) {
        vsock_mux_reject(&v->mux, &h, "the length is wrong");
        return 0;
    }
    struct vsock_pieces data = slice(v, v->chain.iov, v->chain.nout, sizeof(raw), h.len);
    vsock_mux_input(&v->mux, &h, &data);
    return 0;
}

/* 1 with v->chain filled, 0 when there is none, or a negative errno. */
static int next_chain(struct vsock *v, unsigned q)
{
    return v->dev.vq[q].ready ? virtq_pop(&v->dev.vq[q], &v->chain) : 0;
}

static int take_packets(struct vsock *v)
{
    struct virtq *q = &v->dev.vq[QUEUE_TX];
    int ret = 0, taken = 0;
    do {
        virtq_disable_kicks(q);
        while (taken < BUDGET && (ret = next_chain(v, QUEUE_TX)) > 0) {
            ret = take_packet(v);
            if (ret < 0)
                break;
            virtq_push(q, v->chain.head, 0);
            taken++;
        }
        if (taken == BUDGET) {
            v->dev.kick_later(&v->dev, QUEUE_TX);
            break;
        }
    } while (ret == 0 && virtq_enable_kicks(q));
    if (taken)
        v->dev.notify_queue(&v->dev, QUEUE_TX);
    return ret < 0 ? ret : 0;
}

/* Fills v->chain with the next packet: its bytes, 0 when there was none after all, or a negative errno. */
static int64_t give_packet(struct vsock *v)
{
    /* A buffer for less than a header and a byte would never let data through. */
    if (v->chain.in_len <= VSOCK_HEADER_SIZE)
        return -EPROTO;
    uint64_t room = v->chain.in_len - VSOCK_HEADER_SIZE;
    if (room > VSOCK_PAYLOAD_MAX)
        room = VSOCK_PAYLOAD_MAX;
    struct vsock_pieces pieces =
        slice(v, v->chain.iov + v->chain.nout, v->chain.nin, VSOCK_HEADER_SIZE, (uint32_t)room);
    struct vsock_header h;
    if (!vsock_mux_output(&v->mux, &h, &pieces))
        return 0;
    uint8_t raw[VSOCK_HEADER_SIZE];
    vsock_header_encode(&h, raw);
    virtq_write_in(&v->chain, 0, raw, sizeof(raw));
    return VSOCK_HEADER_SIZE + (int64_t)h.len;
}

static int give_packets(struct vsock *v)
{
    struct virtq *q = &v->dev.vq[QUEUE_RX];
    int64_t ret = 0;
    int given = 0;
    if (q->ready)
        virtq_disable_kicks(q);
    while (!v->event_owed && vsock_mux_has_output(&v->mux)) {
        if (given == BUDGET) {
            v->dev.kick_later(&v->dev, QUEUE_RX);
            break;
        }
        ret = next_chain(v, QUEUE_RX);
        if (ret == 0 && q->ready && virtq_enable_kicks(q))
            continue;
        if (ret <= 0)
            break;
        ret = give_packet(v);
        if (ret <= 0) {
            virtq_undo_pop(q);
            break;
        }
        virtq_push(q, v->chain.head, (uint32_t)ret);
        given++;
    }
    if (given)
        v->dev.notify_queue(&v->dev, QUEUE_RX);
    return ret < 0 ? (int)ret : 0;
}

/* The driver supplies event buffers in advance, so one is usually there (§5.10.6.7). */
static int give_event(struct vsock *v)
{
    if (!v->event_owed)
        return 0;
    struct virtq *q = &v->dev.vq[QUEUE_EVENT];
    int ret = next_chain(v, QUEUE_EVENT);
    if (ret <= 0)
        return ret;
    uint8_t event[sizeof(struct virtio_vsock_event)];
    store_le32(event, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
    if (virtq_write_in(&v->chain, 0, event, sizeof(event)) < sizeof(event))
        return -EPROTO;
    virtq_push(q, v->chain.head, sizeof(event));
    v->event_owed = false;
    v->dev.notify_queue(&v->dev, QUEUE_EVENT);
    return 0;
}

/* --- The transport's side --- */

static void drop_driver(struct vsock *v)
{
    vsock_mux_forget_all(&v->mux);
    vsock_mux_settle(&v->mux);
    v->event_owed = false;
}

static int vsock_kick(struct vdev *d, unsigned queue)
{
    struct vsock *v = vsock_of(d);
    vsock_mux_settle(&v->mux);
    int ret = queue == QUEUE_TX ? take_packets(v) : 0;
    if (ret == 0)
        ret = give_event(v);
    if (ret == 0)
        ret = give_packets(v);
    if (ret < 0)
        drop_driver(v); /* the transport sets NEEDS_RESET */
    return ret;
}

/* struct vsock_mux_ops: the end of each callback of the loop. */
static void vsock_run(struct vsock_mux *m)
{
    struct vsock *v = CONTAINER_OF(m, struct vsock, mux);
    if (!v->dev.active)
        return;
    int ret = give_event(v);
    if (ret == 0)
        ret = give_packets(v);
    if (ret == 0)
        return;
    log_warn_limited(&v->dev.faults, LOG_VSOCK, "vsock: the driver's fault: %s; the device needs a reset",
                     strerror(-ret));
    drop_driver(v);
    v->dev.needs_reset(&v->dev);
}

static int vsock_dial(struct vsock_mux *m, uint32_t port)
{
    return vsock_host_dial(&CONTAINER_OF(m, struct vsock, mux)->host, port);
}

static void wake_loop(struct vsock *v)
{
    uint64_t one = 1;
    ssize_t ignored = write(v->wake_fd, &one, sizeof(one)); /* fails only when a wake-up is pending */
    (void)ignored;
}

static void woken(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct vsock *v = CONTAINER_OF(s, struct vsock, wake);
    uint64_t count;
    ssize_t ignored = read(s->fd, &count, sizeof(count));
    (void)ignored;
    vsock_mux_enter(&v->mux, NULL);
    vsock_mux_leave(&v->mux);
}

/* Clients may be waiting for the driver: the loop's thread sends their REQUESTs. */
static int vsock_activate(struct vdev *d)
{
    wake_loop(vsock_of(d));
    return 0;
}

static void vsock_reset(struct vdev *d)
{
    struct vsock *v = vsock_of(d);
    v->event_owed = false;
    vsock_mux_forget_all(&v->mux);
    wake_loop(v);
}

static void vsock_config_read(struct vdev *d, uint32_t offset, void *out, uint32_t len)
{
    uint8_t config[sizeof(struct virtio_vsock_config)];
    store_le64(config, vsock_of(d)->mux.guest_cid);
    memcpy(out, config + offset, len);
}

static void vsock_destroy(struct vdev *d)
{
    struct vsock *v = vsock_of(d);
    vsock_host_close(&v->host);
    vsock_mux_fini(&v->mux);
    loop_remove(&v->wake);
    fd_closep(&v->wake_fd);
    free(v);
}

void vsock_transport_reset(struct vdev *d)
{
    struct vsock *v = vsock_of(d);
    vsock_mux_enter(&v->mux, NULL);
    drop_driver(v);
    v->event_owed = d->active;
    vsock_mux_leave(&v->mux);
}

/* --- Creation --- */

/* Without VIRTIO_VSOCK_F_STREAM or F_SEQPACKET a device has stream sockets (§5.10.3.1): all that we want. */
static const struct vdev_ops vsock_ops = {
    .name = "vsock",
    .topic = LOG_VSOCK,
    .device_id = VIRTIO_ID_VSOCK,
    .queue_max = 256,
    .config_read = vsock_config_read,
    .activate = vsock_activate,
    .reset = vsock_reset,
    .kick = vsock_kick,
    .destroy = vsock_destroy,
};

static const struct vsock_mux_ops mux_ops = {.dial = vsock_dial, .run = vsock_run};

static int open_parts(struct vsock *v, const struct vsock_config *cfg, struct err *e)
{
    int ret = vsock_mux_init(&v->mux, &mux_ops, &v->dev, cfg, e);
    if (ret < 0)
        return ret;
    v->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (v->wake_fd < 0)
        return err_sys(e, "cannot make an eventfd for vsock");
    ret = loop_add(v->dev.loop, &v->wake, v->wake_fd, EPOLLIN, woken);
    if (ret < 0)
        return err_set(e, ret, "cannot watch an eventfd for vsock: %s", strerror(-ret));
    return vsock_host_listen(&v->host, &v->mux, cfg->path, e);
}

int vsock_create(struct vdev **out, const struct vsock_config *cfg, struct gmem *mem, struct loop *loop,
                 struct err *e)
{
    uint64_t cid = cfg->guest_cid;
    if (cid && (cid <= VSOCK_HOST_CID || cid > CID_LAST))
        return err_set(e, -EINVAL, "guest CID %llu: must be 3 to %llu", (unsigned long long)cid,
                       (unsigned long long)CID_LAST);
    struct vsock *v = calloc(1, sizeof(*v));
    if (!v)
        return err_set(e, -ENOMEM, "cannot allocate a vsock device");
    v->wake_fd = -1;
    v->dev = (struct vdev){
        .ops = &vsock_ops,
        .mem = mem,
        .loop = loop,
        .config_size = sizeof(struct virtio_vsock_config),
        .nqueues = QUEUES,
    };
    int ret = open_parts(v, cfg, e);
    if (ret < 0) {
        vsock_destroy(&v->dev);
        return ret;
    }
    *out = &v->dev;
    return 0;
}
