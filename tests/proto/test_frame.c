/* SPDX-License-Identifier: Apache-2.0 */
/* Frame headers and the incremental reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "proto/exec.h"
#include "proto/frame.h"
#include "proto/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOST  FRAME_FROM_HOST
#define GUEST FRAME_FROM_GUEST

/* A second statement of docs/protocol.md section 3.2: every type with its directions and bounds. */
static const struct {
    uint8_t type, from;
    uint32_t min, max;
    const char *name;
} table[] = {
    {0x01, HOST | GUEST, 8, 8, "HELLO"},  {0x02, GUEST, 8, 1032, "ERROR"},
    {0x10, HOST, 8, 2097152, "EXEC"},     {0x11, HOST, 1, 65536, "STDIN"},
    {0x12, HOST, 2, 2, "SIGNAL"},         {0x13, HOST, 0, 0, "KILL"},
    {0x14, HOST, 4, 4, "RESIZE"},         {0x18, HOST | GUEST, 1, 1, "STREAM_EOF"},
    {0x19, HOST | GUEST, 8, 8, "WINDOW"}, {0x20, GUEST, 12, 12, "STARTED"},
    {0x21, GUEST, 1, 65536, "STDOUT"},    {0x22, GUEST, 1, 65536, "STDERR"},
    {0x23, GUEST, 48, 48, "EXITED"},      {0x30, HOST, 0, 0, "LIST"},
    {0x31, HOST, 36, 36, "ATTACH"},       {0x32, HOST, 12, 12, "REMOVE"},
    {0x38, GUEST, 76, 332, "ITEM"},       {0x39, GUEST, 4, 4, "LIST_END"},
    {0x3a, GUEST, 40, 40, "ATTACHED"},    {0x3b, GUEST, 12, 12, "SKIPPED"},
    {0x60, GUEST, 40, 104, "READY"},      {0x61, HOST, 4, 4, "SHUTDOWN"},
    {0x62, HOST, 8, 8, "PING"},           {0x63, GUEST, 8, 8, "PONG"},
    {0x64, GUEST, 4, 1028, "BYE"},        {0x65, GUEST, 12, 1036, "EVENT"},
};

static int check(uint8_t type, uint32_t len, enum frame_from from)
{
    uint8_t header[FRAME_HEADER];
    struct frame f;
    frame_header_put(header, type, len);
    int ret = frame_header_check(header, from, &f);
    if (ret == 0) {
        assert_int_equal(f.type, type);
        assert_int_equal(f.len, len);
    }
    return ret;
}

static void each_type_has_its_bounds_and_direction(void **state)
{
    (void)state;
    static const enum frame_from sides[] = {FRAME_FROM_HOST, FRAME_FROM_GUEST};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        for (size_t s = 0; s < ARRAY_LEN(sides); s++) {
            uint8_t type = table[i].type;
            bool allowed = table[i].from & sides[s];
            assert_int_equal(check(type, table[i].min, sides[s]), allowed ? 0 : -EPROTO);
            assert_int_equal(check(type, table[i].max, sides[s]), allowed ? 0 : -EPROTO);
            assert_int_equal(check(type, table[i].max + 1, sides[s]), allowed ? -EMSGSIZE : -EPROTO);
            if (table[i].min > 0)
                assert_int_equal(check(type, table[i].min - 1, sides[s]), allowed ? -EMSGSIZE : -EPROTO);
            assert_int_equal(check(type, UINT32_MAX, sides[s]), allowed ? -EMSGSIZE : -EPROTO);
            assert_string_equal(frame_name(type), table[i].name);
        }
}

static void all_other_types_are_unknown(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(table); i++)
            known = known || table[i].type == type;
        if (known)
            continue;
        assert_int_equal(check((uint8_t)type, 8, FRAME_FROM_HOST), -EPROTO);
        assert_int_equal(check((uint8_t)type, 8, FRAME_FROM_GUEST), -EPROTO);
        assert_string_equal(frame_name((uint8_t)type), "?");
    }
}

static void every_bit_of_flags_and_reserved_is_refused(void **state)
{
    (void)state;
    struct frame f;
    for (unsigned bit = 0; bit < 24; bit++) {
        uint8_t header[FRAME_HEADER];
        frame_header_put(header, FRAME_KILL, 0);
        header[5 + bit / 8] |= (uint8_t)(1u << bit % 8);
        assert_int_equal(frame_header_check(header, FRAME_FROM_HOST, &f), -EPROTO);
    }
}

static void the_header_is_little_endian(void **state)
{
    (void)state;
    static const uint8_t expected[FRAME_HEADER] = {0x03, 0x02, 0x01, 0x00, 0x10, 0, 0, 0};
    uint8_t header[FRAME_HEADER];
    frame_header_put(header, FRAME_EXEC, 0x010203);
    assert_memory_equal(header, expected, sizeof(expected));
}

