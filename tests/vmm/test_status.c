/* SPDX-License-Identifier: Apache-2.0 */
/* Events: one line of JSON each, and an owner that is gone harms nobody. */
#include "vmm/status.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void lines_of_json_come_out_of_a_descriptor(void **state)
{
    (void)state;
    int fds[2];
    char number[16], line[200];
    struct status s;
    struct err e = {0};
    assert_int_equal(pipe(fds), 0);
    snprintf(number, sizeof(number), "%d", fds[1]);
    assert_int_equal(status_init(&s, number, &e), 0);
    status_event(&s, "mark", 7, json_pack("{s:s}", "name", "a\nb"));
    status_event(&s, "running", 8, NULL);
    status_fini(&s);
    FILE *f = fdopen(fds[0], "r");
    close(fds[1]); /* the status did not own it */
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "{\"event\":\"mark\",\"t_ns\":7,\"name\":\"a\\nb\"}\n");
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "{\"event\":\"running\",\"t_ns\":8}\n");
    assert_null(fgets(line, sizeof(line), f));
    fclose(f);
}

static void a_file_is_appended_to(void **state)
{
    (void)state;
    char path[] = "/tmp/cubby-status-XXXXXX", line[200];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int i = 0; i < 2; i++) {
        struct status s;
        struct err e = {0};
        assert_int_equal(status_init(&s, path, &e), 0);
        status_event(&s, "created", (uint64_t)i, NULL);
        status_fini(&s);
    }
    FILE *f = fdopen(fd, "r");
    assert_non_null(fgets(line, sizeof(line), f));
    assert_non_null(fgets(line, sizeof(line), f));
    assert_string_equal(line, "{\"event\":\"created\",\"t_ns\":1}\n");
    fclose(f);
    unlink(path);
}

static void nobody_asked(void **state)
{
    (void)state;
    struct status s;
    assert_int_equal(status_init(&s, NULL, NULL), 0);
    status_event(&s, "created", 0, json_pack("{s:i}", "a", 1)); /* and the reference is dropped: see ASan */
    status_fini(&s);
}

static void an_owner_that_is_gone_costs_an_event(void **state)
{
    (void)state;
    int fds[2];
    char number[16];
    struct status s;
    signal(SIGPIPE, SIG_IGN); /* as main() does */
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    snprintf(number, sizeof(number), "%d", fds[1]);
    assert_int_equal(status_init(&s, number, NULL), 0);
    status_event(&s, "running", 0, NULL);
    status_fini(&s);
    close(fds[1]);
}

static void bad_targets_are_named(void **state)
{
    (void)state;
    struct status s;
    struct err e = {0};
    assert_int_equal(status_init(&s, "987", &e), -EBADF);
    assert_non_null(strstr(e.text, "987 is not an open descriptor"));
    status_fini(&s);
    assert_int_equal(status_init(&s, "99999999999999999999", &e), -EBADF);
    status_fini(&s);
    assert_int_equal(status_init(&s, "/nonexistent/x", &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/x"));
    status_fini(&s);
    assert_true(status_init(&s, "", &e) < 0);
    status_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_json_come_out_of_a_descriptor),
        cmocka_unit_test(a_file_is_appended_to),
        cmocka_unit_test(nobody_asked),
        cmocka_unit_test(an_owner_that_is_gone_costs_an_event),
        cmocka_unit_test(bad_targets_are_named),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
