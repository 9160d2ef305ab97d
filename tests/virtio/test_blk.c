/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk over real files: requests in every shape, refusals by status, hostile chains, and what may be
 * wrong with an image. "case_N" in a name is the number in the project's list of hostile-guest cases
 * (docs/threat-model.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/virtio/driver.h"
#include "virtio/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/virtio/faults.h"

#define BIT64(n)  (UINT64_C(1) << (n))
#define SECTORS   128
#define DISK_SIZE (SECTORS * 512)
#define QUEUE     64
#define NO_STATUS 0xee

#define RW_FEATURES                                                                                          \
    (BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) |                \
     BIT64(VIRTIO_BLK_F_DISCARD) | BIT64(VIRTIO_BLK_F_WRITE_ZEROES))
#define RO_FEATURES                                                                                          \
    (BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) |                \
     BIT64(VIRTIO_BLK_F_RO))

struct rig {
    struct drv g;
    char path[64];
    int fd; /* our own view of the image */
    uint32_t used_len;
};

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at / 512 * 7 + at % 251 + 1);
}

static void make_image(struct rig *r)
{
    uint8_t data[DISK_SIZE];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = pattern(i);
    snprintf(r->path, sizeof(r->path), "/tmp/cubby-test-blk-XXXXXX");
    r->fd = mkstemp(r->path);
    assert_true(r->fd >= 0);
    assert_int_equal(write_full(r->fd, data, sizeof(data)), 0);
}

static void start(struct rig *r, const struct blk_config *cfg, uint64_t features)
{
    struct vdev *dev;
    struct err e = {0};
    if (blk_create(&dev, cfg, &r->g.mem, r->g.loop, &e) < 0)
        fail_msg("%s", e.text);
    drv_attach(&r->g, dev);
    drv_start(&r->g, features, QUEUE);
}

static void start_rw(struct rig *r)
{
    start(r, &(struct blk_config){.path = r->path, .serial = "serial-0123456789ab"}, RW_FEATURES);
}

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    if (!r)
        return -1;
    drv_open(&r->g);
    make_image(r);
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    if (r->g.mmio)
        drv_close(&r->g);
    else {
        loop_destroy(r->g.loop);
        close(r->g.irq_fd);
        free(r->g.ram);
        free(r->g.high);
    }
    unlink(r->path);
    close(r->fd);
    free(r);
    return 0;
}

/* --- Requests --- */

static struct drv_buf header(struct rig *r, uint32_t type, uint64_t sector)
{
    struct virtio_blk_outhdr h = {.type = type, .sector = sector};
    return drv_out(&r->g, &h, sizeof(h));
}

/* Sends a chain, whose last byte is the status, and waits: the status, or NO_STATUS when nothing came. */
static uint8_t send(struct rig *r, const struct drv_buf *b, unsigned n)
{
    const struct drv_buf *last = &b[n - 1];
    uint8_t *status = (uint8_t *)drv_ptr(&r->g, last->gpa) + last->len - 1;
    uint32_t id;
    *status = NO_STATUS;
    uint16_t head = drv_add(&r->g.q[0], b, n);
    drv_kick(&r->g, 0);
    drv_spin(&r->g);
    r->used_len = UINT32_MAX;
    if (!drv_used(&r->g.q[0], &id, &r->used_len))
        return NO_STATUS;
    assert_int_equal(id, head);
    return *status;
}

static uint8_t request(struct rig *r, uint32_t type, uint64_t sector, struct drv_buf data)
{
    struct drv_buf b[] = {header(r, type, sector), data, drv_in(&r->g, 1)};
    return send(r, b, 3);
}

static uint8_t request_plain(struct rig *r, uint32_t type)
{
    struct drv_buf b[] = {header(r, type, 0), drv_in(&r->g, 1)};
    return send(r, b, 2);
}

static void assert_disk_is_pattern(struct rig *r, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at++) {
        uint8_t byte;
        assert_int_equal(pread(r->fd, &byte, 1, (off_t)at), 1);
        assert_int_equal(byte, pattern(at));
    }
}

static void assert_disk_is_zero(struct rig *r, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at++) {
        uint8_t byte = 1;
        assert_int_equal(pread(r->fd, &byte, 1, (off_t)at), 1);
        assert_int_equal(byte, 0);
    }
}

static void what_is_read_is_on_the_disk(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct drv_buf data = drv_in(&r->g, 3 * 512);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 5, data), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 3 * 512 + 1);
    const uint8_t *got = drv_ptr(&r->g, data.gpa);
    for (unsigned i = 0; i < data.len; i++)
        assert_int_equal(got[i], pattern(5 * 512 + i));
}

static void what_is_written_is_on_the_disk_and_nothing_else_changes(void **state)
{
    struct rig *r = *state;
    uint8_t data[1024], back[1024];
    start_rw(r);
    memset(data, 0x5a, sizeof(data));
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 10, drv_out(&r->g, data, sizeof(data))), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 1);
    assert_int_equal(pread_full(r->fd, back, sizeof(back), 10 * 512), 0);
    assert_memory_equal(data, back, sizeof(data));
    assert_disk_is_pattern(r, 0, 10 * 512);
    assert_disk_is_pattern(r, 12 * 512, DISK_SIZE);
}

static void the_last_sector_can_be_used(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, SECTORS - 1, drv_in(&r->g, 512)), VIRTIO_BLK_S_OK);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 0, drv_in(&r->g, DISK_SIZE)), VIRTIO_BLK_S_OK);
}

