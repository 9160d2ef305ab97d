/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of a connection share: vsock_conn.c (its beginning, its end, and events of the host)
 * and vsock_conn_flow.c (packets, and what follows from a change). Nobody else includes it.
 */
#ifndef CUBBY_VIRTIO_VSOCK_CONN_PRIV_H
#define CUBBY_VIRTIO_VSOCK_CONN_PRIV_H

#include "virtio/vsock_conn.h"
#include "virtio/vsock_mux.h"
#include "virtio/vsock_stream.h"

#define VSOCK_BIT(op) (UINT32_C(1) << (op))
#define VSOCK_ASK_MS                                                                                         \
    20 /* until the first question for credit, when too many packets are in flight; doubles … */
#define VSOCK_ASK_MS_MAX 1000 /* … up to this */

/* Does all that follows from the flags of `c`. The last thing that is done with it: it may be gone
 * afterwards. */
void vsock_conn_settle(struct vsock_conn *c);

/* The guest has accepted a client's connection. May free `c`. */
void vsock_conn_opened(struct vsock_conn *c);
/* From here on only an RST is owed. May free `c`. */
void vsock_conn_bury(struct vsock_conn *c);
/* Sets the one timer. False, and the connection is aborted, when there is no memory for it: none may last
 * without a deadline that it should have. */
bool vsock_conn_arm(struct vsock_conn *c, uint32_t ms);
/* Leaves the round robin. */
void vsock_conn_unqueue(struct vsock_conn *c);

/* A client's wish that the guest has not heard of. */
bool vsock_conn_unborn(const struct vsock_conn *c);
/* The guest has closed, but the host has not yet taken all that it sent. */
bool vsock_conn_lingers(const struct vsock_conn *c);

#endif
