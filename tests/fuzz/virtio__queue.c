/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain walker over rings of random bytes: whatever the guest writes, a chain that comes out lies in
 * guest memory and is consistent, and no call reads or writes outside.
 */
#include "base/own.h"
#include "virtio/virtq.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_GPA  0x1000
#define RAM_SIZE 8192

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            abort();                                                                                         \
    } while (0)

struct input {
    const uint8_t *p, *end;
};

static uint16_t take(struct input *in)
{
    uint16_t v = 0;
    for (int i = 0; i < 2 && in->p < in->end; i++)
        v = (uint16_t)(v | *in->p++ << (8 * i));
    return v;
}

static void check_chain(const struct virtq_chain *c, const struct virtq *q, uint8_t *ram)
{
    uint64_t out = 0, in = 0;
    CHECK(c->head < q->size);
    CHECK(c->nout + c->nin >= 1 && c->nout + c->nin <= q->size);
    for (unsigned i = 0; i < c->nout + c->nin; i++) {
        const struct iovec *v = &c->iov[i];
        *(i < c->nout ? &out : &in) += v->iov_len;
        if (v->iov_len == 0)
            continue;
        CHECK((uint8_t *)v->iov_base >= ram && v->iov_len <= RAM_SIZE);
        CHECK((size_t)((uint8_t *)v->iov_base - ram) <= RAM_SIZE - v->iov_len);
    }
    CHECK(out == c->out_len && in == c->in_len && out + in <= UINT32_MAX);
}

static void use_chain(struct virtq *q, const struct virtq_chain *c, struct input *in)
{
    uint8_t buf[64] = {0};
    struct iovec iov[VIRTQ_SIZE_MAX];
    uint16_t offset = take(in), len = take(in) % sizeof(buf);
    CHECK(virtq_read_out(c, offset, buf, len) <= len);
    CHECK(virtq_write_in(c, offset, buf, len) <= len);
    CHECK(virtq_slice_out(c, offset, len, iov) <= c->nout);
    CHECK(virtq_slice_in(c, offset, len, iov) <= c->nin);
    virtq_push(q, c->head, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct virtq_chain c;
    struct gmem mem = {0};
    struct input in = {data, data + size};
    uint8_t *ram = calloc(1, RAM_SIZE); /* exactly: a byte too far is found */
    CHECK(ram && gmem_add_extern(&mem, RAM_GPA, RAM_SIZE, ram) == 0);
    struct virtq q = {.size = take(&in), .desc_gpa = take(&in), .driver_gpa = take(&in)};
    q.device_gpa = take(&in);
    bool event_idx = take(&in) & 1;
    if (virtq_enable(&q, &mem, VIRTQ_SIZE_MAX, event_idx) < 0)
        goto done;
    q.next_avail = q.next_used = q.signalled = take(&in);
    while (in.p < in.end) {
        uint16_t op = take(&in);
        size_t at = take(&in) % RAM_SIZE, len = op >> 8;
        switch (op & 7) {
        case 0: /* the guest writes */
        case 1:
            for (; len && in.p < in.end && at < RAM_SIZE; len--)
                ram[at++] = *in.p++;
            break;
        case 2:
        case 3:
            if (virtq_pop(&q, &c) == 1) {
                check_chain(&c, &q, ram);
                use_chain(&q, &c, &in);
            }
            break;
        case 4:
            if (virtq_pop(&q, &c) == 1)
                virtq_undo_pop(&q);
            break;
        case 5:
            virtq_enable_kicks(&q);
            break;
        case 6:
            virtq_disable_kicks(&q);
            break;
        case 7:
            virtq_wants_interrupt(&q);
            break;
        }
    }
done:
    gmem_fini(&mem);
    free(ram);
    return 0;
}
