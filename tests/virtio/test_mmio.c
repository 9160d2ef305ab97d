/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register window: every register in every step of the driver, every edge of the status machine, kicks
 * and interrupts, with a toy device behind it. "case_N" in a name is the number in the project's list of
 * hostile-guest cases (docs/threat-model.md).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/virtio/driver.h"

#include <errno.h>
#include <pthread.h>

#include "tests/virtio/faults.h"

#define BIT64(n)    (UINT64_C(1) << (n))
#define V1          BIT64(VIRTIO_F_VERSION_1)
#define TOY_FEATURE BIT64(3)
#define TOY_HIGH    BIT64(40)

#define ACK    VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER VIRTIO_CONFIG_S_DRIVER
#define FOK    VIRTIO_CONFIG_S_FEATURES_OK
#define DOK    VIRTIO_CONFIG_S_DRIVER_OK
#define NEEDS  VIRTIO_CONFIG_S_NEEDS_RESET
#define FAILED VIRTIO_CONFIG_S_FAILED

/* --- A toy: gives every chain back, counts what happens to it --- */

struct toy {
    struct vdev dev;
    uint8_t config[6];
    unsigned activations, resets, kicks[2], chains;
    int activate_result, kick_result;
    unsigned *destroyed;
};

static struct toy *toy_of(struct vdev *d)
{
    return CONTAINER_OF(d, struct toy, dev);
}

static void toy_config_read(struct vdev *d, uint32_t offset, void *out, uint32_t len)
{
    memcpy(out, toy_of(d)->config + offset, len);
}

static void toy_config_write(struct vdev *d, uint32_t offset, const void *data, uint32_t len)
{
    memcpy(toy_of(d)->config + offset, data, len);
}

static int toy_activate(struct vdev *d)
{
    toy_of(d)->activations++;
    return toy_of(d)->activate_result;
}

static void toy_reset(struct vdev *d)
{
    toy_of(d)->resets++;
}

static int toy_kick(struct vdev *d, unsigned q)
{
    struct toy *t = toy_of(d);
    struct virtq_chain c;
    int ret;
    t->kicks[q]++;
    if (t->kick_result < 0)
        return t->kick_result;
    do {
        virtq_disable_kicks(&d->vq[q]);
        while ((ret = virtq_pop(&d->vq[q], &c)) > 0) {
            virtq_push(&d->vq[q], c.head, (uint32_t)virtq_write_in(&c, 0, "toy", 3));
            t->chains++;
        }
    } while (ret == 0 && virtq_enable_kicks(&d->vq[q]));
    d->notify_queue(d, q);
    return ret;
}

static void toy_destroy(struct vdev *d)
{
    struct toy *t = toy_of(d);
    if (t->destroyed)
        ++*t->destroyed;
    free(t);
}

static const struct vdev_ops toy_ops = {
    .name = "toy",
    .topic = LOG_VIRTIO,
    .device_id = 42,
    .queue_max = 16,
    .config_read = toy_config_read,
    .config_write = toy_config_write,
    .activate = toy_activate,
    .reset = toy_reset,
    .kick = toy_kick,
    .destroy = toy_destroy,
};

static const struct vdev_ops toy_fixed_config_ops = {
    .name = "toy",
    .topic = LOG_VIRTIO,
    .device_id = 43,
    .queue_max = 16,
    .config_read = toy_config_read,
    .activate = toy_activate,
    .reset = toy_reset,
    .kick = toy_kick,
    .destroy = toy_destroy,
};

static struct toy *toy_create(struct drv *g, const struct vdev_ops *ops)
{
    struct toy *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->dev.ops = ops;
    t->dev.mem = &g->mem;
    t->dev.loop = g->loop;
    t->dev.features = TOY_FEATURE | TOY_HIGH;
    t->dev.config_size = sizeof(t->config);
    t->dev.nqueues = 2;
    memcpy(t->config, "config", 6);
    return t;
}

static int set_up(void **state)
{
    struct drv *g = calloc(1, sizeof(*g));
    if (!g)
        return -1;
    drv_open(g);
    drv_attach(g, &toy_create(g, &toy_ops)->dev);
    *state = g;
    return 0;
}

static int tear_down(void **state)
{
    drv_close(*state);
    free(*state);
    return 0;
}

static struct toy *toy(struct drv *g)
{
    return toy_of(g->dev);
}

/* --- Steps --- */

enum { INIT, FEATURES, QUEUES, LIVE, BROKEN_BY_DRIVER, BROKEN_BY_US, STEPS };

static void go_to(struct drv *g, int step)
{
    static const uint32_t status[] = {ACK, ACK | DRIVER};
    toy(g)->kick_result = 0;
    if (step <= FEATURES) {
        drv_w32(g, VIRTIO_MMIO_STATUS, 0);
        for (int i = 0; i <= step; i++)
            drv_w32(g, VIRTIO_MMIO_STATUS, status[i]);
        return;
    }
    if (step == QUEUES) {
        assert_true(drv_negotiate(g, V1));
        return;
    }
    drv_start(g, 0, 8);
    if (step == BROKEN_BY_DRIVER)
        drv_add_status(g, FAILED);
    if (step == BROKEN_BY_US) {
        toy(g)->kick_result = -EINVAL;
        drv_kick(g, 0);
        drv_spin(g);
        assert_true(drv_broken(g));
        toy(g)->kick_result = 0;
    }
}