/* Cuts [at, at + len) into pieces of `step` bytes. */
static unsigned cut(struct drv_buf *b, struct drv_buf whole, uint32_t step)
{
    unsigned n = 0;
    for (uint32_t at = 0; at < whole.len; at += step)
        b[n++] = (struct drv_buf){.gpa = whole.gpa + at,
                                  .len = whole.len - at < step ? whole.len - at : step,
                                  .write = whole.write};
    return n;
}

static void header_data_and_status_may_be_cut_anywhere(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    static const uint32_t steps[] = {17, 31, 100, 511, 512, 513, 528, 1000, 1041, 4096};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct drv_buf b[QUEUE];
        struct {
            struct virtio_blk_outhdr h;
            uint8_t data[512];
        } out = {.h = {.type = VIRTIO_BLK_T_OUT, .sector = i}};
        memset(out.data, (int)i, sizeof(out.data));
        unsigned n = cut(b, drv_out(&r->g, &out, sizeof(out)), steps[i]);
        b[n++] = drv_in(&r->g, 1);
        assert_int_equal(send(r, b, n), VIRTIO_BLK_S_OK);
        /* Header in one piece, data and status together cut as they come. */
        struct drv_buf in = drv_in(&r->g, 513);
        b[0] = header(r, VIRTIO_BLK_T_IN, i);
        n = 1 + cut(b + 1, in, steps[i]);
        assert_int_equal(send(r, b, n), VIRTIO_BLK_S_OK);
        assert_int_equal(r->used_len, 513);
        assert_memory_equal(drv_ptr(&r->g, in.gpa), out.data, 512);
    }
    /* The header alone, byte by byte. */
    struct drv_buf b[QUEUE];
    unsigned n = cut(b, header(r, VIRTIO_BLK_T_IN, 100), 1);
    b[n++] = drv_in(&r->g, 512);
    b[n++] = drv_in(&r->g, 1);
    assert_int_equal(send(r, b, n), VIRTIO_BLK_S_OK);
    assert_int_equal(*(uint8_t *)drv_ptr(&r->g, b[n - 2].gpa), pattern(100 * 512));
}

static void a_request_without_data_is_fine(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    assert_int_equal(request_plain(r, VIRTIO_BLK_T_IN), VIRTIO_BLK_S_OK);
    assert_int_equal(request_plain(r, VIRTIO_BLK_T_OUT), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 1);
}

static void flush_succeeds(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    assert_int_equal(request_plain(r, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 1);
}

static void without_flush_taken_writes_still_succeed(void **state)
{
    struct rig *r = *state;
    start(r, &(struct blk_config){.path = r->path}, 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 0, drv_in(&r->g, 0)), VIRTIO_BLK_S_OK);
    uint8_t data[512] = {1, 2, 3}, back[512];
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 3, drv_out(&r->g, data, 512)), VIRTIO_BLK_S_OK);
    assert_int_equal(pread_full(r->fd, back, 512, 3 * 512), 0);
    assert_memory_equal(data, back, 512);
}

static void the_serial_number_is_told(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct drv_buf data = drv_in(&r->g, 20);
    assert_int_equal(request(r, VIRTIO_BLK_T_GET_ID, 0, data), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 21);
    assert_memory_equal(drv_ptr(&r->g, data.gpa), "serial-0123456789ab\0", 20);
    /* Less room: a part of it. More room: the rest stays the driver's, and is not counted. */
    data = drv_in(&r->g, 6);
    assert_int_equal(request(r, VIRTIO_BLK_T_GET_ID, 0, data), VIRTIO_BLK_S_OK);
    assert_memory_equal(drv_ptr(&r->g, data.gpa), "serial", 6);
    assert_int_equal(request(r, VIRTIO_BLK_T_GET_ID, 0, drv_in(&r->g, 64)), VIRTIO_BLK_S_OK);
    assert_int_equal(r->used_len, 20);
}

