/* SPDX-License-Identifier: Apache-2.0 */
/* EXEC: round trips, every field at, below and above its bound, payloads cut and repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "proto/exec.h"
#include "proto/msg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const one_arg[] = {"true", NULL};

/* Encodes `q` into a heap block of exactly its size. */
static uint8_t *encode(const struct exec_request *q, size_t *len)
{
    struct err e = {0};
    *len = exec_request_size(q);
    uint8_t *frame = malloc(*len);
    assert_non_null(frame);
    if (exec_request_encode(q, frame, *len, &e) < 0)
        fail_msg("%s", e.text);
    return frame;
}

static void expect_not_encodable(const struct exec_request *q, int code, const char *text)
{
    struct err e = {0};
    static uint8_t frame[FRAME_HEADER + EXEC_PAYLOAD_MAX];
    assert_int_equal(exec_request_encode(q, frame, sizeof(frame), &e), code);
    assert_int_equal(e.code, code);
    if (!strstr(e.text, text))
        fail_msg("'%s' does not say '%s'", e.text, text);
}

static void a_full_request_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const argv[] = {"cmd", "", "two words", "\377\n", NULL};
    static const char *const envp[] = {"A=1", "EMPTY=", "EQ==x=", NULL};
    struct exec_request q = {.argv = argv,
                             .envp = envp,
                             .cwd = "/",
                             .user = "u:g",
                             .tty = true,
                             .rows = 1,
                             .cols = UINT16_MAX,
                             .timeout_ms = EXEC_TIMEOUT_MAX_MS,
                             .grace_ms = EXEC_GRACE_MAX_MS,
                             .stop_signal = EXEC_SIGNAL_MAX,
                             .memory_max = UINT64_MAX,
                             .pids_max = UINT32_MAX,
                             .cpu_millis = EXEC_CPU_MAX_MILLIS,
                             .flags = EXEC_STDIN | EXEC_STDOUT | EXEC_DETACHED | EXEC_MAKE_CWD,
                             .window_out = STREAM_WINDOW_MAX,
                             .window_err = 1,
                             .backlog = EXEC_BACKLOG_MAX,
                             .rlimit_count = EXEC_RLIMITS_MAX};
    for (uint32_t i = 0; i < EXEC_RLIMITS_MAX; i++)
        q.rlimit[i] = (struct exec_rlimit){EXEC_RLIMITS_MAX - 1 - i, i, i ? EXEC_RLIM_INFINITY : 0};
    size_t len;
    CLEANUP(mem_freep) uint8_t *frame = encode(&q, &len);
    struct frame f;
    struct exec_request got;
    assert_int_equal(frame_header_check(frame, FRAME_FROM_HOST, &f), 0);
    assert_int_equal(f.len, len - FRAME_HEADER);
    assert_int_equal(exec_request_decode(&got, frame + FRAME_HEADER, f.len, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(argv) - 1; i++)
        assert_string_equal(got.argv[i], argv[i]);
    assert_null(got.argv[ARRAY_LEN(argv) - 1]);
    for (size_t i = 0; i < ARRAY_LEN(envp) - 1; i++)
        assert_string_equal(got.envp[i], envp[i]);
    assert_null(got.envp[ARRAY_LEN(envp) - 1]);
    assert_string_equal(got.cwd, "/");
    assert_string_equal(got.user, "u:g");
    assert_true(got.tty && got.rows == 1 && got.cols == UINT16_MAX);
    assert_true(got.timeout_ms == EXEC_TIMEOUT_MAX_MS && got.grace_ms == EXEC_GRACE_MAX_MS);
    assert_int_equal(got.stop_signal, EXEC_SIGNAL_MAX);
    assert_true(got.memory_max == UINT64_MAX && got.pids_max == UINT32_MAX);
    assert_int_equal(got.cpu_millis, EXEC_CPU_MAX_MILLIS);
    assert_int_equal(got.flags, q.flags);
    assert_true(got.window_out == STREAM_WINDOW_MAX && got.window_err == 1);
    assert_int_equal(got.backlog, EXEC_BACKLOG_MAX);
    assert_int_equal(got.rlimit_count, EXEC_RLIMITS_MAX);
    assert_memory_equal(got.rlimit, q.rlimit, sizeof(q.rlimit));
    exec_request_fini(&got);
    assert_null(got.argv);
}

