/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: what it may say, how it is refused with line and key, and what follows for hosts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/oci_config.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char full[] =
    "{\n"
    "  \"registries\": {\n"
    "    \"docker.io\": {\"mirrors\": [\"http://127.0.0.1:5000/\", \"https://m.example/hub\"]},\n"
    "    \"reg.example:5000\": {\"insecure\": true},\n"
    "    \"plain.example\": {\"insecure\": true},\n"
    "    \"ghcr.io\": {\"ca_file\": \"/etc/ca.pem\"}\n"
    "  },\n"
    "  \"downloads\": {\"parallel\": 2, \"attempts\": 7, \"backoff_ms\": 10,\n"
    "    \"stall_timeout_ms\": 2000, \"connect_timeout_ms\": 3000,\n"
    "    \"document_timeout_ms\": 4000},\n"
    "  \"limits\": {\"layers\": 3, \"header_bytes\": 12}\n"
    "}\n";

static struct url_origin origin(const char *url)
{
    struct url_origin o = {0};
    assert_int_equal(url_origin_parse(&o, url, NULL), 0);
    return o;
}

static bool plain_allowed(const struct oci_config *c, const char *url)
{
    struct url_origin o = origin(url);
    return oci_config_allows_http(c, &o);
}

static const char *ca_of(const struct oci_config *c, const char *url)
{
    struct url_origin o = origin(url);
    return oci_config_ca_file(c, &o);
}

static void a_full_file_is_understood(void **state)
{
    (void)state;
    struct oci_config c;
    struct err e = {0};
    oci_config_init(&c);
    if (oci_config_parse(&c, full, strlen(full), &e) < 0)
        fail_msg("%s", e.text);
    const struct registry_config *hub = oci_config_find(&c, "docker.io");
    assert_non_null(hub);
    assert_int_equal(hub->nmirrors, 2);
    assert_string_equal(hub->mirror[0], "http://127.0.0.1:5000");
    assert_string_equal(hub->mirror[1], "https://m.example/hub");
    assert_null(oci_config_find(&c, "docker.io:443"));
    assert_null(oci_config_find(&c, "quay.io"));
    assert_int_equal(c.parallel, 2);
    assert_int_equal(c.attempts, 7);
    assert_int_equal(c.backoff_ms, 10);
    assert_int_equal(c.stall_timeout_ms, 2000);
    assert_int_equal(c.connect_timeout_ms, 3000);
    assert_int_equal(c.document_timeout_ms, 4000);
    assert_int_equal(c.limits.layers, 3);
    assert_int_equal(c.limits.header_bytes, 12);
    oci_config_fini(&c);
}

static void plain_http_is_for_named_hosts_only(void **state)
{
    (void)state;
    struct oci_config c;
    oci_config_init(&c);
    assert_int_equal(oci_config_parse(&c, full, strlen(full), NULL), 0);
    assert_true(plain_allowed(&c, "http://127.0.0.1:5000/v2/"));
    assert_true(plain_allowed(&c, "http://reg.example:5000/v2/"));
    assert_true(plain_allowed(&c, "http://REG.example:5000/v2/"));
    assert_true(plain_allowed(&c, "http://plain.example/v2/"));
    assert_true(plain_allowed(&c, "https://127.0.0.1:5000/"));
    assert_false(plain_allowed(&c, "http://127.0.0.1:5001/v2/"));
    assert_false(plain_allowed(&c, "http://reg.example/v2/"));
    assert_false(plain_allowed(&c, "http://plain.example:8080/"));
    assert_false(plain_allowed(&c, "http://m.example/hub"));
    assert_false(plain_allowed(&c, "http://docker.io/"));
    assert_false(plain_allowed(&c, "http://ghcr.io/"));
    assert_int_equal(oci_config_add_insecure(&c, "ghcr.io:80", NULL), 0);
    assert_int_equal(oci_config_add_insecure(&c, "reg.example:5000", NULL), 0);
    assert_true(plain_allowed(&c, "http://ghcr.io/"));
    assert_int_equal(c.nregistries, 5);
    struct err e = {0};
    assert_int_equal(oci_config_add_insecure(&c, "http://x/", &e), -EINVAL);
    assert_non_null(strstr(e.text, "'http://x/'"));
    oci_config_fini(&c);
}

static void certificates_are_for_their_host(void **state)
{
    (void)state;
    struct oci_config c;
    oci_config_init(&c);
    assert_int_equal(oci_config_parse(&c, full, strlen(full), NULL), 0);
    assert_string_equal(ca_of(&c, "https://ghcr.io/v2/"), "/etc/ca.pem");
    assert_null(ca_of(&c, "https://ghcr.io:444/v2/"));
    assert_null(ca_of(&c, "https://docker.io/v2/"));
    oci_config_fini(&c);
}

