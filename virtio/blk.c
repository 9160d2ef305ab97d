/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A request is a chain of three parts (virtio 1.2 §5.2.6), cut into descriptors wherever
 * the driver likes:
 *
 *     read by us:     header {type, sector}, data to write
 *     written by us:  data read, one status byte, the very last
 *
 * The kick takes one chain at a time. begin() copies the header once and decides from the copy alone: either
 * the request has its status already (refused), or its work is known to lie within the disk. Then step() is
 * called until the work is done, each time for a bounded number of bytes; when the turn's budget is used up
 * the half-done request stays in struct blk and goes on at the next turn, after other devices of the loop.
 * finish() writes the status and gives the chain back.
 *
 * A chain without room for header or status cannot be answered: that is a broken driver (NEEDS_RESET). All
 * else that is wrong with a request is told by its status. Everything runs on the loop's thread under the
 * device's lock.
 */
#include "virtio/blk.h"

#include "base/own.h"
#include "virtio/disk.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <string.h>

#define BIT64(n) (UINT64_C(1) << (n))

#define SEG_MAX       (VIRTQ_SIZE_MAX - 2) /* header and status have a descriptor each */
#define RANGES_MAX    16                   /* of one discard or write-zeroes request */
#define RANGE_MAX     (1u << 21)           /* sectors of one range: 1 GiB */
#define TURN          (UINT64_C(4) << 20)  /* bytes in one turn … */
#define REQUEST       (UINT64_C(16) << 10) /* … of which each request costs this much at least */
#define STEP          (UINT64_C(1) << 20)  /* bytes of one system call */
#define DISCARD_ALIGN 8                    /* sectors: holes are made of whole pages */

_Static_assert(BLK_SERIAL_MAX == VIRTIO_BLK_ID_BYTES, "virtio 1.2 §5.2.6");

struct range {
    uint64_t offset, len; /* bytes */
    bool unmap;
};

/* The request at hand. */
struct request {
    bool busy;
    struct virtq_chain chain;
    uint32_t type;
    uint8_t status;
    uint64_t offset, len; /* IN, OUT: bytes on the disk */
    uint64_t done;        /* of len, or of the range at hand */
    uint64_t filled;      /* bytes written from the start of the driver's data part */
    unsigned nranges, range_at;
    struct range range[RANGES_MAX];
};

struct blk {
    struct vdev dev;
    struct disk disk;
    struct virtio_blk_config config;
    uint8_t serial[VIRTIO_BLK_ID_BYTES];
    struct request req;
    void (*on_failure)(void *context, int error); /* NULL: nobody, or told already */
    void *context;
};

static struct blk *of(struct vdev *d)
{
    return CONTAINER_OF(d, struct blk, dev);
}

/* --- What a request wants --- */

static bool on_disk(const struct blk *b, uint64_t sector, uint64_t nsectors)
{
    uint64_t capacity = b->disk.size / DISK_SECTOR;
    return sector <= capacity && nsectors <= capacity - sector;
}

static uint8_t begin_rw(struct blk *b, uint64_t sector, uint64_t len)
{
    struct request *r = &b->req;
    if (len % DISK_SECTOR || !on_disk(b, sector, len / DISK_SECTOR))
        return VIRTIO_BLK_S_IOERR;
    if (r->type == VIRTIO_BLK_T_OUT && b->disk.read_only)
        return VIRTIO_BLK_S_IOERR;
    r->offset = sector * DISK_SECTOR;
    r->len = len;
    return VIRTIO_BLK_S_OK;
}

static uint8_t begin_range(struct blk *b, const struct virtio_blk_discard_write_zeroes *w)
{
    struct request *r = &b->req;
    uint64_t sector = le64toh(w->sector);
    uint32_t nsectors = le32toh(w->num_sectors), flags = le32toh(w->flags);
    uint32_t known = r->type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    if (flags & ~known)
        return VIRTIO_BLK_S_UNSUPP;
    if (nsectors > RANGE_MAX || !on_disk(b, sector, nsectors))
        return VIRTIO_BLK_S_IOERR;
    if (nsectors)
        r->range[r->nranges++] = (struct range){
            .offset = sector * DISK_SECTOR, .len = (uint64_t)nsectors * DISK_SECTOR, .unmap = flags & known};
    return VIRTIO_BLK_S_OK;
}

