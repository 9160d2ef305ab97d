/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each accepted client has a deadline for its CONNECT line. What follows the line
 * belongs to the stream and must not be taken out of the socket, so bytes are looked at first (MSG_PEEK) and
 * only those of the line are read. With the line complete the descriptor moves on to the mux.
 *
 * When the process has no descriptors left, accept() fails and the socket stays readable: accepting then
 * pauses for a moment instead of spinning. When all slots are taken, a client is accepted and closed, so that
 * it learns it at once.
 */
#include "virtio/vsock_host.h"

#include "base/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG      1024 /* the kernel lowers it to net.core.somaxconn */
#define ACCEPT_BATCH 64   /* clients per event, so that others have their turn */
#define PAUSE_MS     50   /* without descriptors */

struct vsock_client {
    struct vsock_host *host;
    TAILQ_ENTRY(vsock_client) link;
    int fd; /* owned; uses a slot of the mux */
    struct loop_source source;
    struct loop_timer deadline;
    struct vsock_line line;
};

/* Ends the wait; returns the descriptor, whose slot goes with it. */
static int client_end(struct vsock_client *c)
{
    int fd = c->fd;
    loop_remove(&c->source);
    loop_timer_disarm(&c->deadline);
    TAILQ_REMOVE(&c->host->clients, c, link);
    free(c);
    return fd;
}

static void client_drop(struct vsock_client *c)
{
    struct vsock_mux *m = c->host->mux;
    int fd = client_end(c);
    close(fd);
    vsock_mux_give_slot(m);
}

/* Reads a part of the line. 1 with the port, 0 when more must come, or a negative errno: drop the client. */
static int client_read(struct vsock_client *c, uint32_t *port)
{
    char buf[VSOCK_LINE_MAX];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    size_t taken = 0;
    int ret = vsock_line_feed(&c->line, buf, (size_t)n, &taken, port);
    if (recv(c->fd, buf, taken, MSG_DONTWAIT) != (ssize_t)taken)
        return -EIO;
    return ret;
}

static void client_readable(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct vsock_client *c = CONTAINER_OF(s, struct vsock_client, source);
    struct vsock_host *h = c->host;
    struct vsock_mux *m = h->mux;
    vsock_mux_enter(m, NULL);
    uint32_t port = 0;
    int ret = client_read(c, &port);
    if (ret == -EPROTO)
        log_warn_limited(&h->refusals, LOG_VSOCK, "%s: a client sent no 'CONNECT <port>' line", h->path);
    if (ret < 0) {
        client_drop(c);
    } else if (ret > 0) {
        ret = vsock_mux_open(m, client_end(c), port);
        if (ret < 0)
            log_warn_limited(&h->refusals, LOG_VSOCK, "%s: cannot serve a client: %s", h->path,
                             strerror(-ret));
    }
    vsock_mux_leave(m);
}

static void client_late(struct loop_timer *t)
{
    struct vsock_client *c = CONTAINER_OF(t, struct vsock_client, deadline);
    struct vsock_mux *m = c->host->mux;
    vsock_mux_enter(m, NULL);
    client_drop(c);
    vsock_mux_leave(m);
}

/* Takes `fd` and a slot over. */
static int client_add(struct vsock_host *h, int fd)
{
    struct vsock_mux *m = h->mux;
    struct vsock_client *c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        vsock_mux_give_slot(m);
        return -ENOMEM;
    }
    c->host = h;
    c->fd = fd;
    TAILQ_INSERT_TAIL(&h->clients, c, link);
    int ret = loop_add(m->dev->loop, &c->source, fd, EPOLLIN, client_readable);
    if (ret == 0)
        ret = loop_timer_arm(m->dev->loop, &c->deadline, m->limits.line_ms * NSEC_PER_MSEC, client_late);
    if (ret < 0)
        client_drop(c);
    return ret;
}

/* --- The listening socket --- */

static void accept_again(struct loop_timer *t)
{
    struct vsock_host *h = CONTAINER_OF(t, struct vsock_host, pause);
    loop_modify(&h->source, EPOLLIN);
}

static void accept_pause(struct vsock_host *h, int err)
{
    log_warn_limited(&h->refusals, LOG_VSOCK, "%s: cannot accept clients: %s", h->path, strerror(err));
    if (loop_timer_arm(h->mux->dev->loop, &h->pause, PAUSE_MS * NSEC_PER_MSEC, accept_again) == 0)
        loop_modify(&h->source, 0);
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct vsock_host *h)
{
    int fd = accept4(h->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            accept_pause(h, errno);
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (!vsock_mux_take_slot(h->mux)) {
        log_warn_limited(&h->refusals, LOG_VSOCK, "%s: all %u connections are in use: a client is refused",
                         h->path, h->mux->limits.conns);
        close(fd);
        return true;
    }
    int ret = client_add(h, fd);
    if (ret < 0)
        log_warn_limited(&h->refusals, LOG_VSOCK, "%s: cannot serve a client: %s", h->path, strerror(-ret));
    return true;
}

static void clients_wait(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct vsock_host *h = CONTAINER_OF(s, struct vsock_host, source);
    vsock_mux_enter(h->mux, NULL);
    for (int i = 0; i < ACCEPT_BATCH && accept_one(h); i++)
        ;
    vsock_mux_leave(h->mux);
}

int vsock_host_listen(struct vsock_host *h, struct vsock_mux *m, const char *path, struct err *e)
{
    *h = (struct vsock_host){.mux = m, .fd = -1};
    TAILQ_INIT(&h->clients);
    CLEANUP(fd_closep) int fd = unix_listen(path, BACKLOG, e);
    if (fd < 0)
        return fd;
    /* unix_listen() has checked the length. */
    memcpy(h->path, path, strlen(path) + 1);
    struct stat st;
    if (lstat(path, &st) < 0)
        return err_sys(e, "cannot find the socket '%s' just made", path);
    h->dev = st.st_dev;
    h->ino = st.st_ino;
    int ret = loop_add(m->dev->loop, &h->source, fd, EPOLLIN, clients_wait);
    if (ret < 0) {
        unlink(path);
        return err_set(e, ret, "cannot watch the socket '%s': %s", path, strerror(-ret));
    }
    h->fd = STEAL_FD(fd);
    return 0;
}

void vsock_host_close(struct vsock_host *h)
{
    if (!h->mux || h->fd < 0)
        return;
    struct vsock_client *c;
    while ((c = TAILQ_FIRST(&h->clients)))
        client_drop(c);
    loop_timer_disarm(&h->pause);
    loop_remove(&h->source);
    fd_closep(&h->fd);
    struct stat st;
    if (lstat(h->path, &st) == 0 && st.st_dev == h->dev && st.st_ino == h->ino)
        unlink(h->path);
}

/* --- Towards the host's listeners --- */

int vsock_host_dial(struct vsock_host *h, uint32_t port)
{
    char path[VSOCK_PATH_MAX + 1];
    int len = snprintf(path, sizeof(path), "%s_%u", h->path, port);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        log_warn_limited(&h->mux->dev->faults, LOG_VSOCK,
                         "'%s_%u' is too long for a Unix socket: the guest cannot connect to port %u",
                         h->path, port, port);
        return -ENAMETOOLONG;
    }
    return unix_connect(path, NULL);
}
