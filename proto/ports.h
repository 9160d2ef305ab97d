/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where host and guest meet over virtio-vsock. On the host a guest's port P is the Unix socket `<vsock path>`
 * after "CONNECT P\n", and a guest that connects to the host's port P arrives at the socket `<vsock path>_P`.
 * docs/protocol.md section 2.
 */
#ifndef CUBBY_PROTO_PORTS_H
#define CUBBY_PROTO_PORTS_H

#define PROTO_PORT_CONTROL 1024 /* on the host: PID 1 connects here once, when it can serve */
#define PROTO_PORT_AGENT   1025 /* in the guest: one connection per operation */

/* "CUBY" in memory; the first four bytes of every HELLO's payload. */
#define PROTO_MAGIC 0x59425543u

/* Versions of the protocol that this source speaks. */
#define PROTO_VERSION_MIN 1
#define PROTO_VERSION_MAX 1

#endif