/* Discard and write-zeroes: all ranges are checked before the first is touched. */
static uint8_t begin_ranges(struct blk *b, uint64_t header_len)
{
    struct request *r = &b->req;
    struct virtio_blk_discard_write_zeroes wire[RANGES_MAX];
    uint64_t len = r->chain.out_len - header_len;
    if (len == 0 || len % sizeof(wire[0]) || len > sizeof(wire))
        return VIRTIO_BLK_S_IOERR;
    virtq_read_out(&r->chain, header_len, wire, len);
    for (size_t i = 0; i < len / sizeof(wire[0]); i++) {
        uint8_t status = begin_range(b, &wire[i]);
        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t begin_get_id(struct blk *b)
{
    struct request *r = &b->req;
    uint64_t room = r->chain.in_len - 1;
    r->filled = virtq_write_in(&r->chain, 0, b->serial, room < sizeof(b->serial) ? room : sizeof(b->serial));
    return VIRTIO_BLK_S_OK;
}

/* Reads the header and checks everything. 0, or -EPROTO for a chain that cannot be answered. */
static int begin(struct blk *b)
{
    struct request *r = &b->req;
    struct virtio_blk_outhdr header;
    if (r->chain.out_len < sizeof(header) || r->chain.in_len < 1)
        return -EPROTO;
    virtq_read_out(&r->chain, 0, &header, sizeof(header));
    uint64_t sector = le64toh(header.sector);
    r->busy = true;
    r->type = le32toh(header.type);
    r->offset = r->len = r->done = r->filled = 0;
    r->nranges = r->range_at = 0;
    r->status = VIRTIO_BLK_S_UNSUPP;
    switch (r->type) {
    case VIRTIO_BLK_T_IN:
        r->status = begin_rw(b, sector, r->chain.in_len - 1);
        break;
    case VIRTIO_BLK_T_OUT:
        r->status = begin_rw(b, sector, r->chain.out_len - sizeof(header));
        break;
    case VIRTIO_BLK_T_FLUSH:
        r->status = VIRTIO_BLK_S_OK;
        break;
    case VIRTIO_BLK_T_GET_ID:
        r->status = begin_get_id(b);
        break;
    case VIRTIO_BLK_T_DISCARD:
        if (b->dev.acked & BIT64(VIRTIO_BLK_F_DISCARD))
            r->status = begin_ranges(b, sizeof(header));
        break;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        if (b->dev.acked & BIT64(VIRTIO_BLK_F_WRITE_ZEROES))
            r->status = begin_ranges(b, sizeof(header));
        break;
    }
    return 0;
}

/* --- The work --- */

static ssize_t step_rw(struct blk *b)
{
    struct request *r = &b->req;
    const struct virtq_chain *c = &r->chain;
    struct iovec iov[VIRTQ_SIZE_MAX];
    uint64_t left = r->len - r->done, part = left < STEP ? left : STEP;
    if (left == 0)
        return 0;
    ssize_t moved;
    if (r->type == VIRTIO_BLK_T_IN) {
        int n = virtq_slice_in(c, r->done, part, iov);
        moved = disk_read(&b->disk, iov, n, r->offset + r->done);
        r->filled += moved > 0 ? (uint64_t)moved : 0;
    } else {
        int n = virtq_slice_out(c, sizeof(struct virtio_blk_outhdr) + r->done, part, iov);
        moved = disk_write(&b->disk, iov, n, r->offset + r->done);
    }
    r->done += moved > 0 ? (uint64_t)moved : 0;
    return moved;
}

static ssize_t step_ranges(struct blk *b)
{
    struct request *r = &b->req;
    if (r->range_at == r->nranges)
        return 0;
    const struct range *g = &r->range[r->range_at];
    ssize_t done = (ssize_t)g->len;
    if (r->type == VIRTIO_BLK_T_DISCARD) {
        int ret = disk_discard(&b->disk, g->offset, g->len);
        if (ret < 0)
            return ret;
    } else {
        done = disk_zero(&b->disk, g->offset + r->done, g->len - r->done, g->unmap);
        if (done < 0)
            return done;
    }
    r->done += (uint64_t)done;
    if (r->done >= g->len) {
        r->range_at++;
        r->done = 0;
    }
    return done < (ssize_t)STEP ? done : (ssize_t)STEP; /* a hole costs little, whatever its size */
}

/* A bounded piece of the request's work: bytes it cost, 0 when there is none left, or a negative errno. */
static ssize_t step(struct blk *b)
{
    switch (b->req.type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return step_rw(b);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return step_ranges(b);
    case VIRTIO_BLK_T_FLUSH:
        return disk_flush(&b->disk);
    default:
        return 0;
    }
}

/* A driver that does not take FLUSH never asks: then each write lasts when it completes (§5.2.6.2). */
static int write_through(struct blk *b)
{
    bool wrote = b->req.type == VIRTIO_BLK_T_OUT || b->req.type == VIRTIO_BLK_T_WRITE_ZEROES;
    return wrote && !(b->dev.acked & BIT64(VIRTIO_BLK_F_FLUSH)) ? disk_flush(&b->disk) : 0;
}

static void host_failed(struct blk *b, int ret)
{
    b->req.status = VIRTIO_BLK_S_IOERR;
    log_warn_limited(&b->dev.faults, LOG_BLK, "disk '%s': request %u at byte %" PRIu64 ": %s", b->disk.name,
                     b->req.type, b->req.offset + b->req.done,
                     ret == -ENODATA ? "the image has become shorter" : strerror(-ret));
    if (b->on_failure)
        b->on_failure(b->context, ret);
    b->on_failure = NULL;
}

static void finish(struct blk *b)
{
    struct request *r = &b->req;
    const struct virtq_chain *c = &r->chain;
    virtq_write_in(c, c->in_len - 1, &r->status, 1);
    /* used.len promises bytes from the first on without a gap (§2.7.8.2): the status byte counts only when
     * the data before it is filled. */
    uint64_t written = r->filled == c->in_len - 1 ? c->in_len : r->filled;
    virtq_push(&b->dev.vq[0], c->head, (uint32_t)written);
    r->busy = false;
}

/* Works on the request until it is finished (true) or the turn's budget is used up. */
static bool go_on(struct blk *b, uint64_t *budget)
{
    struct request *r = &b->req;
    while (r->status == VIRTIO_BLK_S_OK) {
        if (*budget == 0)
            return false;
        ssize_t cost = step(b);
        if (cost == 0)
            cost = write_through(b);
        if (cost < 0)
            host_failed(b, (int)cost);
        if (cost <= 0)
            break;
        *budget -= (uint64_t)cost < *budget ? (uint64_t)cost : *budget;
    }
    finish(b);
    return true;
}

/* Serves the queue until it is empty: 0, or 1 when the budget ended first, or a negative errno. */
static int serve(struct blk *b, uint64_t budget)
{
    struct virtq *q = &b->dev.vq[0];
    do {
        virtq_disable_kicks(q);
        for (;;) {
            if (budget == 0)
                return 1;
            if (!b->req.busy) {
                int ret = virtq_pop(q, &b->req.chain);
                if (ret > 0)
                    ret = begin(b);
                else if (ret == 0)
                    break;
                if (ret < 0)
                    return ret;
                budget -= budget < REQUEST ? budget : REQUEST;
            }
            if (!go_on(b, &budget))
                return 1;
        }
    } while (virtq_enable_kicks(q));
    return 0;
}

/* --- Operations --- */

static int blk_kick(struct vdev *d, unsigned q)
{
    int ret = serve(of(d), TURN);
    d->notify_queue(d, q);
    if (ret > 0)
        d->kick_later(d, q);
    return ret < 0 ? ret : 0;
}

static void blk_config_read(struct vdev *d, uint32_t offset, void *out, uint32_t len)
{
    memcpy(out, (const uint8_t *)&of(d)->config + offset, len);
}

static int blk_activate(struct vdev *d)
{
    (void)d; /* everything is there since blk_create() */
    return 0;
}

static void blk_reset(struct vdev *d)
{
    of(d)->req.busy = false;
}

static void blk_destroy(struct vdev *d)
{
    struct blk *b = of(d);
    disk_close(&b->disk);
    free(b);
}

static const struct vdev_ops blk_ops = {
    .name = "blk",
    .topic = LOG_BLK,
    .device_id = VIRTIO_ID_BLOCK,
    .queue_max = VIRTQ_SIZE_MAX,
    .config_read = blk_config_read,
    .activate = blk_activate,
    .reset = blk_reset,
    .kick = blk_kick,
    .destroy = blk_destroy,
};

static void fill_config(struct blk *b)
{
    b->dev.features = BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH);
    b->config.capacity = htole64(b->disk.size / DISK_SECTOR);
    b->config.seg_max = htole32(SEG_MAX);
    b->config.blk_size = htole32(b->disk.block_size);
    if (b->disk.read_only) {
        b->dev.features |= BIT64(VIRTIO_BLK_F_RO);
        return;
    }
    b->dev.features |= BIT64(VIRTIO_BLK_F_DISCARD) | BIT64(VIRTIO_BLK_F_WRITE_ZEROES);
    b->config.max_discard_sectors = b->config.max_write_zeroes_sectors = htole32(RANGE_MAX);
    b->config.max_discard_seg = b->config.max_write_zeroes_seg = htole32(RANGES_MAX);
    b->config.discard_sector_alignment = htole32(DISCARD_ALIGN);
    b->config.write_zeroes_may_unmap = 1;
}

int blk_create(struct vdev **out, const struct blk_config *cfg, struct gmem *mem, struct loop *loop,
               struct err *e)
{
    size_t serial_len = cfg->serial ? strlen(cfg->serial) : 0;
    if (serial_len > BLK_SERIAL_MAX)
        return err_set(e, -EINVAL, "disk serial '%s' is longer than %d bytes", cfg->serial, BLK_SERIAL_MAX);
    struct blk *b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(e, -ENOMEM, "cannot allocate a disk device");
    int ret = disk_open(&b->disk, cfg->path, cfg->fd, cfg->read_only, e);
    if (ret < 0) {
        free(b);
        return ret;
    }
    if (serial_len)
        memcpy(b->serial, cfg->serial, serial_len);
    b->on_failure = cfg->host_failed;
    b->context = cfg->context;
    b->dev.ops = &blk_ops;
    b->dev.mem = mem;
    b->dev.loop = loop;
    b->dev.nqueues = 1;
    /* Up to write_zeroes_may_unmap and its padding: the fields of features that exist here. */
    b->dev.config_size = offsetof(struct virtio_blk_config, unused1) + sizeof(b->config.unused1);
    fill_config(b);
    *out = &b->dev;
    return 0;
}
