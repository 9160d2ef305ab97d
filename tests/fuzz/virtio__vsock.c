/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at the vsock device, and host programs that come and go. The input is a program: a byte
 * that says what happens, then its arguments. After each program the device is destroyed; sanitizers watch.
 */
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "tests/virtio/driver.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#include <sys/socket.h>

#define QUEUE     16
#define STEPS     200 /* per input: bounds the driver's memory */
#define SOCKETS   8
#define BUFFER    4096
#define DIAL_PORT 1024 /* there the host listens */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/cubby-fuzz-XXXXXX", path[64], dial_path[80];
static int listener;

struct input {
    const uint8_t *p, *end;
};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes && in->p < in->end; i++)
        v |= (uint64_t)*in->p++ << (8 * i);
    return v;
}

struct world {
    struct drv g;
    struct input in;
    int host[SOCKETS]; /* ends of host programs; -1: free */
};

static void remove_folder(void)
{
    unlink(dial_path);
    rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_configure("off");
    DRV_CHECK(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/v", dir);
    snprintf(dial_path, sizeof(dial_path), "%s_%d", path, DIAL_PORT);
    listener = unix_listen(dial_path, 4, NULL);
    DRV_CHECK(listener >= 0);
    atexit(remove_folder);
    return 0;
}

static int *socket_slot(struct world *w)
{
    int *fd = &w->host[take(&w->in, 1) % SOCKETS];
    fd_closep(fd);
    return fd;
}

/* Ports of few values, so that packets meet connections. */
static uint32_t port(struct world *w)
{
    uint8_t v = (uint8_t)take(&w->in, 1);
    return v < 128 ? DIAL_PORT + v % 4 : (UINT32_C(1) << 30) + v % 8;
}

static void packet(struct world *w)
{
    struct vsock_header h = {.src_cid = 3, .dst_cid = VSOCK_HOST_CID};
    uint8_t odd = (uint8_t)take(&w->in, 1);
    h.op = (uint16_t)(take(&w->in, 1) % 10);
    h.src_port = port(w);
    h.dst_port = port(w);
    h.type = odd & 1 ? (uint16_t)take(&w->in, 2) : VIRTIO_VSOCK_TYPE_STREAM;
    h.flags = (uint32_t)take(&w->in, 1);
    h.buf_alloc = odd & 2 ? (uint32_t)take(&w->in, 4) : 65536;
    h.fwd_cnt = odd & 4 ? (uint32_t)take(&w->in, 4) : 0;
    uint32_t len = (uint32_t)take(&w->in, 2) % BUFFER;
    h.len = odd & 8 ? (uint32_t)take(&w->in, 4) : len;
    if (odd & 16)
        h.src_cid = take(&w->in, 8);
    if (odd & 32)
        h.dst_cid = take(&w->in, 8);
    uint8_t raw[VSOCK_HEADER_SIZE];
    vsock_header_encode(&h, raw);
    struct drv_buf whole = drv_in(&w->g, VSOCK_HEADER_SIZE + len);
    memcpy(drv_ptr(&w->g, whole.gpa), raw, sizeof(raw));
    uint32_t cut = odd & 64 ? (uint32_t)take(&w->in, 2) % (whole.len + 1) : VSOCK_HEADER_SIZE;
    struct drv_buf b[] = {{.gpa = whole.gpa, .len = cut}, {.gpa = whole.gpa + cut, .len = whole.len - cut}};
    drv_add(&w->g.q[1], b, 2);
    drv_kick(&w->g, 1);
}

static void receive_buffer(struct world *w)
{
    struct drv_buf b[] = {drv_in(&w->g, (uint32_t)take(&w->in, 2) % BUFFER), drv_in(&w->g, BUFFER)};
    unsigned q = take(&w->in, 1) % 8 ? 0 : 2;
    drv_add(&w->g.q[q], b, 2);
    drv_kick(&w->g, q);
}

/* Any descriptor, any head or index, in any queue. */
static void raw_ring(struct world *w)
{
    struct drv_queue *q = &w->g.q[take(&w->in, 1) % 3];
    uint8_t what = (uint8_t)take(&w->in, 1);
    struct vring_desc d = {.addr = what & 1 ? take(&w->in, 8) : DRV_RAM_GPA + take(&w->in, 3)};
    d.len = (uint32_t)take(&w->in, what & 2 ? 4 : 1);
    d.flags = (uint16_t)take(&w->in, 1);
    d.next = (uint16_t)take(&w->in, 1);
    drv_desc(q, take(&w->in, 1) % QUEUE, d);
    if (what & 4)
        drv_post(q, (uint16_t)take(&w->in, 1) % (QUEUE + 1));
    if (what & 8)
        drv_publish(q, (uint16_t)take(&w->in, 2));
    drv_kick(&w->g, what % 3);
}

static void client(struct world *w)
{
    int *fd = socket_slot(w);
    char line[32];
    int len = snprintf(line, sizeof(line), "CONNECT %u\n", port(w));
    *fd = unix_connect(path, NULL);
    if (*fd >= 0 && send(*fd, line, (size_t)len, MSG_NOSIGNAL) < 0)
        fd_closep(fd);
}

static void host_acts(struct world *w)
{
    static char junk[16384];
    int fd = w->host[take(&w->in, 1) % SOCKETS];
    switch (take(&w->in, 1) % 4) {
    case 0:
        send(fd, junk, take(&w->in, 2) % sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 1:
        recv(fd, junk, sizeof(junk), MSG_DONTWAIT);
        break;
    case 2:
        shutdown(fd, take(&w->in, 1) % 3);
        break;
    case 3:
        while (send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            ;
        break;
    }
}

static void step(struct world *w)
{
    switch (take(&w->in, 1) % 10) {
    case 0:
    case 1:
        packet(w);
        break;
    case 2:
        receive_buffer(w);
        break;
    case 3:
        raw_ring(w);
        break;
    case 4:
        client(w);
        break;
    case 5:
        *socket_slot(w) = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case 6:
        host_acts(w);
        break;
    case 7:
        socket_slot(w); /* closes */
        break;
    case 8:
        if (drv_broken(&w->g) || take(&w->in, 1) % 8 == 0)
            drv_start(&w->g, 0, QUEUE);
        break;
    case 9:
        if (take(&w->in, 1) % 16 == 0)
            vsock_transport_reset(w->g.dev);
        break;
    }
    for (int i = 0; i < 4; i++)
        DRV_CHECK(loop_once(w->g.loop, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.in = {data, data + size}};
    for (int i = 0; i < SOCKETS; i++)
        w.host[i] = -1;
    drv_open(&w.g);
    struct vsock_limits limits = vsock_limits_default;
    limits.conns = 6;
    struct vsock_config cfg = {.path = path, .limits = &limits};
    struct vdev *dev;
    DRV_CHECK(vsock_create(&dev, &cfg, &w.g.mem, w.g.loop, NULL) == 0);
    drv_attach(&w.g, dev);
    drv_start(&w.g, size % 2 ? UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX : 0, QUEUE);
    for (int i = 0; i < STEPS && w.in.p < w.in.end; i++)
        step(&w);
    for (int i = 0; i < SOCKETS; i++)
        fd_closep(&w.host[i]);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        close(fd);
    drv_close(&w.g);
    return 0;
}
