/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that brings up a device by itself, register by register, in any order: the first byte chooses
 * between a disk and a console with two ports. Nothing is started for it.
 */
#include "tests/fuzz/guest.h"
#include "virtio/blk.h"
#include "virtio/console.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int disk_fd, null_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_configure("off");
    signal(SIGPIPE, SIG_IGN);
    disk_fd = memfd_create("disk", MFD_CLOEXEC);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    DRV_CHECK(disk_fd >= 0 && null_fd >= 0 && ftruncate(disk_fd, 1 << 20) == 0);
    return 0;
}

/* Places queue `i` and tells the device: more than a fuzzer finds by chance, and only if it comes in time. */
static void place_queue(struct guest *f, uint8_t op)
{
    unsigned i = op >> 4 & 7;
    if (i >= vmmio_queues(f->g.mmio) || f->g.next_gpa > GUEST_AREA - 0x1000)
        return;
    drv_queue_init(&f->g, &f->g.q[i], GUEST_QUEUE, op & 0x80);
    drv_queue_tell(&f->g, i);
}

static struct vdev *make_device(struct guest *f, uint8_t which)
{
    struct vdev *dev = NULL;
    struct console_config console = {
        .nports = 1 + (which >> 1) % CONSOLE_PORTS_MAX,
        .cols = which & 0x80,
        .port = {{null_fd, null_fd, NULL}, {null_fd, -1, "one"}, {-1, null_fd, NULL}},
    };
    struct blk_config blk = {.fd = disk_fd, .read_only = which & 2, .serial = "fuzz"};
    int ret = which & 1 ? console_create(&dev, &console, &f->g.mem, f->g.loop, NULL)
                        : blk_create(&dev, &blk, &f->g.mem, f->g.loop, NULL);
    DRV_CHECK(ret == 0);
    return dev;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest f = {.host = place_queue};
    if (size == 0)
        return 0;
    drv_open(&f.g);
    drv_attach(&f.g, make_device(&f, data[0]));
    guest_run(&f, data + 1, size - 1);
    drv_close(&f.g);
    return 0;
}
