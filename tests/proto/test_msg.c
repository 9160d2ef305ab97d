/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed messages: round trips, every range at its edges, payloads a byte too short or too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "proto/msg.h"
#include "proto/ports.h"

#include <errno.h>
#include <string.h>

static uint8_t buf[MSG_FRAME_MAX];

/* The frame that `len` bytes in buf make; they must be one that this side may send. */
static struct frame as_frame(size_t len, enum frame_from from)
{
    struct frame f;
    assert_true(len >= FRAME_HEADER);
    assert_int_equal(frame_header_check(buf, from, &f), 0);
    assert_int_equal(f.len, len - FRAME_HEADER);
    f.payload = buf + FRAME_HEADER;
    return f;
}

/* A payload without its last byte, or with one too many, is refused. */
#define REFUSES_OTHER_LENGTHS(decode, f, out)                                                                \
    do {                                                                                                     \
        struct frame wrong_ = (f);                                                                           \
        wrong_.len--;                                                                                        \
        assert_int_equal(decode(&wrong_, out), -EPROTO);                                                     \
        wrong_.len += 2;                                                                                     \
        assert_int_equal(decode(&wrong_, out), -EPROTO);                                                     \
    } while (0)

static void hello_round_trip_and_ranges(void **state)
{
    (void)state;
    static const uint8_t expected[] = {8, 0, 0, 0, 1, 0, 0, 0, 'C', 'U', 'B', 'Y', 1, 0, 0xff, 0xff};
    struct msg_hello m = {1, UINT16_MAX}, got;
    size_t len = msg_hello_encode(&m, buf, sizeof(buf));
    assert_int_equal(len, sizeof(expected));
    assert_memory_equal(buf, expected, sizeof(expected));
    struct frame f = as_frame(len, FRAME_FROM_HOST);
    assert_int_equal(msg_hello_decode(&f, &got), 0);
    assert_int_equal(got.version_min, 1);
    assert_int_equal(got.version_max, UINT16_MAX);
    REFUSES_OTHER_LENGTHS(msg_hello_decode, f, &got);
    buf[8] ^= 1; /* another magic */
    assert_int_equal(msg_hello_decode(&f, &got), -EPROTO);
    buf[8] ^= 1;
    buf[12] = 0; /* version 0 */
    assert_int_equal(msg_hello_decode(&f, &got), -EPROTO);
    store_le16(buf + 12, 3);
    store_le16(buf + 14, 2); /* min above max */
    assert_int_equal(msg_hello_decode(&f, &got), -EPROTO);
    assert_int_equal(msg_hello_encode(&(struct msg_hello){0, 1}, buf, sizeof(buf)), 0);
    assert_int_equal(msg_hello_encode(&(struct msg_hello){3, 2}, buf, sizeof(buf)), 0);
}

static void the_highest_common_version_is_chosen(void **state)
{
    (void)state;
    assert_int_equal(msg_hello_choose(&(struct msg_hello){1, 1}), 1);
    assert_int_equal(msg_hello_choose(&(struct msg_hello){1, 9}), PROTO_VERSION_MAX);
    assert_int_equal(msg_hello_choose(&(struct msg_hello){PROTO_VERSION_MAX + 1, 9}), 0);
}

static void error_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_error m = {.stage = STAGE_LOOKUP, .errnum = ENOENT, .text = "no such"}, got;
    struct frame f = as_frame(msg_error_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_error_decode(&f, &got), 0);
    assert_int_equal(got.stage, STAGE_LOOKUP);
    assert_int_equal(got.errnum, ENOENT);
    assert_string_equal(got.text, "no such");
    buf[FRAME_HEADER + 2] = 1; /* reserved */
    assert_int_equal(msg_error_decode(&f, &got), -EPROTO);
    buf[FRAME_HEADER + 2] = 0;
    store_le16(buf + FRAME_HEADER, 0);
    assert_int_equal(msg_error_decode(&f, &got), -EPROTO);
    store_le16(buf + FRAME_HEADER, 255); /* a stage of a later agent */
    assert_int_equal(msg_error_decode(&f, &got), 0);
    assert_string_equal(error_stage_name(got.stage), "unknown");
    store_le16(buf + FRAME_HEADER, 256);
    assert_int_equal(msg_error_decode(&f, &got), -EPROTO);
    m.stage = 0;
    assert_int_equal(msg_error_encode(&m, buf, sizeof(buf)), 0);
    for (uint16_t stage = 1; stage < STAGE_END; stage++)
        assert_string_not_equal(error_stage_name(stage), "unknown");
}

