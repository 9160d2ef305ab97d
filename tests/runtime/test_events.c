/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM's events: whole lines out of any pieces, each understood or refused, nothing unbounded or
 * unprintable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "runtime/events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *line, struct vmm_event *ev)
{
    return vmm_event_parse(line, strlen(line), ev);
}

static void each_event_is_understood(void **state)
{
    (void)state;
    struct vmm_event ev;
    assert_int_equal(parse("{\"event\":\"running\",\"t_ns\":5}", &ev), 0);
    assert_int_equal(ev.kind, VMM_RUNNING);
    assert_int_equal(parse("{\"event\":\"mark\",\"name\":\"agent-ready\",\"t_ns\":6}", &ev), 0);
    assert_int_equal(ev.kind, VMM_MARK);
    assert_string_equal(ev.name, "agent-ready");
    assert_int_equal(parse("{\"event\":\"disk-failed\",\"detail\":\"No space\",\"t_ns\":6}", &ev), 0);
    assert_int_equal(ev.kind, VMM_DISK);
    assert_string_equal(ev.detail, "No space");
    assert_int_equal(
        parse("{\"event\":\"ended\",\"reason\":\"panic\",\"detail\":\"d\",\"console_tail\":\"a\\nb\"}", &ev),
        0);
    assert_int_equal(ev.kind, VMM_ENDED);
    assert_string_equal(ev.name, "panic");
    assert_string_equal(ev.detail, "d");
    assert_string_equal(ev.tail, "a\nb");
    assert_int_equal(parse("{\"event\":\"failed\",\"detail\":\"no disk\"}", &ev), 0);
    assert_int_equal(ev.kind, VMM_FAILED);
    assert_string_equal(ev.detail, "no disk");
}

static void what_is_new_is_ignored(void **state)
{
    (void)state;
    struct vmm_event ev;
    assert_int_equal(parse("{\"event\":\"created\",\"pid\":1}", &ev), 0);
    assert_int_equal(ev.kind, VMM_OTHER);
    assert_int_equal(parse("{\"event\":\"mark\",\"name\":7,\"more\":{}}", &ev), 0);
    assert_int_equal(ev.kind, VMM_MARK);
    assert_string_equal(ev.name, "");
}

static void what_is_no_event_is_refused(void **state)
{
    (void)state;
    struct vmm_event ev;
    static const char *const lines[] = {
        "",
        "x",
        "[]",
        "\"event\"",
        "{",
        "{}",
        "{\"event\":1}",
        "{\"event\":\"a\",\"event\":\"b\"}",
        "{\"event\":\"a\"} more",
        "{\"event\":\"\\u0000\"}",
        "{\"event\":\"\xff\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        assert_int_equal(parse(lines[i], &ev), -EPROTO);
}

static void texts_are_made_printable_and_cut(void **state)
{
    (void)state;
    static char line[40000];
    struct vmm_event ev;
    assert_int_equal(
        parse("{\"event\":\"ended\",\"reason\":\"x\\u001b[2J\\n\",\"detail\":\"a\\u009bb\\r\\nc\"}", &ev), 0);
    assert_string_equal(ev.name, "x?[2J ");
    assert_string_equal(ev.detail, "a??b c"); /* one for each byte */
    size_t at = (size_t)sprintf(line, "{\"event\":\"ended\",\"detail\":\"");
    memset(line + at, 'd', 10000);
    at += 10000;
    at += (size_t)sprintf(line + at, "\",\"console_tail\":\"");
    memset(line + at, 't', 20000);
    at += 20000;
    sprintf(line + at, "END\"}");
    assert_int_equal(parse(line, &ev), 0);
    assert_int_equal(strlen(ev.detail), EVENT_DETAIL_MAX - 1);
    assert_int_equal(strlen(ev.tail), EVENT_TAIL_MAX - 1);
    assert_string_equal(ev.tail + EVENT_TAIL_MAX - 4, "END"); /* the end of the console is what tells */
}

static void lines_come_whole_out_of_any_pieces(void **state)
{
    (void)state;
    int fds[2];
    struct line_reader r = {0};
    const char *line;
    size_t len;
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(line_reader_fill(&r, fds[0]), -EAGAIN);
    static const char text[] = "one\n\ntwo\nthr";
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(write_full(fds[1], text + i, 1), 0);
        assert_int_equal(line_reader_fill(&r, fds[0]), 1);
        bool whole = text[i] == '\n';
        assert_int_equal(line_reader_next(&r, &line, &len), whole);
        if (whole && i == 3)
            assert_memory_equal(line, "one", 3);
        if (whole && i == 4)
            assert_int_equal(len, 0);
    }
    assert_int_equal(write_full(fds[1], "ee\nfour\n", 8), 0);
    close(fds[1]);
    assert_int_equal(line_reader_fill(&r, fds[0]), 1);
    assert_true(line_reader_next(&r, &line, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(line, "three", 5);
    assert_true(line_reader_next(&r, &line, &len));
    assert_memory_equal(line, "four", 4);
    assert_false(line_reader_next(&r, &line, &len));
    assert_int_equal(line_reader_fill(&r, fds[0]), 0);
    line_reader_fini(&r);
    line_reader_fini(&r);
    close(fds[0]);
}

static void a_line_without_end_is_refused_at_its_bound(void **state)
{
    (void)state;
    int fds[2];
    struct line_reader r = {0};
    static char bytes[4096];
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    int ret = 1;
    size_t total = 0;
    while (ret > 0 && total < 4 * EVENT_LINE_MAX) {
        total += sizeof(bytes);
        assert_int_equal(write_full(fds[1], bytes, sizeof(bytes)), 0);
        ret = line_reader_fill(&r, fds[0]);
    }
    assert_int_equal(ret, -EMSGSIZE);
    assert_true(r.cap <= 2 * EVENT_LINE_MAX);
    line_reader_fini(&r);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(line_reader_fill(&r, -1), -EBADF);
    line_reader_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_is_understood),
        cmocka_unit_test(what_is_new_is_ignored),
        cmocka_unit_test(what_is_no_event_is_refused),
        cmocka_unit_test(texts_are_made_printable_and_cut),
        cmocka_unit_test(lines_come_whole_out_of_any_pieces),
        cmocka_unit_test(a_line_without_end_is_refused_at_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