static void what_is_not_asked_for_has_its_default(void **state)
{
    (void)state;
    static const uint8_t payload[] = {EXEC_TAG_ARG, 0, 2, 0, 0, 0, 'x', 0};
    struct exec_request got;
    assert_int_equal(exec_request_decode(&got, payload, sizeof(payload), NULL), 0);
    assert_string_equal(got.argv[0], "x");
    assert_null(got.argv[1]);
    assert_null(got.envp[0]);
    assert_null(got.cwd);
    assert_null(got.user);
    assert_int_equal(got.grace_ms, EXEC_GRACE_DEFAULT_MS);
    assert_int_equal(got.stop_signal, 15);
    assert_int_equal(got.flags, 0);
    exec_request_fini(&got);
}

/* --- the encoder's checks --- */

static char *long_string(size_t len)
{
    char *s = malloc(len + 1);
    assert_non_null(s);
    memset(s, 'x', len);
    s[len] = '\0';
    return s;
}

static void strings_have_bounds(void **state)
{
    (void)state;
    CLEANUP(mem_freep) char *arg = long_string(EXEC_STRING_MAX + 1);
    const char *argv[] = {"cmd", arg, NULL};
    struct exec_request q = {.argv = argv};
    expect_not_encodable(&q, -E2BIG, "argument 2 has more than 131071 bytes");
    arg[EXEC_STRING_MAX] = '\0';
    size_t len;
    free(encode(&q, &len));

    CLEANUP(mem_freep) char *env = long_string(EXEC_STRING_MAX + 1);
    env[1] = '=';
    const char *envp[] = {env, NULL};
    q = (struct exec_request){.argv = one_arg, .envp = envp};
    expect_not_encodable(&q, -E2BIG, "environment entry 1 has more than");
    env[EXEC_STRING_MAX] = '\0';
    free(encode(&q, &len));

    CLEANUP(mem_freep) char *cwd = long_string(EXEC_CWD_MAX + 1);
    cwd[0] = '/';
    q = (struct exec_request){.argv = one_arg, .cwd = cwd};
    expect_not_encodable(&q, -E2BIG, "the working directory has more than 4095 bytes");
    cwd[EXEC_CWD_MAX] = '\0';
    free(encode(&q, &len));

    CLEANUP(mem_freep) char *user = long_string(EXEC_USER_MAX + 1);
    q = (struct exec_request){.argv = one_arg, .user = user};
    expect_not_encodable(&q, -E2BIG, "the user has more than 255 bytes");
    user[EXEC_USER_MAX] = '\0';
    free(encode(&q, &len));
}

static void lists_have_bounds(void **state)
{
    (void)state;
    const char **list = calloc(EXEC_ARGS_MAX + 2, sizeof(*list));
    assert_non_null(list);
    struct exec_request q = {.argv = list};
    expect_not_encodable(&q, -EINVAL, "no command");
    for (uint32_t i = 0; i <= EXEC_ARGS_MAX; i++)
        list[i] = "a";
    expect_not_encodable(&q, -E2BIG, "more than 65536 arguments");
    list[EXEC_ARGS_MAX] = NULL;
    size_t len;
    uint8_t *frame = encode(&q, &len);
    struct exec_request got;
    assert_int_equal(exec_request_decode(&got, frame + FRAME_HEADER, len - FRAME_HEADER, NULL), 0);
    assert_string_equal(got.argv[EXEC_ARGS_MAX - 1], "a");
    exec_request_fini(&got);
    free(frame);

    for (uint32_t i = 0; i <= EXEC_ENVS_MAX; i++)
        list[i] = "A=";
    list[EXEC_ENVS_MAX + 1] = NULL;
    q = (struct exec_request){.argv = one_arg, .envp = list};
    expect_not_encodable(&q, -E2BIG, "more than 16384 environment entries");
    list[EXEC_ENVS_MAX] = NULL;
    free(encode(&q, &len));
    free(list);
}

