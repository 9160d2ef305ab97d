/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A split virtqueue is three arrays in guest memory:
 *
 *     descriptor table   {address, length, flags, next} × size       the driver writes
 *     available ring     flags, idx, heads[size], used_event         the driver writes
 *     used ring          flags, idx, {head, length}[size], avail_event   we write
 *
 * The driver chains descriptors, puts the first one's number (the head) into the available ring and moves its
 * idx; we take the chain apart, do the work, put head and length into the used ring and move its idx. Both
 * indices run freely through 16 bits; a slot is idx modulo size.
 *
 * The guest may change all of it at any time. So each field is fetched exactly once, by an atomic load that
 * the compiler cannot repeat, into a local that is checked and then used; addresses become pointers through
 * gmem_ptr() only; and a walk ends after `size` steps, whatever the links say.
 *
 * Neither side asks the other for an interrupt it does not need. Each first announces its wish (flags, or
 * with EVENT_IDX an index), then looks at the ring again; the other first moves the ring, then looks at the
 * wish. With a full fence between the two steps on both sides, one of them sees the other's write, and no
 * wake-up is lost.
 */
#include "virtio/virtq.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define DESC_ALIGN  16
#define AVAIL_ALIGN 2
#define USED_ALIGN  4

/* Layout of the two rings in 16-bit words (virtio 1.2 §2.7.6, §2.7.8). */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_ENTRIES = 2, USED_ELEM_WORDS = 4 };

_Static_assert(sizeof(struct vring_desc) == 16, "virtio 1.2 §2.7.5");
_Static_assert(sizeof(struct vring_used_elem) == 2 * USED_ELEM_WORDS, "virtio 1.2 §2.7.8");

static uint16_t *avail_word(const struct virtq *q, size_t i)
{
    return (uint16_t *)q->avail + i;
}

static uint16_t *used_word(const struct virtq *q, size_t i)
{
    return (uint16_t *)q->used + i;
}

static uint16_t *used_event(const struct virtq *q)
{
    return avail_word(q, RING_ENTRIES + (size_t)q->size);
}

static uint16_t *avail_event(const struct virtq *q)
{
    return used_word(q, RING_ENTRIES + USED_ELEM_WORDS * (size_t)q->size);
}

