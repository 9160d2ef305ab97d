/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line with which a host program asks for a port of the guest: "CONNECT <port>\n", at most VSOCK_LINE_MAX
 * bytes. The convention is Firecracker's and its clients', so a little more is taken than is asked for: the
 * word in any case, several blanks, blanks and a carriage return before the newline.
 *
 * The line may come in any pieces; the parser keeps what it has seen.
 */
#ifndef CUBBY_VIRTIO_VSOCK_CONNECT_H
#define CUBBY_VIRTIO_VSOCK_CONNECT_H

#include <stddef.h>
#include <stdint.h>

#define VSOCK_LINE_MAX 32 /* bytes, the newline included */

/* Zero-initialise. */
struct vsock_line {
    char text[VSOCK_LINE_MAX];
    size_t len;
};

/*
 * Takes bytes up to and including the newline, none behind it: *taken says how many (they belong to the line,
 * the rest is the stream's). Returns 1 with *port when the line is complete, 0 when more must come, -EPROTO
 * when it is no CONNECT line: then the client is to be dropped.
 */
int vsock_line_feed(struct vsock_line *l, const char *data, size_t len, size_t *taken, uint32_t *port);

#endif
