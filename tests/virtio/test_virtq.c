/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring, device side, against a driver in plain memory. "case_N" in a name is the
 * number in the project's list of hostile-guest cases (docs/threat-model.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/virtio/driver.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#define SIZE 8

/* A driver's queue and the device's view of it, without any device. */
struct rig {
    struct drv g;
    struct drv_queue *q;
    struct virtq vq;
    struct virtq_chain c;
};

static void rig_place(struct rig *r, uint16_t size, bool event_idx)
{
    r->q = &r->g.q[0];
    drv_queue_init(&r->g, r->q, size, event_idx);
    r->vq = (struct virtq){.size = size,
                           .desc_gpa = r->q->desc_gpa,
                           .driver_gpa = r->q->avail_gpa,
                           .device_gpa = r->q->used_gpa};
}

static int rig_enable(struct rig *r)
{
    return virtq_enable(&r->vq, &r->g.mem, VIRTQ_SIZE_MAX, r->q->event_idx);
}

static void rig_set_idx(struct rig *r, uint16_t idx)
{
    drv_queue_set_idx(r->q, idx);
    r->vq.next_avail = r->vq.next_used = r->vq.signalled = idx;
}

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    if (!r)
        return -1;
    drv_open(&r->g);
    rig_place(r, SIZE, false);
    *state = r;
    return rig_enable(r);
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    drv_close(&r->g);
    free(r);
    return 0;
}

/* --- Enabling --- */

static void queue_sizes_that_are_0_or_no_power_of_two_or_too_large_are_refused_case_17(void **state)
{
    struct rig *r = *state;
    static const uint16_t bad[] = {0, 3, 6, 100, 255, 257, 512, 0x8000, 0xffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rig_place(r, SIZE, false);
        r->vq.size = bad[i];
        assert_int_equal(rig_enable(r), -EINVAL);
        assert_false(r->vq.ready);
    }
    for (uint16_t size = 1; size <= VIRTQ_SIZE_MAX; size = (uint16_t)(size * 2)) {
        rig_place(r, size, false);
        assert_int_equal(rig_enable(r), 0);
    }
    /* The device's own maximum counts too. */
    rig_place(r, 64, false);
    assert_int_equal(virtq_enable(&r->vq, &r->g.mem, 32, false), -EINVAL);
}

static void misaligned_rings_are_refused_case_5(void **state)
{
    struct rig *r = *state;
    static const struct {
        unsigned desc, avail, used;
    } off[] = {{8, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 2}, {0, 0, 1}};
    for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
        rig_place(r, SIZE, false);
        r->vq.desc_gpa += off[i].desc;
        r->vq.driver_gpa += off[i].avail;
        r->vq.device_gpa += off[i].used;
        assert_int_equal(rig_enable(r), -EINVAL);
        assert_false(r->vq.ready);
    }
}

static void rings_outside_guest_memory_are_refused_case_5(void **state)
{
    struct rig *r = *state;
    static const gpa_t bad[] = {
        0,                                     /* before RAM */
        DRV_RAM_GPA - 16,                      /* starts before it */
        DRV_RAM_GPA + DRV_RAM_SIZE,            /* behind it */
        DRV_RAM_GPA + DRV_RAM_SIZE - 16,       /* its end is behind */
        DRV_HIGH_GPA - 16,                     /* in the hole, reaching into RAM */
        UINT64_C(0xffffffffffffffff) & ~0xfULL /* wraps 2^64 */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        gpa_t *const field[] = {&r->vq.desc_gpa, &r->vq.driver_gpa, &r->vq.device_gpa};
        for (size_t f = 0; f < 3; f++) {
            rig_place(r, SIZE, false);
            *field[f] = bad[i];
            assert_int_equal(rig_enable(r), -EFAULT);
            assert_false(r->vq.ready);
        }
    }
}