static void feed(struct frame_reader *r, const uint8_t *data, size_t len)
{
    uint8_t *at;
    size_t room;
    assert_int_equal(frame_reader_space(r, &at, &room), 0);
    assert_true(room >= len);
    memcpy(at, data, len);
    frame_reader_filled(r, len);
}

static void a_frame_cut_at_every_byte_waits_for_the_rest(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_HEADER + 8 + FRAME_HEADER];
    struct frame f;
    size_t len = msg_ping_encode(FRAME_PING, 0x1122334455667788, bytes, sizeof(bytes));
    len += msg_kill_encode(bytes + len, sizeof(bytes) - len);
    for (size_t cut = 0; cut < len; cut++) {
        struct frame_reader r;
        unsigned frames = 0;
        frame_reader_init(&r, FRAME_FROM_HOST);
        assert_false(frame_reader_partial(&r));
        if (cut)
            feed(&r, bytes, cut);
        while (frame_reader_next(&r, &f) == 1)
            frames++;
        assert_int_equal(frames, cut >= 16);
        assert_int_equal(frame_reader_partial(&r), cut != 0 && cut != 16);
        feed(&r, bytes + cut, len - cut);
        while (frame_reader_next(&r, &f) == 1)
            frames++;
        assert_int_equal(frames, 2);
        assert_int_equal(f.type, FRAME_KILL);
        assert_false(frame_reader_partial(&r));
        frame_reader_fini(&r);
    }
}

static void a_bad_header_is_refused_before_its_payload(void **state)
{
    (void)state;
    struct frame_reader r;
    struct frame f;
    uint8_t header[FRAME_HEADER];
    frame_reader_init(&r, FRAME_FROM_HOST);
    frame_header_put(header, FRAME_EXEC, EXEC_PAYLOAD_MAX + 1);
    feed(&r, header, sizeof(header));
    assert_int_equal(frame_reader_next(&r, &f), -EMSGSIZE);
    assert_int_equal(frame_reader_next(&r, &f), -EMSGSIZE); /* and for good */
    frame_reader_fini(&r);
}

static void the_buffer_grows_with_bytes_not_with_lengths(void **state)
{
    (void)state;
    struct frame_reader r;
    struct frame f;
    uint8_t header[FRAME_HEADER], byte = 'x';
    frame_reader_init(&r, FRAME_FROM_HOST);
    frame_header_put(header, FRAME_EXEC, EXEC_PAYLOAD_MAX);
    feed(&r, header, sizeof(header));
    assert_int_equal(frame_reader_next(&r, &f), 0);
    assert_true(r.cap <= 4096);
    for (size_t i = 0; i < EXEC_PAYLOAD_MAX; i++) {
        feed(&r, &byte, 1);
        assert_true(r.cap <= 4096 || r.cap <= 2 * (i + 1 + FRAME_HEADER));
    }
    assert_int_equal(r.cap,
                     FRAME_HEADER + EXEC_PAYLOAD_MAX); /* never more than a frame of the largest kind */
    assert_int_equal(frame_reader_next(&r, &f), 1);
    assert_int_equal(f.len, EXEC_PAYLOAD_MAX);
    feed(&r, header, 1); /* it is given back afterwards */
    assert_true(r.cap <= 4096);
    frame_reader_fini(&r);
    frame_reader_fini(&r);
}

static void more_filled_than_there_is_room_is_not_believed(void **state)
{
    (void)state;
    struct frame_reader r;
    uint8_t *at;
    size_t room;
    frame_reader_init(&r, FRAME_FROM_HOST);
    assert_int_equal(frame_reader_space(&r, &at, &room), 0);
    memset(at, 0, room);
    frame_reader_filled(&r, room + 1);
    assert_int_equal(r.end, r.cap);
    frame_reader_fini(&r);
}

static void a_frame_that_does_not_fit_is_not_written(void **state)
{
    (void)state;
    uint8_t buf[FRAME_HEADER + 7];
    assert_int_equal(msg_ping_encode(FRAME_PING, 1, buf, sizeof(buf)), 0);
    assert_int_equal(msg_kill_encode(buf, FRAME_HEADER - 1), 0);
    assert_int_equal(msg_kill_encode(buf, FRAME_HEADER), FRAME_HEADER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_bounds_and_direction),
        cmocka_unit_test(all_other_types_are_unknown),
        cmocka_unit_test(every_bit_of_flags_and_reserved_is_refused),
        cmocka_unit_test(the_header_is_little_endian),
        cmocka_unit_test(a_frame_cut_at_every_byte_waits_for_the_rest),
        cmocka_unit_test(a_bad_header_is_refused_before_its_payload),
        cmocka_unit_test(the_buffer_grows_with_bytes_not_with_lengths),
        cmocka_unit_test(more_filled_than_there_is_room_is_not_believed),
        cmocka_unit_test(a_frame_that_does_not_fit_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
