/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a vsock packet (virtio 1.2 §5.10.6): VSOCK_HEADER_SIZE bytes, little-endian, before the
 * payload. The names of operations, types and flags are those of linux/virtio_vsock.h.
 */
#ifndef CUBBY_VIRTIO_VSOCK_PACKET_H
#define CUBBY_VIRTIO_VSOCK_PACKET_H

#include <linux/virtio_vsock.h>
#include <stdint.h>

#define VSOCK_HEADER_SIZE 44
#define VSOCK_PAYLOAD_MAX (64 * 1024) /* bytes in one packet that we take or send */
#define VSOCK_HOST_CID    2

#define VSOCK_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

struct vsock_header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len; /* bytes of payload */
    uint16_t type, op;
    uint32_t flags;
    uint32_t buf_alloc, fwd_cnt; /* the sender's credit: §5.10.6.3 */
};

/* Any content decodes; what it means is checked where it is used. */
void vsock_header_decode(struct vsock_header *h, const uint8_t raw[VSOCK_HEADER_SIZE]);
void vsock_header_encode(const struct vsock_header *h, uint8_t raw[VSOCK_HEADER_SIZE]);

/* "RST" for VIRTIO_VSOCK_OP_RST, "?" for an unknown one: for logs. */
const char *vsock_op_name(uint16_t op);

#endif
