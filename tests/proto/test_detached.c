/* SPDX-License-Identifier: Apache-2.0 */
/* Messages about detached executions: round trips, every range at its edges, payloads too short or too long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "proto/detached.h"

#include <errno.h>
#include <string.h>

static uint8_t buf[MSG_FRAME_MAX];
static uint8_t *const body = buf + FRAME_HEADER;

static struct frame as_frame(size_t len, enum frame_from from)
{
    struct frame f;
    assert_true(len >= FRAME_HEADER);
    assert_int_equal(frame_header_check(buf, from, &f), 0);
    assert_int_equal(f.len, len - FRAME_HEADER);
    f.payload = body;
    return f;
}

#define REFUSES_OTHER_LENGTHS(decode, f, out)                                                                \
    do {                                                                                                     \
        struct frame wrong_ = (f);                                                                           \
        wrong_.len--;                                                                                        \
        assert_int_equal(decode(&wrong_, out), -EPROTO);                                                     \
        wrong_.len += 2;                                                                                     \
        assert_int_equal(decode(&wrong_, out), -EPROTO);                                                     \
    } while (0)

/* With another value in one byte of the payload, the frame is refused. */
#define REFUSES_BYTE(decode, f, at, value, out)                                                              \
    do {                                                                                                     \
        uint8_t kept_ = body[at];                                                                            \
        body[at] = (value);                                                                                  \
        assert_int_equal(decode(&(f), out), -EPROTO);                                                        \
        body[at] = kept_;                                                                                    \
        assert_int_equal(decode(&(f), out), 0);                                                              \
    } while (0)

static void attach_round_trip_and_ranges(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        36, 0, 0,   0,   FRAME_ATTACH, 0,   0,   0,   7,   0,   0,  0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0,
        0,  0, 255, 255, 255,          255, 255, 255, 255, 255, 15, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0};
    const struct msg_attach m = {.exec_id = 7,
                                 .from = {258, ATTACH_FROM_NOW},
                                 .flags = ATTACH_FLAGS_ALL,
                                 .window = {STREAM_WINDOW_MAX, 1}};
    struct msg_attach got = {0};
    struct frame f = as_frame(msg_attach_encode(&m, buf, sizeof(buf)), FRAME_FROM_HOST);
    assert_memory_equal(buf, expected, sizeof(expected));
    assert_int_equal(msg_attach_decode(&f, &got), 0);
    assert_memory_equal(&got, &m, sizeof(m));
    REFUSES_OTHER_LENGTHS(msg_attach_decode, f, &got);
    REFUSES_BYTE(msg_attach_decode, f, 0, 0, &got);                     /* no id */
    REFUSES_BYTE(msg_attach_decode, f, 24, ATTACH_FLAGS_ALL + 1, &got); /* unknown flag */
    REFUSES_BYTE(msg_attach_decode, f, 24, ATTACH_TAKE_STDIN, &got);    /* without STDIN */
    REFUSES_BYTE(msg_attach_decode, f, 28, 1, &got);                    /* a window of 64 MiB + 1 */
    store_le32(body + 32, STREAM_WINDOW_MAX + 1);
    assert_int_equal(msg_attach_decode(&f, &got), -EPROTO);
    store_le32(body + 32, 0);
    assert_int_equal(msg_attach_decode(&f, &got), 0);
}