static void unknown_requests_are_unsupported(void **state)
{
    struct rig *r = *state;
    static const uint32_t types[] = {2, 3, 5, 7, 9, 12, 14, 15, 16, 0x80000000, UINT32_MAX};
    start_rw(r);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_int_equal(request(r, types[i], 0, drv_in(&r->g, 512)), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(r->used_len, 0); /* the data was not filled */
    }
    assert_false(drv_broken(&r->g));
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

static void event_idx_works_with_many_requests(void **state)
{
    struct rig *r = *state;
    start(r, &(struct blk_config){.path = r->path}, RW_FEATURES | BIT64(VIRTIO_RING_F_EVENT_IDX));
    struct drv_buf b[] = {header(r, VIRTIO_BLK_T_IN, 1), drv_in(&r->g, 512), drv_in(&r->g, 1)};
    for (int round = 0; round < 100; round++) {
        uint16_t old = r->g.q[0].avail_idx;
        for (int i = 0; i < 20; i++)
            drv_add(&r->g.q[0], b, 3);
        assert_true(drv_must_kick(&r->g.q[0], old));
        drv_set_used_event(&r->g.q[0], (uint16_t)(old + 19));
        drv_irqs(&r->g);
        drv_kick(&r->g, 0);
        drv_spin(&r->g);
        assert_int_equal(drv_irqs(&r->g), 1);
        for (int i = 0; i < 20; i++)
            assert_true(drv_used(&r->g.q[0], NULL, NULL));
    }
}

/* --- Configuration --- */

static void the_configuration_describes_the_disk(void **state)
{
    struct rig *r = *state;
    struct virtio_blk_config c = {0};
    start_rw(r);
    assert_true((drv_offered(&r->g) & 0xffffff) == RW_FEATURES);
    for (uint32_t at = 0; at < 60; at += 4)
        vmmio_read(r->g.mmio, 0x100 + at, (uint8_t *)&c + at, 4);
    assert_int_equal(c.capacity, SECTORS);
    assert_int_equal(c.seg_max, 254);
    assert_int_equal(c.blk_size, 512);
    assert_int_equal(c.max_discard_sectors, 1 << 21);
    assert_int_equal(c.max_discard_seg, 16);
    assert_int_equal(c.discard_sector_alignment, 8);
    assert_int_equal(c.max_write_zeroes_sectors, 1 << 21);
    assert_int_equal(c.max_write_zeroes_seg, 16);
    assert_int_equal(c.write_zeroes_may_unmap, 1);
}

static void a_read_only_disk_says_so_and_takes_no_write_case_25(void **state)
{
    struct rig *r = *state;
    uint8_t data[512] = {0};
    /* The driver may leave the feature out (case 23): that changes nothing. */
    for (int take = 0; take < 2; take++) {
        start(r, &(struct blk_config){.path = r->path, .read_only = true},
              take ? RO_FEATURES : BIT64(VIRTIO_BLK_F_FLUSH));
        assert_true((drv_offered(&r->g) & 0xffffff) == RO_FEATURES);
        assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 1, drv_out(&r->g, data, 512)), VIRTIO_BLK_S_IOERR);
        assert_int_equal(r->used_len, 1);
        assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, data, 16)), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(request(r, VIRTIO_BLK_T_WRITE_ZEROES, 0, drv_out(&r->g, data, 16)),
                         VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(request_plain(r, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_OK);
        assert_int_equal(request(r, VIRTIO_BLK_T_IN, 1, drv_in(&r->g, 512)), VIRTIO_BLK_S_OK);
        drv_close(&r->g);
        drv_open(&r->g);
    }
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

/* The descriptor that the caller gave would allow it. */
static void a_read_only_disk_on_a_writable_descriptor_takes_no_write_case_25(void **state)
{
    struct rig *r = *state;
    uint8_t data[512] = {0};
    start(r, &(struct blk_config){.fd = r->fd, .read_only = true}, RO_FEATURES);
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 1, drv_out(&r->g, data, 512)), VIRTIO_BLK_S_IOERR);
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

/* --- Refusals --- */

static void requests_past_the_end_fail_case_25(void **state)
{
    struct rig *r = *state;
    static const struct {
        uint64_t sector;
        uint32_t len;
    } bad[] = {
        {SECTORS, 512},
        {SECTORS - 1, 1024},
        {0, DISK_SIZE + 512},
        {SECTORS + 1, 0},
        {UINT64_MAX, 512},           /* sector + 1 wraps */
        {UINT64_MAX / 512, 512},     /* the byte offset wraps */
        {UINT64_MAX / 512 + 1, 512}, /* … to 0 */
        {UINT64_C(1) << 55, 512},    /* … to 0 */
        {UINT64_C(0x7fffffffffffffff), 512},
        {UINT64_MAX - 1, 1024},
    };
    start_rw(r);
    struct drv_buf in = drv_in(&r->g, DISK_SIZE + 512), out = in;
    uint8_t *guest = drv_ptr(&r->g, in.gpa);
    out.write = false;
    memset(guest, 0x77, in.len);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        in.len = out.len = bad[i].len;
        assert_int_equal(request(r, VIRTIO_BLK_T_IN, bad[i].sector, in), VIRTIO_BLK_S_IOERR);
        assert_int_equal(r->used_len, bad[i].len ? 0 : 1);
        assert_int_equal(request(r, VIRTIO_BLK_T_OUT, bad[i].sector, out), VIRTIO_BLK_S_IOERR);
    }
    for (unsigned i = 0; i < DISK_SIZE; i++)
        assert_int_equal(guest[i], 0x77);
    assert_disk_is_pattern(r, 0, DISK_SIZE);
    struct stat st;
    assert_int_equal(fstat(r->fd, &st), 0);
    assert_int_equal(st.st_size, DISK_SIZE);
}

static void lengths_that_are_no_sectors_fail_case_25(void **state)
{
    struct rig *r = *state;
    static const uint32_t bad[] = {1, 511, 513, 1023};
    start_rw(r);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(request(r, VIRTIO_BLK_T_IN, 0, drv_in(&r->g, bad[i])), VIRTIO_BLK_S_IOERR);
        struct drv_buf out = drv_in(&r->g, bad[i]);
        out.write = false;
        assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 0, out), VIRTIO_BLK_S_IOERR);
    }
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

static void a_huge_length_fails_without_any_allocation_case_13(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct drv_buf b[QUEUE];
    unsigned n = 0;
    b[n++] = header(r, VIRTIO_BLK_T_IN, 0);
    while (n < 50) /* 48 times the same 4 MiB */
        b[n++] = (struct drv_buf){.gpa = DRV_RAM_GPA, .len = DRV_RAM_SIZE, .write = true};
    b[n++] = drv_in(&r->g, 1);
    assert_int_equal(send(r, b, n), VIRTIO_BLK_S_IOERR);
    assert_int_equal(r->used_len, 0);
}

static void expect_fault(struct rig *r, const struct drv_buf *b, unsigned n)
{
    drv_add(&r->g.q[0], b, n);
    drv_kick(&r->g, 0);
    drv_spin(&r->g);
    assert_true(drv_broken(&r->g));
    assert_int_equal(drv_used_idx(&r->g.q[0]), 0);
    drv_start(&r->g, RW_FEATURES, QUEUE);
}