/* --- Identification and the shape of the window --- */

static void the_window_identifies_the_device(void **state)
{
    struct drv *g = *state;
    assert_int_equal(drv_r32(g, 0x000), 0x74726976);
    assert_int_equal(drv_r32(g, 0x004), 2);
    assert_int_equal(drv_r32(g, 0x008), 42);
    assert_int_not_equal(drv_r32(g, 0x00c), 0);
    assert_int_equal(vmmio_queues(g->mmio), 2);
}

/* The specification's table 4.1 written down a second time: what may be read. */
static bool is_readable(uint32_t offset)
{
    static const uint32_t readable[] = {0x00, 0x04, 0x08, 0x0c, 0x10, 0x34, 0x44, 0x60,
                                        0x70, 0xb0, 0xb4, 0xb8, 0xbc, 0xc0, 0xfc};
    for (size_t i = 0; i < ARRAY_LEN(readable); i++)
        if (readable[i] == offset)
            return true;
    return false;
}

static void reads_of_any_width_anywhere_are_harmless_case_21(void **state)
{
    struct drv *g = *state;
    static const uint8_t zeros[8];
    go_to(g, LIVE);
    for (uint32_t offset = 0; offset < 0x300; offset++)
        for (uint32_t len = 1; len <= 8; len *= 2) {
            uint8_t data[8];
            memset(data, 0xaa, sizeof(data));
            vmmio_read(g->mmio, offset, data, len);
            for (uint32_t i = len; i < 8; i++)
                assert_int_equal(data[i], 0xaa);
            bool config = offset >= 0x100 && offset + len <= 0x106 && offset % len == 0 && len <= 4;
            if (config)
                assert_memory_equal(data, &"config"[offset - 0x100], len);
            else if (len != 4 || offset >= 0x100 || !is_readable(offset))
                assert_memory_equal(data, zeros, len);
        }
    uint8_t far[4] = {1, 1, 1, 1};
    vmmio_read(g->mmio, UINT32_MAX, far, 4);
    assert_memory_equal(far, zeros, 4);
    assert_int_equal(drv_status(g), DRV_STATUS_READY);
}

static void writes_of_a_wrong_width_or_place_are_harmless_case_21(void **state)
{
    struct drv *g = *state;
    go_to(g, QUEUES);
    struct virtq before = g->dev->vq[0];
    for (uint32_t offset = 0; offset < 0x300; offset++)
        for (uint32_t len = 1; len <= 8; len *= 2) {
            static const uint8_t ones[8] = {255, 255, 255, 255, 255, 255, 255, 255};
            bool fits = len == 4 && offset % 4 == 0 && offset < 0x100;
            if (!fits)
                vmmio_write(g->mmio, offset, ones, len);
        }
    vmmio_write(g->mmio, UINT32_MAX, &before, 4);
    assert_int_equal(drv_status(g), ACK | DRIVER | FOK);
    assert_memory_equal(&before, &g->dev->vq[0], sizeof(before));
}

static void writes_to_read_only_and_missing_registers_have_no_effect(void **state)
{
    struct drv *g = *state;
    go_to(g, QUEUES);
    static const uint32_t offsets[] = {0x00, 0x04, 0x08, 0x0c, 0x10, 0x34, 0x60, 0xb0, 0xb4,
                                       0xb8, 0xbc, 0xc0, 0xfc, 0x18, 0x28, 0x3c, 0x40, 0xf8};
    uint32_t before[ARRAY_LEN(offsets)];
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++)
        before[i] = drv_r32(g, offsets[i]);
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++)
        drv_w32(g, offsets[i], 0xffffffff);
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++)
        assert_int_equal(drv_r32(g, offsets[i]), before[i]);
    assert_int_equal(drv_status(g), ACK | DRIVER | FOK);
}

static void there_are_no_shared_memory_regions(void **state)
{
    struct drv *g = *state;
    for (uint32_t region = 0; region < 3; region++) {
        drv_w32(g, VIRTIO_MMIO_SHM_SEL, region);
        for (uint32_t offset = 0xb0; offset <= 0xbc; offset += 4)
            assert_int_equal(drv_r32(g, offset), UINT32_MAX);
    }
}

static void every_register_has_a_name_for_logs(void **state)
{
    (void)state;
    assert_string_equal(vmmio_reg_name(0x000), "MagicValue");
    assert_string_equal(vmmio_reg_name(0x070), "Status");
    assert_string_equal(vmmio_reg_name(0x071), "Status");
    assert_string_equal(vmmio_reg_name(0x0a4), "QueueDeviceHigh");
    assert_string_equal(vmmio_reg_name(0x018), "no register");
    assert_string_equal(vmmio_reg_name(0x100), "Config");
    assert_string_equal(vmmio_reg_name(UINT32_MAX), "Config");
}

/* --- Features --- */