static void rings_in_a_devices_window_are_refused_case_22(void **state)
{
    struct rig *r = *state;
    r->vq.device_gpa = 0xd0000000; /* between the two regions: where machines put device windows */
    assert_int_equal(rig_enable(r), -EFAULT);
}

static void rings_that_end_with_the_last_byte_of_memory_are_accepted(void **state)
{
    struct rig *r = *state;
    r->vq.device_gpa = DRV_HIGH_GPA + DRV_HIGH_SIZE - (6 + 8 * SIZE) - 2;
    assert_int_equal(r->vq.device_gpa % 4, 0);
    assert_int_equal(rig_enable(r), 0);
    r->vq.ready = false;
    r->vq.device_gpa += 4;
    assert_int_equal(rig_enable(r), -EFAULT);
}

static void a_queue_that_is_not_ready_does_nothing(void **state)
{
    struct rig *r = *state;
    virtq_reset(&r->vq);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 0);
    virtq_push(&r->vq, 0, 0);
    virtq_disable_kicks(&r->vq);
    assert_false(virtq_enable_kicks(&r->vq));
    assert_false(virtq_wants_interrupt(&r->vq));
}

/* --- Chains --- */

static void a_chain_comes_apart_into_what_is_read_and_what_is_written(void **state)
{
    struct rig *r = *state;
    struct drv_buf b[] = {drv_out(&r->g, "ab", 2), drv_out(&r->g, "cde", 3), drv_in(&r->g, 7),
                          drv_in(&r->g, 1)};
    assert_int_equal(virtq_pop(&r->vq, &r->c), 0);
    uint16_t head = drv_add(r->q, b, 4);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(r->c.head, head);
    assert_int_equal(r->c.nout, 2);
    assert_int_equal(r->c.nin, 2);
    assert_int_equal(r->c.out_len, 5);
    assert_int_equal(r->c.in_len, 8);
    for (size_t i = 0; i < 4; i++) {
        assert_ptr_equal(r->c.iov[i].iov_base, drv_ptr(&r->g, b[i].gpa));
        assert_int_equal(r->c.iov[i].iov_len, b[i].len);
    }
    assert_int_equal(virtq_pop(&r->vq, &r->c), 0);
}

