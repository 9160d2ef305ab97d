/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Output: a kick takes chains of the transmit queue and copies their bytes into the
 * port's ring; the ring is written to the sink at once as far as that takes them, the rest when epoll says
 * that it takes more. A full ring stops the taking: the chain stays half taken, the guest waits. Progress of
 * the sink lets it go on. For port 0 a timer runs meanwhile; when it ends without progress the ring starts to
 * drop its oldest bytes, because a kernel that waits for its console has stopped.
 *
 * Input: bytes are read straight into the guest's buffers, and only when it has one; without a buffer the
 * descriptor is not watched, so nothing spins and nothing needs to be stored. A hang-up is the one event that
 * epoll reports unasked and for ever: then the descriptor is not watched any more, and just read to its end.
 *
 * All of this is on the loop's thread. The callbacks of descriptors and timer touch the host's side only and
 * ask for a kick, so that every queue is served in one place.
 */
#include "virtio/console_priv.h"

#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TURN  (256 * 1024) /* bytes in one turn of one queue … */
#define CHAIN 64           /* … of which each chain costs this much at least */
#define CHUNK 4096         /* bytes copied at a time */

static struct vdev *dev_of(struct port *p)
{
    return &p->con->dev;
}

static uint64_t spend(uint64_t budget, uint64_t cost)
{
    return budget > cost ? budget - cost : 0;
}

/* --- Output: ring to sink --- */

static void output_progress(struct port *p)
{
    loop_timer_disarm(&p->stall);
    p->dropping = false;
    if (p->dropped)
        log_warn_limited(&dev_of(p)->faults, LOG_CONSOLE,
                         "port %u: %" PRIu64 " bytes of output were dropped because nothing read them", p->id,
                         p->dropped);
    p->dropped = 0;
}

/* The sink refused bytes: forget them. A full disk may have room again later; all else is for good. */
static void sink_failed(struct port *p, int error)
{
    log_warn_limited(&dev_of(p)->faults, LOG_CONSOLE, "port %u: output is lost: %s", p->id, strerror(-error));
    ring_drop(&p->out, ring_len(&p->out));
    output_progress(p);
    if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
        return;
    loop_remove(&p->out_source);
    fd_closep(&p->out_fd);
}

/* Writes what the sink takes; watches it while bytes are left. */
static void drain(struct port *p)
{
    while (ring_len(&p->out)) {
        ssize_t put = ring_drain_to(&p->out, p->out_fd);
        if (put == -EAGAIN)
            break;
        if (put < 0)
            sink_failed(p, (int)put);
        else
            output_progress(p);
    }
    if (p->out_source.loop)
        loop_modify(&p->out_source, ring_len(&p->out) ? EPOLLOUT : 0);
}

static void on_sink(struct loop_source *s, uint32_t events)
{
    struct port *p = CONTAINER_OF(s, struct port, out_source);
    struct vdev *d = dev_of(p);
    vdev_lock(d);
    drain(p);
    /* An error or hang-up is reported for ever; when no write met it, it ends the sink here. */
    if ((events & (EPOLLERR | EPOLLHUP)) && p->out_fd >= 0)
        sink_failed(p, -EPIPE);
    if (p->tx_busy)
        d->kick_later(d, port_tx_queue(p));
    vdev_unlock(d);
}

static void on_stall(struct loop_timer *t)
{
    struct port *p = CONTAINER_OF(t, struct port, stall);
    struct vdev *d = dev_of(p);
    vdev_lock(d);
    p->dropping = true;
    d->kick_later(d, port_tx_queue(p));
    vdev_unlock(d);
}

/* --- Output: queue to ring --- */

/* How many bytes may be taken from the guest now. */
static size_t room(struct port *p)
{
    if (p->out_fd < 0 || p->dropping)
        return CHUNK;
    if (ring_space(&p->out) == 0)
        drain(p);
    return p->out_fd < 0 ? CHUNK : ring_space(&p->out);
}

static void take(struct port *p, const void *data, size_t len)
{
    if (p->id == 0)
        ring_put_drop_oldest(&p->con->tail, data, len);
    if (p->out_fd >= 0)
        p->dropped += ring_put_drop_oldest(&p->out, data, len);
}