static void chains_without_room_for_header_or_status_are_faults_case_15(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct drv_buf h = header(r, VIRTIO_BLK_T_IN, 0), in = drv_in(&r->g, 513), status = drv_in(&r->g, 1);
    struct drv_buf status_out = drv_out(&r->g, "", 1), empty = drv_in(&r->g, 0);
    expect_fault(r, &h, 1);                                /* no status */
    expect_fault(r, (struct drv_buf[]){h, status_out}, 2); /* the status is not ours to write */
    expect_fault(r, (struct drv_buf[]){h, empty}, 2);      /* a status of no bytes */
    expect_fault(r, &in, 1);                               /* no header */
    h.len = 15;
    expect_fault(r, (struct drv_buf[]){h, in, status}, 3); /* a short one */
    h.write = true;
    expect_fault(r, (struct drv_buf[]){h, in, status}, 3); /* written, not read */
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 0, in = drv_in(&r->g, 512)), VIRTIO_BLK_S_OK);
}

static void ring_faults_break_the_device_and_not_the_vmm_case_1_to_6(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    drv_desc(&r->g.q[0], 0, (struct vring_desc){.flags = VRING_DESC_F_NEXT, .next = 0});
    drv_post(&r->g.q[0], 0);
    drv_kick(&r->g, 0);
    drv_spin(&r->g);
    assert_true(drv_broken(&r->g));
    drv_start(&r->g, RW_FEATURES, QUEUE);
    drv_publish(&r->g.q[0], 1000);
    drv_kick(&r->g, 0);
    drv_spin(&r->g);
    assert_true(drv_broken(&r->g));
    drv_start(&r->g, RW_FEATURES, QUEUE);
    struct drv_buf b[] = {header(r, VIRTIO_BLK_T_IN, 0), {.gpa = 4, .len = 512, .write = true}};
    expect_fault(r, b, 2);
    assert_int_equal(request_plain(r, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_OK);
}

static void a_head_posted_twice_is_answered_twice_case_10(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct drv_buf b[] = {header(r, VIRTIO_BLK_T_IN, 3), drv_in(&r->g, 512), drv_in(&r->g, 1)};
    uint16_t head = drv_add(&r->g.q[0], b, 3);
    drv_post(&r->g.q[0], head);
    drv_kick(&r->g, 0);
    drv_spin(&r->g);
    for (int i = 0; i < 2; i++) {
        uint32_t id, len;
        assert_true(drv_used(&r->g.q[0], &id, &len));
        assert_int_equal(id, head);
        assert_int_equal(len, 513);
    }
}

/* --- Discard and write zeroes --- */

static struct virtio_blk_discard_write_zeroes range(uint64_t sector, uint32_t n, uint32_t flags)
{
    return (struct virtio_blk_discard_write_zeroes){.sector = sector, .num_sectors = n, .flags = flags};
}

#define UNMAP VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static void write_zeroes_zeroes_exactly_the_ranges(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    for (uint32_t flags = 0; flags <= UNMAP; flags++) {
        struct virtio_blk_discard_write_zeroes w[] = {range(3, 1, flags), range(10, 0, flags),
                                                      range(16 + flags, 8, flags),
                                                      range(SECTORS - 1, 1, flags)};
        assert_int_equal(request(r, VIRTIO_BLK_T_WRITE_ZEROES, 0, drv_out(&r->g, w, sizeof(w))),
                         VIRTIO_BLK_S_OK);
    }
    assert_disk_is_pattern(r, 0, 3 * 512);
    assert_disk_is_zero(r, 3 * 512, 4 * 512);
    assert_disk_is_pattern(r, 4 * 512, 16 * 512);
    assert_disk_is_zero(r, 16 * 512, 25 * 512);
    assert_disk_is_pattern(r, 25 * 512, (SECTORS - 1) * 512);
    assert_disk_is_zero(r, (SECTORS - 1) * 512, DISK_SIZE);
    struct stat st;
    assert_int_equal(fstat(r->fd, &st), 0);
    assert_int_equal(st.st_size, DISK_SIZE);
}

/* A file in memory has no FALLOC_FL_ZERO_RANGE: zeros are written, in steps. */
static void write_zeroes_writes_zeros_where_the_file_system_cannot(void **state)
{
    struct rig *r = *state;
    const uint64_t size = UINT64_C(16) << 20;
    int fd = memfd_create("disk", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t at = 0; at < size; at += 4096)
        assert_int_equal(pwrite(fd, "data", 4, (off_t)at), 4);
    start(r, &(struct blk_config){.fd = fd}, RW_FEATURES);
    struct virtio_blk_discard_write_zeroes w = range(8, (uint32_t)(size / 512) - 16, 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_WRITE_ZEROES, 0, drv_out(&r->g, &w, sizeof(w))),
                     VIRTIO_BLK_S_OK);
    for (uint64_t at = 0; at < size; at += 4096) {
        char got[4];
        bool edge = at == 0 || at == size - 4096;
        assert_int_equal(pread(fd, got, 4, (off_t)at), 4);
        assert_memory_equal(got, edge ? "data" : "\0\0\0\0", 4);
    }
    close(fd);
}

static void discard_gives_blocks_back(void **state)
{
    struct rig *r = *state;
    struct stat before, after;
    start_rw(r);
    assert_int_equal(fsync(r->fd), 0);
    assert_int_equal(fstat(r->fd, &before), 0);
    struct virtio_blk_discard_write_zeroes w = range(0, SECTORS, 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, sizeof(w))), VIRTIO_BLK_S_OK);
    assert_int_equal(fstat(r->fd, &after), 0);
    assert_true(after.st_blocks < before.st_blocks);
    assert_int_equal(after.st_size, DISK_SIZE);
}

