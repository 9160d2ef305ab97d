/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of a vsock connection: bytes between guest memory and a Unix socket that may be slow, half
 * closed or gone. These functions keep the connection's flags true (readable, in_ended, out_ended …); what
 * follows from them for the guest is decided in vsock_conn.c.
 */
#ifndef CUBBY_VIRTIO_VSOCK_STREAM_H
#define CUBBY_VIRTIO_VSOCK_STREAM_H

#include "virtio/vsock_conn.h"

/* Bytes of the guest, for the host: written straight from guest memory while the host keeps up, else kept. 0,
 * -ENOBUFS when the guest had no credit for them, or -ENOMEM. */
int vsock_stream_write(struct vsock_conn *c, const struct vsock_pieces *data);
/* The host's socket takes bytes again. */
void vsock_stream_drain(struct vsock_conn *c);
/* Reads as much as fits into the room and the guest's credit, straight into guest memory. Returns how much.
 */
uint32_t vsock_stream_read(struct vsock_conn *c, const struct vsock_pieces *room);
/* Hands the guest's SHUTDOWN flags on to the host: SEND not before its last byte. */
void vsock_stream_shut(struct vsock_conn *c);
/* What epoll reported besides room for writing. */
void vsock_stream_event(struct vsock_conn *c, uint32_t events);
/* Asks epoll for what can be used now, and for nothing else, so that the loop sleeps when nothing can be
 * done. */
void vsock_stream_watch(struct vsock_conn *c);
/* Closes the socket and frees the buffer. Safe when it is done already. */
void vsock_stream_close(struct vsock_conn *c);

#endif