static void texts_are_bounded_and_cleaned(void **state)
{
    (void)state;
    struct msg_error m = {.stage = STAGE_USER, .text = "a\033[31m\n\tb\177\303\274"}, got;
    struct frame f = as_frame(msg_error_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_error_decode(&f, &got), 0);
    assert_string_equal(got.text, "a?[31m??b?\303\274");
    memset(m.text, 'x', MSG_TEXT_MAX);
    m.text[MSG_TEXT_MAX] = '\0';
    f = as_frame(msg_error_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_error_decode(&f, &got), 0);
    assert_int_equal(strlen(got.text), MSG_TEXT_MAX);
    f.len++; /* more text than there is room for */
    assert_int_equal(msg_error_decode(&f, &got), -EPROTO);
    f.len = 8; /* none at all */
    assert_int_equal(msg_error_decode(&f, &got), 0);
    assert_string_equal(got.text, "");
    f.len = 7;
    assert_int_equal(msg_error_decode(&f, &got), -EPROTO);
}

static void started_round_trip(void **state)
{
    (void)state;
    struct msg_started m = {.exec_id = UINT64_MAX, .pid = 77}, got;
    struct frame f = as_frame(msg_started_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_started_decode(&f, &got), 0);
    assert_true(got.exec_id == UINT64_MAX && got.pid == 77);
    REFUSES_OTHER_LENGTHS(msg_started_decode, f, &got);
    memset(buf + FRAME_HEADER, 0, 8);
    assert_int_equal(msg_started_decode(&f, &got), -EPROTO);
    m.exec_id = 0;
    assert_int_equal(msg_started_encode(&m, buf, sizeof(buf)), 0);
}

static void exited_round_trip(void **state)
{
    (void)state;
    struct msg_exited m = {.how = HOW_TIMED_OUT,
                           .signo = 9,
                           .flags = EXIT_FLAGS_ALL,
                           .wall_ns = 1,
                           .utime_us = 2,
                           .stime_us = 3,
                           .max_rss = 4,
                           .mem_peak = UINT64_MAX},
                      got = {0};
    struct frame f = as_frame(msg_exited_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_exited_decode(&f, &got), 0);
    assert_memory_equal(&got, &m, sizeof(m));
    REFUSES_OTHER_LENGTHS(msg_exited_decode, f, &got);
    buf[FRAME_HEADER + 3] = 1; /* reserved */
    assert_int_equal(msg_exited_decode(&f, &got), -EPROTO);
}

static void ends_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct msg_exited m;
        bool good;
    } cases[] = {
        {{.how = HOW_EXITED, .code = 255}, true},
        {{.how = HOW_SIGNALED, .signo = 64}, true},
        {{.how = HOW_OOM_KILLED, .signo = 9}, true},
        {{.how = HOW_TIMED_OUT, .code = 3}, true},
        {{.how = 0, .code = 1}, false},
        {{.how = 5, .code = 1}, false},
        {{.how = HOW_EXITED, .signo = 9}, false},
        {{.how = HOW_SIGNALED, .code = 1}, false},
        {{.how = HOW_SIGNALED}, false},
        {{.how = HOW_SIGNALED, .signo = 65}, false},
        {{.how = HOW_OOM_KILLED}, false},
        {{.how = HOW_TIMED_OUT, .code = 1, .signo = 1}, false},
        {{.how = HOW_EXITED, .flags = EXIT_FLAGS_ALL + 1}, false},
        {{.how = HOW_EXITED, .flags = EXIT_OOM | EXIT_MEMORY_LIMIT}, true},
        {{.how = HOW_EXITED, .flags = EXIT_MEMORY_LIMIT}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct msg_exited *m = &cases[i].m;
        struct msg_exited got;
        assert_int_equal(msg_exited_encode(m, buf, sizeof(buf)) > 0, cases[i].good);
        /* the same bytes by hand */
        frame_header_put(buf, FRAME_EXITED, 48);
        memset(buf + FRAME_HEADER, 0, 48);
        buf[FRAME_HEADER] = m->how;
        buf[FRAME_HEADER + 1] = m->code;
        buf[FRAME_HEADER + 2] = m->signo;
        store_le32(buf + FRAME_HEADER + 4, m->flags);
        struct frame f = as_frame(FRAME_HEADER + 48, FRAME_FROM_GUEST);
        assert_int_equal(msg_exited_decode(&f, &got), cases[i].good ? 0 : -EPROTO);
    }
}