static void wait_for_sink(struct port *p)
{
    if (p->id != 0 || p->stall.loop)
        return;
    /* Without memory for a timer there is no patience. */
    if (loop_timer_arm(dev_of(p)->loop, &p->stall, p->con->stall_ms * NSEC_PER_MSEC, on_stall) < 0)
        p->dropping = true;
}

/* Takes the rest of the chain at hand; false when it has to wait, for the sink or for the next turn. */
static bool take_chain(struct port *p, uint64_t *budget)
{
    uint8_t chunk[CHUNK];
    while (p->tx_done < p->tx.out_len) {
        if (*budget == 0) {
            dev_of(p)->kick_later(dev_of(p), port_tx_queue(p));
            return false;
        }
        size_t len = room(p);
        if (len == 0) {
            wait_for_sink(p);
            return false;
        }
        len = len < sizeof(chunk) ? len : sizeof(chunk);
        len = virtq_read_out(&p->tx, p->tx_done, chunk, len);
        take(p, chunk, len);
        p->tx_done += len;
        *budget = spend(*budget, len);
    }
    return true;
}

static int take_chains(struct port *p)
{
    struct virtq *q = &dev_of(p)->vq[port_tx_queue(p)];
    uint64_t budget = TURN;
    do {
        virtq_disable_kicks(q);
        for (;;) {
            if (!p->tx_busy) {
                int ret = virtq_pop(q, &p->tx);
                if (ret < 0)
                    return ret;
                if (ret == 0)
                    break;
                p->tx_busy = true;
                p->tx_done = 0;
            }
            if (!take_chain(p, &budget))
                return 0;
            virtq_push(q, p->tx.head, 0);
            p->tx_busy = false;
            budget = spend(budget, CHAIN);
            if (budget == 0) {
                dev_of(p)->kick_later(dev_of(p), port_tx_queue(p));
                return 0;
            }
        }
    } while (virtq_enable_kicks(q));
    return 0;
}

int port_serve_tx(struct port *p)
{
    int ret = take_chains(p);
    drain(p);
    dev_of(p)->notify_queue(dev_of(p), port_tx_queue(p));
    return ret;
}

/* --- Input --- */

static void watch_input(struct port *p, uint32_t events)
{
    if (p->in_source.loop)
        loop_modify(&p->in_source, events);
}

static void on_input(struct loop_source *s, uint32_t events)
{
    struct port *p = CONTAINER_OF(s, struct port, in_source);
    struct vdev *d = dev_of(p);
    vdev_lock(d);
    if (events & (EPOLLHUP | EPOLLERR))
        loop_remove(&p->in_source);
    else
        watch_input(p, 0);
    d->kick_later(d, port_rx_queue(p));
    vdev_unlock(d);
}

static void input_ended(struct port *p)
{
    loop_remove(&p->in_source);
    fd_closep(&p->in_fd);
    /* A port cannot be half closed: the guest is told when neither direction is left. */
    if (p->out_fd < 0)
        control_want(p, WANT_OPEN);
}

/* Fills one buffer of the guest's: bytes, 0 when there is nothing to read now, or a negative errno. */
static ssize_t fill_buffer(struct port *p, struct virtq *q, struct virtq_chain *c, uint64_t max)
{
    struct iovec iov[VIRTQ_SIZE_MAX];
    if (c->in_len == 0)
        return -EPROTO;
    int n = virtq_slice_in(c, 0, max, iov);
    ssize_t got;
    do
        got = readv(p->in_fd, iov, n);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        virtq_push(q, c->head, (uint32_t)got);
        return got;
    }
    virtq_undo_pop(q);
    /* Nothing there, and something that will tell us when there is; else it is the end. */
    if (got < 0 && errno == EAGAIN && p->in_source.loop)
        watch_input(p, EPOLLIN);
    else
        input_ended(p);
    return 0;
}

static int fill_buffers(struct port *p)
{
    struct virtq *q = &dev_of(p)->vq[port_rx_queue(p)];
    uint64_t budget = TURN;
    do {
        virtq_disable_kicks(q);
        for (;;) {
            if (budget == 0) {
                dev_of(p)->kick_later(dev_of(p), port_rx_queue(p));
                return 0;
            }
            struct virtq_chain c;
            int ret = virtq_pop(q, &c);
            if (ret < 0)
                return ret;
            if (ret == 0)
                break;
            ssize_t got = fill_buffer(p, q, &c, budget);
            if (got <= 0)
                return (int)got;
            budget = spend(budget, (uint64_t)got + CHAIN);
        }
    } while (virtq_enable_kicks(q));
    return 0;
}

