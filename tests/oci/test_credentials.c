/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's configuration: entries by host, in all spellings; helpers that answer, fail, hang, and look
 * around. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "oci/credentials.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/cubby-test-XXXXXX";

/* Puts a helper, a shell script, onto the PATH. */
static void helper(const char *name, const char *script)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/docker-credential-%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int set_up(void **state)
{
    (void)state;
    char path[4096];
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s:%s", dir, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("CUBBY_LOG", "off", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command); /* NOLINT: a test's own folder */
}

static const char file[] =
    "{\"auths\": {"
    "  \"https://index.docker.io/v1/\": {\"auth\": \"aHViOnNlY3JldDp4\"}," /* hub:secret:x */
    "  \"ghcr.io\": {\"auth\": \"dTpw\"},"                                 /* u:p */
    "  \"https://old.example/v2/\": {\"auth\": \"b2xkOg==\"},"             /* old: */
    "  \"token.example\": {\"identitytoken\": \"tok\", \"auth\": \"PHRva2VuPjo=\"},"
    "  \"bad.example\": {\"auth\": \"bm9jb2xvbg==\"},"
    "  \"worse.example\": {\"auth\": \"%%%\"},"
    "  \"empty.example\": {}"
    "}, \"HttpHeaders\": {\"x\": \"y\"}}";

static int look(const char *text, const char *registry, struct credential *out, struct err *e)
{
    struct credentials *c;
    assert_int_equal(credentials_parse(&c, text, strlen(text), e), 0);
    int ret = credentials_find(c, registry, -1, out, e);
    credentials_destroy(c);
    return ret;
}

static void expect(const char *text, const char *registry, const char *user, const char *secret)
{
    struct credential c;
    struct err e = {0};
    if (look(text, registry, &c, &e) < 0)
        fail_msg("%s: %s", registry, e.text);
    assert_string_equal(c.user, user);
    assert_string_equal(c.secret, secret);
    assert_false(c.identity_token);
    credential_fini(&c);
}

static void entries_are_found_by_host(void **state)
{
    (void)state;
    struct credential c;
    struct err e = {0};
    expect(file, "docker.io", "hub", "secret:x");
    expect(file, "ghcr.io", "u", "p");
    expect(file, "old.example", "old", "");
    assert_int_equal(look(file, "token.example", &c, &e), 0);
    assert_true(c.identity_token);
    assert_null(c.user);
    assert_string_equal(c.secret, "tok");
    credential_fini(&c);
    assert_int_equal(look(file, "empty.example", &c, &e), -ENOENT);
    assert_int_equal(look(file, "ghcr.io:444", &c, &e), -ENOENT);
    assert_int_equal(look(file, "io", &c, &e), -ENOENT);
    assert_int_equal(look(file, "index.docker", &c, &e), -ENOENT);
    assert_int_equal(look("{}", "docker.io", &c, &e), -ENOENT);
    assert_int_equal(look("{\"auths\": 5, \"credHelpers\": [], \"credsStore\": 7}", "x", &c, &e), -ENOENT);
}

static void broken_entries_are_told(void **state)
{
    (void)state;
    struct credential c;
    struct credentials *all;
    struct err e = {0};
    assert_int_equal(look(file, "bad.example", &c, &e), OCI_E_FORMAT);
    assert_non_null(strstr(e.text, "bad.example"));
    assert_int_equal(look(file, "worse.example", &c, &e), OCI_E_FORMAT);
    assert_int_equal(credentials_parse(&all, "{", 1, &e), OCI_E_FORMAT);
    assert_int_equal(credentials_parse(&all, "[]", 2, &e), OCI_E_FORMAT);
}