static void window_ranges(void **state)
{
    (void)state;
    static const struct {
        struct msg_window m;
        bool good;
    } cases[] = {
        {{STREAM_STDIN, 1}, true},   {{STREAM_STDERR, STREAM_WINDOW_MAX}, true},      {{STREAMS, 1}, false},
        {{STREAM_STDOUT, 0}, false}, {{STREAM_STDOUT, STREAM_WINDOW_MAX + 1}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msg_window got;
        assert_int_equal(msg_window_encode(&cases[i].m, buf, sizeof(buf)) > 0, cases[i].good);
        frame_header_put(buf, FRAME_WINDOW, 8);
        memset(buf + FRAME_HEADER, 0, 8);
        buf[FRAME_HEADER] = cases[i].m.stream;
        store_le32(buf + FRAME_HEADER + 4, cases[i].m.credit);
        struct frame f = as_frame(FRAME_HEADER + 8, FRAME_FROM_HOST);
        assert_int_equal(msg_window_decode(&f, &got), cases[i].good ? 0 : -EPROTO);
        REFUSES_OTHER_LENGTHS(msg_window_decode, f, &got);
        for (int pad = 1; pad <= 3; pad++) {
            buf[FRAME_HEADER + pad] = 1;
            assert_int_equal(msg_window_decode(&f, &got), -EPROTO);
            buf[FRAME_HEADER + pad] = 0;
        }
    }
}

static void stream_eof_ranges(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        enum stream got;
        size_t len = msg_stream_eof_encode((enum stream)i, buf, sizeof(buf));
        assert_int_equal(len > 0, i < STREAMS);
        frame_header_put(buf, FRAME_STREAM_EOF, 1);
        buf[FRAME_HEADER] = (uint8_t)i;
        struct frame f = as_frame(FRAME_HEADER + 1, FRAME_FROM_GUEST);
        assert_int_equal(msg_stream_eof_decode(&f, &got), i < STREAMS ? 0 : -EPROTO);
    }
}