static uint16_t load_le16(const uint16_t *p)
{
    return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void store_le16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static uint16_t load_avail_idx(const struct virtq *q)
{
    /* Pairs with the driver's write barrier between filling ring and descriptors, and moving idx. */
    return le16toh(__atomic_load_n(avail_word(q, RING_IDX), __ATOMIC_ACQUIRE));
}

static bool aligned(gpa_t gpa, unsigned align)
{
    return gpa % align == 0;
}

int virtq_enable(struct virtq *q, const struct gmem *mem, uint16_t size_max, bool event_idx)
{
    uint16_t size = q->size;
    if (size == 0 || (size & (size - 1)) || size > size_max || size > VIRTQ_SIZE_MAX)
        return -EINVAL;
    if (!aligned(q->desc_gpa, DESC_ALIGN) || !aligned(q->driver_gpa, AVAIL_ALIGN) ||
        !aligned(q->device_gpa, USED_ALIGN))
        return -EINVAL;
    /* The event words count whether negotiated or not, as in virtio 1.2 §2.7. */
    void *desc = gmem_ptr(mem, q->desc_gpa, sizeof(struct vring_desc) * (uint64_t)size);
    void *avail = gmem_ptr(mem, q->driver_gpa, 6 + sizeof(uint16_t) * (uint64_t)size);
    void *used = gmem_ptr(mem, q->device_gpa, 6 + sizeof(struct vring_used_elem) * (uint64_t)size);
    if (!desc || !avail || !used)
        return -EFAULT;
    q->mem = mem;
    q->desc = desc;
    q->avail = avail;
    q->used = used;
    q->next_avail = q->next_used = q->signalled = 0;
    q->signalled_valid = true;
    q->event_idx = event_idx;
    q->ready = true;
    return 0;
}

void virtq_reset(struct virtq *q)
{
    *q = (struct virtq){0};
}

/* The only fetch of descriptor `i`; the caller has checked i < size. */
static struct vring_desc fetch_desc(const struct virtq *q, uint16_t i)
{
    const struct vring_desc *d = (const struct vring_desc *)q->desc + i;
    return (struct vring_desc){
        .addr = le64toh(__atomic_load_n(&d->addr, __ATOMIC_RELAXED)),
        .len = le32toh(__atomic_load_n(&d->len, __ATOMIC_RELAXED)),
        .flags = load_le16(&d->flags),
        .next = load_le16(&d->next),
    };
}

/* Adds one descriptor's piece to the chain. */
static int chain_add(struct virtq_chain *c, const struct gmem *mem, const struct vring_desc *d)
{
    if (d->flags & VRING_DESC_F_INDIRECT)
        return -EINVAL; /* VIRTIO_RING_F_INDIRECT_DESC is not offered (§2.7.5.3.1) */
    bool in = d->flags & VRING_DESC_F_WRITE;
    if (!in && c->nin)
        return -EINVAL; /* §2.7.4.2: what we read comes before what we write */
    /* An empty piece says nothing, but its direction counts like any other's. */
    void *p = d->len ? gmem_ptr(mem, d->addr, d->len) : NULL;
    if (d->len && !p)
        return -EFAULT;
    /* §2.7.5: at most 2^32 bytes in all; one less here, so that a used length can say it. */
    if (d->len > UINT32_MAX - (c->out_len + c->in_len))
        return -EMSGSIZE;
    c->iov[c->nout + c->nin] = (struct iovec){.iov_base = p, .iov_len = d->len};
    if (in) {
        c->nin++;
        c->in_len += d->len;
    } else {
        c->nout++;
        c->out_len += d->len;
    }
    return 0;
}

static int chain_walk(const struct virtq *q, uint16_t head, struct virtq_chain *c)
{
    c->head = head;
    c->nout = c->nin = 0;
    c->out_len = c->in_len = 0;
    uint16_t at = head;
    /* A chain has each descriptor at most once: more steps than descriptors mean a loop. */
    for (unsigned steps = 0; steps < q->size; steps++) {
        if (at >= q->size)
            return -EINVAL;
        struct vring_desc d = fetch_desc(q, at);
        int ret = chain_add(c, q->mem, &d);
        if (ret < 0)
            return ret;
        if (!(d.flags & VRING_DESC_F_NEXT))
            return 1;
        at = d.next;
    }
    return -ELOOP;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
    if (!q->ready)
        return 0;
    uint16_t pending = (uint16_t)(load_avail_idx(q) - q->next_avail);
    if (pending == 0)
        return 0;
    if (pending > q->size)
        return -ERANGE; /* the driver cannot have more chains than descriptors */
    uint16_t head = load_le16(avail_word(q, RING_ENTRIES + (size_t)(q->next_avail & (q->size - 1))));
    int ret = chain_walk(q, head, c);
    if (ret > 0)
        q->next_avail++;
    return ret;
}

void virtq_undo_pop(struct virtq *q)
{
    q->next_avail--;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
    if (!q->ready)
        return;
    size_t slot = RING_ENTRIES + USED_ELEM_WORDS * (size_t)(q->next_used & (q->size - 1));
    struct vring_used_elem elem = {.id = htole32(head), .len = htole32(written)};
    memcpy(used_word(q, slot), &elem, sizeof(elem));
    q->next_used++;
    /* Pairs with the driver's read barrier between its look at idx and at the entry. */
    __atomic_store_n(used_word(q, RING_IDX), htole16(q->next_used), __ATOMIC_RELEASE);
    /* 65536 pushes without a decision: the last decision's index no longer means anything. */
    if (q->next_used == q->signalled)
        q->signalled_valid = false;
}

/* virtio 1.2 §2.7.7.2 and vring_need_event(): did the index pass `event` on its way from `old` to `now`? */
static bool passed(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

bool virtq_wants_interrupt(struct virtq *q)
{
    if (!q->ready || (q->signalled_valid && q->signalled == q->next_used))
        return false; /* nothing was pushed since the last decision */
    uint16_t old = q->signalled;
    bool old_valid = q->signalled_valid;
    q->signalled = q->next_used;
    q->signalled_valid = true;
    /* used.idx is written before flags or used_event are read. Pairs with the full barrier of a driver that
     * asks for interrupts and then looks at used.idx. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!q->event_idx)
        return !(load_le16(avail_word(q, RING_FLAGS)) & VRING_AVAIL_F_NO_INTERRUPT);
    return !old_valid || passed(load_le16(used_event(q)), q->next_used, old);
}

bool virtq_enable_kicks(struct virtq *q)
{
    if (!q->ready)
        return false;
    if (q->event_idx)
        store_le16(avail_event(q), q->next_avail);
    else
        store_le16(used_word(q, RING_FLAGS), 0);
    /* The wish is written before avail.idx is read. Pairs with the full barrier of a driver that moves
     * avail.idx and then looks whether to kick. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_avail_idx(q) != q->next_avail;
}

void virtq_disable_kicks(struct virtq *q)
{
    /* With EVENT_IDX an avail_event that lies behind is enough: the driver passes it once in 65536. */
    if (q->ready && !q->event_idx)
        store_le16(used_word(q, RING_FLAGS), VRING_USED_F_NO_NOTIFY);
}

/* Copies between pieces iov[0…n), from byte `offset` of them, and a flat buffer, which is only read when
 * `to_pieces`. */
static uint64_t copy_pieces(const struct iovec *iov, unsigned n, uint64_t offset, struct iovec flat,
                            bool to_pieces)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < n && done < flat.iov_len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        uint64_t part = iov[i].iov_len - offset;
        if (part > flat.iov_len - done)
            part = flat.iov_len - done;
        uint8_t *piece = (uint8_t *)iov[i].iov_base + offset, *at = (uint8_t *)flat.iov_base + done;
        if (to_pieces)
            memcpy(piece, at, part);
        else
            memcpy(at, piece, part);
        done += part;
        offset = 0;
    }
    return done;
}

