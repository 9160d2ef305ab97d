/* SPDX-License-Identifier: Apache-2.0 */
/* References: completed as Docker completes them, written short again, refused with the part that is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/ref.h"

#include <stdio.h>
#include <string.h>

#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX
#define X64    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X128   X64 X64
#define X255   X128 X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X247   X128 X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct good {
    const char *text, *canonical, *familiar;
} good[] = {
    {"python", "docker.io/library/python:latest", "python:latest"},
    {"python:slim", "docker.io/library/python:slim", "python:slim"},
    {"library/python:slim", "docker.io/library/python:slim", "python:slim"},
    {"docker.io/python", "docker.io/library/python:latest", "python:latest"},
    {"docker.io/library/python:slim", "docker.io/library/python:slim", "python:slim"},
    {"index.docker.io/python", "docker.io/library/python:latest", "python:latest"},
    {"user/app:1.0", "docker.io/user/app:1.0", "user/app:1.0"},
    {"library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
    {"ghcr.io/a/b@" DIGEST, "ghcr.io/a/b@" DIGEST, "ghcr.io/a/b@" DIGEST},
    {"ghcr.io/a/b:v1@" DIGEST, "ghcr.io/a/b:v1@" DIGEST, "ghcr.io/a/b:v1@" DIGEST},
    {"busybox@" DIGEST, "docker.io/library/busybox@" DIGEST, "busybox@" DIGEST},
    {"localhost/x", "localhost/x:latest", "localhost/x:latest"},
    {"localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"},
    {"localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"},
    {"127.0.0.1:5000/a/b/c:d", "127.0.0.1:5000/a/b/c:d", "127.0.0.1:5000/a/b/c:d"},
    {"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
    {"[2001:DB8::1]/x:t", "[2001:DB8::1]/x:t", "[2001:DB8::1]/x:t"},
    {"Host/x", "Host/x:latest", "Host/x:latest"},
    {"a-b.example/x", "a-b.example/x:latest", "a-b.example/x:latest"},
    {"x.y/z", "x.y/z:latest", "x.y/z:latest"},
    {"docker.io/x.y/z", "docker.io/x.y/z:latest", "docker.io/x.y/z:latest"},
    {"docker.io/localhost/z", "docker.io/localhost/z:latest", "docker.io/localhost/z:latest"},
    {"python:5000", "docker.io/library/python:5000", "python:5000"},
    {"a.b__c---d_e", "docker.io/library/a.b__c---d_e:latest", "a.b__c---d_e:latest"},
    {"a:_Tag.x-Y", "docker.io/library/a:_Tag.x-Y", "a:_Tag.x-Y"},
    {"a:" X128, "docker.io/library/a:" X128, "a:" X128},
    {X247, "docker.io/library/" X247 ":latest", X247 ":latest"},
    {"quay.io/" X255, "quay.io/" X255 ":latest", "quay.io/" X255 ":latest"},
    {"library/" HEX, "docker.io/library/" HEX ":latest", "library/" HEX ":latest"},
    {"quay.io/" HEX, "quay.io/" HEX ":latest", "quay.io/" HEX ":latest"},
};

static void references_are_completed_and_shortened(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct oci_ref r, again;
        struct err e = {0};
        char text[REF_TEXT_MAX];
        if (oci_ref_parse(&r, good[i].text, &e) < 0)
            fail_msg("%s: %s", good[i].text, e.text);
        oci_ref_canonical(&r, text);
        assert_string_equal(text, good[i].canonical);
        assert_int_equal(oci_ref_parse(&again, text, &e), 0);
        assert_memory_equal(&r, &again, sizeof(r));
        oci_ref_familiar(&r, text);
        assert_string_equal(text, good[i].familiar);
        assert_int_equal(oci_ref_parse(&again, text, &e), 0);
        assert_memory_equal(&r, &again, sizeof(r));
    }
}

static const struct bad {
    const char *text, *says;
} bad[] = {
    {"", "empty"},
    {"Python", "'Python' must be lower case"},
    {"a/B", "'a/B' must be lower case"},
    {"/a", "part of the name is empty"},
    {"a//b", "part of the name is empty"},
    {"a/", "part of the name is empty"},
    {"quay.io/", "the name is empty"},
    {"quay.io/a/", "part of the name is empty"},
    {":tag", "the name is empty"},
    {"@" DIGEST, "the name is empty"},
    {"a:", "the tag behind ':' is empty"},
    {"a:-x", "'-x' is not a tag"},
    {"a:.x", "'.x' is not a tag"},
    {"a:x y", "'x y' is not a tag"},
    {"a:x\n", "is not a tag"},
    {"a:" X128 "x", "is not a tag"},
    {"a@sha256:12", "digest"},
    {"a@sha512:" HEX HEX, "sha512"},
    {"a@" DIGEST "0", "digest"},
    {"a@" DIGEST "@" DIGEST, "digest"},
    {"a@", "digest"},
    {"a.", "'a.' is not a name"},
    {"-a", "'-a' is not a name"},
    {"a___b", "'a___b' is not a name"},
    {"a..b", "'a..b' is not a name"},
    {"a/b c", "'b c' is not a name"},
    {"a/\xc3\xa9", "is not a name"},
    {"ex_ample.com/a", "'ex_ample.com' is not a host name"},
    {"-x.com/a", "'-x.com' is not a host name"},
    {"x..com/a", "'x..com' is not a host name"},
    {"localhost:/a", "is not a port"},
    {"localhost:0/a", "'0' is not a port"},
    {"localhost:65536/a", "'65536' is not a port"},
    {"localhost:5o/a", "'5o' is not a port"},
    {"localhost:123456/a", "is not a port"},
    {"[::1/a", "is not a host name"},
    {"[]:5/a", "is not a host name"},
    {"[::1]x:5/a", "is not a port"},
    {"[::g]/a", "is not a host name"},
    {HEX, "64 hexadecimal digits"},
    {HEX ":latest", "64 hexadecimal digits"},
    {X247 "x", "more than 255"},
    {"quay.io/" X255 "x", "more than 255"},
    {X255 ".x/a", "more than 255"},
    {"https://quay.io/a", "is a URL"},
};

static void what_is_no_reference_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct oci_ref r = {.tag = "kept"};
        struct err e = {0};
        if (oci_ref_parse(&r, bad[i].text, &e) != OCI_E_REFERENCE)
            fail_msg("'%s' was not refused", bad[i].text);
        if (!strstr(e.text, bad[i].says))
            fail_msg("'%s': '%s' does not say '%s'", bad[i].text, e.text, bad[i].says);
        assert_string_equal(r.tag, "kept");
    }
}

static void the_digest_selects_before_the_tag(void **state)
{
    (void)state;
    struct oci_ref r;
    assert_int_equal(oci_ref_parse(&r, "a:x", NULL), 0);
    assert_string_equal(oci_ref_selector(&r), "x");
    assert_int_equal(oci_ref_parse(&r, "a:x@" DIGEST, NULL), 0);
    assert_string_equal(oci_ref_selector(&r), DIGEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_completed_and_shortened),
        cmocka_unit_test(what_is_no_reference_is_refused),
        cmocka_unit_test(the_digest_selects_before_the_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