static void attaches_out_of_range_are_not_encoded(void **state)
{
    (void)state;
    static const struct msg_attach cases[] = {
        {.exec_id = 0},
        {.exec_id = 1, .flags = ATTACH_FLAGS_ALL + 1},
        {.exec_id = 1, .flags = ATTACH_TAKE_STDIN},
        {.exec_id = 1, .window = {STREAM_WINDOW_MAX + 1, 0}},
        {.exec_id = 1, .window = {0, STREAM_WINDOW_MAX + 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(msg_attach_encode(&cases[i], buf, sizeof(buf)), 0);
    const struct msg_attach good = {.exec_id = 1};
    assert_int_equal(msg_attach_encode(&good, buf, FRAME_HEADER + 35), 0);
    assert_int_equal(msg_attach_encode(&good, buf, FRAME_HEADER + 36), FRAME_HEADER + 36);
}

static void attached_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_attached m = {.exec_id = UINT64_MAX,
                             .from = {1, UINT64_MAX},
                             .pid = 77,
                             .stdin_credit = STDIN_WINDOW,
                             .flags = ITEM_FLAGS_ALL,
                             .state = ITEM_ENDED};
    struct msg_attached got = {0};
    struct frame f = as_frame(msg_attached_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_attached_decode(&f, &got), 0);
    assert_memory_equal(&got, &m, sizeof(m));
    REFUSES_OTHER_LENGTHS(msg_attached_decode, f, &got);
    REFUSES_BYTE(msg_attached_decode, f, 28, 1, &got); /* credit for stdin beyond its window */
    REFUSES_BYTE(msg_attached_decode, f, 32, ITEM_FLAGS_ALL + 1, &got);
    REFUSES_BYTE(msg_attached_decode, f, 36, 0, &got); /* states */
    REFUSES_BYTE(msg_attached_decode, f, 36, ITEM_ENDED + 1, &got);
    for (size_t pad = 37; pad < 40; pad++)
        REFUSES_BYTE(msg_attached_decode, f, pad, 1, &got);
    memset(body, 0, 8); /* no id */
    assert_int_equal(msg_attached_decode(&f, &got), -EPROTO);
    m.stdin_credit++;
    assert_int_equal(msg_attached_encode(&m, buf, sizeof(buf)), 0);
    m.stdin_credit = 0;
    m.exec_id = 0;
    assert_int_equal(msg_attached_encode(&m, buf, sizeof(buf)), 0);
}

static void skipped_ranges(void **state)
{
    (void)state;
    static const struct {
        struct msg_skipped m;
        bool good;
    } cases[] = {
        {{STREAM_STDOUT, 1}, true}, {{STREAM_STDERR, UINT64_MAX}, true}, {{STREAM_STDIN, 1}, false},
        {{STREAMS, 1}, false},      {{STREAM_STDOUT, 0}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msg_skipped got;
        assert_int_equal(msg_skipped_encode(&cases[i].m, buf, sizeof(buf)) > 0, cases[i].good);
        frame_header_put(buf, FRAME_SKIPPED, 12);
        memset(body, 0, 12);
        body[0] = cases[i].m.stream;
        store_le64(body + 4, cases[i].m.bytes);
        struct frame f = as_frame(FRAME_HEADER + 12, FRAME_FROM_GUEST);
        assert_int_equal(msg_skipped_decode(&f, &got), cases[i].good ? 0 : -EPROTO);
        if (!cases[i].good)
            continue;
        assert_true(got.stream == cases[i].m.stream && got.bytes == cases[i].m.bytes);
        REFUSES_OTHER_LENGTHS(msg_skipped_decode, f, &got);
        for (size_t pad = 1; pad < 4; pad++)
            REFUSES_BYTE(msg_skipped_decode, f, pad, 1, &got);
    }
}

static void remove_ranges(void **state)
{
    (void)state;
    const struct msg_remove m = {.exec_id = 258, .flags = REMOVE_KILL};
    struct msg_remove got;
    struct frame f = as_frame(msg_remove_encode(&m, buf, sizeof(buf)), FRAME_FROM_HOST);
    assert_int_equal(msg_remove_decode(&f, &got), 0);
    assert_true(got.exec_id == 258 && got.flags == REMOVE_KILL);
    REFUSES_OTHER_LENGTHS(msg_remove_decode, f, &got);
    REFUSES_BYTE(msg_remove_decode, f, 8, REMOVE_FLAGS_ALL + 1, &got);
    REFUSES_BYTE(msg_remove_decode, f, 11, 1, &got);
    memset(body, 0, 8);
    assert_int_equal(msg_remove_decode(&f, &got), -EPROTO);
    assert_int_equal(msg_remove_encode(&(struct msg_remove){.exec_id = 0}, buf, sizeof(buf)), 0);
    assert_int_equal(msg_remove_encode(&(struct msg_remove){1, REMOVE_FLAGS_ALL + 1}, buf, sizeof(buf)), 0);
}

static struct msg_item an_item(void)
{
    struct msg_item m = {.exec_id = 3,
                         .age_ns = UINT64_MAX,
                         .pid = 42,
                         .flags = ITEM_FLAGS_ALL,
                         .state = ITEM_ENDED,
                         .result = {.how = HOW_SIGNALED, .signo = 9, .flags = EXIT_KILLED, .mem_peak = 5}};
    strcpy(m.command, "sleep 1000");
    return m;
}

static void item_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_item m = an_item(), got = {0};
    struct frame f = as_frame(msg_item_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(f.len, 76 + strlen(m.command));
    assert_int_equal(msg_item_decode(&f, &got), 0);
    assert_true(got.exec_id == 3 && got.age_ns == UINT64_MAX && got.pid == 42 && got.flags == ITEM_FLAGS_ALL);
    assert_memory_equal(&got.result, &m.result, sizeof(m.result));
    assert_string_equal(got.command, "sleep 1000");
    REFUSES_BYTE(msg_item_decode, f, 0, 0, &got);
    REFUSES_BYTE(msg_item_decode, f, 20, ITEM_FLAGS_ALL + 1, &got);
    REFUSES_BYTE(msg_item_decode, f, 24, 0, &got);
    REFUSES_BYTE(msg_item_decode, f, 24, ITEM_ENDED + 1, &got);
    REFUSES_BYTE(msg_item_decode, f, 25, 1, &got);
    REFUSES_BYTE(msg_item_decode, f, 28, 0, &got); /* ended, but not how */
    REFUSES_BYTE(msg_item_decode, f, 31, 1, &got); /* EXITED's reserved byte */
    f.len = 75;
    assert_int_equal(msg_item_decode(&f, &got), -EPROTO);
}

static void a_running_item_has_no_result(void **state)
{
    (void)state;
    struct msg_item m = an_item(), got;
    m.state = ITEM_RUNNING;
    assert_int_equal(msg_item_encode(&m, buf, sizeof(buf)), 0);
    m.result = (struct msg_exited){0};
    struct frame f = as_frame(msg_item_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_item_decode(&f, &got), 0);
    for (size_t at = 28; at < 76; at++)
        REFUSES_BYTE(msg_item_decode, f, at, 1, &got);
    m.state = ITEM_ENDED;
    assert_int_equal(msg_item_encode(&m, buf, sizeof(buf)), 0);
}

static void commands_are_bounded_and_cleaned(void **state)
{
    (void)state;
    struct msg_item m = an_item(), got;
    memset(m.command, '\033', ITEM_COMMAND_MAX);
    m.command[ITEM_COMMAND_MAX] = '\0';
    struct frame f = as_frame(msg_item_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(f.len, 76 + ITEM_COMMAND_MAX);
    assert_int_equal(msg_item_decode(&f, &got), 0);
    assert_int_equal(strspn(got.command, "?"), ITEM_COMMAND_MAX);
    f.len++;
    assert_int_equal(msg_item_decode(&f, &got), -EPROTO);
    f.len = 76;
    assert_int_equal(msg_item_decode(&f, &got), 0);
    assert_string_equal(got.command, "");
}

static void list_and_its_end(void **state)
{
    (void)state;
    uint32_t count;
    assert_int_equal(as_frame(msg_list_encode(buf, sizeof(buf)), FRAME_FROM_HOST).len, 0);
    struct frame f = as_frame(msg_list_end_encode(UINT32_MAX, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_list_end_decode(&f, &count), 0);
    assert_int_equal(count, UINT32_MAX);
    REFUSES_OTHER_LENGTHS(msg_list_end_decode, f, &count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_round_trip_and_ranges),
        cmocka_unit_test(attaches_out_of_range_are_not_encoded),
        cmocka_unit_test(attached_round_trip_and_ranges),
        cmocka_unit_test(skipped_ranges),
        cmocka_unit_test(remove_ranges),
        cmocka_unit_test(item_round_trip_and_ranges),
        cmocka_unit_test(a_running_item_has_no_result),
        cmocka_unit_test(commands_are_bounded_and_cleaned),
        cmocka_unit_test(list_and_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