static void features_are_offered_in_two_halves_and_nothing_beyond(void **state)
{
    struct drv *g = *state;
    assert_true(drv_offered(g) == (TOY_FEATURE | TOY_HIGH | V1 | BIT64(VIRTIO_RING_F_EVENT_IDX)));
    static const uint32_t beyond[] = {2, 3, 32, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
        drv_w32(g, VIRTIO_MMIO_DEVICE_FEATURES_SEL, beyond[i]);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_DEVICE_FEATURES), 0);
    }
}

static void offered_features_are_accepted(void **state)
{
    struct drv *g = *state;
    static const uint64_t good[] = {V1, V1 | TOY_FEATURE, V1 | TOY_HIGH,
                                    V1 | TOY_FEATURE | TOY_HIGH | BIT64(VIRTIO_RING_F_EVENT_IDX)};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(drv_negotiate(g, good[i]));
        assert_true(g->dev->acked == good[i]);
    }
}

static void features_that_are_not_offered_are_refused_case_23(void **state)
{
    struct drv *g = *state;
    for (unsigned bit = 0; bit < 64; bit++) {
        bool ok = (V1 | TOY_FEATURE | TOY_HIGH | BIT64(VIRTIO_RING_F_EVENT_IDX)) & BIT64(bit);
        assert_int_equal(drv_negotiate(g, V1 | BIT64(bit)), ok);
        assert_true(g->dev->acked == (ok ? V1 | BIT64(bit) : 0));
    }
}

static void without_version_1_features_are_refused(void **state)
{
    struct drv *g = *state;
    assert_false(drv_negotiate(g, 0));
    assert_false(drv_negotiate(g, TOY_FEATURE));
    assert_int_equal(drv_status(g), ACK | DRIVER);
}

static void features_above_63_are_refused_case_23(void **state)
{
    struct drv *g = *state;
    go_to(g, FEATURES);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 0);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 0x80);
    drv_add_status(g, FOK);
    assert_int_equal(drv_status(g), ACK | DRIVER);
    assert_true(drv_negotiate(g, V1)); /* a reset forgets it */
}

static void a_driver_may_try_again_with_fewer_features(void **state)
{
    struct drv *g = *state;
    assert_false(drv_negotiate(g, V1 | BIT64(5)));
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 0);
    drv_add_status(g, FOK);
    assert_int_equal(drv_status(g), ACK | DRIVER | FOK);
}

static void features_are_written_only_before_features_ok(void **state)
{
    struct drv *g = *state;
    /* Too early: in INIT a written V1 does not count. */
    go_to(g, INIT);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
    drv_add_status(g, DRIVER);
    drv_add_status(g, FOK);
    assert_int_equal(drv_status(g), ACK | DRIVER);
    /* Too late: what was agreed on stays. */
    for (int step = QUEUES; step < STEPS; step++) {
        go_to(g, step);
        uint64_t acked = g->dev->acked;
        drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
        drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)TOY_FEATURE);
        drv_add_status(g, FOK);
        assert_true(acked == V1 && g->dev->acked == acked);
    }
}

/* --- Status --- */