static void signal_ranges(void **state)
{
    (void)state;
    static const struct {
        struct msg_signal m;
        bool good;
    } cases[] = {
        {{1, SCOPE_LEADER}, true},   {{64, SCOPE_TREE}, true}, {{0, SCOPE_LEADER}, false},
        {{65, SCOPE_LEADER}, false}, {{9, 2}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msg_signal got;
        assert_int_equal(msg_signal_encode(&cases[i].m, buf, sizeof(buf)) > 0, cases[i].good);
        frame_header_put(buf, FRAME_SIGNAL, 2);
        buf[FRAME_HEADER] = cases[i].m.signo;
        buf[FRAME_HEADER + 1] = cases[i].m.scope;
        struct frame f = as_frame(FRAME_HEADER + 2, FRAME_FROM_HOST);
        assert_int_equal(msg_signal_decode(&f, &got), cases[i].good ? 0 : -EPROTO);
        REFUSES_OTHER_LENGTHS(msg_signal_decode, f, &got);
    }
}

static void resize_ranges(void **state)
{
    (void)state;
    static const struct {
        struct msg_resize m;
        bool good;
    } cases[] = {{{1, 1}, true}, {{65535, 65535}, true}, {{0, 80}, false}, {{24, 0}, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct msg_resize got;
        assert_int_equal(msg_resize_encode(&cases[i].m, buf, sizeof(buf)) > 0, cases[i].good);
        frame_header_put(buf, FRAME_RESIZE, 4);
        store_le16(buf + FRAME_HEADER, cases[i].m.rows);
        store_le16(buf + FRAME_HEADER + 2, cases[i].m.cols);
        struct frame f = as_frame(FRAME_HEADER + 4, FRAME_FROM_HOST);
        assert_int_equal(msg_resize_decode(&f, &got), cases[i].good ? 0 : -EPROTO);
        REFUSES_OTHER_LENGTHS(msg_resize_decode, f, &got);
    }
}

static void ready_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_ready m = {1, 3, 64, UINT64_C(1) << 40, 10, 20, 30, "6.12.0-cubby"}, got;
    struct frame f = as_frame(msg_ready_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_ready_decode(&f, &got), 0);
    assert_int_equal(got.cpus, 64);
    assert_true(got.memory_bytes == UINT64_C(1) << 40);
    assert_true(got.init_ns == 10 && got.root_ns == 20 && got.agent_ns == 30);
    assert_string_equal(got.release, "6.12.0-cubby");
    memset(m.release, 'r', READY_RELEASE_MAX);
    f = as_frame(msg_ready_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_ready_decode(&f, &got), 0);
    assert_int_equal(strlen(got.release), READY_RELEASE_MAX);
    f.len++;
    assert_int_equal(msg_ready_decode(&f, &got), -EPROTO);
    f.len = 39;
    assert_int_equal(msg_ready_decode(&f, &got), -EPROTO);
    f.len = 40;
    buf[FRAME_HEADER] = 4; /* min above max */
    assert_int_equal(msg_ready_decode(&f, &got), -EPROTO);
    m.version_min = 0;
    assert_int_equal(msg_ready_encode(&m, buf, sizeof(buf)), 0);
}

static void shutdown_and_ping_ranges(void **state)
{
    (void)state;
    struct msg_shutdown m = {SHUTDOWN_GRACE_MAX_MS}, got;
    uint64_t cookie;
    struct frame f = as_frame(msg_shutdown_encode(&m, buf, sizeof(buf)), FRAME_FROM_HOST);
    assert_int_equal(msg_shutdown_decode(&f, &got), 0);
    assert_int_equal(got.grace_ms, SHUTDOWN_GRACE_MAX_MS);
    REFUSES_OTHER_LENGTHS(msg_shutdown_decode, f, &got);
    store_le32(buf + FRAME_HEADER, SHUTDOWN_GRACE_MAX_MS + 1);
    assert_int_equal(msg_shutdown_decode(&f, &got), -EPROTO);
    m.grace_ms++;
    assert_int_equal(msg_shutdown_encode(&m, buf, sizeof(buf)), 0);
    f = as_frame(msg_ping_encode(FRAME_PONG, UINT64_MAX, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(f.type, FRAME_PONG);
    assert_int_equal(msg_ping_decode(&f, &cookie), 0);
    assert_true(cookie == UINT64_MAX);
    REFUSES_OTHER_LENGTHS(msg_ping_decode, f, &cookie);
}

static void bye_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_bye m = {.reason = BYE_FAILED, .text = "why"}, got;
    struct frame f = as_frame(msg_bye_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_bye_decode(&f, &got), 0);
    assert_int_equal(got.reason, BYE_FAILED);
    assert_string_equal(got.text, "why");
    for (int pad = 1; pad <= 3; pad++) {
        buf[FRAME_HEADER + pad] = 1;
        assert_int_equal(msg_bye_decode(&f, &got), -EPROTO);
        buf[FRAME_HEADER + pad] = 0;
    }
    buf[FRAME_HEADER] = 0;
    assert_int_equal(msg_bye_decode(&f, &got), -EPROTO);
    buf[FRAME_HEADER] = BYE_FAILED + 1;
    assert_int_equal(msg_bye_decode(&f, &got), -EPROTO);
    m.reason = 0;
    assert_int_equal(msg_bye_encode(&m, buf, sizeof(buf)), 0);
}

static void event_round_trip_and_ranges(void **state)
{
    (void)state;
    struct msg_event m = {.kind = 999, .value = 5, .text = "later"}, got;
    struct frame f = as_frame(msg_event_encode(&m, buf, sizeof(buf)), FRAME_FROM_GUEST);
    assert_int_equal(msg_event_decode(&f, &got), 0); /* kinds of later agents are for the host to ignore */
    assert_true(got.kind == 999 && got.value == 5);
    buf[FRAME_HEADER + 2] = 1;
    assert_int_equal(msg_event_decode(&f, &got), -EPROTO);
    buf[FRAME_HEADER + 2] = 0;
    store_le16(buf + FRAME_HEADER, 0);
    assert_int_equal(msg_event_decode(&f, &got), -EPROTO);
    f.len = 11;
    assert_int_equal(msg_event_decode(&f, &got), -EPROTO);
    m.kind = 0;
    assert_int_equal(msg_event_encode(&m, buf, sizeof(buf)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_round_trip_and_ranges),
        cmocka_unit_test(the_highest_common_version_is_chosen),
        cmocka_unit_test(error_round_trip_and_ranges),
        cmocka_unit_test(texts_are_bounded_and_cleaned),
        cmocka_unit_test(started_round_trip),
        cmocka_unit_test(exited_round_trip),
        cmocka_unit_test(ends_that_make_no_sense_are_refused),
        cmocka_unit_test(window_ranges),
        cmocka_unit_test(stream_eof_ranges),
        cmocka_unit_test(signal_ranges),
        cmocka_unit_test(resize_ranges),
        cmocka_unit_test(ready_round_trip_and_ranges),
        cmocka_unit_test(shutdown_and_ping_ranges),
        cmocka_unit_test(bye_round_trip_and_ranges),
        cmocka_unit_test(event_round_trip_and_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
