/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at a console with three ports that is up, and a world that writes, reads, and closes the
 * other ends whenever it likes.
 */
#include "base/io.h"
#include "base/own.h"
#include "tests/fuzz/guest.h"
#include "virtio/console.h"

#include <linux/virtio_console.h>
#include <signal.h>
#include <sys/socket.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS CONSOLE_PORTS_MAX

/* A socket pair per port: ours, the console's. */
struct world {
    int ours[PORTS];
    struct vdev *dev;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_configure("off");
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static void send_control(struct guest *f)
{
    struct virtio_console_control c = {.id = (uint32_t)guest_take(f, 1) % 4,
                                       .event = (uint16_t)(guest_take(f, 1) % 9),
                                       .value = (uint16_t)(guest_take(f, 1) % 2)};
    struct drv_buf b = {GUEST_AREA, sizeof(c), false};
    if (vmmio_queues(f->g.mmio) < 4 || !f->g.q[3].size)
        return;
    memcpy(drv_ptr(&f->g, GUEST_AREA), &c, sizeof(c));
    drv_add(&f->g.q[3], &b, 1);
    drv_kick(&f->g, 3);
}

static void host(struct guest *f, uint8_t op)
{
    struct world *w = f->arg;
    int *fd = &w->ours[(op >> 6) % PORTS];
    char buf[4096] = "input";
    ssize_t ignored = 0;
    switch (op >> 4 & 3) {
    case 0:
        send_control(f);
        break;
    case 1:
        if (*fd >= 0)
            ignored = write(*fd, buf, (size_t)guest_take(f, 1));
        break;
    case 2:
        if (*fd >= 0)
            ignored = read(*fd, buf, sizeof(buf));
        break;
    case 3:
        if ((op & 15) == 11)
            shutdown(*fd, SHUT_WR);
        else if ((op & 15) == 12)
            fd_closep(fd);
        else if ((op & 15) == 13)
            console_resize(w->dev, (uint16_t)guest_take(f, 2), (uint16_t)guest_take(f, 2));
        else
            console_tail(w->dev, buf, (size_t)guest_take(f, 1));
        break;
    }
    (void)ignored;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;
    struct guest f = {.host = host, .arg = &w};
    if (size == 0)
        return 0;
    struct console_config cfg = {.nports = 1 + data[0] % PORTS, .cols = data[0] & 0x40, .stall_ms = 1};
    int theirs[PORTS];
    for (unsigned i = 0; i < PORTS; i++) {
        int pair[2];
        DRV_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        w.ours[i] = pair[0];
        theirs[i] = pair[1];
        cfg.port[i] = (struct console_port_config){pair[1], pair[1], i == 1 ? "one" : NULL};
    }
    drv_open(&f.g);
    DRV_CHECK(console_create(&w.dev, &cfg, &f.g.mem, f.g.loop, NULL) == 0);
    drv_attach(&f.g, w.dev);
    drv_start(&f.g, drv_offered(&f.g), GUEST_QUEUE);
    guest_run(&f, data + 1, size - 1);
    drv_close(&f.g);
    for (unsigned i = 0; i < PORTS; i++) {
        fd_closep(&w.ours[i]);
        fd_closep(&theirs[i]);
    }
    return 0;
}