static void each_edge_of_the_status_machine(void **state)
{
    struct drv *g = *state;
    static const struct {
        uint32_t from, write, then;
    } edges[] = {
        /* forwards, one step at a time */
        {0, ACK, ACK},
        {ACK, ACK | DRIVER, ACK | DRIVER},
        {ACK | DRIVER, ACK | DRIVER | FOK, ACK | DRIVER | FOK},
        {ACK | DRIVER | FOK, ACK | DRIVER | FOK | DOK, ACK | DRIVER | FOK | DOK},
        /* two steps in one write */
        {0, ACK | DRIVER, ACK | DRIVER},
        {ACK | DRIVER, ACK | DRIVER | FOK | DOK, ACK | DRIVER | FOK | DOK},
        /* steps left out */
        {0, DRIVER, 0},
        {0, FOK, 0},
        {0, DOK, 0},
        {0, DRIVER | FOK | DOK, 0},
        {ACK, ACK | FOK, ACK},
        {ACK, ACK | DOK, ACK},
        {ACK | DRIVER, ACK | DRIVER | DOK, ACK | DRIVER},
        /* FEATURES_OK without agreed features: from 0 nobody could write them */
        {0, ACK | DRIVER | FOK | DOK, ACK | DRIVER},
        /* bits cleared one by one: refused, but for all of them */
        {ACK | DRIVER | FOK, ACK | DRIVER, ACK | DRIVER | FOK},
        {ACK | DRIVER | FOK, DRIVER | FOK, ACK | DRIVER | FOK},
        {ACK | DRIVER | FOK, FOK | DOK, ACK | DRIVER | FOK},
        {ACK | DRIVER | FOK | DOK, ACK, ACK | DRIVER | FOK | DOK},
        {ACK, 0, 0},
        {ACK | DRIVER, 0, 0},
        {ACK | DRIVER | FOK, 0, 0},
        {ACK | DRIVER | FOK | DOK, 0, 0},
        /* the same again */
        {0, 0, 0},
        {ACK | DRIVER | FOK | DOK, ACK | DRIVER | FOK | DOK, ACK | DRIVER | FOK | DOK},
        /* bits that are ours, or nobody's */
        {ACK, ACK | NEEDS, ACK},
        {ACK, ACK | 0x10 | 0x20 | 0xffffff00, ACK},
        {0, NEEDS, 0},
        /* FAILED, from everywhere; nothing but a reset afterwards */
        {0, FAILED, FAILED},
        {ACK | DRIVER, ACK | DRIVER | FAILED, ACK | DRIVER | FAILED},
        {ACK | DRIVER | FOK | DOK, ACK | DRIVER | FOK | DOK | FAILED, ACK | DRIVER | FOK | DOK | FAILED},
        {ACK, ACK | DRIVER | FAILED, ACK | FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        drv_w32(g, VIRTIO_MMIO_STATUS, 0);
        if (edges[i].from & FOK)
            assert_true(drv_negotiate(g, V1));
        else if (edges[i].from & DRIVER)
            drv_negotiate(g, V1 | BIT64(5)); /* refused: stays at DRIVER … */
        if ((edges[i].from & (DRIVER | FOK)) == DRIVER) {
            drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
            drv_w32(g, VIRTIO_MMIO_DRIVER_FEATURES, 0); /* … and now agrees */
        }
        drv_add_status(g, edges[i].from);
        assert_int_equal(drv_status(g), edges[i].from);
        drv_w32(g, VIRTIO_MMIO_STATUS, edges[i].write);
        if (drv_status(g) != edges[i].then)
            fail_msg("0x%x, 0x%x written: 0x%x instead of 0x%x", edges[i].from, edges[i].write, drv_status(g),
                     edges[i].then);
        assert_int_equal(g->dev->active, edges[i].then == (ACK | DRIVER | FOK | DOK));
    }
}

static void failed_is_left_by_a_reset_only(void **state)
{
    struct drv *g = *state;
    go_to(g, BROKEN_BY_DRIVER);
    assert_false(g->dev->active);
    drv_w32(g, VIRTIO_MMIO_STATUS, ACK | DRIVER | FOK | DOK);
    assert_int_equal(drv_status(g), ACK | DRIVER | FOK | DOK | FAILED);
    drv_kick(g, 0);
    drv_spin(g);
    assert_false(g->dev->active);
    go_to(g, LIVE);
    assert_true(g->dev->active);
}

static void a_reset_forgets_everything_in_every_step_case_19(void **state)
{
    struct drv *g = *state;
    for (int step = INIT; step < STEPS; step++) {
        go_to(g, step);
        unsigned resets = toy(g)->resets;
        drv_w32(g, VIRTIO_MMIO_STATUS, 0);
        assert_int_equal(toy(g)->resets, resets + 1);
        assert_int_equal(drv_status(g), 0);
        assert_false(g->dev->active);
        assert_true(g->dev->acked == 0);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
        static const struct virtq fresh;
        for (unsigned q = 0; q < 2; q++)
            assert_memory_equal(&g->dev->vq[q], &fresh, sizeof(fresh));
    }
}

static void work_that_waits_while_the_device_is_reset_is_not_done_case_19(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[0], &b, 1);
    drv_kick(g, 0);
    drv_w32(g, VIRTIO_MMIO_STATUS, 0);
    unsigned kicks = toy(g)->kicks[0];
    drv_spin(g);
    assert_int_equal(toy(g)->kicks[0], kicks);
    assert_int_equal(drv_used_idx(&g->q[0]), 0);
}

/* --- Faults --- */

static void a_fault_needs_a_reset_and_tells_the_driver(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    drv_irqs(g);
    drv_post(&g->q[1], 1000); /* no such descriptor */
    drv_kick(g, 1);
    drv_spin(g);
    assert_int_equal(drv_status(g), DRV_STATUS_READY | NEEDS);
    assert_int_equal(drv_irqs(g), 1);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_false(g->dev->active);
    /* Sticky; the device is not called any more; nothing is told twice. */
    unsigned kicks = toy(g)->kicks[0] + toy(g)->kicks[1];
    drv_w32(g, VIRTIO_MMIO_STATUS, DRV_STATUS_READY);
    drv_kick(g, 0);
    drv_kick(g, 1);
    drv_spin(g);
    vdev_lock(g->dev);
    g->dev->needs_reset(g->dev);
    vdev_unlock(g->dev);
    assert_true(drv_broken(g));
    assert_int_equal(toy(g)->kicks[0] + toy(g)->kicks[1], kicks);
    assert_int_equal(drv_irqs(g), 0);
    /* And after a reset all is well. */
    go_to(g, LIVE);
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[1], &b, 1);
    drv_kick(g, 1);
    drv_spin(g);
    assert_true(drv_used(&g->q[1], NULL, NULL));
}

static void a_device_that_cannot_start_needs_a_reset(void **state)
{
    struct drv *g = *state;
    assert_true(drv_negotiate(g, V1));
    toy(g)->activate_result = -EIO;
    drv_add_status(g, DOK);
    assert_int_equal(drv_status(g), DRV_STATUS_READY | NEEDS);
    assert_false(g->dev->active);
    assert_int_equal(drv_irqs(g), 1);
    toy(g)->activate_result = 0;
    go_to(g, LIVE);
}

