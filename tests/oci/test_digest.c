/* SPDX-License-Identifier: Apache-2.0 */
/* Digests against the vectors of FIPS 180-4, their spelling, and the names of failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "oci/digest.h"
#include "oci/limits.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <string.h>

#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC   "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ZEROS "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static void the_standards_vectors_come_out(void **state)
{
    (void)state;
    static const struct {
        const char *data, *digest;
    } vector[] = {
        {"", EMPTY},
        {"abc", ABC},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(vector); i++) {
        struct digest d;
        assert_int_equal(digest_of(&d, vector[i].data, strlen(vector[i].data), NULL), 0);
        assert_string_equal(d.text, vector[i].digest);
    }
}

static void a_million_letters_in_pieces(void **state)
{
    (void)state;
    char piece[1000];
    memset(piece, 'a', sizeof(piece));
    struct hasher *h;
    struct digest d;
    assert_int_equal(hasher_create(&h, NULL), 0);
    for (int i = 0; i < 1000; i++)
        hasher_update(h, piece, sizeof(piece));
    assert_int_equal(hasher_finish(h, &d, NULL), 0);
    assert_string_equal(d.text, "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    /* It starts anew by itself, and when told to. */
    hasher_update(h, "x", 1);
    hasher_reset(h);
    hasher_update(h, "abc", 3);
    assert_int_equal(hasher_finish(h, &d, NULL), 0);
    assert_string_equal(d.text, ABC);
    hasher_destroy(h);
    hasher_destroy(NULL);
}

static void only_one_spelling_is_taken(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha256",
        ABC "0",
        "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:BA7816BF8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
        "sha256:../../../../etc/passwd/../../../../etc/passwd/../../../../etc/pa",
        " sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "md5:abc",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct digest d = {.text = "kept"};
        struct err e = {0};
        assert_int_equal(digest_parse(&d, bad[i], &e), OCI_E_FORMAT);
        assert_non_null(strstr(e.text, "is not a digest"));
        assert_string_equal(d.text, "kept");
    }
    struct digest d;
    struct err e = {0};
    assert_int_equal(digest_parse(&d, "sha512:abc", &e), OCI_E_UNSUPPORTED);
    assert_non_null(strstr(e.text, "SHA-256"));
    assert_int_equal(digest_parse(&d, ABC, &e), 0);
    assert_string_equal(digest_hex(&d), ABC + 7);
}

static void files_names_are_hex(void **state)
{
    (void)state;
    struct digest d = {0}, other;
    assert_false(digest_is_set(&d));
    assert_true(digest_from_hex(&d, ABC + 7));
    assert_true(digest_is_set(&d));
    assert_int_equal(digest_parse(&other, ABC, NULL), 0);
    assert_true(digest_equal(&d, &other));
    assert_true(digest_from_hex(&other, ZEROS + 7));
    assert_false(digest_equal(&d, &other));
    assert_false(digest_from_hex(&d, "abc"));
    assert_false(digest_from_hex(&d, ABC));
    assert_false(digest_from_hex(&d, "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

static void a_mismatch_names_both_sides(void **state)
{
    (void)state;
    struct digest d;
    struct err e = {0};
    assert_int_equal(digest_parse(&d, ABC, NULL), 0);
    assert_int_equal(digest_check(&d, 3, "abc", 3, "the thing", &e), 0);
    assert_int_equal(digest_check(&d, 3, "abd", 3, "the thing", &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, "the thing is sha256:a52d"));
    assert_non_null(strstr(e.text, ABC));
    assert_int_equal(digest_check(&d, 4, "abc", 3, "the thing", &e), OCI_E_DIGEST);
    assert_string_equal(e.text, "the thing has 3 bytes where 4 were promised");
}

static void each_failure_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = OCI_E_IN_USE; a <= OCI_E_REFERENCE; a++) {
        for (int b = OCI_E_IN_USE; b < a; b++)
            assert_string_not_equal(oci_failure_name(a), oci_failure_name(b));
        assert_null(strstr(oci_failure_name(a), "Unknown error"));
    }
    assert_string_equal(oci_failure_name(-ENOSPC), strerror(ENOSPC));
}

static void limits_have_defaults(void **state)
{
    (void)state;
    struct oci_limits l = {0};
    oci_limits_init(&l);
    const uint64_t *value = (const uint64_t *)&l;
    for (size_t i = 0; i < sizeof(l) / sizeof(*value); i++)
        assert_true(value[i] > 0);
    assert_int_equal(l.manifest_bytes, 4 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standards_vectors_come_out),
        cmocka_unit_test(a_million_letters_in_pieces),
        cmocka_unit_test(only_one_spelling_is_taken),
        cmocka_unit_test(files_names_are_hex),
        cmocka_unit_test(a_mismatch_names_both_sides),
        cmocka_unit_test(each_failure_has_a_name_of_its_own),
        cmocka_unit_test(limits_have_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