static const struct bad {
    const char *text, *says;
} bad[] = {
    {"", "line "},
    {"[]", "an object is expected"},
    {"{\n\"registries\": {},\n\"registry\": {}}", "line 3: registry: this key is not known"},
    {"{\"registries\": {\"x\": {\n \"insecure\": true,\n \"mirror\": [] }}}",
     "line 3: registries.x.mirror: this key is not known"},
    {"{\"limits\": {\"a\\\"b\": [{},\"}\"],\n\"layers\": 1}}", "line 1: limits.a\"b: this key is not known"},
    {"{\"limits\": {\"layers\": 1,\n\n\"layer\": 1}}", "line 3: limits.layer: this key is not known"},
    {"{\"registries\": {\"x\": {}, \"y\": {\"mirrors\": [\"https://a\",\n\"https://b\",\n\"ftp://c\"]}}}",
     "line 3: registries.y.mirrors[2]: 'ftp://c'"},
    {"{\"registries\": {\"x\": {\"mirrors\": [\"https://u:p@h/\"]}}}", "user's name"},
    {"{\"registries\": {\"x\": {\"mirrors\": [\"https://h/?a\"]}}}", "a query or a fragment"},
    {"{\"registries\": {\"x\": {\"mirrors\": \"https://h/\"}}}", "an array is expected"},
    {"{\"registries\": {\"x\": {\"mirrors\": [7]}}}", "mirrors[0]: a string is expected"},
    {"{\"registries\": {\"x\": {\"insecure\": 1}}}", "true or false"},
    {"{\"registries\": {\"x\": {\"ca_file\": \"ca.pem\"}}}", "an absolute path"},
    {"{\"registries\": {\"https://x\": {}}}", "'https://x' is not the name of a registry"},
    {"{\"registries\": {\"a/b\": {}}}", "'a/b' is not the name of a registry"},
    {"{\"registries\": {\"x\": {}, \"x\": {}}}", "duplicate"},
    {"{\"downloads\": {\"parallel\": 0}}", "a number from 1 to 16"},
    {"{\"downloads\": {\"parallel\": -1}}", "a number from 1 to 16"},
    {"{\"downloads\": {\"attempts\": 1.5}}", "a number from 1"},
    {"{\"limits\": {\"layers\": null}}", "a number from 1"},
    {"{\"limits\": {\"entries\": 9223372036854775807}}", "a number from 1 to 2147483647"},
    {"{\"limits\": {\"path_bytes\": 1048577}}", "a number from 1 to 1048576"},
    {"{\"downloads\": {\"stall\": 1}}", "downloads.stall: this key is not known"},
    {"{} x", "line 1"},
};

static void what_does_not_fit_is_named_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct oci_config c;
        struct err e = {0};
        oci_config_init(&c);
        if (oci_config_parse(&c, bad[i].text, strlen(bad[i].text), &e) != -EINVAL)
            fail_msg("not refused: %s", bad[i].text);
        if (!strstr(e.text, bad[i].says))
            fail_msg("'%s': '%s' does not say '%s'", bad[i].text, e.text, bad[i].says);
        oci_config_fini(&c);
    }
}

static void the_file_is_found_where_it_should_be(void **state)
{
    (void)state;
    char dir[] = "/tmp/cubby-test-XXXXXX", path[128];
    struct oci_config c;
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    setenv("XDG_CONFIG_HOME", dir, 1);
    assert_int_equal(oci_config_load(&c, NULL, &e), 0); /* none is no failure */
    assert_int_equal(c.nregistries, 0);
    assert_int_equal(c.parallel, 4);
    oci_config_fini(&c);
    snprintf(path, sizeof(path), "%s/cubby", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/cubby/config.json", dir);
    assert_int_equal(oci_config_load(&c, path, &e), -ENOENT); /* one that was named must be there */
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"downloads\": {\"parallel\": 9}}", f);
    fclose(f);
    assert_int_equal(oci_config_load(&c, NULL, &e), 0);
    assert_int_equal(c.parallel, 9);
    oci_config_fini(&c);
    f = fopen(path, "w");
    fputs("{\"a\": 1}", f);
    fclose(f);
    assert_int_equal(oci_config_load(&c, NULL, &e), -EINVAL);
    assert_non_null(strstr(e.text, path));
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    rmdir(dir);
}

