/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile guest at a disk that is up: requests made well enough to be carried out, and raw rings. */
#include "tests/fuzz/guest.h"
#include "virtio/blk.h"

#include <linux/virtio_blk.h>
#include <sys/mman.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_SIZE (256 * 1024)

static int disk_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_configure("off");
    disk_fd = memfd_create("disk", MFD_CLOEXEC);
    DRV_CHECK(disk_fd >= 0);
    return 0;
}

/* A request with a header that makes sense: type, sector, and pieces as the input says. */
static void make_request(struct guest *f, uint8_t op)
{
    struct virtio_blk_outhdr h = {.type = op >> 4, .sector = guest_take(f, 2)};
    if (op & 0x80) {
        h.type = VIRTIO_BLK_T_WRITE_ZEROES;
        h.sector = 0;
    }
    uint8_t shape = (uint8_t)guest_take(f, 1);
    gpa_t at = GUEST_AREA + guest_take(f, 2);
    uint32_t cut = shape & 15;
    memcpy(drv_ptr(&f->g, GUEST_AREA), &h, sizeof(h));
    struct drv_buf b[] = {
        {GUEST_AREA, cut, false},
        {GUEST_AREA + cut, (uint32_t)sizeof(h) - cut, false},
        {at, (uint32_t)guest_take(f, 2), shape & 0x10},
        {at, (uint32_t)guest_take(f, 2), shape & 0x20},
        {GUEST_AREA + 0x20000, 1, true},
    };
    drv_add(&f->g.q[0], b, 5);
    drv_kick(&f->g, 0);
}

static void host(struct guest *f, uint8_t op)
{
    if ((op & 15) == 15) /* somebody changes the image meanwhile */
        DRV_CHECK(ftruncate(disk_fd, (off_t)(guest_take(f, 1) * 1024)) == 0);
    else
        make_request(f, op);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct guest f = {.host = host};
    struct vdev *dev;
    if (size == 0)
        return 0;
    struct blk_config cfg = {.fd = disk_fd, .read_only = data[0] & 1, .serial = "fuzz"};
    DRV_CHECK(ftruncate(disk_fd, DISK_SIZE) == 0);
    drv_open(&f.g);
    DRV_CHECK(blk_create(&dev, &cfg, &f.g.mem, f.g.loop, NULL) == 0);
    drv_attach(&f.g, dev);
    drv_start(&f.g, drv_offered(&f.g) & ~(uint64_t)(data[0] & 2 ? 1 << VIRTIO_BLK_F_FLUSH : 0), GUEST_QUEUE);
    guest_run(&f, data + 1, size - 1);
    drv_close(&f.g);
    return 0;
}
