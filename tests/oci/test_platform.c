/* SPDX-License-Identifier: Apache-2.0 */
/* Platforms: other names, variants, what serves whom; and the kinds of media types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/media_type.h"
#include "oci/oci_error.h"
#include "oci/platform.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

static struct platform parsed(const char *text)
{
    struct platform p;
    struct err e = {0};
    assert_int_equal(platform_parse(&p, text, &e), 0);
    return p;
}

static void names_are_normalised(void **state)
{
    (void)state;
    static const struct {
        const char *said, *kept;
    } row[] = {
        {"linux/amd64", "linux/amd64"},     {"linux/x86_64", "linux/amd64"},
        {"Linux/AMD64", "linux/amd64"},     {"amd64", "linux/amd64"},
        {"linux/amd64/v1", "linux/amd64"},  {"linux/amd64/v3", "linux/amd64/v3"},
        {"linux/arm64/v8", "linux/arm64"},  {"linux/aarch64", "linux/arm64"},
        {"linux/arm64/8", "linux/arm64"},   {"linux/arm64/v9", "linux/arm64/v9"},
        {"linux/arm", "linux/arm/v7"},      {"armhf", "linux/arm/v7"},
        {"armel", "linux/arm/v6"},          {"linux/arm/6", "linux/arm/v6"},
        {"linux/i386", "linux/386"},        {"windows/amd64", "windows/amd64"},
        {"linux/riscv64", "linux/riscv64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char text[PLATFORM_TEXT_MAX];
        struct platform p = parsed(row[i].said);
        assert_string_equal(platform_text(&p, text), row[i].kept);
    }
}

static void what_is_no_platform_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "linux/",
        "/amd64",
        "linux/amd64/",
        "linux/amd64/v3/x",
        "linux//v7",
        "linux/amd 64",
        "linux/a\nb",
        "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct platform p;
        struct err e = {0};
        assert_int_equal(platform_parse(&p, bad[i], &e), -EINVAL);
        assert_non_null(strstr(e.text, "not a platform"));
    }
    char longer[400];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct platform p;
    struct err e = {0};
    assert_int_equal(platform_parse(&p, longer, &e), -EINVAL);
    assert_int_equal(platform_set(&p, "linux", longer, NULL, NULL, &e), OCI_E_FORMAT);
    assert_int_equal(platform_set(&p, "linux", "arm64", "\x1b[0m", NULL, &e), OCI_E_FORMAT);
}

static void what_is_not_said_is_shown(void **state)
{
    (void)state;
    struct platform p;
    char text[PLATFORM_TEXT_MAX];
    assert_int_equal(platform_set(&p, NULL, "", NULL, NULL, NULL), 0);
    assert_string_equal(platform_text(&p, text), "?/?");
}

/* Fails unless an image for `better` serves `want` better than one for `worse`, which serves at all. */
static void prefers(const char *want, const char *better, const char *worse)
{
    struct platform w = parsed(want), b = parsed(better), o = parsed(worse);
    assert_true(platform_match(&w, &o) > 0);
    assert_true(platform_match(&w, &b) > platform_match(&w, &o));
}

static void refuses(const char *want, const char *have)
{
    struct platform w = parsed(want), h = parsed(have);
    assert_int_equal(platform_match(&w, &h), 0);
}

static void lower_variants_serve_higher_ones(void **state)
{
    (void)state;
    prefers("linux/arm/v7", "linux/arm/v7", "linux/arm/v6");
    prefers("linux/arm/v7", "linux/arm/v6", "linux/arm/v5");
    prefers("linux/arm", "linux/arm/v7", "linux/arm/v6");
    prefers("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v2");
    prefers("linux/amd64/v3", "linux/amd64/v2", "linux/amd64");
    prefers("linux/arm64/v9", "linux/arm64/v8.2", "linux/arm64");
    refuses("linux/arm/v6", "linux/arm/v7");
    refuses("linux/amd64", "linux/amd64/v2");
    refuses("linux/amd64", "linux/386");
    refuses("linux/amd64", "windows/amd64");
    refuses("linux/arm64", "linux/arm/v8");
    refuses("linux/amd64", "linux/amd64/odd");
}

static void the_host_is_linux(void **state)
{
    (void)state;
    struct platform p;
    struct utsname u;
    platform_host(&p);
    assert_string_equal(p.os, "linux");
    assert_int_equal(uname(&u), 0);
    struct platform same = parsed(u.machine);
    assert_true(platform_equal(&p, &same));
}

static void media_types_have_kinds(void **state)
{
    (void)state;
    assert_int_equal(media_kind(MEDIA_OCI_MANIFEST), MEDIA_MANIFEST);
    assert_int_equal(media_kind("Application/vnd.oci.image.manifest.v1+JSON; charset=utf-8"), MEDIA_MANIFEST);
    assert_int_equal(media_kind(MEDIA_DOCKER_LIST), MEDIA_INDEX);
    assert_int_equal(media_kind("application/vnd.docker.distribution.manifest.v1+prettyjws"), MEDIA_SCHEMA1);
    assert_int_equal(media_kind("application/json"), MEDIA_UNKNOWN);
    assert_int_equal(media_kind(MEDIA_OCI_MANIFEST "x"), MEDIA_UNKNOWN);
    assert_int_equal(media_kind(""), MEDIA_UNKNOWN);
    assert_int_equal(media_kind(NULL), MEDIA_UNKNOWN);
}

static void layers_tell_their_compression(void **state)
{
    (void)state;
    static const struct {
        const char *type, *name;
    } row[] = {
        {MEDIA_OCI_LAYER, "none"},
        {MEDIA_OCI_LAYER_GZIP, "gzip"},
        {MEDIA_OCI_LAYER_ZSTD, "zstd"},
        {MEDIA_DOCKER_LAYER, "gzip"},
        {"application/vnd.docker.image.rootfs.diff.tar", "none"},
        {"application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"},
    };
    struct err e = {0};
    enum compression c;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        assert_int_equal(media_layer_compression(row[i].type, &c, &e), 0);
        assert_string_equal(compression_name(c), row[i].name);
    }
    static const struct {
        const char *type, *why;
    } bad[] = {
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "foreign"},
        {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"},
        {"application/vnd.oci.image.layer.v1.tar+lz4", "not the type of a layer"},
        {MEDIA_OCI_CONFIG, "not the type of a layer"},
        {"", "not the type of a layer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(media_layer_compression(bad[i].type, &c, &e), OCI_E_UNSUPPORTED);
        assert_non_null(strstr(e.text, bad[i].why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_normalised),
        cmocka_unit_test(what_is_no_platform_is_refused),
        cmocka_unit_test(what_is_not_said_is_shown),
        cmocka_unit_test(lower_variants_serve_higher_ones),
        cmocka_unit_test(the_host_is_linux),
        cmocka_unit_test(media_types_have_kinds),
        cmocka_unit_test(layers_tell_their_compression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
