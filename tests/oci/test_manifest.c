/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and indexes: what is taken, what is refused and why, and which entry of an index is chosen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/manifest.h"
#include "oci/oci_error.h"

#include <stdio.h>
#include <string.h>

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"

#define CONFIG                                                                                               \
    "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" D1                \
    "\",\"size\":100}"
#define LAYER(type, digest, size) "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define GZIP(digest, size)        LAYER("application/vnd.oci.image.layer.v1.tar+gzip", digest, size)
#define MANIFEST(layers)          "{\"schemaVersion\":2," CONFIG ",\"layers\":[" layers "]}"
#define TYPED(type, rest)         "{\"schemaVersion\":2,\"mediaType\":\"" type "\"," rest "}"
#define INDEX(entries)            "{\"schemaVersion\":2,\"manifests\":[" entries "]}"
#define ENTRY(digest, platform)                                                                              \
    "{\"mediaType\":\"" MEDIA_OCI_MANIFEST "\",\"digest\":\"" digest "\",\"size\":7" platform "}"
#define PLATFORM(os, arch, v)                                                                                \
    ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" v "\"}"

static struct oci_limits defaults(void)
{
    struct oci_limits l;
    oci_limits_init(&l);
    return l;
}

static int parse(struct manifest *m, const char *text, struct err *e)
{
    struct oci_limits l = defaults();
    return manifest_parse(m, text, strlen(text), &l, e);
}

static int parse_index(struct image_index *x, const char *text, struct err *e)
{
    struct oci_limits l = defaults();
    return index_parse(x, text, strlen(text), &l, e);
}

static void an_oci_manifest_is_read(void **state)
{
    (void)state;
    struct manifest m;
    struct err e = {0};
    assert_int_equal(parse(&m,
                           MANIFEST(GZIP(D2, "5") "," LAYER("application/vnd.oci.image.layer.v1.tar+zstd", D3,
                                                            "9007199254740993") "," GZIP(D2, "5")),
                           &e),
                     OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "layers[1].size is 9007199254740993"));
    assert_non_null(strstr(e.text, "blob_bytes"));
    /* The same layer may occur twice. */
    assert_int_equal(parse(&m,
                           MANIFEST(GZIP(D2, "5") "," LAYER("application/vnd.oci.image.layer.v1.tar", D3,
                                                            "0") "," GZIP(D2, "5")),
                           &e),
                     0);
    assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
    assert_string_equal(m.config.digest.text, D1);
    assert_int_equal(m.config.size, 100);
    assert_int_equal(m.nlayers, 3);
    assert_string_equal(m.layer[1].digest.text, D3);
    assert_int_equal(m.layer[1].size, 0);
    assert_int_equal(manifest_size(&m), 110);
    m.layer[0].size = UINT64_MAX;
    assert_int_equal(manifest_size(&m), UINT64_MAX);
    manifest_fini(&m);
}

static void a_docker_manifest_is_read(void **state)
{
    (void)state;
    struct manifest m;
    assert_int_equal(parse(&m,
                           TYPED(MEDIA_DOCKER_MANIFEST,
                                 "\"config\":{\"mediaType\":\"application/"
                                 "vnd.docker.container.image.v1+json\",\"size\":1,\"digest\":\"" D1
                                 "\"},\"layers\":[" LAYER("application/vnd.docker.image.rootfs.diff.tar.gzip",
                                                          D2, "32") "]"),
                           NULL),
                     0);
    assert_string_equal(m.media_type, MEDIA_DOCKER_MANIFEST);
    assert_int_equal(m.nlayers, 1);
    manifest_fini(&m);
    assert_int_equal(parse(&m, MANIFEST(""), NULL), 0);
    assert_int_equal(m.nlayers, 0);
    manifest_fini(&m);
}

