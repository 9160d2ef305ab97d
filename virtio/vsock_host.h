/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of vsock: the listening Unix socket, the clients that have not finished their CONNECT line
 * yet, and the way to the listeners at `<path>_<port>`. Same thread and lock as the mux.
 */
#ifndef CUBBY_VIRTIO_VSOCK_HOST_H
#define CUBBY_VIRTIO_VSOCK_HOST_H

#include "virtio/vsock_connect.h"
#include "virtio/vsock_mux.h"

#include <sys/stat.h>
#include <sys/un.h>

#define VSOCK_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

struct vsock_client;
TAILQ_HEAD(vsock_clients, vsock_client);

struct vsock_host {
    struct vsock_mux *mux;
    char path[VSOCK_PATH_MAX + 1];
    int fd;    /* listens; -1 when closed */
    dev_t dev; /* which file bind() made at `path` … */
    ino_t ino; /* … so that no other is removed at the end */
    struct loop_source source;
    struct loop_timer pause; /* armed while accepting waits for descriptors */
    struct vsock_clients clients;
    struct log_limit refusals; /* of host clients; the guest's faults have a limit of their own */
};

/* Listens at `path` on mux->dev->loop. 0, or a negative errno with a text; then vsock_host_close() is not
 * needed. */
int vsock_host_listen(struct vsock_host *h, struct vsock_mux *m, const char *path, struct err *e);
/* Drops the waiting clients and removes the socket. Safe on a zeroed struct. */
void vsock_host_close(struct vsock_host *h);

/* For struct vsock_mux_ops: a non-blocking descriptor connected to `<path>_<port>`, or a negative errno;
 * -EAGAIN when its backlog is full. */
int vsock_host_dial(struct vsock_host *h, uint32_t port);

#endif
