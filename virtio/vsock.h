/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2 §5.10), stream sockets, with the host side in this process: no vhost, no host-wide
 * CID, one Unix socket per VM.
 *
 * Host to guest: a client connects to `path`, writes "CONNECT <port>\n" and reads "OK <host port>\n" once the
 * guest has accepted; every later byte, in both directions, is the stream's. A refusal is the end of file
 * instead of OK. A client that comes before the guest's driver is up is held until it is, or until its
 * deadline ends.
 *
 * Guest to host: a connection to CID 2, port P, reaches the Unix socket that listens at `<path>_<P>`; without
 * one the guest's connection is refused at once.
 *
 * Half closes pass through in both directions. What the guest has sent before it closed is still delivered to
 * a host program that reads late.
 */
#ifndef CUBBY_VIRTIO_VSOCK_H
#define CUBBY_VIRTIO_VSOCK_H

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "virtio/vdev.h"

#include <stdint.h>

#define VSOCK_GUEST_CID_DEFAULT 3

/* Bounds on what one VM may hold, and on how long; a test may shorten them. All fields are non-zero. */
struct vsock_limits {
    uint32_t conns;     /* connections at once, waiting clients included */
    uint32_t line_ms;   /* from accept until the CONNECT line is complete */
    uint32_t open_ms;   /* from the CONNECT line until the guest's answer, waiting for its driver included */
    uint32_t dial_ms;   /* guest to host: how long a listener whose backlog is full is tried again */
    uint32_t close_ms;  /* from our complete SHUTDOWN until the guest's RST, then it gets ours */
    uint32_t linger_ms; /* the guest has closed: how long a host program may take for its next byte */
};

/* 4096 connections; 5 s, 10 s, 2 s, 2 s; 10 minutes, because people leave pagers open. */
extern const struct vsock_limits vsock_limits_default;

struct vsock_config {
    const char *path;                  /* of the listening Unix socket, at most 107 bytes; copied */
    uint64_t guest_cid;                /* 0: VSOCK_GUEST_CID_DEFAULT; else 3 … 0xfffffffe */
    const struct vsock_limits *limits; /* NULL: the defaults; copied */
};

/*
 * Creates the device and its listening socket, which takes clients as soon as `loop` runs. `mem` and `loop`
 * must outlive the device; it ends by its destroy operation (vmmio_destroy() calls it), which also removes
 * the socket file if it is still the one made here. `loop`'s thread serves everything. -EINVAL,
 * -ENAMETOOLONG, -EADDRINUSE or another negative errno with a text.
 */
int vsock_create(struct vdev **out, const struct vsock_config *cfg, struct gmem *mem, struct loop *loop,
                 struct err *e);

/*
 * Ends all connections and tells the driver so by a TRANSPORT_RESET event (§5.10.6.7), as after a restore:
 * nothing else is sent to the guest until it has the event. The loop's thread; takes the device's lock.
 */
void vsock_transport_reset(struct vdev *d);

#endif
