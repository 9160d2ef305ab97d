/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: delivery, removal during a batch, timers in order, stop from another thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct probe {
    struct loop_source source;
    struct loop_timer timer;
    struct probe *victim; /* removed by our callback */
    int calls;
    int order;
    int *counter;
};

static int set_up(void **state)
{
    return loop_create((struct loop **)state, NULL);
}

static int tear_down(void **state)
{
    loop_destroy(*state);
    return 0;
}

static void on_event(struct loop_source *s, uint32_t events)
{
    struct probe *p = CONTAINER_OF(s, struct probe, source);
    assert_true(events & EPOLLIN);
    p->calls++;
    if (p->victim)
        loop_remove(&p->victim->source);
}

static void on_timer(struct loop_timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    p->calls++;
    p->order = (*p->counter)++;
}

static void a_ready_descriptor_is_delivered_until_it_is_drained(void **state)
{
    CLEANUP(fd_closep) int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    struct probe p = {0};
    assert_int_equal(loop_add(*state, &p.source, fd, EPOLLIN, on_event), 0);
    assert_int_equal(loop_once(*state, 0), 0);
    assert_int_equal(loop_once(*state, 0), 0);
    assert_int_equal(p.calls, 2);
    assert_int_equal(loop_modify(&p.source, 0), 0);
    assert_int_equal(loop_once(*state, 0), 0);
    assert_int_equal(p.calls, 2);
    loop_remove(&p.source);
    loop_remove(&p.source);
}

static void a_bad_descriptor_cannot_be_added(void **state)
{
    struct probe p = {0};
    assert_int_equal(loop_add(*state, &p.source, -1, EPOLLIN, on_event), -EBADF);
    assert_null(p.source.loop);
}

static void a_source_removed_in_the_same_batch_is_not_called(void **state)
{
    CLEANUP(fd_closep) int a = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    CLEANUP(fd_closep) int b = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    struct probe pa = {0}, pb = {0};
    pa.victim = &pb;
    pb.victim = &pa;
    assert_int_equal(loop_add(*state, &pa.source, a, EPOLLIN, on_event), 0);
    assert_int_equal(loop_add(*state, &pb.source, b, EPOLLIN, on_event), 0);
    assert_int_equal(loop_once(*state, 0), 0);
    assert_int_equal(pa.calls + pb.calls, 1);
}

static void timers_fire_once_in_order_of_their_due_time(void **state)
{
    enum { COUNT = 50 };
    struct probe p[COUNT];
    memset(p, 0, sizeof(p));
    int counter = 0;
    for (int i = 0; i < COUNT; i++) {
        p[i].counter = &counter;
        /* 0, 37, 24, 11, … : every value once, in no order. */
        uint64_t delay = (uint64_t)(i * 37 % COUNT) * NSEC_PER_MSEC / 4;
        assert_int_equal(loop_timer_arm(*state, &p[i].timer, delay, on_timer), 0);
    }
    loop_timer_disarm(&p[7].timer);
    loop_timer_disarm(&p[7].timer);
    while (counter < COUNT - 1)
        assert_int_equal(loop_once(*state, -1), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(p[i].calls, i == 7 ? 0 : 1);
        for (int j = 0; j < COUNT; j++)
            if (i != 7 && j != 7 && p[i].timer.when_ns < p[j].timer.when_ns)
                assert_true(p[i].order < p[j].order);
    }
}

static void rearming_a_timer_moves_it(void **state)
{
    int counter = 0;
    struct probe p = {.counter = &counter};
    assert_int_equal(loop_timer_arm(*state, &p.timer, UINT64_MAX, on_timer), 0);
    assert_int_equal(loop_timer_arm(*state, &p.timer, 0, on_timer), 0);
    assert_int_equal(loop_once(*state, -1), 0);
    assert_int_equal(p.calls, 1);
    assert_null(p.timer.loop);
}

static void *stop_from_outside(void *loop)
{
    loop_stop(loop);
    return NULL;
}

static void another_thread_stops_the_loop(void **state)
{
    for (int round = 0; round < 20; round++) {
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, stop_from_outside, *state), 0);
        assert_int_equal(loop_run(*state), 0);
        pthread_join(t, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ready_descriptor_is_delivered_until_it_is_drained, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_bad_descriptor_cannot_be_added, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_source_removed_in_the_same_batch_is_not_called, set_up, tear_down),
        cmocka_unit_test_setup_teardown(timers_fire_once_in_order_of_their_due_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rearming_a_timer_moves_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_thread_stops_the_loop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
