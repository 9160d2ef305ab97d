/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the header is copied out of guest memory once, as bytes, and decoded from that copy;
 * so the guest cannot change a field between its check and its use, and no struct is laid over guest memory.
 */
#include "virtio/vsock_packet.h"

#include "base/cursor.h"
#include "base/own.h"

#include <assert.h>

static_assert(sizeof(struct virtio_vsock_hdr) == VSOCK_HEADER_SIZE, "the header as Linux knows it");

void vsock_header_decode(struct vsock_header *h, const uint8_t raw[VSOCK_HEADER_SIZE])
{
    struct reader r = reader_of(raw, VSOCK_HEADER_SIZE);
    h->src_cid = read_u64(&r);
    h->dst_cid = read_u64(&r);
    h->src_port = read_u32(&r);
    h->dst_port = read_u32(&r);
    h->len = read_u32(&r);
    h->type = read_u16(&r);
    h->op = read_u16(&r);
    h->flags = read_u32(&r);
    h->buf_alloc = read_u32(&r);
    h->fwd_cnt = read_u32(&r);
}

void vsock_header_encode(const struct vsock_header *h, uint8_t raw[VSOCK_HEADER_SIZE])
{
    struct writer w = writer_of(raw, VSOCK_HEADER_SIZE);
    write_u64(&w, h->src_cid);
    write_u64(&w, h->dst_cid);
    write_u32(&w, h->src_port);
    write_u32(&w, h->dst_port);
    write_u32(&w, h->len);
    write_u16(&w, h->type);
    write_u16(&w, h->op);
    write_u32(&w, h->flags);
    write_u32(&w, h->buf_alloc);
    write_u32(&w, h->fwd_cnt);
}

const char *vsock_op_name(uint16_t op)
{
    static const char *const names[] = {
        [VIRTIO_VSOCK_OP_INVALID] = "INVALID",
        [VIRTIO_VSOCK_OP_REQUEST] = "REQUEST",
        [VIRTIO_VSOCK_OP_RESPONSE] = "RESPONSE",
        [VIRTIO_VSOCK_OP_RST] = "RST",
        [VIRTIO_VSOCK_OP_SHUTDOWN] = "SHUTDOWN",
        [VIRTIO_VSOCK_OP_RW] = "RW",
        [VIRTIO_VSOCK_OP_CREDIT_UPDATE] = "CREDIT_UPDATE",
        [VIRTIO_VSOCK_OP_CREDIT_REQUEST] = "CREDIT_REQUEST",
    };
    return op < ARRAY_LEN(names) ? names[op] : "?";
}