static void bad_ranges_fail_before_anything_is_touched_case_25(void **state)
{
    struct rig *r = *state;
    static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
    const struct virtio_blk_discard_write_zeroes bad[] = {
        range(SECTORS, 1, 0),    range(0, SECTORS + 1, 0),
        range(UINT64_MAX, 1, 0), range(UINT64_MAX, UINT32_MAX, 0),
        range(0, UINT32_MAX, 0), range(UINT64_C(1) << 55, 8, 0),
    };
    start_rw(r);
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
            struct virtio_blk_discard_write_zeroes w[] = {range(0, 8, 0), bad[i]};
            assert_int_equal(request(r, types[t], 0, drv_out(&r->g, w, sizeof(w))), VIRTIO_BLK_S_IOERR);
        }
        /* Lengths: nothing, half a range, one range too many. */
        struct virtio_blk_discard_write_zeroes many[17];
        for (size_t i = 0; i < 17; i++)
            many[i] = range(0, 1, 0);
        assert_int_equal(request_plain(r, types[t]), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(r, types[t], 0, drv_out(&r->g, many, 15)), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(r, types[t], 0, drv_out(&r->g, many, 24)), VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(r, types[t], 0, drv_out(&r->g, many, sizeof(many))), VIRTIO_BLK_S_IOERR);
    }
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

static void ranges_above_the_limit_fail(void **state)
{
    struct rig *r = *state;
    CLEANUP(fd_closep) int fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, INT64_C(4) << 30), 0);
    start(r, &(struct blk_config){.fd = fd}, RW_FEATURES);
    struct virtio_blk_discard_write_zeroes w = range(0, (1 << 21) + 1, 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_IOERR);
    w.num_sectors--;
    assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_OK);
}

static void unknown_flags_of_ranges_are_unsupported(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    struct virtio_blk_discard_write_zeroes w = range(0, 8, UNMAP);
    assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_UNSUPP);
    for (unsigned bit = 1; bit < 32; bit++) {
        w.flags = UINT32_C(1) << bit;
        assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_UNSUPP);
        assert_int_equal(request(r, VIRTIO_BLK_T_WRITE_ZEROES, 0, drv_out(&r->g, &w, 16)),
                         VIRTIO_BLK_S_UNSUPP);
    }
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

static void requests_of_features_that_were_not_taken_are_unsupported_case_23(void **state)
{
    struct rig *r = *state;
    start(r, &(struct blk_config){.path = r->path}, BIT64(VIRTIO_BLK_F_FLUSH));
    struct virtio_blk_discard_write_zeroes w = range(0, 8, 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_DISCARD, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(r, VIRTIO_BLK_T_WRITE_ZEROES, 0, drv_out(&r->g, &w, 16)), VIRTIO_BLK_S_UNSUPP);
    assert_disk_is_pattern(r, 0, DISK_SIZE);
}

/* --- The host's side goes wrong --- */

static void an_image_that_shrinks_gives_io_errors_and_no_stale_data(void **state)
{
    struct rig *r = *state;
    start_rw(r);
    assert_int_equal(ftruncate(r->fd, 4 * 512 + 100), 0);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 3, drv_in(&r->g, 512)), VIRTIO_BLK_S_OK);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 5, drv_in(&r->g, 512)), VIRTIO_BLK_S_IOERR);
    assert_int_equal(r->used_len, 0);
    /* Half there: what was read counts, not more. */
    struct drv_buf in = drv_in(&r->g, 1024);
    memset(drv_ptr(&r->g, in.gpa), 0x77, 1024);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 4, in), VIRTIO_BLK_S_IOERR);
    assert_int_equal(r->used_len, 100);
    assert_int_equal(*((uint8_t *)drv_ptr(&r->g, in.gpa) + 100), 0x77);
    assert_false(drv_broken(&r->g));
}

struct told {
    int times, error;
};

static void count_failure(void *context, int error)
{
    struct told *t = context;
    t->times++;
    t->error = error;
}

static void a_failed_write_of_the_host_is_an_io_error_and_told_once(void **state)
{
    struct rig *r = *state;
    struct rlimit old, none;
    struct told told = {0};
    uint8_t data[512] = {0};
    start(r, &(struct blk_config){.path = r->path, .host_failed = count_failure, .context = &told},
          RW_FEATURES);
    struct drv_buf out = drv_out(&r->g, data, 512);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none = old;
    none.rlim_cur = 1024;
    setrlimit(RLIMIT_FSIZE, &none);
    uint8_t status = request(r, VIRTIO_BLK_T_OUT, 50, out);
    uint8_t again = request(r, VIRTIO_BLK_T_OUT, 50, out);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, VIRTIO_BLK_S_IOERR);
    assert_int_equal(again, VIRTIO_BLK_S_IOERR);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.error, -EFBIG);
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 50, out), VIRTIO_BLK_S_OK);
}

static void io_errors_cannot_fill_the_log_case_37(void **state)
{
    struct rig *r = *state;
    struct log_capture c;
    char text[2048];
    start_rw(r);
    assert_int_equal(ftruncate(r->fd, 0), 0);
    struct drv_buf b[] = {header(r, VIRTIO_BLK_T_IN, 0), drv_in(&r->g, 512), drv_in(&r->g, 1)};
    log_configure("warn");
    log_capture(&c);
    for (int i = 0; i < 1000; i++)
        send(r, b, 3);
    int lines = log_captured(&c, text, sizeof(text));
    log_configure("off");
    assert_non_null(strstr(text, r->path));
    assert_true(lines >= 1 && lines < 500);
}