static void before_driver_ok_a_fault_raises_no_interrupt(void **state)
{
    struct drv *g = *state;
    assert_true(drv_negotiate(g, V1));
    vdev_lock(g->dev);
    g->dev->needs_reset(g->dev);
    vdev_unlock(g->dev);
    assert_true(drv_broken(g));
    assert_int_equal(drv_irqs(g), 0);
}

static void a_guest_cannot_fill_the_log_case_37(void **state)
{
    struct drv *g = *state;
    struct log_capture c;
    char text[4096];
    log_configure("warn");
    log_capture(&c);
    for (int i = 0; i < 100000; i++)
        drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, 8);
    int lines = log_captured(&c, text, sizeof(text));
    log_configure("off");
    assert_non_null(strstr(text, "toy"));
    assert_non_null(strstr(text, "QueueNum"));
    assert_true(lines >= 1 && lines < 1000); /* LOG_BURST a second, and no machine is that slow */
}

/* --- Queue registers --- */

static void queue_registers_are_written_only_between_features_ok_and_driver_ok_case_18(void **state)
{
    struct drv *g = *state;
    static const struct {
        uint32_t offset, value;
    } regs[] = {{0x38, 4}, {0x80, 0x1000}, {0x84, 1},          {0x90, 0x2000},
                {0x94, 2}, {0xa0, 0x3000}, {0xa4, 0x80000000}, {0x44, 1}};
    for (int step = INIT; step < STEPS; step++) {
        go_to(g, step);
        /* In steps behind QUEUES, queue 1 is stopped first, so that only the step can refuse. */
        drv_w32(g, VIRTIO_MMIO_QUEUE_SEL, 1);
        drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 0);
        for (size_t i = 0; i < ARRAY_LEN(regs); i++) {
            struct virtq before = g->dev->vq[1];
            uint32_t status = drv_status(g);
            drv_w32(g, regs[i].offset, regs[i].value);
            bool changed = memcmp(&before, &g->dev->vq[1], sizeof(before)) || drv_status(g) != status;
            assert_int_equal(changed, step == QUEUES);
        }
    }
}

static void queue_registers_keep_what_is_written(void **state)
{
    struct drv *g = *state;
    go_to(g, QUEUES);
    drv_w32(g, VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_NUM_MAX), 16);
    drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, 8);
    drv_w64(g, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1122334455667788);
    drv_w64(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x99aabbccddeeff00);
    drv_w64(g, VIRTIO_MMIO_QUEUE_USED_LOW, 0x0102030405060708);
    const struct virtq *q = &g->dev->vq[1];
    assert_int_equal(q->size, 8);
    assert_true(q->desc_gpa == 0x1122334455667788);
    assert_true(q->driver_gpa == 0x99aabbccddeeff00);
    assert_true(q->device_gpa == 0x0102030405060708);
    static const struct virtq fresh;
    assert_memory_equal(&g->dev->vq[0], &fresh, sizeof(fresh));
}

static void a_queue_that_does_not_exist_is_harmless_case_16(void **state)
{
    struct drv *g = *state;
    static const uint32_t sel[] = {2, 7, 8, 0xffff, 0x10000, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sel); i++) {
        go_to(g, QUEUES);
        struct vdev before = *g->dev;
        drv_w32(g, VIRTIO_MMIO_QUEUE_SEL, sel[i]);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_READY), 0);
        drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, 8);
        for (uint32_t offset = 0x80; offset <= 0xa4; offset += 4)
            drv_w32(g, offset, 0x1000);
        drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 1);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_READY), 0);
        assert_memory_equal(before.vq, g->dev->vq, sizeof(before.vq));
        assert_false(drv_broken(g));
    }
}

static void a_queue_that_cannot_be_used_needs_a_reset_case_5_and_17(void **state)
{
    struct drv *g = *state;
    static const struct {
        uint32_t num;
        gpa_t desc, avail, used;
    } bad[] = {
        {0, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA},          {3, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA},
        {32, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA},      /* above the device's 16 */
        {0x10008, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA}, /* 8, if cut to 16 bits */
        {0x80000000, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA}, {8, 0, DRV_RAM_GPA, DRV_RAM_GPA},
        {8, DRV_RAM_GPA, UINT64_MAX - 1, DRV_RAM_GPA},       {8, DRV_RAM_GPA, DRV_RAM_GPA, DRV_RAM_GPA + 2},
        {8, DRV_RAM_GPA + 8, DRV_RAM_GPA, DRV_RAM_GPA},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        go_to(g, QUEUES);
        drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, bad[i].num);
        drv_w64(g, VIRTIO_MMIO_QUEUE_DESC_LOW, bad[i].desc);
        drv_w64(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, bad[i].avail);
        drv_w64(g, VIRTIO_MMIO_QUEUE_USED_LOW, bad[i].used);
        drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 1);
        assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_READY), 0);
        assert_true(drv_broken(g));
        drv_add_status(g, DOK);
        assert_false(g->dev->active);
    }
}

