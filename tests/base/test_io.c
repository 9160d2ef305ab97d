/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, log, files and Unix sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct place {
    char dir[64];
    char path[128];
};

static int set_up(void **state)
{
    static struct place p;
    strcpy(p.dir, "/tmp/cubby-test-XXXXXX");
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.path, sizeof(p.path), "%s/x", p.dir);
    *state = &p;
    return 0;
}

static int entries_in(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    return rmdir(p->dir); /* fails when a test left something behind */
}

static void an_error_says_what_and_why(void **state)
{
    (void)state;
    struct err e = {0};
    errno = ENOENT;
    assert_int_equal(err_sys(&e, "cannot open '%s'", "x"), -ENOENT);
    assert_string_equal(e.text, "cannot open 'x': No such file or directory");
    assert_int_equal(err_prefix(&e, "disk %d", 2), -ENOENT);
    assert_string_equal(e.text, "disk 2: cannot open 'x': No such file or directory");
    assert_int_equal(err_set(NULL, -EINVAL, "nobody listens"), -EINVAL);
    assert_int_equal(err_prefix(NULL, "nobody listens"), -EINVAL);
}

static void a_long_error_text_is_cut_visibly(void **state)
{
    (void)state;
    struct err e = {0};
    char longer[2 * ERR_TEXT_MAX];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    err_set(&e, -EINVAL, "%s", longer);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_string_equal(e.text + strlen(e.text) - 3, "…");
    /* Two-byte characters in front of the cut: none is left in half. */
    for (size_t i = 0; i + 2 < sizeof(longer); i += 2)
        memcpy(longer + i, "ä", 3);
    for (int shift = 0; shift < 2; shift++) {
        err_set(&e, -EINVAL, "%s%s", shift ? "x" : "", longer);
        size_t at = strlen(e.text) - 3;
        assert_string_equal(e.text + at, "…");
        assert_int_equal((unsigned char)e.text[at - 1], 0xA4);
    }
}

static void log_levels_follow_what_boxlites_users_set(void **state)
{
    (void)state;
    log_configure_rust("debug");
    assert_true(log_enabled(LOG_IMAGE, LOG_DEBUG));
    log_configure_rust("boxlite=debug,hyper=off");
    assert_true(log_enabled(LOG_EXEC, LOG_DEBUG));
    log_configure_rust("hyper=trace,h2=info,nonsense,=");
    assert_true(log_enabled(LOG_NET, LOG_WARN));
    assert_false(log_enabled(LOG_NET, LOG_INFO));
    log_configure_rust("error,boxlite::images=trace");
    assert_true(log_enabled(LOG_BOX, LOG_DEBUG));
    log_configure_rust(NULL);
    assert_false(log_enabled(LOG_BOX, LOG_INFO));
    assert_int_equal(log_configure(NULL), 0);
}

static void all_of_a_machine_is_one_topic(void **state)
{
    (void)state;
    assert_int_equal(log_configure("vm=debug"), 0);
    assert_true(log_enabled(LOG_BOX, LOG_DEBUG));
    assert_true(log_enabled(LOG_VSOCK, LOG_DEBUG));
    assert_false(log_enabled(LOG_EXEC, LOG_INFO));
    assert_false(log_enabled(LOG_NET, LOG_INFO));
    assert_int_equal(log_configure(NULL), 0);
}

static void log_levels_follow_the_specification(void **state)
{
    (void)state;
    assert_int_equal(log_configure(NULL), 0);
    assert_true(log_enabled(LOG_VMM, LOG_WARN));
    assert_false(log_enabled(LOG_VMM, LOG_INFO));
    assert_int_equal(log_configure("error,vsock=debug"), 0);
    assert_false(log_enabled(LOG_VMM, LOG_WARN));
    assert_true(log_enabled(LOG_VSOCK, LOG_DEBUG));
    assert_int_equal(log_configure("nonsense,exec=info,vmm=loud,=debug"), -EINVAL);
    assert_true(log_enabled(LOG_EXEC, LOG_INFO));
    assert_false(log_enabled(LOG_VMM, LOG_INFO));
    assert_int_equal(log_configure("off"), 0);
    assert_false(log_enabled(LOG_VMM, LOG_ERR));
}