/* --- Turns --- */

static void start_big(struct rig *r, int *fd)
{
    *fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(ftruncate(*fd, 64 << 20), 0);
    start(r, &(struct blk_config){.fd = *fd}, RW_FEATURES);
}

/* A read of `mib` MiB into the same 2 MiB of guest memory again and again. */
static struct drv_buf *big_read(struct rig *r, struct drv_buf *b, unsigned mib)
{
    unsigned n = 0;
    gpa_t at = drv_alloc(&r->g, 2 << 20);
    b[n++] = header(r, VIRTIO_BLK_T_IN, 0);
    for (; mib; mib -= 2)
        b[n++] = (struct drv_buf){.gpa = at, .len = 2 << 20, .write = true};
    b[n] = drv_in(&r->g, 1);
    return b;
}

static void a_busy_disk_lets_others_of_its_loop_work_case_24(void **state)
{
    struct rig *a = *state, b = {.used_len = 0};
    CLEANUP(fd_closep) int fd = -1;
    start_big(a, &fd);
    struct drv_buf chain[QUEUE];
    big_read(a, chain, 2);
    drv_open(&b.g);
    make_image(&b);
    struct vdev *dev;
    assert_int_equal(blk_create(&dev, &(struct blk_config){.path = b.path}, &b.g.mem, a->g.loop, NULL), 0);
    drv_attach(&b.g, dev);
    drv_start(&b.g, RW_FEATURES, QUEUE);
    drv_spin(&a->g);
    for (int i = 0; i < 20; i++) /* 40 MiB */
        drv_add(&a->g.q[0], chain, 3);
    struct drv_buf small[] = {header(&b, VIRTIO_BLK_T_IN, 0), drv_in(&b.g, 512), drv_in(&b.g, 1)};
    drv_add(&b.g.q[0], small, 3);
    drv_kick(&a->g, 0);
    drv_kick(&b.g, 0);
    assert_int_equal(loop_once(a->g.loop, 0), 0); /* one turn for each */
    assert_int_equal(drv_used_idx(&b.g.q[0]), 1);
    assert_in_range(drv_used_idx(&a->g.q[0]), 1, 4);
    drv_spin(&a->g); /* without another kick of the driver's, it goes on */
    assert_int_equal(drv_used_idx(&a->g.q[0]), 20);
    drv_close(&b.g);
    unlink(b.path);
    close(b.fd);
}

static void one_large_request_takes_several_turns_case_24(void **state)
{
    struct rig *r = *state;
    CLEANUP(fd_closep) int fd = -1;
    struct drv_buf chain[QUEUE];
    start_big(r, &fd);
    assert_int_equal(pwrite(fd, "last", 4, (32 << 20) - 4), 4);
    drv_spin(&r->g);
    big_read(r, chain, 32);
    drv_add(&r->g.q[0], chain, 18);
    drv_kick(&r->g, 0);
    assert_int_equal(loop_once(r->g.loop, 0), 0);
    assert_int_equal(drv_used_idx(&r->g.q[0]), 0);
    drv_spin(&r->g);
    uint32_t len;
    assert_true(drv_used(&r->g.q[0], NULL, &len));
    assert_int_equal(len, (32 << 20) + 1);
    assert_memory_equal((uint8_t *)drv_ptr(&r->g, chain[1].gpa) + (2 << 20) - 4, "last", 4);
}