static void helpers_are_asked_by_host(void **state)
{
    (void)state;
    /* What it was asked, it says in its answer. */
    helper("say", "read s; echo \"{\\\"ServerURL\\\": \\\"$s\\\", \\\"Username\\\": \\\"$1 $s\\\", "
                  "\\\"Secret\\\": \\\"s\\\"}\"");
    helper("none", "echo 'credentials not found in native keychain'; exit 1");
    expect("{\"credsStore\": \"say\"}", "docker.io", "get https://index.docker.io/v1/", "s");
    expect("{\"credsStore\": \"none\", \"credHelpers\": {\"a.example:5000\": \"say\"}}", "a.example:5000",
           "get a.example:5000", "s");
    expect("{\"credsStore\": \"none\", \"auths\": {\"a.example\": {\"auth\": \"dTpw\"}}}", "a.example", "u",
           "p");
    struct credential c;
    struct err e = {0};
    assert_int_equal(look("{\"credsStore\": \"none\"}", "a.example", &c, &e), -ENOENT);
    helper("token", "echo '{\"Username\": \"<token>\", \"Secret\": \"t\"}'");
    assert_int_equal(look("{\"credsStore\": \"token\"}", "a.example", &c, &e), 0);
    assert_true(c.identity_token);
    assert_string_equal(c.secret, "t");
    credential_fini(&c);
}

static void helpers_that_fail_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *script;
        int code;
        const char *says;
    } cases[] = {
        {"fails", "echo 'the keychain is locked'; echo more; exit 3", OCI_E_UNAUTHORIZED,
         "code 3: the keychain is locked"},
        {"silent", "exit 0", OCI_E_FORMAT, "answer"},
        {"half", "echo '{\"Username\": \"x\"}'", OCI_E_FORMAT, "no Secret"},
        {"floods", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", OCI_E_LIMIT,
         "more than"},
        {"killed", "kill -9 $$", OCI_E_UNAUTHORIZED, "fails"},
        {"hangs", "sleep 100 >/dev/null & echo; wait", -ETIMEDOUT, "in time"},
        {"closes", "exec >&-; sleep 100", -ETIMEDOUT, "in time"},
    };
    struct credential c;
    struct err e = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        helper(cases[i].name, cases[i].script);
        uint64_t start = now_ns();
        int ret = credential_helper_get(cases[i].name, "x", 500, -1, &c, &e);
        if (ret != cases[i].code || !strstr(e.text, cases[i].says) || !strstr(e.text, cases[i].name))
            fail_msg("%s: %d '%s'", cases[i].name, ret, e.text);
        assert_true(now_ns() - start < 10 * NSEC_PER_SEC);
    }
    assert_int_equal(credential_helper_get("missing", "x", 500, -1, &c, &e), OCI_E_UNAUTHORIZED);
    assert_non_null(strstr(e.text, "not installed"));
    assert_int_equal(credential_helper_get("../sh", "x", 500, -1, &c, &e), OCI_E_FORMAT);
    assert_int_equal(credential_helper_get("a;b", "x", 500, -1, &c, &e), OCI_E_FORMAT);
    assert_int_equal(credential_helper_get("", "x", 500, -1, &c, &e), OCI_E_FORMAT);
}

static void a_helper_can_be_cancelled(void **state)
{
    (void)state;
    int fds[2];
    struct credential c;
    struct err e = {0};
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    helper("waits", "sleep 100");
    assert_int_equal(credential_helper_get("waits", "x", 20000, fds[0], &c, &e), -ECANCELED);
    close(fds[0]);
    close(fds[1]);
}

static void a_helper_gets_three_descriptors_and_no_shell(void **state)
{
    (void)state;
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */
    struct credential c;
    struct err e = {0};
    assert_true(leak >= 0);
    helper("looks", "n=$(ls /proc/self/fd | tr '\\n' ' '); echo \"{\\\"Username\\\": \\\"$n\\\", "
                    "\\\"Secret\\\": \\\"$(cat)\\\"}\"");
    assert_int_equal(credential_helper_get("looks", "$(id);x", 5000, -1, &c, &e), 0);
    assert_string_equal(c.user, "0 1 2 3 "); /* 3 is the folder that ls reads */
    assert_string_equal(c.secret, "$(id);x");
    credential_fini(&c);
    close(leak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_host),
        cmocka_unit_test(broken_entries_are_told),
        cmocka_unit_test(helpers_are_asked_by_host),
        cmocka_unit_test(helpers_that_fail_are_named),
        cmocka_unit_test(a_helper_can_be_cancelled),
        cmocka_unit_test(a_helper_gets_three_descriptors_and_no_shell),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