static void a_ready_queue_cannot_be_moved_case_18(void **state)
{
    struct drv *g = *state;
    go_to(g, QUEUES);
    drv_queue_init(g, &g->q[0], 8, false);
    assert_int_equal(drv_queue_tell(g, 0), 1);
    struct virtq before = g->dev->vq[0];
    drv_w32(g, VIRTIO_MMIO_QUEUE_NUM, 16);
    for (uint32_t offset = 0x80; offset <= 0xa4; offset += 4)
        drv_w32(g, offset, 0);
    drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 1);
    assert_memory_equal(&before, &g->dev->vq[0], sizeof(before));
    /* Stopped, it can. */
    drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 0);
    drv_queue_init(g, &g->q[0], 16, false);
    assert_int_equal(drv_queue_tell(g, 0), 1);
    assert_int_equal(g->dev->vq[0].size, 16);
}

static void a_live_queue_can_be_stopped_but_not_started_again_case_18(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    unsigned kicks = toy(g)->kicks[0];
    drv_w32(g, VIRTIO_MMIO_QUEUE_SEL, 0);
    drv_w32(g, VIRTIO_MMIO_QUEUE_READY, 0);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_QUEUE_READY), 0);
    drv_kick(g, 0);
    drv_spin(g);
    assert_int_equal(toy(g)->kicks[0], kicks);
    assert_int_equal(drv_queue_tell(g, 0), 0);
    assert_true(g->dev->active); /* the other queue goes on */
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[1], &b, 1);
    drv_kick(g, 1);
    drv_spin(g);
    assert_true(drv_used(&g->q[1], NULL, NULL));
}

static void event_idx_is_used_when_taken(void **state)
{
    struct drv *g = *state;
    drv_start(g, 0, 8);
    assert_false(g->dev->vq[0].event_idx);
    drv_start(g, BIT64(VIRTIO_RING_F_EVENT_IDX), 8);
    assert_true(g->dev->vq[0].event_idx);
}

/* --- Kicks --- */

static void kicks_by_register_and_by_eventfd_reach_the_device(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    struct drv_buf b = drv_in(g, 8);
    for (unsigned q = 0; q < 2; q++)
        for (int by_fd = 0; by_fd < 2; by_fd++) {
            uint32_t id, len;
            drv_spin(g);
            drv_irqs(g);
            uint16_t head = drv_add(&g->q[q], &b, 1);
            if (by_fd)
                drv_kick_fd(g, q);
            else
                drv_kick(g, q);
            drv_spin(g);
            assert_true(drv_used(&g->q[q], &id, &len));
            assert_int_equal(id, head);
            assert_int_equal(len, 3);
            assert_memory_equal(drv_ptr(g, b.gpa), "toy", 3);
            assert_int_equal(drv_irqs(g), 1);
        }
}

static void queues_that_were_filled_before_driver_ok_are_served(void **state)
{
    struct drv *g = *state;
    assert_true(drv_negotiate(g, V1));
    drv_queue_init(g, &g->q[0], 8, false);
    assert_int_equal(drv_queue_tell(g, 0), 1);
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[0], &b, 1);
    drv_spin(g);
    assert_int_equal(drv_used_idx(&g->q[0]), 0);
    drv_add_status(g, DOK);
    drv_spin(g);
    assert_int_equal(drv_used_idx(&g->q[0]), 1);
    assert_int_equal(toy(g)->kicks[1], 0); /* never set up, never served */
}

static void kicks_outside_of_live_are_ignored_case_20(void **state)
{
    struct drv *g = *state;
    for (int step = INIT; step < STEPS; step++) {
        if (step == LIVE)
            continue;
        go_to(g, step);
        drv_spin(g);
        unsigned kicks = toy(g)->kicks[0];
        drv_kick(g, 0);
        drv_kick_fd(g, 0);
        drv_spin(g);
        assert_int_equal(toy(g)->kicks[0], kicks);
    }
}

static void kicks_of_queues_that_do_not_exist_are_ignored_case_20(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    unsigned kicks = toy(g)->kicks[0] + toy(g)->kicks[1];
    static const uint32_t queue[] = {2, 8, 0x10000, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(queue); i++)
        drv_kick(g, queue[i]);
    drv_spin(g);
    assert_int_equal(toy(g)->kicks[0] + toy(g)->kicks[1], kicks);
    assert_int_equal(vmmio_kick_fd(g->mmio, 2), -1);
    assert_int_equal(vmmio_kick_fd(g->mmio, UINT32_MAX), -1);
    assert_true(g->dev->active);
}

static void a_storm_of_kicks_is_one_turn_of_the_device_case_24(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    unsigned kicks = toy(g)->kicks[0];
    for (int i = 0; i < 100000; i++)
        drv_kick(g, 0);
    drv_spin(g);
    assert_int_equal(toy(g)->kicks[0], kicks + 1);
}

static void a_device_may_ask_for_another_turn(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    unsigned kicks = toy(g)->kicks[1];
    g->dev->kick_later(g->dev, 1);
    drv_spin(g);
    assert_int_equal(toy(g)->kicks[1], kicks + 1);
}

/* --- Interrupts --- */