static void a_reset_drops_the_request_at_hand_case_19(void **state)
{
    struct rig *r = *state;
    CLEANUP(fd_closep) int fd = -1;
    struct drv_buf chain[QUEUE];
    start_big(r, &fd);
    drv_spin(&r->g);
    big_read(r, chain, 32);
    drv_add(&r->g.q[0], chain, 18);
    drv_kick(&r->g, 0);
    assert_int_equal(loop_once(r->g.loop, 0), 0);
    drv_w32(&r->g, VIRTIO_MMIO_STATUS, 0);
    gpa_t watched = chain[1].gpa;
    memset(drv_ptr(&r->g, watched), 0x77, 512);
    drv_start(&r->g, RW_FEATURES, QUEUE);
    drv_spin(&r->g);
    assert_int_equal(drv_used_idx(&r->g.q[0]), 0);
    assert_int_equal(*(uint8_t *)drv_ptr(&r->g, watched), 0x77);
    assert_int_equal(request_plain(r, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_OK);
}

static void a_stopped_queue_drops_the_request_at_hand_case_18(void **state)
{
    struct rig *r = *state;
    CLEANUP(fd_closep) int fd = -1;
    struct drv_buf chain[QUEUE];
    start_big(r, &fd);
    drv_spin(&r->g);
    big_read(r, chain, 32);
    drv_add(&r->g.q[0], chain, 18);
    drv_kick(&r->g, 0);
    assert_int_equal(loop_once(r->g.loop, 0), 0);
    drv_w32(&r->g, VIRTIO_MMIO_QUEUE_SEL, 0);
    drv_w32(&r->g, VIRTIO_MMIO_QUEUE_READY, 0);
    drv_spin(&r->g);
    assert_int_equal(drv_used_idx(&r->g.q[0]), 0);
    assert_false(drv_broken(&r->g));
}

/* --- Images --- */

static int try_create(struct rig *r, const struct blk_config *cfg, struct err *e)
{
    struct vdev *dev = NULL;
    *e = (struct err){0};
    int ret = blk_create(&dev, cfg, &r->g.mem, r->g.loop, e);
    if (ret == 0)
        dev->ops->destroy(dev);
    assert_int_equal(e->code, ret);
    return ret;
}

/* Creation fails with `code`, and the text names the object and says why. */
static void assert_refused(struct rig *r, const struct blk_config *cfg, int code, const char *why)
{
    struct err e;
    int ret = try_create(r, cfg, &e);
    if (ret != code || !strstr(e.text, why) || (cfg->path && !strstr(e.text, cfg->path)))
        fail_msg("%d instead of %d, or not '%s': %s", ret, code, why, e.text);
}

static void images_that_cannot_be_disks_are_refused(void **state)
{
    struct rig *r = *state;
    char fifo[80];
    snprintf(fifo, sizeof(fifo), "%s.fifo", r->path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (int ro = 0; ro < 2; ro++) {
        struct blk_config cfg = {.path = "/nonexistent/disk", .read_only = ro};
        assert_refused(r, &cfg, -ENOENT, "No such file");
        cfg.path = "/tmp";
        assert_refused(r, &cfg, -EISDIR, ro ? "is a folder" : "Is a directory");
        cfg.path = fifo;
        assert_refused(r, &cfg, -EINVAL, "neither a regular file nor a block device");
        cfg.path = "/dev/null";
        assert_refused(r, &cfg, -EINVAL, "neither a regular file nor a block device");
        cfg.path = "";
        assert_refused(r, &cfg, -ENOENT, "No such file");
        cfg.path = r->path;
        assert_int_equal(ftruncate(r->fd, 0), 0);
        assert_refused(r, &cfg, -EINVAL, "empty");
        assert_int_equal(ftruncate(r->fd, 513), 0);
        assert_refused(r, &cfg, -EINVAL, "513 bytes, not a multiple of 512");
    }
    unlink(fifo);
}

static void descriptors_that_cannot_be_disks_are_refused(void **state)
{
    struct rig *r = *state;
    assert_refused(r, &(struct blk_config){.fd = -1}, -EBADF, "descriptor -1");
    CLEANUP(fd_closep) int ro = open(r->path, O_RDONLY | O_CLOEXEC);
    CLEANUP(fd_closep) int wo = open(r->path, O_WRONLY | O_CLOEXEC);
    CLEANUP(fd_closep) int append = open(r->path, O_RDWR | O_APPEND | O_CLOEXEC);
    CLEANUP(fd_closep) int folder = open("/tmp", O_RDONLY | O_CLOEXEC);
    assert_refused(r, &(struct blk_config){.fd = ro}, -EBADF, "reading only");
    assert_refused(r, &(struct blk_config){.fd = wo}, -EBADF, "writing only");
    assert_refused(r, &(struct blk_config){.fd = wo, .read_only = true}, -EBADF, "writing only");
    assert_refused(r, &(struct blk_config){.fd = append}, -EINVAL, "appending");
    assert_refused(r, &(struct blk_config){.fd = folder, .read_only = true}, -EISDIR, "is a folder");
    struct err e;
    assert_int_equal(try_create(r, &(struct blk_config){.fd = ro, .read_only = true}, &e), 0);
    assert_int_equal(fcntl(ro, F_GETFD), FD_CLOEXEC); /* still ours */
}

static void a_serial_number_that_is_too_long_is_refused(void **state)
{
    struct rig *r = *state;
    struct err e;
    struct blk_config cfg = {.path = r->path, .serial = "123456789012345678901"};
    assert_int_equal(try_create(r, &cfg, &e), -EINVAL);
    assert_non_null(strstr(e.text, cfg.serial));
    cfg.serial = "12345678901234567890";
    assert_int_equal(try_create(r, &cfg, &e), 0);
}

static void an_image_has_one_writer_or_many_readers(void **state)
{
    struct rig *r = *state;
    struct blk_config rw = {.path = r->path}, ro = {.path = r->path, .read_only = true};
    struct vdev *a, *b;
    struct err e;
    assert_int_equal(blk_create(&a, &rw, &r->g.mem, r->g.loop, &e), 0);
    assert_refused(r, &rw, -EBUSY, "in use by another VM");
    assert_refused(r, &ro, -EBUSY, "which writes to it");
    a->ops->destroy(a);
    assert_int_equal(blk_create(&a, &ro, &r->g.mem, r->g.loop, &e), 0);
    assert_int_equal(blk_create(&b, &ro, &r->g.mem, r->g.loop, &e), 0);
    assert_refused(r, &rw, -EBUSY, "in use by another VM");
    a->ops->destroy(a);
    assert_refused(r, &rw, -EBUSY, "in use by another VM");
    b->ops->destroy(b);
    assert_int_equal(try_create(r, &rw, &e), 0);
}

static void a_guest_cannot_change_the_format_of_its_disk_case_26(void **state)
{
    struct rig *r = *state;
    uint8_t qcow2[512] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
    start_rw(r);
    assert_int_equal(request(r, VIRTIO_BLK_T_OUT, 0, drv_out(&r->g, qcow2, 512)), VIRTIO_BLK_S_OK);
    drv_close(&r->g);
    drv_open(&r->g);
    start_rw(r);
    assert_int_equal(drv_r32(&r->g, 0x100), SECTORS);
    struct drv_buf in = drv_in(&r->g, 512);
    assert_int_equal(request(r, VIRTIO_BLK_T_IN, 0, in), VIRTIO_BLK_S_OK);
    assert_memory_equal(drv_ptr(&r->g, in.gpa), qcow2, 512);
}

static void two_disks_on_one_open_file_do_not_disturb_each_other_case_28(void **state)
{
    struct rig *r = *state, other = {.used_len = 0};
    drv_open(&other.g);
    start(r, &(struct blk_config){.fd = r->fd}, RW_FEATURES);
    start(&other, &(struct blk_config){.fd = r->fd}, RW_FEATURES);
    off_t position = lseek(r->fd, 0, SEEK_CUR);
    for (uint64_t sector = 0; sector < 20; sector++) {
        struct drv_buf a = drv_in(&r->g, 512), b = drv_in(&other.g, 1024);
        assert_int_equal(request(r, VIRTIO_BLK_T_IN, sector, a), VIRTIO_BLK_S_OK);
        assert_int_equal(request(&other, VIRTIO_BLK_T_IN, 100 - sector, b), VIRTIO_BLK_S_OK);
        assert_int_equal(*(uint8_t *)drv_ptr(&r->g, a.gpa), pattern(sector * 512));
        assert_int_equal(*(uint8_t *)drv_ptr(&other.g, b.gpa), pattern((100 - sector) * 512));
    }
    assert_int_equal(lseek(r->fd, 0, SEEK_CUR), position);
    drv_close(&other.g);
}

struct creation {
    struct rig *r;
    struct vdev *dev;
};

static int create_once(void *arg)
{
    struct creation *c = arg;
    struct blk_config cfg = {.path = c->r->path};
    return blk_create(&c->dev, &cfg, &c->r->g.mem, c->r->g.loop, NULL);
}

static void destroy_once(void *arg)
{
    struct vdev *d = ((struct creation *)arg)->dev;
    d->ops->destroy(d);
}

static void a_failed_creation_leaks_nothing(void **state)
{
    struct creation c = {.r = *state};
    assert_int_equal(fds_run_out(create_once, destroy_once, &c), 1);
}

/* --- Threads --- */

static void *run_loop(void *loop)
{
    return loop_run(loop) < 0 ? loop : NULL;
}

static void a_disk_on_its_own_thread(void **state)
{
    struct rig *r = *state;
    pthread_t thread;
    start_rw(r);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, r->g.loop), 0);
    struct drv_buf b[] = {header(r, VIRTIO_BLK_T_IN, 9), drv_in(&r->g, 512), drv_in(&r->g, 1)};
    for (int i = 0; i < 2000; i++) {
        drv_add(&r->g.q[0], b, 3);
        drv_kick_fd(&r->g, 0);
        drv_r32(&r->g, VIRTIO_MMIO_INTERRUPT_STATUS);
        drv_w32(&r->g, VIRTIO_MMIO_INTERRUPT_ACK, 1);
        drv_r32(&r->g, 0x100);
        while (!drv_used(&r->g.q[0], NULL, NULL))
            sched_yield();
        assert_int_equal(*(uint8_t *)drv_ptr(&r->g, b[2].gpa), VIRTIO_BLK_S_OK);
    }
    loop_stop(r->g.loop);
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_read_is_on_the_disk),
        CASE(what_is_written_is_on_the_disk_and_nothing_else_changes),
        CASE(the_last_sector_can_be_used),
        CASE(header_data_and_status_may_be_cut_anywhere),
        CASE(a_request_without_data_is_fine),
        CASE(flush_succeeds),
        CASE(without_flush_taken_writes_still_succeed),
        CASE(the_serial_number_is_told),
        CASE(unknown_requests_are_unsupported),
        CASE(event_idx_works_with_many_requests),
        CASE(the_configuration_describes_the_disk),
        CASE(a_read_only_disk_says_so_and_takes_no_write_case_25),
        CASE(a_read_only_disk_on_a_writable_descriptor_takes_no_write_case_25),
        CASE(requests_past_the_end_fail_case_25),
        CASE(lengths_that_are_no_sectors_fail_case_25),
        CASE(a_huge_length_fails_without_any_allocation_case_13),
        CASE(chains_without_room_for_header_or_status_are_faults_case_15),
        CASE(ring_faults_break_the_device_and_not_the_vmm_case_1_to_6),
        CASE(a_head_posted_twice_is_answered_twice_case_10),
        CASE(write_zeroes_zeroes_exactly_the_ranges),
        CASE(write_zeroes_writes_zeros_where_the_file_system_cannot),
        CASE(discard_gives_blocks_back),
        CASE(bad_ranges_fail_before_anything_is_touched_case_25),
        CASE(ranges_above_the_limit_fail),
        CASE(unknown_flags_of_ranges_are_unsupported),
        CASE(requests_of_features_that_were_not_taken_are_unsupported_case_23),
        CASE(an_image_that_shrinks_gives_io_errors_and_no_stale_data),
        CASE(a_failed_write_of_the_host_is_an_io_error_and_told_once),
        CASE(io_errors_cannot_fill_the_log_case_37),
        CASE(a_busy_disk_lets_others_of_its_loop_work_case_24),
        CASE(one_large_request_takes_several_turns_case_24),
        CASE(a_reset_drops_the_request_at_hand_case_19),
        CASE(a_stopped_queue_drops_the_request_at_hand_case_18),
        CASE(images_that_cannot_be_disks_are_refused),
        CASE(descriptors_that_cannot_be_disks_are_refused),
        CASE(a_serial_number_that_is_too_long_is_refused),
        CASE(an_image_has_one_writer_or_many_readers),
        CASE(a_guest_cannot_change_the_format_of_its_disk_case_26),
        CASE(two_disks_on_one_open_file_do_not_disturb_each_other_case_28),
        CASE(a_failed_creation_leaks_nothing),
        CASE(a_disk_on_its_own_thread),
    };
    log_configure("off");
    return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
