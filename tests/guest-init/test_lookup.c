/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a command in PATH, and the small files and names that PID 1 deals with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "guest-init/cgroup.h"
#include "guest-init/files.h"
#include "guest-init/lookup.h"
#include "guest-init/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char dir[] = "/tmp/cubby-lookup-XXXXXX";
static char found[PATH_MAX];

static const char *at(const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, PATH_MAX, "%s/%s", dir, name);
    return p;
}

static void put_file(const char *name, const char *text, mode_t mode)
{
    struct err e;
    assert_int_equal(write_file_atomic(at(name), text, strlen(text), mode, &e), 0);
    assert_int_equal(chmod(at(name), mode), 0);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mkdir(at("a"), 0755), 0);
    assert_int_equal(mkdir(at("b"), 0755), 0);
    assert_int_equal(mkdir(at("a/folder"), 0755), 0);
    put_file("a/plain", "x", 0644);
    put_file("b/plain", "x", 0755);
    put_file("b/tool", "x", 0755);
    put_file("b/never", "x", 0644);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const files[] = {"a/plain", "b/plain", "b/tool", "b/never"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(at(files[i]));
    rmdir(at("a/folder"));
    rmdir(at("a"));
    rmdir(at("b"));
    return rmdir(dir);
}

static void the_first_executable_in_path_is_taken(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/nowhere:%s/a:%s/b", dir, dir);
    assert_int_equal(lookup_command("tool", path, found, NULL), 0);
    assert_string_equal(found, at("b/tool"));
    assert_int_equal(lookup_command("plain", path, found, NULL), 0); /* the one in a may not be run */
    assert_string_equal(found, at("b/plain"));
    assert_int_equal(lookup_command(at("b/tool"), "", found, NULL), 0);
    assert_string_equal(found, at("b/tool"));
}

static void not_found_and_not_executable_are_told_apart(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct err e;
    snprintf(path, sizeof(path), "%s/a:%s/b", dir, dir);
    assert_int_equal(lookup_command("nosuch", path, found, &e), -ENOENT);
    assert_non_null(strstr(e.text, "not found in PATH="));
    assert_int_equal(lookup_command("never", path, found, &e), -EACCES);
    assert_non_null(strstr(e.text, "b/never' may not be executed"));
    assert_int_equal(lookup_command("folder", path, found, &e), -EACCES);
    assert_int_equal(lookup_command("", path, found, &e), -ENOENT);
    assert_int_equal(lookup_command(at("a/folder"), path, found, &e), -EACCES);
    assert_non_null(strstr(e.text, "is a folder"));
    assert_int_equal(lookup_command(at("a/plain"), path, found, &e), -EACCES);
    assert_int_equal(lookup_command(at("a/plain/x"), path, found, &e), -ENOENT);
    assert_int_equal(lookup_command("/dev/null", path, found, &e), -EACCES);
}

static void an_empty_element_is_the_current_folder(void **state)
{
    (void)state;
    static const char *const paths[] = {"", ":", "/nowhere:", ":/nowhere", "/nowhere::/nowhere"};
    assert_int_equal(chdir(at("b")), 0);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        assert_int_equal(lookup_command("tool", paths[i], found, NULL), 0);
        assert_string_equal(found, "./tool");
    }
    assert_int_equal(chdir("/"), 0);
}

static void names_too_long_are_not_found(void **state)
{
    (void)state;
    static char longest[2 * PATH_MAX], path[2 * PATH_MAX + 64];
    memset(longest, 'x', sizeof(longest) - 1);
    assert_int_equal(lookup_command(longest, "/bin", found, NULL), -ENOENT);
    snprintf(path, sizeof(path), "%s:%s/b", longest, dir);
    assert_int_equal(lookup_command("tool", path, found, NULL), 0);
    longest[0] = '/';
    assert_int_equal(lookup_command(longest, "/bin", found, NULL), -ENOENT);
}

static void numbers_are_read_out_of_keyed_files(void **state)
{
    (void)state;
    static const char text[] = "low 0\noom 2\noom_kill 18446744073709551615\nmax";
    assert_true(keyed_value(text, "oom_kill") == UINT64_MAX);
    assert_int_equal(keyed_value(text, "oom"), 2);
    assert_int_equal(keyed_value(text, "low"), 0);
    assert_int_equal(keyed_value(text, "max"), 0);
    assert_int_equal(keyed_value(text, "nosuch"), 0);
    assert_int_equal(keyed_value("", "x"), 0);
}

static void the_reserve_for_pid_1_has_bounds(void **state)
{
    (void)state;
    assert_int_equal(cgroup_reserve(32u << 20), 4u << 20);
    assert_int_equal(cgroup_reserve(256u << 20), 16u << 20);
    assert_int_equal(cgroup_reserve(UINT64_C(64) << 30), 64u << 20);
}

static char *content(const char *name)
{
    static char text[1024];
    assert_int_equal(file_get(-1, at(name), text, sizeof(text)), 0);
    return text;
}

static void names_are_written_where_the_image_has_none(void **state)
{
    (void)state;
    net_write_files(at("etc"), "box");
    assert_non_null(strstr(content("etc/hosts"), "127.0.0.1\tlocalhost\n"));
    assert_non_null(strstr(content("etc/hosts"), "127.0.1.1\tbox\n"));
    assert_string_equal(content("etc/hostname"), "box\n");
    assert_non_null(strstr(content("etc/resolv.conf"), "no network"));

    put_file("etc/hosts", "mine\n", 0644); /* an image's own stays */
    put_file("etc/hostname", "", 0644);    /* an empty one is as good as none */
    unlink(at("etc/resolv.conf"));
    assert_int_equal(symlink(at("a/plain"), at("etc/resolv.conf")), 0); /* a link is not followed */
    net_write_files(at("etc"), "other");
    assert_string_equal(content("etc/hosts"), "mine\n");
    assert_string_equal(content("etc/hostname"), "other\n");
    assert_string_equal(content("a/plain"), "x");
    unlink(at("etc/hosts"));
    unlink(at("etc/hostname"));
    unlink(at("etc/resolv.conf"));
    rmdir(at("etc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_executable_in_path_is_taken),
        cmocka_unit_test(not_found_and_not_executable_are_told_apart),
        cmocka_unit_test(an_empty_element_is_the_current_folder),
        cmocka_unit_test(names_too_long_are_not_found),
        cmocka_unit_test(numbers_are_read_out_of_keyed_files),
        cmocka_unit_test(the_reserve_for_pid_1_has_bounds),
        cmocka_unit_test(names_are_written_where_the_image_has_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