static void a_log_limit_lets_a_burst_through(void **state)
{
    (void)state;
    assert_int_equal(log_configure("off"), 0);
    struct log_limit l = {0};
    int passed = 0;
    for (int i = 0; i < 100000; i++)
        passed += log_limit_pass(&l, LOG_VMM);
    /* The loop is far shorter than 10 s even on a slow machine, so few windows can have passed. */
    assert_in_range(passed, LOG_BURST, 10 * LOG_BURST);
}

static void a_file_appears_whole_or_not_at_all(void **state)
{
    struct place *p = *state;
    assert_int_equal(write_file_atomic(p->path, "one", 3, 0640, NULL), 0);
    assert_int_equal(write_file_atomic(p->path, "second", 6, 0640, NULL), 0);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    char *text;
    size_t len;
    assert_int_equal(read_file(p->path, 6, &text, &len, NULL), 0);
    assert_string_equal(text, "second");
    assert_int_equal(len, 6);
    free(text);
    struct err e = {0};
    assert_int_equal(read_file(p->path, 5, &text, &len, &e), -EFBIG);
    assert_int_equal(read_file(p->dir, 5, &text, &len, &e), -EISDIR);
    assert_non_null(strstr(e.text, p->dir));
    char inside[200];
    snprintf(inside, sizeof(inside), "%s/no/such", p->dir);
    assert_int_equal(write_file_atomic(inside, "x", 1, 0600, &e), -ENOENT);
    assert_int_equal(write_file_atomic(p->dir, "x", 1, 0600, &e), -EISDIR);
    assert_int_equal(entries_in(p->dir), 1);
}

static void short_files_are_told_apart(void **state)
{
    struct place *p = *state;
    assert_int_equal(write_file_atomic(p->path, "abc", 3, 0600, NULL), 0);
    CLEANUP(fd_closep) int fd = open(p->path, O_RDONLY | O_CLOEXEC);
    char buf[4];
    assert_int_equal(read_full(fd, buf, 3), 0);
    assert_int_equal(read_full(fd, buf, 1), -ENODATA);
    assert_int_equal(pread_full(fd, buf, 2, 1), 0);
    assert_memory_equal(buf, "bc", 2);
    assert_int_equal(pread_full(fd, buf, 3, 1), -ENODATA);
    assert_int_equal(write_full(fd, "x", 1), -EBADF);
}

static void a_socket_is_private_and_a_stale_one_is_replaced(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    int first = unix_listen(p->path, 4, &e);
    assert_true(first >= 0);
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unix_listen(p->path, 4, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "in use"));
    CLEANUP(fd_closep) int client = unix_connect(p->path, &e);
    assert_true(client >= 0);
    assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
    close(first);
    assert_int_equal(unix_connect(p->path, &e), -ECONNREFUSED);
    CLEANUP(fd_closep) int second = unix_listen(p->path, 4, &e);
    assert_true(second >= 0);
}

static void a_socket_path_is_checked(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char longer[200];
    memset(longer, 'p', sizeof(longer));
    longer[108] = '\0';
    assert_int_equal(unix_listen(longer, 1, &e), -ENAMETOOLONG);
    assert_non_null(strstr(e.text, "108 bytes"));
    assert_int_equal(unix_connect("", &e), -EINVAL);
    assert_int_equal(write_file_atomic(p->path, "a file", 6, 0600, NULL), 0);
    assert_int_equal(unix_listen(p->path, 1, &e), -EEXIST);
    assert_int_equal(unix_connect("/nonexistent/socket", &e), -ENOENT);
}

static void nonblocking_is_switched_both_ways(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fd_set_nonblock(pair[0], 1), 0);
    assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(fd_set_nonblock(pair[0], 0), 0);
    assert_false(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(fd_set_nonblock(-1, 1), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_what_and_why),
        cmocka_unit_test(a_long_error_text_is_cut_visibly),
        cmocka_unit_test(log_levels_follow_the_specification),
        cmocka_unit_test(log_levels_follow_what_boxlites_users_set),
        cmocka_unit_test(all_of_a_machine_is_one_topic),
        cmocka_unit_test(a_log_limit_lets_a_burst_through),
        cmocka_unit_test_setup_teardown(a_file_appears_whole_or_not_at_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_files_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_socket_is_private_and_a_stale_one_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_socket_path_is_checked, set_up, tear_down),
        cmocka_unit_test(nonblocking_is_switched_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