static void the_whole_request_has_a_bound(void **state)
{
    (void)state;
    CLEANUP(mem_freep) char *arg = long_string(EXEC_STRING_MAX);
    const char *argv[18];
    for (int i = 0; i < 17; i++)
        argv[i] = arg;
    argv[17] = NULL;
    struct exec_request q = {.argv = argv};
    expect_not_encodable(&q, -E2BIG, "arguments and environment take");
}

static void fields_out_of_range_are_refused(void **state)
{
    (void)state;
    static const char *const no_eq[] = {"NAME", NULL}, *const no_name[] = {"=x", NULL};
    const struct {
        struct exec_request q;
        const char *text;
    } cases[] = {
        {{.envp = no_eq}, "'NAME' is not NAME=value"},
        {{.envp = no_name}, "'=x' is not NAME=value"},
        {{.cwd = "relative"}, "'relative' is not absolute"},
        {{.cwd = ""}, "is not absolute"},
        {{.user = ""}, "the user is an empty string"},
        {{.tty = true, .rows = 0, .cols = 1}, "at least 1 row"},
        {{.tty = true, .rows = 1, .cols = 0}, "at least 1 row"},
        {{.tty = true, .rows = 1, .cols = 1, .flags = EXEC_STDERR}, "no separate stderr"},
        {{.timeout_ms = EXEC_TIMEOUT_MAX_MS + 1}, "timeout is longer"},
        {{.grace_ms = EXEC_GRACE_MAX_MS + 1}, "grace period is longer"},
        {{.stop_signal = EXEC_SIGNAL_MAX + 1}, "no signal 65"},
        {{.cpu_millis = EXEC_CPU_MAX_MILLIS + 1}, "CPU limit"},
        {{.flags = EXEC_FLAGS_ALL + 1}, "unknown flags 0x20"},
        {{.window_out = STREAM_WINDOW_MAX + 1}, "initial window"},
        {{.window_err = STREAM_WINDOW_MAX + 1}, "initial window"},
        {{.backlog = 1}, "only for a detached"},
        {{.backlog = EXEC_BACKLOG_MAX + 1, .flags = EXEC_DETACHED}, "backlog is larger"},
        {{.rlimit_count = 1, .rlimit = {{EXEC_RLIMITS_MAX, 1, 1}}}, "no resource 16"},
        {{.rlimit_count = 1, .rlimit = {{1, 2, 1}}}, "above its hard limit"},
        {{.rlimit_count = 2, .rlimit = {{1, 1, 1}, {1, 1, 1}}}, "limited twice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct exec_request q = cases[i].q;
        q.argv = one_arg;
        expect_not_encodable(&q, -EINVAL, cases[i].text);
    }
    struct exec_request q = {.argv = one_arg, .rlimit_count = EXEC_RLIMITS_MAX + 1};
    expect_not_encodable(&q, -E2BIG, "resource limits");
}

static void a_buffer_too_small_is_told(void **state)
{
    (void)state;
    struct exec_request q = {.argv = one_arg};
    struct err e;
    uint8_t frame[256];
    size_t size = exec_request_size(&q);
    assert_int_equal(exec_request_encode(&q, frame, size - 1, &e), -ENOSPC);
    assert_int_equal(exec_request_encode(&q, frame, size, &e), 0);
}

/* --- the decoder's checks --- */

struct payload {
    uint8_t bytes[512];
    size_t len;
};

static void add(struct payload *p, uint16_t tag, const void *data, uint32_t len)
{
    store_le16(p->bytes + p->len, tag);
    store_le32(p->bytes + p->len + 2, len);
    memcpy(p->bytes + p->len + 6, data, len);
    p->len += 6 + len;
}

static void expect_refused(const struct payload *p, int code, const char *text)
{
    struct exec_request got;
    struct err e = {0};
    /* A block of its own, so that a read beyond its end is found. */
    CLEANUP(mem_freep) uint8_t *copy = malloc(p->len + 1);
    memcpy(copy, p->bytes, p->len);
    assert_int_equal(exec_request_decode(&got, copy, p->len, &e), code);
    assert_int_equal(e.code, code);
    if (!strstr(e.text, text))
        fail_msg("'%s' does not say '%s'", e.text, text);
}

static void a_payload_cut_at_every_byte_is_refused(void **state)
{
    (void)state;
    static const char *const argv[] = {"a", "bc", NULL}, *const envp[] = {"D=e", NULL};
    struct exec_request q = {.argv = argv, .envp = envp, .cwd = "/", .user = "0", .timeout_ms = 1}, got;
    size_t len, good = 0;
    CLEANUP(mem_freep) uint8_t *frame = encode(&q, &len);
    for (size_t cut = 0; cut < len - FRAME_HEADER; cut++) {
        CLEANUP(mem_freep) uint8_t *copy = malloc(cut + 1);
        memcpy(copy, frame + FRAME_HEADER, cut);
        int ret = exec_request_decode(&got, copy, cut, NULL);
        assert_true(ret == 0 || ret == -EPROTO);
        if (ret == 0) { /* a cut between two fields leaves a smaller request */
            assert_string_equal(got.argv[0], "a");
            exec_request_fini(&got);
            good++;
        }
    }
    assert_int_equal(good, 9); /* 10 fields follow the first */
}

static void malformed_fields_are_refused(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    static const struct {
        uint16_t tag;
        const char *data;
        uint32_t len;
        const char *text;
    } cases[] = {
        {EXEC_TAG_ARG, "", 0, "an argument is not a string"},
        {EXEC_TAG_ARG, "ab", 2, "an argument is not a string"},
        {EXEC_TAG_ARG, "a\0b", 4, "an argument is not a string"},
        {EXEC_TAG_ENV, "AB", 3, "'AB' is not NAME=value"},
        {EXEC_TAG_ENV, "=B", 3, "'=B' is not NAME=value"},
        {EXEC_TAG_ENV, "A=B", 3, "an environment entry is not a string"},
        {EXEC_TAG_CWD, "x", 2, "not absolute"},
        {EXEC_TAG_CWD, "/", 1, "the working directory is not a string"},
        {EXEC_TAG_USER, "", 1, "the user is an empty string"},
        {EXEC_TAG_TTY, (const char *)zeros, 4, "at least 1 row"},
        {EXEC_TAG_TTY, (const char *)zeros, 3, "tag 5 has a wrong length (3)"},
        {EXEC_TAG_TIMEOUT_MS, (const char *)zeros, 9, "tag 6 has a wrong length (9)"},
        {EXEC_TAG_GRACE_MS, (const char *)zeros, 0, "tag 7 has a wrong length (0)"},
        {EXEC_TAG_RLIMIT, (const char *)zeros, 19, "tag 8 has a wrong length (19)"},
        {EXEC_TAG_LIMITS, (const char *)zeros, 15, "tag 9 has a wrong length"},
        {EXEC_TAG_FLAGS, "\x20\0\0\0", 4, "unknown flags 0x20"},
        {EXEC_TAG_FLAGS, "\x10\0\0\0\0", 5, "tag 10 has a wrong length"},
        {EXEC_TAG_WINDOWS, "\1\0\0\4\0\0\0\0", 8, "initial window"},
        {EXEC_TAG_BACKLOG, "\1\0\0\0", 4, "only for a detached"},
        {EXEC_TAG_STOP_SIGNAL, "", 0, "tag 13 has a wrong length (0)"},
        {EXEC_TAG_STOP_SIGNAL, "\1\0", 2, "tag 13 has a wrong length (2)"},
        {EXEC_TAG_STOP_SIGNAL, "", 1, "no signal 0"},
        {EXEC_TAG_STOP_SIGNAL, "\x41", 1, "no signal 65"},
        {0, "", 0, "unknown tag 0"},
        {EXEC_TAG_STOP_SIGNAL + 1, "", 0, "unknown tag 14"},
        {UINT16_MAX, "", 0, "unknown tag 65535"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct payload p = {.len = 0};
        add(&p, EXEC_TAG_ARG, "x", 2);
        add(&p, cases[i].tag, cases[i].data, cases[i].len);
        expect_refused(&p, -EPROTO, cases[i].text);
    }
}

static void fields_that_come_once_come_once(void **state)
{
    (void)state;
    static const struct {
        uint16_t tag;
        const char *data;
        uint32_t len;
    } cases[] = {
        {EXEC_TAG_CWD, "/", 2},           {EXEC_TAG_USER, "0", 2},
        {EXEC_TAG_TTY, "\1\0\1", 4},      {EXEC_TAG_TIMEOUT_MS, "\1\0\0\0\0\0\0", 8},
        {EXEC_TAG_GRACE_MS, "\1\0\0", 4}, {EXEC_TAG_FLAGS, "\1\0\0", 4},
        {EXEC_TAG_STOP_SIGNAL, "\1", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct payload p = {.len = 0};
        add(&p, EXEC_TAG_ARG, "x", 2);
        add(&p, cases[i].tag, cases[i].data, cases[i].len);
        struct exec_request got;
        assert_int_equal(exec_request_decode(&got, p.bytes, p.len, NULL), 0);
        exec_request_fini(&got);
        add(&p, cases[i].tag, cases[i].data, cases[i].len);
        expect_refused(&p, -EPROTO, "twice");
    }
    struct payload p = {.len = 0};
    uint8_t limit[20] = {3};
    add(&p, EXEC_TAG_ARG, "x", 2);
    add(&p, EXEC_TAG_RLIMIT, limit, sizeof(limit));
    add(&p, EXEC_TAG_RLIMIT, limit, sizeof(limit));
    expect_refused(&p, -EPROTO, "resource 3 is limited twice");
}

static void a_request_without_a_command_is_refused(void **state)
{
    (void)state;
    struct payload p = {.len = 0};
    expect_refused(&p, -EPROTO, "no argument, not even the command");
    add(&p, EXEC_TAG_ENV, "A=b", 4);
    expect_refused(&p, -EPROTO, "no argument, not even the command");
}

static void lists_beyond_their_bounds_are_refused(void **state)
{
    (void)state;
    struct exec_request got;
    struct err e = {0};
    size_t count = EXEC_ARGS_MAX + 1;
    CLEANUP(mem_freep) uint8_t *args = malloc(count * 7);
    for (size_t i = 0; i < count; i++)
        memcpy(args + 7 * i, "\1\0\1\0\0\0", 7); /* ARG, one byte: the NUL */
    assert_int_equal(exec_request_decode(&got, args, count * 7, &e), -E2BIG);
    assert_string_equal(e.text, "more than 65536 arguments");
    assert_int_equal(exec_request_decode(&got, args, (count - 1) * 7, &e), 0);
    exec_request_fini(&got);

    size_t len = 6 + EXEC_STRING_MAX + 2;
    CLEANUP(mem_freep) uint8_t *one = calloc(1, len);
    memset(one + 6, 'x', EXEC_STRING_MAX + 1);
    one[0] = EXEC_TAG_ARG;
    store_le32(one + 2, EXEC_STRING_MAX + 2);
    assert_int_equal(exec_request_decode(&got, one, len, &e), -E2BIG);
    assert_string_equal(e.text, "an argument has 131072 bytes, at most 131071 are allowed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_request_comes_back_as_it_was),
        cmocka_unit_test(what_is_not_asked_for_has_its_default),
        cmocka_unit_test(strings_have_bounds),
        cmocka_unit_test(lists_have_bounds),
        cmocka_unit_test(the_whole_request_has_a_bound),
        cmocka_unit_test(fields_out_of_range_are_refused),
        cmocka_unit_test(a_buffer_too_small_is_told),
        cmocka_unit_test(a_payload_cut_at_every_byte_is_refused),
        cmocka_unit_test(malformed_fields_are_refused),
        cmocka_unit_test(fields_that_come_once_come_once),
        cmocka_unit_test(a_request_without_a_command_is_refused),
        cmocka_unit_test(lists_beyond_their_bounds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
