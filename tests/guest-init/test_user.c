/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups from the image's files, well-formed and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "guest-init/user.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment\n"
                             "\n"
                             "short:x:5\n"
                             "badid:x:abc:1::/x:\n"
                             "neg:x:-5:1::/x:\n"
                             "huge:x:4294967295:1::/x:\n"
                             "alice:x:1000:100:Alice,,,:/home/alice:/bin/bash\n"
                             "alice:x:1001:100::/second:\n"
                             "bob:x:1002:1002::relative:\n"
                             "carol:x:1003:1003:\n"
                             "top:x:4294967294:4294967294::/top\n";
static const char group[] = "root:x:0:\n"
                            "users:x:100:alice,bob\n"
                            "adm:x:4:bob,alice\n"
                            "bad:x:x:alice\n"
                            "wheel:x:10:alic,alicea,xalice\n"
                            "audio:x:63:alice\n"
                            "again:x:4:alice\n"
                            "nolist:x:77";

static struct user_ids ids;

static void expect(const char *spec, uid_t uid, gid_t gid, const char *home)
{
    struct err e = {0};
    if (user_lookup(spec, passwd, group, &ids, &e) != 0)
        fail_msg("'%s': %s", spec, e.text);
    assert_int_equal(ids.uid, uid);
    assert_int_equal(ids.gid, gid);
    assert_string_equal(ids.home, home);
}

static void expect_error(const char *spec, int code, const char *text)
{
    struct err e = {0};
    assert_int_equal(user_lookup(spec, passwd, group, &ids, &e), code);
    if (!strstr(e.text, text))
        fail_msg("'%s' does not say '%s'", e.text, text);
}

static void names_and_numbers_are_found(void **state)
{
    (void)state;
    expect("root", 0, 0, "/root");
    expect("alice", 1000, 100, "/home/alice"); /* the first entry of a name counts */
    expect("1000", 1000, 100, "/home/alice");
    expect("1001", 1001, 100, "/second");
    expect("top", 4294967294u, 4294967294u, "/top");
    expect("4242", 4242, 0, "/");   /* a number need not be in the file */
    expect("bob", 1002, 1002, "/"); /* a home that is no absolute path is none */
}

static void an_explicit_group_is_the_only_one(void **state)
{
    (void)state;
    expect("alice:adm", 1000, 4, "/home/alice");
    assert_int_equal(ids.group_count, 0);
    expect("alice:4711", 1000, 4711, "/home/alice");
    expect("4242:nolist", 4242, 77, "/");
}

static void supplementary_groups_are_those_that_name_the_user(void **state)
{
    (void)state;
    expect("alice", 1000, 100, "/home/alice");
    assert_int_equal(ids.group_count, 2); /* not its own 100, not "alicea", 4 only once */
    assert_int_equal(ids.groups[0], 4);
    assert_int_equal(ids.groups[1], 63);
    expect("1000", 1000, 100, "/home/alice");
    assert_int_equal(ids.group_count, 2);
    expect("root", 0, 0, "/root");
    assert_int_equal(ids.group_count, 0);
}

static void unknown_names_are_told(void **state)
{
    (void)state;
    expect_error("nobody", -ENOENT, "user 'nobody' is not in the image's /etc/passwd");
    expect_error("alic", -ENOENT, "user 'alic'");
    expect_error("short", -ENOENT, "user 'short'");
    expect_error("badid", -ENOENT, "user 'badid'");
    expect_error("neg", -ENOENT, "user 'neg'");
    expect_error("huge", -ENOENT, "user 'huge'");
    expect_error("carol", -ENOENT, "user 'carol'");           /* too few fields */
    expect_error("4294967295", -ENOENT, "user '4294967295'"); /* (uid_t)-1 is no user */
    expect_error("99999999999999999999", -ENOENT, "user '9");
    expect_error("alice:nogroup", -ENOENT, "group 'nogroup' is not in the image's /etc/group");
    expect_error("alice:bad", -ENOENT, "group 'bad'");
    expect_error("alice:4294967295", -ENOENT, "group '4294967295'");
}

static void malformed_wishes_are_told(void **state)
{
    (void)state;
    char longest[300];
    expect_error("", -EINVAL, "is not name|uid[:group|gid]");
    expect_error(":", -EINVAL, "is not name");
    expect_error(":100", -EINVAL, "is not name");
    expect_error("alice:", -EINVAL, "is not name");
    expect_error("a:b:c", -EINVAL, "is not name");
    memset(longest, 'x', sizeof(longest));
    longest[256] = '\0';
    expect_error(longest, -EINVAL, "is not name");
}

static void more_groups_than_fit_are_left_out(void **state)
{
    (void)state;
    static char many[300 * 32];
    size_t len = 0;
    for (int i = 0; i < 300; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "g%d:x:%d:alice\n", i, 2000 + i);
    assert_int_equal(user_lookup("alice", passwd, many, &ids, NULL), 0);
    assert_int_equal(ids.group_count, USER_GROUPS_MAX);
}

static void files_of_the_image_may_be_anything(void **state)
{
    (void)state;
    char dir[] = "/tmp/cubby-user-XXXXXX", file[64];
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/passwd", dir);
    assert_int_equal(user_resolve("7", file, file, &ids, &e), 0); /* missing files are empty ones */
    assert_int_equal(ids.uid, 7);
    assert_int_equal(user_resolve("alice", file, file, &ids, &e), -ENOENT);
    assert_int_equal(mkfifo(file, 0600), 0); /* must not block */
    assert_int_equal(user_resolve("7", file, file, &ids, &e), -EINVAL);
    assert_non_null(strstr(e.text, "cannot read the image's"));
    unlink(file);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_int_equal(user_resolve("7", file, file, &ids, &e), -EINVAL);
    rmdir(file);
    assert_int_equal(symlink(file, file), 0);
    assert_int_equal(user_resolve("7", file, file, &ids, &e), -ELOOP);
    unlink(file);
    assert_int_equal(write_file_atomic(file, passwd, sizeof(passwd) - 1, 0600, &e), 0);
    assert_int_equal(user_resolve("alice", file, "/nowhere", &ids, &e), 0);
    assert_int_equal(ids.uid, 1000);
    assert_int_equal(truncate(file, 5 << 20), 0);
    assert_int_equal(user_resolve("alice", file, "/nowhere", &ids, &e), -EFBIG);
    unlink(file);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_found),
        cmocka_unit_test(an_explicit_group_is_the_only_one),
        cmocka_unit_test(supplementary_groups_are_those_that_name_the_user),
        cmocka_unit_test(unknown_names_are_told),
        cmocka_unit_test(malformed_wishes_are_told),
        cmocka_unit_test(more_groups_than_fit_are_left_out),
        cmocka_unit_test(files_of_the_image_may_be_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
