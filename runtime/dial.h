/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a connection to a port in the guest: "CONNECT <port>\n" goes out, "OK <n>\n" comes back.
 */
#ifndef CUBBY_RUNTIME_DIAL_H
#define CUBBY_RUNTIME_DIAL_H

/* Takes the VMM's "OK <n>\n" from the socket, without waiting. 1 when it was there, 0 when more must come,
 * -EPROTO for anything else, -ECONNREFUSED when the connection was ended instead, or another negative errno.
 */
int dial_take_ok(int fd);

#endif
