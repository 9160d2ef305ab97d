/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate headers as registries send them, and as an attacker would; token servers' answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/auth.h"
#include "oci/oci_error.h"
#include "oci/registry_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct good {
    const char *header;
    size_t count;
    enum auth_scheme chosen;
    const char *realm, *service, *scope;
} good[] = {
    {"Bearer realm=\"https://a.example/token\",service=\"s\",scope=\"repository:x:pull\"", 1, AUTH_BEARER,
     "https://a.example/token", "s", "repository:x:pull"},
    {"bEaReR Realm=\"r\" , SERVICE = s", 1, AUTH_BEARER, "r", "s", ""},
    {"Basic realm=\"Registry \\\"one\\\", really\"", 1, AUTH_BASIC, "Registry \"one\", really", "", ""},
    {"Basic realm=\"b\", Bearer realm=\"t\"", 2, AUTH_BEARER, "t", "", ""},
    {"Basic realm=a,Bearer realm=b,scope=c,Digest realm=\"d\", nonce=\"e\"", 3, AUTH_BEARER, "b", "", "c"},
    {"Negotiate, Basic realm=\"b\"", 2, AUTH_BASIC, "b", "", ""},
    {"Negotiate YII/+.-_~==, Basic realm=\"b\"", 2, AUTH_BASIC, "b", "", ""},
    {"Bearer scope=\"no realm\", Basic", 2, AUTH_BASIC, "", "", ""},
    {",, ,Basic realm=\"b\" ,, ", 1, AUTH_BASIC, "b", "", ""},
    {"Bearer realm=first, realm=second", 1, AUTH_BEARER, "first", "", ""},
    {"Bearer realm=\"\"", 1, AUTH_UNKNOWN, "", "", ""},
    {"Basic  \t realm=x", 1, AUTH_BASIC, "x", "", ""},
    {"Bearer realm=", 1, AUTH_UNKNOWN, "", "", ""}, /* by the grammar a token68 */
    {"NTLM", 1, AUTH_UNKNOWN, "", "", ""},
    {"", 0, AUTH_UNKNOWN, "", "", ""},
    {"A,B,C,D,E,F,G,H,Basic realm=x", 8, AUTH_UNKNOWN, "", "", ""},
};

static void challenges_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct challenges c = {0};
        struct err e = {0};
        if (challenges_add(&c, good[i].header, &e) < 0)
            fail_msg("%s: %s", good[i].header, e.text);
        if (c.count != good[i].count)
            fail_msg("%s: %zu challenges", good[i].header, c.count);
        const struct challenge *chosen = challenges_choose(&c);
        assert_int_equal(chosen ? chosen->scheme : AUTH_UNKNOWN, good[i].chosen);
        if (chosen) {
            assert_string_equal(chosen->realm, good[i].realm);
            assert_string_equal(chosen->service, good[i].service);
            assert_string_equal(chosen->scope, good[i].scope);
        }
    }
}

static void broken_challenges_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Bearer realm=\"open",
        "Bearer realm=\"open\\",
        "Bearer a=b, realm=",
        "=x",
        "\"quoted\"",
        "Bearer realm=a b=c",
        "Bearer realm=\"a\"b",
        "Bearer {}",
        "Bearer realm=\"\x1b[2J\"",
        "Bearer realm=a;b=c",
        "Bearer realm=\"a\x7f\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct challenges c = {0};
        struct err e = {0};
        if (challenges_add(&c, bad[i], &e) != OCI_E_REGISTRY)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(e.text, "WWW-Authenticate"));
    }
}

static void long_values_are_refused_and_earlier_ones_kept(void **state)
{
    (void)state;
    char header[4096], value[CHALLENGE_VALUE_MAX + 2];
    struct challenges c = {0};
    memset(value, 'x', sizeof(value));
    value[CHALLENGE_VALUE_MAX] = '\0';
    snprintf(header, sizeof(header), "Bearer realm=\"%s\"", value);
    assert_int_equal(challenges_add(&c, header, NULL), 0);
    assert_string_equal(c.item[0].realm, value);
    snprintf(header, sizeof(header), "Basic realm=\"b\", Bearer realm=\"%sx\"", value);
    c.count = 0;
    assert_int_equal(challenges_add(&c, header, NULL), OCI_E_REGISTRY);
    assert_int_equal(challenges_choose(&c)->scheme, AUTH_BASIC);
}