static void a_chain_may_be_as_long_as_the_queue(void **state)
{
    struct rig *r = *state;
    struct drv_buf b[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        b[i] = drv_in(&r->g, 16);
    drv_add(r->q, b, SIZE);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(r->c.nin, SIZE);
}

static void a_popped_chain_can_be_put_back(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = drv_in(&r->g, 4);
    uint16_t head = drv_add(r->q, &b, 1);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    virtq_undo_pop(&r->vq);
    assert_true(virtq_enable_kicks(&r->vq));
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(r->c.head, head);
}

/* A fault is reported as `error`, again and again, and nothing is taken from the queue. */
static void assert_fault(struct rig *r, int error)
{
    for (int i = 0; i < 2; i++)
        assert_int_equal(virtq_pop(&r->vq, &r->c), error);
    assert_int_equal(r->vq.next_used, 0);
    assert_int_equal(r->vq.next_avail, 0);
}

static struct vring_desc good(struct rig *r, uint16_t flags, uint16_t next)
{
    return (struct vring_desc){.addr = drv_alloc(&r->g, 16), .len = 16, .flags = flags, .next = next};
}

static void a_loop_of_descriptors_ends_case_1(void **state)
{
    struct rig *r = *state;
    for (uint16_t i = 0; i < SIZE; i++)
        drv_desc(r->q, i, good(r, VRING_DESC_F_NEXT, (uint16_t)((i + 1) % SIZE)));
    drv_post(r->q, 3);
    assert_fault(r, -ELOOP);
}

static void a_descriptor_that_points_to_itself_ends_case_1(void **state)
{
    struct rig *r = *state;
    drv_desc(r->q, 5, good(r, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 5));
    drv_post(r->q, 5);
    assert_fault(r, -ELOOP);
}

static void a_loop_of_empty_descriptors_ends_case_2(void **state)
{
    struct rig *r = *state;
    drv_desc(r->q, 0, (struct vring_desc){.flags = VRING_DESC_F_NEXT, .next = 1});
    drv_desc(r->q, 1, (struct vring_desc){.flags = VRING_DESC_F_NEXT, .next = 0});
    drv_post(r->q, 0);
    assert_fault(r, -ELOOP);
}

static void empty_descriptors_are_pieces_without_bytes(void **state)
{
    struct rig *r = *state;
    /* An address that would be refused says nothing when no byte is behind it. */
    drv_desc(r->q, 0, (struct vring_desc){.addr = 1, .flags = VRING_DESC_F_NEXT, .next = 1});
    drv_desc(r->q, 1, good(r, VRING_DESC_F_NEXT, 2));
    drv_desc(r->q, 2, (struct vring_desc){.flags = VRING_DESC_F_WRITE});
    drv_post(r->q, 0);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(r->c.out_len, 16);
    assert_int_equal(r->c.in_len, 0);
    struct iovec iov[VIRTQ_SIZE_MAX];
    assert_int_equal(virtq_slice_out(&r->c, 0, 100, iov), 1);
    assert_int_equal(iov[0].iov_len, 16);
}

static void a_head_beyond_the_table_is_refused_case_3(void **state)
{
    struct rig *r = *state;
    drv_post(r->q, SIZE);
    assert_fault(r, -EINVAL);
    r->q->avail[2] = 0xffff;
    assert_fault(r, -EINVAL);
}

static void a_link_beyond_the_table_is_refused_case_3(void **state)
{
    struct rig *r = *state;
    drv_desc(r->q, 0, good(r, VRING_DESC_F_NEXT, SIZE));
    drv_post(r->q, 0);
    assert_fault(r, -EINVAL);
    drv_desc(r->q, 0, good(r, VRING_DESC_F_NEXT, 0xffff));
    assert_fault(r, -EINVAL);
}

static void an_index_that_jumps_by_more_than_the_queue_is_refused_case_4(void **state)
{
    struct rig *r = *state;
    drv_desc(r->q, 0, good(r, 0, 0));
    static const uint16_t bad[] = {SIZE + 1, 0x7fff, 0x8000, 0xffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        drv_publish(r->q, bad[i]);
        assert_fault(r, -ERANGE);
    }
    drv_publish(r->q, SIZE);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    /* Backwards is a jump, too. */
    drv_publish(r->q, SIZE - 1);
    assert_int_equal(virtq_pop(&r->vq, &r->c), -ERANGE);
}

static void buffers_outside_guest_memory_are_refused_case_6(void **state)
{
    struct rig *r = *state;
    static const struct {
        gpa_t addr;
        uint32_t len;
    } bad[] = {
        {0, 1},
        {DRV_RAM_GPA - 1, 1},
        {DRV_RAM_GPA - 1, 2},
        {DRV_RAM_GPA + DRV_RAM_SIZE, 1},
        {DRV_RAM_GPA + DRV_RAM_SIZE - 1, 2}, /* only the start is inside */
        {DRV_RAM_GPA, DRV_RAM_SIZE + 1},     /* across the hole */
        {DRV_RAM_GPA, UINT32_MAX},           /* over both regions */
        {DRV_HIGH_GPA + DRV_HIGH_SIZE - 16, 17},
        {UINT64_MAX, 1},
        {UINT64_MAX, 2}, /* wraps to 0 */
        {UINT64_MAX - 15, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (unsigned write = 0; write < 2; write++) {
            drv_publish(r->q, 0);
            drv_desc(r->q, 0,
                     (struct vring_desc){
                         .addr = bad[i].addr, .len = bad[i].len, .flags = write ? VRING_DESC_F_WRITE : 0});
            drv_post(r->q, 0);
            assert_fault(r, -EFAULT);
        }
}

static void a_buffer_that_ends_with_the_last_byte_of_memory_is_accepted(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = {.gpa = DRV_HIGH_GPA + DRV_HIGH_SIZE - 16, .len = 16};
    drv_add(r->q, &b, 1);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
}

static void a_buffer_in_a_devices_window_is_refused_case_22(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = {.gpa = 0xd0000000, .len = 4, .write = true};
    drv_add(r->q, &b, 1);
    assert_fault(r, -EFAULT);
}

static void indirect_descriptors_are_refused_since_they_are_not_offered_case_8(void **state)
{
    struct rig *r = *state;
    static const uint16_t flags[] = {VRING_DESC_F_INDIRECT, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT,
                                     VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        drv_publish(r->q, 0);
        drv_desc(r->q, 0, good(r, flags[i], 1));
        drv_desc(r->q, 1, good(r, 0, 0));
        drv_post(r->q, 0);
        assert_fault(r, -EINVAL);
    }
}

static void overlapping_descriptors_are_copied_in_their_order_case_9(void **state)
{
    struct rig *r = *state;
    gpa_t at = drv_alloc(&r->g, 16);
    struct drv_buf b[] = {{at, 8, true}, {at + 4, 8, true}, {at, 2, true}};
    drv_add(r->q, b, 3);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(virtq_write_in(&r->c, 0, "aaaabbbbccccccccdd", 18), 18);
    assert_memory_equal(drv_ptr(&r->g, at), "ddaacccccccc\0\0\0\0", 16);
}

static void a_head_posted_twice_is_two_chains_case_10(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = drv_in(&r->g, 4);
    uint16_t head = drv_add(r->q, &b, 1);
    drv_post(r->q, head);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
        virtq_push(&r->vq, r->c.head, 1);
    }
    assert_int_equal(virtq_pop(&r->vq, &r->c), 0);
    assert_int_equal(drv_used_idx(r->q), 2);
}

/* Needs no 4 GiB of memory: a region that says so is enough, because a walk does not touch the buffers. */
static void a_chain_of_4_GiB_is_refused_case_12(void **state)
{
    struct rig *r = *state;
    uint8_t *const never_touched = (uint8_t *)(uintptr_t)0x10000;
    assert_int_equal(gmem_add_extern(&r->g.mem, UINT64_C(8) << 30, UINT64_C(4) << 30, never_touched), 0);
    struct drv_buf b[] = {{UINT64_C(8) << 30, UINT32_MAX, true}, {UINT64_C(8) << 30, 1, true}};
    drv_add(r->q, b, 2);
    assert_fault(r, -EMSGSIZE);
    drv_publish(r->q, 0);
    drv_add(r->q, b, 1);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    assert_int_equal(r->c.in_len, UINT32_MAX);
}

static void the_sum_counts_both_directions_case_12(void **state)
{
    struct rig *r = *state;
    assert_int_equal(gmem_add_extern(&r->g.mem, UINT64_C(8) << 30, UINT64_C(4) << 30, (void *)0x10000), 0);
    struct drv_buf b[] = {{UINT64_C(8) << 30, 0x80000000, false}, {UINT64_C(8) << 30, 0x80000000, true}};
    drv_add(r->q, b, 2);
    assert_fault(r, -EMSGSIZE);
}

static void reading_after_writing_in_a_chain_is_refused_case_15(void **state)
{
    struct rig *r = *state;
    struct drv_buf b[] = {drv_in(&r->g, 4), drv_out(&r->g, "x", 1)};
    drv_add(r->q, b, 2);
    assert_fault(r, -EINVAL);
    drv_publish(r->q, 0);
    b[1].len = 0; /* an empty piece has a direction as well */
    drv_add(r->q, b, 2);
    assert_fault(r, -EINVAL);
}

struct flipper {
    struct drv_queue *q;
    gpa_t ram;
    bool stop;
};

/* A second CPU of the guest, which rewrites the descriptor as fast as it can. */
static void *flip(void *arg)
{
    struct flipper *f = arg;
    struct vring_desc *d = &f->q->desc[0];
    while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
        __atomic_store_n(&d->len, 16, __ATOMIC_RELAXED);
        __atomic_store_n(&d->addr, f->ram, __ATOMIC_RELAXED);
        __atomic_store_n(&d->flags, VRING_DESC_F_WRITE, __ATOMIC_RELAXED);
        __atomic_store_n(&d->len, UINT32_MAX, __ATOMIC_RELAXED);
        __atomic_store_n(&d->addr, UINT64_MAX, __ATOMIC_RELAXED);
        __atomic_store_n(&d->flags, VRING_DESC_F_INDIRECT, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void a_guest_that_changes_descriptors_meanwhile_gains_nothing_case_7(void **state)
{
    struct rig *r = *state;
    struct flipper f = {.q = r->q, .ram = drv_alloc(&r->g, 16)};
    uint8_t *ram = drv_ptr(&r->g, f.ram);
    pthread_t cpu;
    drv_desc(r->q, 0, (struct vring_desc){.addr = f.ram, .len = 16});
    drv_post(r->q, 0);
    assert_int_equal(pthread_create(&cpu, NULL, flip, &f), 0);
    bool sane = true;
    for (int i = 0; i < 200000 && sane; i++) {
        int ret = virtq_pop(&r->vq, &r->c);
        if (ret == 1) {
            uint64_t len = r->c.iov[0].iov_len;
            sane = r->c.nout + r->c.nin == 1 && r->c.iov[0].iov_base == ram && len == 16 &&
                   r->c.out_len + r->c.in_len == len;
            virtq_undo_pop(&r->vq);
        } else {
            sane = ret == -EFAULT || ret == -EINVAL;
        }
    }
    __atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
    pthread_join(cpu, NULL);
    assert_true(sane);
}

/* --- Copies --- */

static void copies_cross_pieces_and_stop_at_the_end_of_the_chain(void **state)
{
    struct rig *r = *state;
    struct drv_buf b[] = {drv_out(&r->g, "abc", 3), drv_out(&r->g, "", 0), drv_out(&r->g, "defgh", 5),
                          drv_in(&r->g, 2), drv_in(&r->g, 4)};
    drv_add(r->q, b, 5);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    char buf[16] = "";
    assert_int_equal(virtq_read_out(&r->c, 0, buf, sizeof(buf)), 8);
    assert_memory_equal(buf, "abcdefgh", 8);
    assert_int_equal(virtq_read_out(&r->c, 2, buf, 3), 3);
    assert_memory_equal(buf, "cde", 3);
    assert_int_equal(virtq_read_out(&r->c, 8, buf, 1), 0);
    assert_int_equal(virtq_read_out(&r->c, UINT64_MAX, buf, 1), 0);
    assert_int_equal(virtq_write_in(&r->c, 1, "12345678", 8), 5);
    assert_memory_equal(drv_ptr(&r->g, b[3].gpa),
                        "\0"
                        "1",
                        2);
    assert_memory_equal(drv_ptr(&r->g, b[4].gpa), "2345", 4);
    assert_int_equal(virtq_write_in(&r->c, 6, "x", 1), 0);
}

static void slices_are_the_same_bytes_as_copies(void **state)
{
    struct rig *r = *state;
    struct drv_buf b[] = {drv_out(&r->g, "abc", 3), drv_out(&r->g, "defgh", 5), drv_in(&r->g, 2),
                          drv_in(&r->g, 4)};
    drv_add(r->q, b, 4);
    assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
    for (uint64_t offset = 0; offset <= 9; offset++)
        for (uint64_t max = 0; max <= 9; max++) {
            struct iovec iov[VIRTQ_SIZE_MAX];
            char copied[16], sliced[16];
            uint64_t len = virtq_read_out(&r->c, offset, copied, max), at = 0;
            int n = virtq_slice_out(&r->c, offset, max, iov);
            for (int i = 0; i < n; i++) {
                memcpy(sliced + at, iov[i].iov_base, iov[i].iov_len);
                at += iov[i].iov_len;
            }
            assert_int_equal(at, len);
            assert_memory_equal(copied, sliced, len);
        }
    struct iovec iov[VIRTQ_SIZE_MAX];
    assert_int_equal(virtq_slice_in(&r->c, 1, 100, iov), 2);
    assert_ptr_equal(iov[0].iov_base, (uint8_t *)drv_ptr(&r->g, b[2].gpa) + 1);
    assert_int_equal(iov[1].iov_len, 4);
}

/* --- The used ring --- */

static void used_entries_carry_head_and_length_case_14(void **state)
{
    struct rig *r = *state;
    uint32_t id, len;
    virtq_push(&r->vq, 7, 1234);
    virtq_push(&r->vq, 2, 0);
    assert_true(drv_used(r->q, &id, &len));
    assert_int_equal(id, 7);
    assert_int_equal(len, 1234);
    assert_true(drv_used(r->q, &id, &len));
    assert_int_equal(id, 2);
    assert_int_equal(len, 0);
    assert_false(drv_used(r->q, &id, &len));
}

static void rings_and_indices_wrap(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = drv_in(&r->g, 4);
    for (uint32_t i = 0; i < 70000; i++) {
        uint32_t id, len;
        uint16_t head = drv_add(r->q, &b, 1);
        assert_int_equal(virtq_pop(&r->vq, &r->c), 1);
        assert_int_equal(r->c.head, head);
        virtq_push(&r->vq, head, i);
        assert_true(drv_used(r->q, &id, &len));
        assert_int_equal(id, head);
        assert_int_equal(len, i);
    }
    assert_int_equal(drv_used_idx(r->q), 70000 - 65536);
}

/* --- Interrupts and kicks --- */

static void without_event_idx_the_drivers_flag_decides_about_interrupts(void **state)
{
    struct rig *r = *state;
    assert_false(virtq_wants_interrupt(&r->vq)); /* nothing was pushed */
    virtq_push(&r->vq, 0, 0);
    assert_true(virtq_wants_interrupt(&r->vq));
    assert_false(virtq_wants_interrupt(&r->vq)); /* and nothing since */
    drv_set_avail_flags(r->q, VRING_AVAIL_F_NO_INTERRUPT);
    virtq_push(&r->vq, 0, 0);
    assert_false(virtq_wants_interrupt(&r->vq));
}

static void without_event_idx_our_flag_asks_for_kicks(void **state)
{
    struct rig *r = *state;
    struct drv_buf b = drv_in(&r->g, 4);
    virtq_disable_kicks(&r->vq);
    assert_false(drv_must_kick(r->q, r->q->avail_idx));
    assert_false(virtq_enable_kicks(&r->vq));
    assert_true(drv_must_kick(r->q, r->q->avail_idx));
    drv_add(r->q, &b, 1);
    assert_true(virtq_enable_kicks(&r->vq)); /* work is there already */
}

static void with_event_idx_an_interrupt_comes_when_the_index_passes(void **state)
{
    struct rig *r = *state;
    static const struct {
        uint16_t from, pushes, event;
        bool wanted;
    } cases[] = {
        {0, 1, 0, true},       {0, 1, 1, false},      {0, 2, 1, true},
        {0, 8, 7, true},       {0, 8, 8, false},      {5, 1, 4, false},
        {5, 1, 5, true},       {5, 3, 100, false},    {0xffff, 1, 0xffff, true}, /* 0xffff → 0 */
        {0xffff, 1, 0, false}, {0xffff, 2, 0, true},  {0xfffe, 4, 0xffff, true},
        {0xfffe, 4, 1, true},  {0xfffe, 4, 2, false}, {0xfffe, 4, 0xfffd, false},
    };
    rig_place(r, SIZE, true);
    assert_int_equal(rig_enable(r), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_set_idx(r, cases[i].from);
        drv_set_used_event(r->q, cases[i].event);
        for (unsigned n = 0; n < cases[i].pushes; n++)
            virtq_push(&r->vq, 0, 0);
        assert_int_equal(virtq_wants_interrupt(&r->vq), cases[i].wanted);
        assert_false(virtq_wants_interrupt(&r->vq));
    }
}

static void with_event_idx_a_full_turn_without_a_decision_interrupts(void **state)
{
    struct rig *r = *state;
    rig_place(r, SIZE, true);
    assert_int_equal(rig_enable(r), 0);
    drv_set_used_event(r->q, 0x1234);
    for (unsigned i = 0; i < 65536; i++)
        virtq_push(&r->vq, 0, 0);
    assert_true(virtq_wants_interrupt(&r->vq));
}

static void with_event_idx_kicks_are_asked_for_by_index(void **state)
{
    struct rig *r = *state;
    rig_place(r, SIZE, true);
    assert_int_equal(rig_enable(r), 0);
    rig_set_idx(r, 0xfffe);
    struct drv_buf b = drv_in(&r->g, 4);
    assert_false(virtq_enable_kicks(&r->vq));
    assert_int_equal(drv_avail_event(r->q), 0xfffe);
    for (int i = 0; i < 4; i++) { /* across the wrap; only the first of a batch needs a kick */
        uint16_t old = r->q->avail_idx;
        drv_add(r->q, &b, 1);
        assert_int_equal(drv_must_kick(r->q, old), i == 0);
    }
    virtq_disable_kicks(&r->vq);
    assert_true(virtq_enable_kicks(&r->vq));
    while (virtq_pop(&r->vq, &r->c) > 0)
        ;
    assert_false(virtq_enable_kicks(&r->vq));
    assert_int_equal(drv_avail_event(r->q), 2);
    assert_int_equal(drv_used_flags(r->q), 0); /* not used with EVENT_IDX */
}

/* --- Two sides that sleep: no wake-up is lost --- */

#define CHAINS 50000

struct sides {
    struct rig *r;
    int kick_fd, irq_fd;
    bool device_lost, driver_lost;
};

static bool sleep_on(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t n;
    return poll(&p, 1, 20000) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void wake(int fd)
{
    uint64_t one = 1;
    DRV_CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

static void *device_side(void *arg)
{
    struct sides *s = arg;
    struct rig *r = s->r;
    for (unsigned done = 0; done < CHAINS;) {
        virtq_disable_kicks(&r->vq);
        while (virtq_pop(&r->vq, &r->c) > 0) {
            virtq_push(&r->vq, r->c.head, 1);
            done++;
            if (done % 3 == 0 && virtq_wants_interrupt(&r->vq))
                wake(s->irq_fd);
        }
        if (virtq_wants_interrupt(&r->vq))
            wake(s->irq_fd);
        if (done < CHAINS && !virtq_enable_kicks(&r->vq) && !sleep_on(s->kick_fd)) {
            s->device_lost = true;
            return NULL;
        }
    }
    return NULL;
}

/* A driver that fills the ring, kicks only when asked to, and sleeps until the interrupt that it asks for. */
static void drive(struct sides *s, struct drv_buf *b)
{
    struct drv_queue *q = s->r->q;
    for (unsigned sent = 0, back = 0; back < CHAINS;) {
        uint16_t old = q->avail_idx;
        while (sent < CHAINS && sent - back < SIZE) {
            drv_add(q, b, 1);
            sent++;
        }
        if (q->avail_idx != old && drv_must_kick(q, old))
            wake(s->kick_fd);
        drv_set_avail_flags(q, VRING_AVAIL_F_NO_INTERRUPT);
        unsigned before = back;
        while (drv_used(q, NULL, NULL))
            back++;
        if (back != before)
            continue;
        drv_set_avail_flags(q, 0);
        drv_set_used_event(q, q->used_seen);
        if (drv_used_idx(q) == q->used_seen && !sleep_on(s->irq_fd)) {
            s->driver_lost = true;
            return;
        }
    }
}

static void run_both_sides(struct rig *r, bool event_idx)
{
    rig_place(r, SIZE, event_idx);
    assert_int_equal(rig_enable(r), 0);
    rig_set_idx(r, 0xfff0);
    struct drv_buf b = drv_in(&r->g, 4);
    struct sides s = {.r = r, .kick_fd = eventfd(0, EFD_CLOEXEC), .irq_fd = eventfd(0, EFD_CLOEXEC)};
    pthread_t device;
    assert_int_equal(pthread_create(&device, NULL, device_side, &s), 0);
    drive(&s, &b);
    pthread_join(device, NULL);
    close(s.kick_fd);
    close(s.irq_fd);
    assert_false(s.driver_lost);
    assert_false(s.device_lost);
}

static void no_wake_up_is_lost_between_two_threads(void **state)
{
    run_both_sides(*state, false);
}

static void no_wake_up_is_lost_between_two_threads_with_event_idx(void **state)
{
    run_both_sides(*state, true);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(queue_sizes_that_are_0_or_no_power_of_two_or_too_large_are_refused_case_17),
        CASE(misaligned_rings_are_refused_case_5),
        CASE(rings_outside_guest_memory_are_refused_case_5),
        CASE(rings_in_a_devices_window_are_refused_case_22),
        CASE(rings_that_end_with_the_last_byte_of_memory_are_accepted),
        CASE(a_queue_that_is_not_ready_does_nothing),
        CASE(a_chain_comes_apart_into_what_is_read_and_what_is_written),
        CASE(a_chain_may_be_as_long_as_the_queue),
        CASE(a_popped_chain_can_be_put_back),
        CASE(a_loop_of_descriptors_ends_case_1),
        CASE(a_descriptor_that_points_to_itself_ends_case_1),
        CASE(a_loop_of_empty_descriptors_ends_case_2),
        CASE(empty_descriptors_are_pieces_without_bytes),
        CASE(a_head_beyond_the_table_is_refused_case_3),
        CASE(a_link_beyond_the_table_is_refused_case_3),
        CASE(an_index_that_jumps_by_more_than_the_queue_is_refused_case_4),
        CASE(buffers_outside_guest_memory_are_refused_case_6),
        CASE(a_buffer_that_ends_with_the_last_byte_of_memory_is_accepted),
        CASE(a_buffer_in_a_devices_window_is_refused_case_22),
        CASE(indirect_descriptors_are_refused_since_they_are_not_offered_case_8),
        CASE(overlapping_descriptors_are_copied_in_their_order_case_9),
        CASE(a_head_posted_twice_is_two_chains_case_10),
        CASE(a_chain_of_4_GiB_is_refused_case_12),
        CASE(the_sum_counts_both_directions_case_12),
        CASE(reading_after_writing_in_a_chain_is_refused_case_15),
        CASE(a_guest_that_changes_descriptors_meanwhile_gains_nothing_case_7),
        CASE(copies_cross_pieces_and_stop_at_the_end_of_the_chain),
        CASE(slices_are_the_same_bytes_as_copies),
        CASE(used_entries_carry_head_and_length_case_14),
        CASE(rings_and_indices_wrap),
        CASE(without_event_idx_the_drivers_flag_decides_about_interrupts),
        CASE(without_event_idx_our_flag_asks_for_kicks),
        CASE(with_event_idx_an_interrupt_comes_when_the_index_passes),
        CASE(with_event_idx_a_full_turn_without_a_decision_interrupts),
        CASE(with_event_idx_kicks_are_asked_for_by_index),
        CASE(no_wake_up_is_lost_between_two_threads),
        CASE(no_wake_up_is_lost_between_two_threads_with_event_idx),
    };
    return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