static void urls_are_told_apart_by_origin(void **state)
{
    (void)state;
    static const char *const refused[] = {"",
                                          "x",
                                          "http://",
                                          "ftp://h/",
                                          "https://u@h/",
                                          "https://u:p@h/",
                                          "file:///etc/passwd",
                                          "https://h:99999/",
                                          "https://a b/"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct url_origin o;
        struct err e = {0};
        if (url_origin_parse(&o, refused[i], &e) >= 0)
            fail_msg("'%s' was taken", refused[i]);
        assert_true(e.text[0]);
    }
    struct url_origin a = origin("https://Host.Example/x"), b = origin("https://host.example:443/y?z");
    struct url_origin c = origin("https://host.example:444/"), d = origin("http://host.example:443/");
    struct url_origin six = origin("https://[::1]:5000/");
    char name[URL_ORIGIN_MAX];
    assert_true(url_origin_equal(&a, &b));
    assert_false(url_origin_equal(&a, &c));
    assert_false(url_origin_equal(&b, &d));
    url_origin_name(&c, name);
    assert_string_equal(name, "host.example:444");
    url_origin_name(&b, name);
    assert_string_equal(name, "host.example");
    url_origin_name(&six, name);
    assert_string_equal(name, "[::1]:5000");
}

/* What libcurl will make of the URL when it sends a request: 0 and the origin, or -1. */
static int by_libcurl(const char *url, struct url_origin *o)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    assert_non_null(u);
    *o = (struct url_origin){0};
    int ret = curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
                      curl_url_get(u, CURLUPART_HOST, &host, 0) ||
                      curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ||
                      curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK || strlen(host) > URL_HOST_MAX
                  ? -1
                  : 0;
    if (ret == 0) {
        o->https = strcmp(scheme, "https") == 0;
        o->port = (uint16_t)atoi(port);
        for (size_t i = 0; host[i]; i++)
            o->host[i] = (char)tolower((unsigned char)host[i]);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_url_cleanup(u);
    return ret;
}

/* Plain URLs are read without libcurl. Whatever the URL, both have to see the same origin. */
static void a_url_is_read_as_libcurl_reads_it(void **state)
{
    (void)state;
    static const char *const schemes[] = {"http://", "https://", "HTTPS://", "https:/", "https:///"};
    static const char *const hosts[] = {
        "",
        "h",
        "Host.Example",
        "a.b.c",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a_b",
        "1",
        "1.2",
        "1.2.3.4",
        "1.2.3.04",
        "1.2.3.",
        "1.2.3.256",
        "127.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0x7f",
        "a.0x1",
        "1.2.3.4a",
        "1.2.3.a",
        "1.2.3.4.5",
        "[::1]",
        "[::1",
        "u@h",
        "u:p@h",
        "a%2eb",
        "a b",
        "h\\x",
        "h#x",
        "h?x",
        "xn--bcher-kva.example",
        "b\303\274cher.example",
        "999999999",
        "0",
        "0.0.0.0",
        "1.2.3.4-",
    };
    static const char *const ports[] = {"",       ":",  ":1",    ":080", ":443", ":80",         ":65535",
                                        ":65536", ":0", ":5000", ":5a",  ":-1",  ":99999999999"};
    static const char *const tails[] = {"",     "/",    "/a/b/", "/../x", "//",       "/a@b",
                                        "/a:b", "/%2e", "?q",    "#f",    "/a?b@c/d", "@evil.example/",
                                        "/\\x"};
    unsigned taken = 0;
    for (size_t i = 0; i < ARRAY_LEN(schemes) * ARRAY_LEN(hosts) * ARRAY_LEN(ports) * ARRAY_LEN(tails); i++) {
        char url[256];
        struct url_origin theirs, ours;
        size_t n = i;
        const char *scheme = schemes[n % ARRAY_LEN(schemes)];
        n /= ARRAY_LEN(schemes);
        const char *host = hosts[n % ARRAY_LEN(hosts)];
        n /= ARRAY_LEN(hosts);
        snprintf(url, sizeof(url), "%s%s%s%s", scheme, host, ports[n % ARRAY_LEN(ports)],
                 tails[n / ARRAY_LEN(ports)]);
        int expected = by_libcurl(url, &theirs), ret = url_origin_parse(&ours, url, NULL);
        if ((ret == 0) != (expected == 0) || (ret == 0 && !url_origin_equal(&ours, &theirs)))
            fail_msg("'%s' was read differently: %d, '%s' %u; libcurl: %d, '%s' %u", url, ret, ours.host,
                     ours.port, expected, theirs.host, theirs.port);
        taken += ret == 0;
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_file_is_understood),
        cmocka_unit_test(plain_http_is_for_named_hosts_only),
        cmocka_unit_test(certificates_are_for_their_host),
        cmocka_unit_test(what_does_not_fit_is_named_with_its_line),
        cmocka_unit_test(the_file_is_found_where_it_should_be),
        cmocka_unit_test(urls_are_told_apart_by_origin),
        cmocka_unit_test(a_url_is_read_as_libcurl_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