static void interrupts_set_a_bit_that_the_driver_acknowledges(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[0], &b, 1);
    drv_kick(g, 0);
    drv_spin(g);
    vdev_lock(g->dev);
    g->dev->notify_config(g->dev);
    vdev_unlock(g->dev);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
    drv_w32(g, VIRTIO_MMIO_INTERRUPT_ACK, 0);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
    drv_w32(g, VIRTIO_MMIO_INTERRUPT_ACK, 1);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 2);
    drv_w32(g, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void a_driver_that_wants_no_interrupt_gets_none(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    drv_irqs(g);
    drv_set_avail_flags(&g->q[0], VRING_AVAIL_F_NO_INTERRUPT);
    struct drv_buf b = drv_in(g, 8);
    drv_add(&g->q[0], &b, 1);
    drv_kick(g, 0);
    drv_spin(g);
    assert_true(drv_used(&g->q[0], NULL, NULL));
    assert_int_equal(drv_irqs(g), 0);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void a_changed_configuration_has_a_new_generation(void **state)
{
    struct drv *g = *state;
    go_to(g, LIVE);
    drv_spin(g);
    uint32_t generation = drv_r32(g, VIRTIO_MMIO_CONFIG_GENERATION);
    drv_irqs(g);
    vdev_lock(g->dev);
    g->dev->notify_config(g->dev);
    vdev_unlock(g->dev);
    assert_int_not_equal(drv_r32(g, VIRTIO_MMIO_CONFIG_GENERATION), generation);
    assert_int_equal(drv_r32(g, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    assert_int_equal(drv_irqs(g), 1);
}

/* --- Configuration --- */

static void configuration_is_written_by_its_fields_widths(void **state)
{
    struct drv *g = *state;
    vmmio_write(g->mmio, 0x100, "C", 1);
    vmmio_write(g->mmio, 0x102, "NF", 2);
    assert_memory_equal(toy(g)->config, "CoNFig", 6);
    vmmio_write(g->mmio, 0x100, "1234", 4);
    assert_memory_equal(toy(g)->config, "1234ig", 6);
    /* Misaligned, across the end, behind it, too wide. */
    vmmio_write(g->mmio, 0x101, "xx", 2);
    vmmio_write(g->mmio, 0x102, "xxxx", 4);
    vmmio_write(g->mmio, 0x104, "xxxx", 4);
    vmmio_write(g->mmio, 0x106, "x", 1);
    vmmio_write(g->mmio, 0x100, "xxxxxxxx", 8);
    assert_memory_equal(toy(g)->config, "1234ig", 6);
}

static void a_device_without_writable_configuration_ignores_writes(void **state)
{
    (void)state;
    struct drv g;
    drv_open(&g);
    drv_attach(&g, &toy_create(&g, &toy_fixed_config_ops)->dev);
    vmmio_write(g.mmio, 0x100, "xxxx", 4);
    assert_memory_equal(toy(&g)->config, "config", 6);
    drv_close(&g);
}

/* --- Life --- */

static void two_devices_on_one_loop_do_not_share_anything(void **state)
{
    struct drv *a = *state, b;
    drv_open(&b);
    struct toy *t = toy_create(&b, &toy_ops);
    t->dev.loop = a->loop;
    drv_attach(&b, &t->dev);
    go_to(a, LIVE);
    go_to(&b, LIVE);
    DRV_CHECK(loop_once(a->loop, 0) == 0);
    drv_post(&a->q[0], 999);
    drv_kick(a, 0);
    struct drv_buf buf = drv_in(&b, 8);
    drv_add(&b.q[0], &buf, 1);
    drv_kick(&b, 0);
    drv_spin(a);
    assert_true(drv_broken(a));
    assert_false(drv_broken(&b));
    assert_true(drv_used(&b.q[0], NULL, NULL));
    drv_close(&b);
}

struct creation {
    struct drv *g;
    struct vmmio *mmio;
    unsigned destroyed, tries;
};

static int create_once(void *arg)
{
    struct creation *c = arg;
    struct toy *t = toy_create(c->g, &toy_ops);
    struct err e = {0};
    t->destroyed = &c->destroyed;
    c->tries++;
    int ret = vmmio_create(&c->mmio, &t->dev, c->g->irq_fd, &e);
    if (ret < 0)
        assert_non_null(strstr(e.text, "toy"));
    assert_int_equal(e.code, ret);
    return ret;
}

static void destroy_once(void *arg)
{
    vmmio_destroy(((struct creation *)arg)->mmio);
}

static void a_failed_creation_destroys_the_device_and_leaks_nothing(void **state)
{
    struct creation c = {.g = *state};
    assert_int_equal(fds_run_out(create_once, destroy_once, &c), 2); /* an eventfd for each queue */
    assert_int_equal(c.destroyed, c.tries);
    vmmio_destroy(NULL);
}

/* --- Threads: for ThreadSanitizer --- */

static void *run_loop(void *loop)
{
    return loop_run(loop) < 0 ? loop : NULL;
}

struct poker {
    struct drv *g;
    bool stop;
};

/* A second vCPU that reads and writes registers without changing what the first has set up. */
static void *poke(void *arg)
{
    struct poker *p = arg;
    for (uint32_t i = 0; !__atomic_load_n(&p->stop, __ATOMIC_RELAXED); i++) {
        drv_r32(p->g, (i * 4) & 0x1fc);
        drv_w32(p->g, VIRTIO_MMIO_INTERRUPT_ACK, 3);
        drv_kick(p->g, i & 3);
        drv_w32(p->g, VIRTIO_MMIO_QUEUE_SEL, i);
        drv_w32(p->g, VIRTIO_MMIO_QUEUE_NUM, i);
    }
    return NULL;
}

static void vcpus_and_the_loop_work_side_by_side(void **state)
{
    struct drv *g = *state;
    struct poker p = {.g = g};
    pthread_t loop, vcpu;
    assert_int_equal(pthread_create(&loop, NULL, run_loop, g->loop), 0);
    go_to(g, LIVE);
    assert_int_equal(pthread_create(&vcpu, NULL, poke, &p), 0);
    struct drv_buf b = drv_in(g, 8);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned q = i & 1;
        drv_add(&g->q[q], &b, 1);
        drv_kick_fd(g, q);
        while (!drv_used(&g->q[q], NULL, NULL))
            sched_yield();
    }
    __atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
    pthread_join(vcpu, NULL);
    loop_stop(g->loop);
    void *failed;
    pthread_join(loop, &failed);
    assert_null(failed);
    assert_int_equal(toy(g)->chains, 2000);
    assert_false(drv_broken(g));
}

static void a_device_may_be_reset_while_its_loop_serves_it_case_19(void **state)
{
    struct drv *g = *state;
    pthread_t loop;
    assert_int_equal(pthread_create(&loop, NULL, run_loop, g->loop), 0);
    gpa_t fresh = g->next_gpa;
    for (int i = 0; i < 500; i++) {
        drv_w32(g, VIRTIO_MMIO_STATUS, 0); /* from here on the rings are ours again */
        g->next_gpa = fresh;
        go_to(g, LIVE);
        struct drv_buf b = drv_in(g, 8);
        for (int n = 0; n < i % 8; n++)
            drv_add(&g->q[0], &b, 1);
        drv_kick(g, 0);
        if (i % 16 == 0) {
            drv_post(&g->q[0], 77);
            drv_kick(g, 0);
        }
    }
    drv_w32(g, VIRTIO_MMIO_STATUS, 0);
    loop_stop(g->loop);
    pthread_join(loop, NULL);
    assert_int_equal(drv_status(g), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_window_identifies_the_device),
        CASE(reads_of_any_width_anywhere_are_harmless_case_21),
        CASE(writes_of_a_wrong_width_or_place_are_harmless_case_21),
        CASE(writes_to_read_only_and_missing_registers_have_no_effect),
        CASE(there_are_no_shared_memory_regions),
        CASE(every_register_has_a_name_for_logs),
        CASE(features_are_offered_in_two_halves_and_nothing_beyond),
        CASE(offered_features_are_accepted),
        CASE(features_that_are_not_offered_are_refused_case_23),
        CASE(without_version_1_features_are_refused),
        CASE(features_above_63_are_refused_case_23),
        CASE(a_driver_may_try_again_with_fewer_features),
        CASE(features_are_written_only_before_features_ok),
        CASE(each_edge_of_the_status_machine),
        CASE(failed_is_left_by_a_reset_only),
        CASE(a_reset_forgets_everything_in_every_step_case_19),
        CASE(work_that_waits_while_the_device_is_reset_is_not_done_case_19),
        CASE(a_fault_needs_a_reset_and_tells_the_driver),
        CASE(a_device_that_cannot_start_needs_a_reset),
        CASE(before_driver_ok_a_fault_raises_no_interrupt),
        CASE(a_guest_cannot_fill_the_log_case_37),
        CASE(queue_registers_are_written_only_between_features_ok_and_driver_ok_case_18),
        CASE(queue_registers_keep_what_is_written),
        CASE(a_queue_that_does_not_exist_is_harmless_case_16),
        CASE(a_queue_that_cannot_be_used_needs_a_reset_case_5_and_17),
        CASE(a_ready_queue_cannot_be_moved_case_18),
        CASE(a_live_queue_can_be_stopped_but_not_started_again_case_18),
        CASE(event_idx_is_used_when_taken),
        CASE(kicks_by_register_and_by_eventfd_reach_the_device),
        CASE(queues_that_were_filled_before_driver_ok_are_served),
        CASE(kicks_outside_of_live_are_ignored_case_20),
        CASE(kicks_of_queues_that_do_not_exist_are_ignored_case_20),
        CASE(a_storm_of_kicks_is_one_turn_of_the_device_case_24),
        CASE(a_device_may_ask_for_another_turn),
        CASE(interrupts_set_a_bit_that_the_driver_acknowledges),
        CASE(a_driver_that_wants_no_interrupt_gets_none),
        CASE(a_changed_configuration_has_a_new_generation),
        CASE(configuration_is_written_by_its_fields_widths),
        CASE(a_device_without_writable_configuration_ignores_writes),
        CASE(two_devices_on_one_loop_do_not_share_anything),
        CASE(a_failed_creation_destroys_the_device_and_leaks_nothing),
        CASE(vcpus_and_the_loop_work_side_by_side),
        CASE(a_device_may_be_reset_while_its_loop_serves_it_case_19),
    };
    log_configure("off");
    return cmocka_run_group_tests_name("mmio", tests, NULL, NULL);
}