int port_serve_rx(struct port *p)
{
    /* Linux throws away what arrives for a port that nothing has open: keep it here until then. */
    if (p->in_fd < 0 || (multiport(p->con) && !p->guest_open))
        return 0;
    int ret = fill_buffers(p);
    dev_of(p)->notify_queue(dev_of(p), port_rx_queue(p));
    return ret;
}

/* --- Set-up --- */

/* May the file behind `fd` be opened anew? A pty's master may not: that makes another pty. */
static bool reopenable(int fd)
{
    struct stat st;
    unsigned number;
    if (fstat(fd, &st) < 0)
        return false;
    if (S_ISFIFO(st.st_mode))
        return true;
    return S_ISCHR(st.st_mode) && isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
}

/* Our own non-blocking copy of the caller's descriptor, or a negative errno. O_NONBLOCK belongs to the open
 * file, which the caller shares with others (a shell's terminal): open it anew where possible. */
static int copy_fd(int fd, int access)
{
    if (reopenable(fd)) {
        char path[40];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int opened = open(path, access | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (opened >= 0)
            return opened;
    }
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    int ret = fd_set_nonblock(copy, 1);
    if (ret < 0) {
        fd_closep(&copy);
        return ret;
    }
    return copy;
}

/* Registers a descriptor with the loop, quiet for now. Files cannot be watched (EPERM): they never wait. */
static int watch(struct port *p, struct loop_source *s, int fd, loop_fn *fn)
{
    int ret = loop_add(dev_of(p)->loop, s, fd, 0, fn);
    return ret == -EPERM ? 0 : ret;
}

static int set_up_output(struct port *p, int fd)
{
    p->out_fd = copy_fd(fd, O_WRONLY);
    if (p->out_fd < 0)
        return p->out_fd;
    int ret = ring_init(&p->out, CONSOLE_BUFFER);
    return ret < 0 ? ret : watch(p, &p->out_source, p->out_fd, on_sink);
}

static int set_up_input(struct port *p, int fd)
{
    p->in_fd = copy_fd(fd, O_RDONLY);
    return p->in_fd < 0 ? p->in_fd : watch(p, &p->in_source, p->in_fd, on_input);
}

int port_open(struct port *p, const struct console_port_config *cfg, struct err *e)
{
    p->in_fd = p->out_fd = -1;
    if (cfg->name) {
        size_t len = strlen(cfg->name);
        if (p->id == 0 || len == 0 || len > CONSOLE_NAME_MAX)
            return err_set(e, -EINVAL, "console port %u cannot have the name '%s': %s", p->id, cfg->name,
                           p->id == 0 ? "port 0 is the console" : "1 to 31 bytes are needed");
        memcpy(p->name, cfg->name, len + 1);
    }
    int ret = cfg->out_fd >= 0 ? set_up_output(p, cfg->out_fd) : 0;
    if (ret < 0)
        return err_set(e, ret, "console port %u: cannot use descriptor %d for output: %s", p->id, cfg->out_fd,
                       strerror(-ret));
    ret = cfg->in_fd >= 0 ? set_up_input(p, cfg->in_fd) : 0;
    if (ret < 0)
        return err_set(e, ret, "console port %u: cannot use descriptor %d for input: %s", p->id, cfg->in_fd,
                       strerror(-ret));
    return 0;
}

void port_close(struct port *p)
{
    /* A guest's last words are the ones that people look for. */
    while (p->out_fd >= 0 && !p->dropping && ring_len(&p->out)) {
        drain(p);
        struct pollfd wait = {.fd = p->out_fd, .events = POLLOUT};
        if (p->out_fd >= 0 && ring_len(&p->out) && poll(&wait, 1, (int)p->con->stall_ms) <= 0)
            break;
    }
    loop_timer_disarm(&p->stall);
    loop_remove(&p->out_source);
    loop_remove(&p->in_source);
    fd_closep(&p->out_fd);
    fd_closep(&p->in_fd);
    ring_fini(&p->out);
}

void port_reset(struct port *p)
{
    p->guest_open = false;
    p->wants = 0;
    p->tx_busy = false;
}