static void tokens_are_read_and_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *token; /* NULL: refused */
        unsigned seconds;
    } answers[] = {
        {"{\"token\": \"abc.D-e_f~+/=\", \"expires_in\": 300}", "abc.D-e_f~+/=", 300},
        {"{\"access_token\": \"x\"}", "x", 60},
        {"{\"token\": \"\", \"access_token\": \"y\", \"expires_in\": -5}", "y", 60},
        {"{\"token\": \"x\", \"expires_in\": 99999999999}", "x", 86400},
        {"{\"token\": \"a\\r\\nX-Evil: 1\"}", NULL, 0},
        {"{\"token\": \"a b\"}", NULL, 0},
        {"{\"token\": 5}", NULL, 0},
        {"{}", NULL, 0},
        {"[]", NULL, 0},
        {"<html>", NULL, 0},
        {"", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        char *token = NULL;
        unsigned seconds = 0;
        struct err e = {0};
        int ret = auth_parse_token(answers[i].text, strlen(answers[i].text), &token, &seconds, &e);
        if (answers[i].token) {
            assert_int_equal(ret, 0);
            assert_string_equal(token, answers[i].token);
            assert_int_equal(seconds, answers[i].seconds);
        } else if (ret != OCI_E_FORMAT) {
            fail_msg("'%s' was taken (%d)", answers[i].text, ret);
        }
        free(token);
    }
}

static void statuses_become_classes(void **state)
{
    (void)state;
    static const struct {
        int status, code;
        const char *body, *says;
    } answers[] = {
        {401, OCI_E_UNAUTHORIZED, NULL, "docker login"},
        {403, OCI_E_UNAUTHORIZED, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2J way\"}]}",
         "no?[2J way"},
        {404, OCI_E_NOT_FOUND, "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}", "NAME_UNKNOWN"},
        {404, OCI_E_NOT_FOUND, "<html>not json</html>", "no such repository or tag"},
        {429, -EAGAIN, "{}", "too many requests"},
        {408, -EAGAIN, NULL, "408"},
        {500, -EAGAIN, NULL, "500"},
        {503, -EAGAIN, "{\"errors\":[]}", "503"},
        {302, OCI_E_REGISTRY, NULL, "302"},
        {206, OCI_E_REGISTRY, NULL, "206"},
        {418, OCI_E_REGISTRY, "{\"errors\":{}}", "418"},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct err e = {0};
        const char *body = answers[i].body;
        const struct status_answer a = {.status = answers[i].status,
                                        .host = "reg.example",
                                        .object = "manifest 'x' of 'y'",
                                        .is_manifest = true,
                                        .body = body,
                                        .len = body ? strlen(body) : 0};
        assert_int_equal(registry_status(&a, &e), answers[i].code);
        assert_int_equal(e.code, answers[i].code);
        if (!strstr(e.text, answers[i].says) || !strstr(e.text, "reg.example"))
            fail_msg("%d: '%s' does not say '%s'", answers[i].status, e.text, answers[i].says);
    }
}

static void retry_after_is_bounded(void **state)
{
    (void)state;
    char date[64];
    time_t soon = time(NULL) + 20;
    struct tm tm;
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &tm));
    assert_int_equal(retry_after_ms(NULL, 60000), 0);
    assert_int_equal(retry_after_ms("", 60000), 0);
    assert_int_equal(retry_after_ms("3", 60000), 3000);
    assert_int_equal(retry_after_ms("61", 60000), 60000);
    assert_int_equal(retry_after_ms("99999999999999999999999", 60000), 60000);
    assert_int_equal(retry_after_ms("-1", 60000), 0);
    assert_int_equal(retry_after_ms("soon", 60000), 0);
    assert_int_equal(retry_after_ms("Thu, 01 Jan 1970 00:00:00 GMT", 60000), 0);
    uint64_t ms = retry_after_ms(date, 60000);
    assert_true(ms >= 15000 && ms <= 20000);
    assert_int_equal(retry_after_ms(date, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(challenges_are_understood),
        cmocka_unit_test(broken_challenges_are_refused),
        cmocka_unit_test(long_values_are_refused_and_earlier_ones_kept),
        cmocka_unit_test(tokens_are_read_and_checked),
        cmocka_unit_test(statuses_become_classes),
        cmocka_unit_test(retry_after_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
