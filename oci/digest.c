/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a digest is kept as its text, because that is how it comes in, goes out, and names
 * files; parsing is a check of spelling. Hashing goes through libcrypto's EVP interface, which picks the
 * processor's instructions at run time; the algorithm is fetched once per hasher, since a fetch takes longer
 * than hashing a small manifest.
 */
#include "oci/digest.h"

#include "base/own.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define PREFIX_LEN (sizeof(DIGEST_PREFIX) - 1)
#define TEXT_LEN   (PREFIX_LEN + DIGEST_HEX_LEN)
_Static_assert(sizeof(((struct digest *)0)->text) == TEXT_LEN + 1, "a digest's text fits exactly");

static bool is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    }
    return true;
}

int digest_parse(struct digest *d, const char *text, struct err *e)
{
    size_t len = strlen(text);
    if (len == TEXT_LEN && memcmp(text, DIGEST_PREFIX, PREFIX_LEN) == 0 &&
        is_hex(text + PREFIX_LEN, DIGEST_HEX_LEN)) {
        memcpy(d->text, text, TEXT_LEN + 1);
        return 0;
    }
    if (strncmp(text, "sha512:", 7) == 0 || strncmp(text, "sha384:", 7) == 0)
        return err_set(e, OCI_E_UNSUPPORTED, "digest '%.20s…' is not SHA-256, the only one taken", text);
    return err_set(e, OCI_E_FORMAT, "'%.100s' is not a digest: sha256: and 64 lower-case hex digits", text);
}

void digest_from_raw(struct digest *d, const uint8_t raw[32])
{
    static const char digit[] = "0123456789abcdef";
    memcpy(d->text, DIGEST_PREFIX, PREFIX_LEN);
    for (size_t i = 0; i < 32; i++) {
        d->text[PREFIX_LEN + 2 * i] = digit[raw[i] >> 4];
        d->text[PREFIX_LEN + 2 * i + 1] = digit[raw[i] & 15];
    }
    d->text[TEXT_LEN] = '\0';
}

bool digest_from_hex(struct digest *d, const char *hex)
{
    if (strlen(hex) != DIGEST_HEX_LEN || !is_hex(hex, DIGEST_HEX_LEN))
        return false;
    memcpy(d->text, DIGEST_PREFIX, PREFIX_LEN);
    memcpy(d->text + PREFIX_LEN, hex, DIGEST_HEX_LEN + 1);
    return true;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return strcmp(a->text, b->text) == 0;
}

bool digest_is_set(const struct digest *d)
{
    return d->text[0] != '\0';
}

const char *digest_hex(const struct digest *d)
{
    return d->text + PREFIX_LEN;
}

struct hasher {
    EVP_MD *algorithm;
    EVP_MD_CTX *context;
    bool failed;
};

int hasher_create(struct hasher **out, struct err *e)
{
    CLEANUP(hasher_destroyp) struct hasher *h = calloc(1, sizeof(*h));
    if (!h)
        return err_set(e, -ENOMEM, "no memory for a hash");
    h->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    h->context = EVP_MD_CTX_new();
    if (!h->algorithm || !h->context)
        return err_set(e, -EIO, "libcrypto has no SHA-256");
    hasher_reset(h);
    *out = STEAL(h);
    return 0;
}

void hasher_update(struct hasher *h, const void *data, size_t len)
{
    if (EVP_DigestUpdate(h->context, data, len) != 1)
        h->failed = true;
}

int hasher_finish(struct hasher *h, struct digest *out, struct err *e)
{
    uint8_t raw[EVP_MAX_MD_SIZE];
    bool ok = !h->failed && EVP_DigestFinal_ex(h->context, raw, NULL) == 1;
    hasher_reset(h);
    if (!ok)
        return err_set(e, -EIO, "libcrypto failed while hashing");
    digest_from_raw(out, raw);
    return 0;
}

void hasher_reset(struct hasher *h)
{
    h->failed = EVP_DigestInit_ex2(h->context, h->algorithm, NULL) != 1;
}

void hasher_destroy(struct hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->context);
    EVP_MD_free(h->algorithm);
    free(h);
}

void hasher_destroyp(struct hasher **h)
{
    hasher_destroy(*h);
}

int digest_of(struct digest *d, const void *data, size_t len, struct err *e)
{
    CLEANUP(hasher_destroyp) struct hasher *h = NULL;
    int ret = hasher_create(&h, e);
    if (!h)
        return ret;
    hasher_update(h, data, len);
    return hasher_finish(h, d, e);
}

int digest_check(const struct digest *d, uint64_t size, const void *data, size_t len, const char *what,
                 struct err *e)
{
    struct digest is;
    if (len != size)
        return err_set(e, OCI_E_DIGEST, "%s has %zu bytes where %llu were promised", what, len,
                       (unsigned long long)size);
    int ret = digest_of(&is, data, len, e);
    if (ret < 0)
        return ret;
    if (!digest_equal(&is, d))
        return err_set(e, OCI_E_DIGEST, "%s is %s where %s was promised", what, is.text, d->text);
    return 0;
}