static void what_is_no_manifest_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *why;
    } bad[] = {
        {"", OCI_E_FORMAT, "not well-formed"},
        {"[]", OCI_E_FORMAT, "not an object"},
        {"{", OCI_E_FORMAT, "line 1"},
        {"{}x", OCI_E_FORMAT, "not well-formed"},
        {"{\"a\":\"\xff\"}", OCI_E_FORMAT, "not well-formed"},
        {"{\"a\":\"\\u0000\"}", OCI_E_FORMAT, "not well-formed"},
        {"{}", OCI_E_FORMAT, "schemaVersion is missing"},
        {"{\"schemaVersion\":\"2\"}", OCI_E_FORMAT, "schemaVersion is not a whole number"},
        {"{\"schemaVersion\":2.0}", OCI_E_FORMAT, "schemaVersion is not a whole number"},
        {"{\"schemaVersion\":3}", OCI_E_UNSUPPORTED, "schemaVersion 3"},
        {"{\"schemaVersion\":2,\"schemaVersion\":2," CONFIG ",\"layers\":[]}", OCI_E_FORMAT, "duplicate"},
        {"{\"schemaVersion\":1,\"name\":\"x\",\"fsLayers\":[]}", OCI_E_UNSUPPORTED, "schema 1"},
        {TYPED("application/vnd.docker.distribution.manifest.v1+prettyjws", "\"fsLayers\":[]"),
         OCI_E_UNSUPPORTED, "schema 1"},
        {"{\"schemaVersion\":2}", OCI_E_FORMAT, "neither"},
        {"{\"schemaVersion\":2,\"mediaType\":7}", OCI_E_FORMAT, "mediaType is not a string"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"manifests\":[]}", OCI_E_FORMAT, "neither"},
        {TYPED(MEDIA_OCI_INDEX, CONFIG ",\"layers\":[]"), OCI_E_FORMAT, "its members are not"},
        {TYPED("text/html", CONFIG ",\"layers\":[]"), OCI_E_UNSUPPORTED, "text/html"},
        {INDEX(""), OCI_E_FORMAT, "an index of several"},
        {"{\"schemaVersion\":2,\"layers\":[]}", OCI_E_FORMAT, "config is missing"},
        {"{\"schemaVersion\":2,\"config\":null,\"layers\":[]}", OCI_E_FORMAT, "config is not an object"},
        {"{\"schemaVersion\":2," CONFIG "}", OCI_E_FORMAT, "layers is missing"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":null}", OCI_E_FORMAT, "layers is missing"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", OCI_E_FORMAT, "layers is not a list"},
        {MANIFEST("7"), OCI_E_FORMAT, "layers[0] is not an object"},
        {MANIFEST("{}"), OCI_E_FORMAT, "layers[0].mediaType is missing"},
        {MANIFEST("{\"mediaType\":\"\",\"digest\":\"" D1 "\",\"size\":1}"), OCI_E_FORMAT,
         "layers[0].mediaType has 0"},
        {MANIFEST("{\"mediaType\":\"x\",\"size\":1}"), OCI_E_FORMAT, "layers[0].digest is missing"},
        {MANIFEST("{\"mediaType\":\"x\",\"digest\":[],\"size\":1}"), OCI_E_FORMAT,
         "layers[0].digest is not a string"},
        {MANIFEST("{\"mediaType\":\"x\",\"digest\":\"" D1 "\"}"), OCI_E_FORMAT, "layers[0].size is missing"},
        {MANIFEST(GZIP(D2, "-1")), OCI_E_FORMAT, "layers[0].size is not a whole number"},
        {MANIFEST(GZIP(D2, "1e3")), OCI_E_FORMAT, "layers[0].size is not a whole number"},
        {MANIFEST(GZIP(D2, "99999999999999999999")), OCI_E_FORMAT, "too big"},
        {MANIFEST(GZIP("sha256:12", "1")), OCI_E_FORMAT, "layers[0].digest: 'sha256:12' is not a digest"},
        {MANIFEST(GZIP("sha512:12", "1")), OCI_E_UNSUPPORTED, "SHA-256"},
        {MANIFEST(LAYER("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", D2, "1")),
         OCI_E_UNSUPPORTED, "foreign layer"},
        {MANIFEST(GZIP(D1, "1") "," LAYER("text/plain", D2, "1")), OCI_E_UNSUPPORTED,
         "layers[1]: 'text/plain'"},
        {"{\"schemaVersion\":2,\"config\":" LAYER("application/vnd.cncf.helm.config.v1+json", D1,
                                                  "2") ",\"layers\":[]}",
         OCI_E_UNSUPPORTED, "not a container image"},
        {"{\"schemaVersion\":2,\"config\":" LAYER("application/vnd.oci.image.config.v1+json", D1,
                                                  "99999999") ",\"layers\":[]}",
         OCI_E_LIMIT, "config_bytes"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct manifest m;
        struct err e = {0};
        int ret = parse(&m, bad[i].text, &e);
        if (ret != bad[i].code || !strstr(e.text, bad[i].why))
            fail_msg("%s\n gave %d: %s", bad[i].text, ret, e.text);
        assert_null(m.layer);
    }
}

static void a_media_type_has_a_length(void **state)
{
    (void)state;
    char text[1024], type[400];
    memset(type, 'x', sizeof(type) - 1);
    type[sizeof(type) - 1] = '\0';
    snprintf(text, sizeof(text), MANIFEST("{\"mediaType\":\"%s\",\"digest\":\"" D1 "\",\"size\":1}"), type);
    struct manifest m;
    struct err e = {0};
    assert_int_equal(parse(&m, text, &e), OCI_E_FORMAT);
    assert_non_null(strstr(e.text, "399 bytes"));
}

static void limits_hold(void **state)
{
    (void)state;
    struct oci_limits l = defaults();
    struct manifest m;
    struct image_index x;
    struct err e = {0};
    const char *two = MANIFEST(GZIP(D2, "1") "," GZIP(D3, "1"));
    l.layers = 1;
    assert_int_equal(manifest_parse(&m, two, strlen(two), &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "2 layers, more than 1 (limit layers)"));
    l.layers = 2;
    assert_int_equal(manifest_parse(&m, two, strlen(two), &l, &e), 0);
    manifest_fini(&m);
    l.manifest_bytes = strlen(two) - 1;
    assert_int_equal(manifest_parse(&m, two, strlen(two), &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "manifest_bytes"));
    l = defaults();
    l.index_entries = 1;
    const char *index = INDEX(ENTRY(D1, "") "," ENTRY(D2, ""));
    assert_int_equal(index_parse(&x, index, strlen(index), &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "index_entries"));
}

/* A text whose values take far more memory than its bytes. */
static void many_values_are_refused_before_they_are_made(void **state)
{
    (void)state;
    size_t len = 3 << 20;
    CLEANUP(mem_freep) char *text = malloc(len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < len; i += 3)
        memcpy(text + i, "[],", 3);
    text[0] = '[';
    struct oci_limits l = defaults();
    struct manifest m;
    struct err e = {0};
    assert_int_equal(manifest_parse(&m, text, len, &l, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "values"));
    /* Within a string they are but bytes. */
    memset(text, ',', len);
    memcpy(text, "{\"\\\"", 4);
    memcpy(text + len - 4, "\":1}", 4);
    assert_int_equal(manifest_parse(&m, text, len, &l, &e), OCI_E_FORMAT);
    assert_non_null(strstr(e.text, "schemaVersion"));
}

static void what_it_is_must_be_what_was_announced(void **state)
{
    (void)state;
    struct oci_limits l = defaults();
    enum media_kind kind = MEDIA_UNKNOWN;
    struct err e = {0};
    const char *manifest = MANIFEST(""), *index = INDEX("");
    const char *schema1 = "{\"schemaVersion\":1,\"signatures\":[]}";
    assert_int_equal(manifest_kind(manifest, strlen(manifest), NULL, &l, &kind, &e), 0);
    assert_int_equal(kind, MEDIA_MANIFEST);
    assert_int_equal(manifest_kind(index, strlen(index), MEDIA_DOCKER_LIST, &l, &kind, &e), 0);
    assert_int_equal(kind, MEDIA_INDEX);
    assert_int_equal(manifest_kind(manifest, strlen(manifest), "text/plain; charset=utf-8", &l, &kind, &e),
                     0);
    assert_int_equal(kind, MEDIA_MANIFEST);
    assert_int_equal(manifest_kind(manifest, strlen(manifest), MEDIA_OCI_INDEX, &l, &kind, &e), OCI_E_FORMAT);
    assert_non_null(strstr(e.text, "announced as"));
    assert_int_equal(manifest_kind(schema1, strlen(schema1), NULL, &l, &kind, &e), OCI_E_UNSUPPORTED);
    assert_int_equal(
        manifest_kind("{}", 2, "application/vnd.docker.distribution.manifest.v1+json", &l, &kind, &e),
        OCI_E_UNSUPPORTED);
    assert_non_null(strstr(e.text, "schema 1"));
    assert_int_equal(manifest_kind("<html>", 6, "text/html", &l, &kind, &e), OCI_E_FORMAT);
}

static void an_index_is_read(void **state)
{
    (void)state;
    struct image_index x;
    struct err e = {0};
    assert_int_equal(
        parse_index(
            &x,
            INDEX(ENTRY(
                D1,
                PLATFORM(
                    "linux", "aarch64",
                    "v8") ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\",\"io.containerd."
                          "image.name\":\"docker.io/library/a:v1\",\"x\":\"y\"}") "," ENTRY(D2, "")),
            &e),
        0);
    assert_int_equal(x.count, 2);
    assert_string_equal(x.media_type, MEDIA_OCI_INDEX);
    assert_string_equal(x.entry[0].platform.arch, "arm64");
    assert_string_equal(x.entry[0].platform.variant, "");
    assert_string_equal(x.entry[0].ref_name, "v1");
    assert_string_equal(x.entry[0].name, "docker.io/library/a:v1");
    assert_false(x.entry[1].has_platform);
    assert_null(x.entry[1].name);
    index_fini(&x);
    static const struct {
        const char *text, *why;
    } bad[] = {
        {MANIFEST(""), "not an index"},
        {"{\"schemaVersion\":2,\"manifests\":{}}", "manifests is not a list"},
        {INDEX("[]"), "manifests[0] is not an object"},
        {INDEX(ENTRY(D1, ",\"platform\":[]")), "manifests[0].platform is not an object"},
        {INDEX(ENTRY(D1, ",\"platform\":{\"os\":7}")), "manifests[0].platform.os is not a string"},
        {INDEX(ENTRY(D1, PLATFORM("li nux", "arm", ""))), "manifests[0].platform: the os"},
        {INDEX(ENTRY(D1, ",\"annotations\":{\"org.opencontainers.image.ref.name\":1}")),
         "manifests[0].annotations.org.opencontainers.image.ref.name"},
        {INDEX(ENTRY(D1, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"a\",\"io.containerd."
                         "image.name\":[]}")),
         "io.containerd.image.name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int ret = parse_index(&x, bad[i].text, &e);
        if (ret != OCI_E_FORMAT || !strstr(e.text, bad[i].why))
            fail_msg("%s\n gave %d: %s", bad[i].text, ret, e.text);
        assert_null(x.entry);
    }
}

/* The digest's first digit that `want` chooses from the index, or 0. */
static char chosen(const char *text, const char *want, struct err *e)
{
    struct image_index x;
    struct platform p;
    const struct index_entry *entry = NULL;
    assert_int_equal(parse_index(&x, text, NULL), 0);
    assert_int_equal(platform_parse(&p, want, NULL), 0);
    int ret = index_choose(&x, &p, &entry, e);
    assert_true(ret == 0 || ret == OCI_E_PLATFORM);
    char digit = ret == 0 ? digest_hex(&entry->manifest.digest)[0] : '\0';
    index_fini(&x);
    return digit;
}

static void the_best_platform_is_chosen(void **state)
{
    (void)state;
    struct err e = {0};
    const char *arms = INDEX(ENTRY(D1, PLATFORM("linux", "arm", "v5")) "," ENTRY(
        D2, PLATFORM("linux", "arm", "v6")) "," ENTRY(D3, PLATFORM("linux", "amd64", "")));
    assert_int_equal(chosen(arms, "linux/arm/v7", &e), '2');
    assert_int_equal(chosen(arms, "linux/arm/v5", &e), '1');
    assert_int_equal(chosen(arms, "linux/amd64/v4", &e), '3');
    assert_int_equal(chosen(arms, "linux/arm64", &e), 0);
    assert_string_equal(
        e.text, "there is no image for linux/arm64, only for: linux/arm/v5, linux/arm/v6, linux/amd64");
    /* Of equals the first. */
    assert_int_equal(
        chosen(INDEX(ENTRY(D2, PLATFORM("linux", "386", "")) "," ENTRY(D1, PLATFORM("linux", "386", ""))),
               "386", &e),
        '2');
    /* A silent one only when there is no other; a document of an unknown type is passed over. */
    assert_int_equal(chosen(INDEX(ENTRY(D1, "")), "linux/amd64", &e), '1');
    assert_int_equal(chosen(INDEX(ENTRY(D1, "") "," ENTRY(D2, "")), "linux/amd64", &e), 0);
    assert_non_null(strstr(e.text, "none that is named"));
    assert_int_equal(
        chosen(INDEX(LAYER("application/vnd.odd", D2, "1") "," ENTRY(D1, "")), "linux/amd64", &e), '1');
    assert_int_equal(chosen(INDEX(""), "linux/amd64", &e), 0);
    /* Attestations are not offered. */
    assert_int_equal(
        chosen(INDEX(ENTRY(D1, PLATFORM("unknown", "unknown", "")) "," ENTRY(
                   D2, PLATFORM("linux", "arm64", "v8")) "," ENTRY(D3, PLATFORM("linux", "arm64", ""))),
               "linux/amd64", &e),
        0);
    assert_string_equal(e.text, "there is no image for linux/amd64, only for: linux/arm64");
    /* An index in an index is a choice like others. */
    assert_int_equal(chosen(INDEX(LAYER(MEDIA_OCI_INDEX, D2, "1")), "linux/amd64", &e), '2');
}

static void a_long_list_of_platforms_is_cut(void **state)
{
    (void)state;
    char text[65536] = "{\"schemaVersion\":2,\"manifests\":[";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "%s" ENTRY(D1, PLATFORM("linux", "arch%d", "")), i ? "," : "", i);
    strcat(text, "]}");
    struct err e = {0};
    assert_int_equal(chosen(text, "linux/amd64", &e), 0);
    assert_non_null(strstr(e.text, "linux/arch9, linux/arch10"));
    assert_string_equal(e.text + strlen(e.text) - 5, ", …");
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct manifest m, again;
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    assert_int_equal(parse(&m, MANIFEST(GZIP(D2, "5") "," GZIP(D3, "68719476736")), NULL), 0);
    assert_int_equal(manifest_format(&m, &text, &len, NULL), 0);
    assert_int_equal(len, strlen(text));
    assert_int_equal(parse(&again, text, NULL), 0);
    assert_int_equal(again.nlayers, 2);
    assert_memory_equal(again.layer, m.layer, 2 * sizeof(*m.layer));
    assert_memory_equal(&again.config, &m.config, sizeof(m.config));
    assert_string_equal(again.media_type, MEDIA_OCI_MANIFEST);
    manifest_fini(&m);
    manifest_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_oci_manifest_is_read),
        cmocka_unit_test(a_docker_manifest_is_read),
        cmocka_unit_test(what_is_no_manifest_says_why),
        cmocka_unit_test(a_media_type_has_a_length),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(many_values_are_refused_before_they_are_made),
        cmocka_unit_test(what_it_is_must_be_what_was_announced),
        cmocka_unit_test(an_index_is_read),
        cmocka_unit_test(the_best_platform_is_chosen),
        cmocka_unit_test(a_long_list_of_platforms_is_cut),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