uint64_t virtq_read_out(const struct virtq_chain *c, uint64_t offset, void *to, uint64_t len)
{
    struct iovec flat = {.iov_base = to, .iov_len = len};
    return copy_pieces(c->iov, c->nout, offset, flat, false);
}

uint64_t virtq_write_in(const struct virtq_chain *c, uint64_t offset, const void *from, uint64_t len)
{
    struct iovec flat = {.iov_base = (void *)(uintptr_t)from, .iov_len = len};
    return copy_pieces(c->iov + c->nout, c->nin, offset, flat, true);
}

static int slice_pieces(const struct iovec *from, unsigned n, uint64_t offset, uint64_t max,
                        struct iovec *iov)
{
    int count = 0;
    for (unsigned i = 0; i < n && max; i++) {
        if (offset >= from[i].iov_len) {
            offset -= from[i].iov_len;
            continue;
        }
        uint64_t part = from[i].iov_len - offset;
        if (part > max)
            part = max;
        iov[count++] = (struct iovec){.iov_base = (uint8_t *)from[i].iov_base + offset, .iov_len = part};
        max -= part;
        offset = 0;
    }
    return count;
}

int virtq_slice_out(const struct virtq_chain *c, uint64_t offset, uint64_t max, struct iovec *iov)
{
    return slice_pieces(c->iov, c->nout, offset, max, iov);
}

int virtq_slice_in(const struct virtq_chain *c, uint64_t offset, uint64_t max, struct iovec *iov)
{
    return slice_pieces(c->iov + c->nout, c->nin, offset, max, iov);
}
