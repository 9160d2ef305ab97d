/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests, the names of content (OCI image-spec descriptor.md §digests): SHA-256 and nothing else, in the one
 * spelling "sha256:" and 64 lower-case hex digits, so that equal digests are equal strings.
 */
#ifndef CUBBY_OCI_DIGEST_H
#define CUBBY_OCI_DIGEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_PREFIX  "sha256:"
#define DIGEST_HEX_LEN 64
#define DIGEST_ID_LEN  12 /* hex digits of a short id */

struct digest {
    char text[72]; /* NUL-terminated; "" when unset */
};

/* 0; OCI_E_FORMAT when `text` is no digest, OCI_E_UNSUPPORTED for another algorithm (sha512…). */
int digest_parse(struct digest *d, const char *text, struct err *e);
/* From 32 raw bytes. */
void digest_from_raw(struct digest *d, const uint8_t raw[32]);
/* From exactly 64 lower-case hex digits (a file's name); false when `hex` is something else. */
bool digest_from_hex(struct digest *d, const char *hex);

bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_set(const struct digest *d);
/* The 64 hex digits, inside `d`. */
const char *digest_hex(const struct digest *d);

/*
 * A running SHA-256 (libcrypto's EVP, so that the CPU's own instructions are used). One owner at a time. A
 * failure inside libcrypto is kept and told by hasher_finish().
 */
struct hasher;

int hasher_create(struct hasher **out, struct err *e);
void hasher_update(struct hasher *h, const void *data, size_t len);
/* Gives the digest of everything so far and starts anew. 0 or -EIO. */
int hasher_finish(struct hasher *h, struct digest *out, struct err *e);
/* Forgets what was hashed so far. */
void hasher_reset(struct hasher *h);
/* Safe on NULL. */
void hasher_destroy(struct hasher *h);
/* For CLEANUP. */
void hasher_destroyp(struct hasher **h);

/* Of a block in memory. 0, -ENOMEM or -EIO. */
int digest_of(struct digest *d, const void *data, size_t len, struct err *e);
/* 0 when `data` has this digest and size; OCI_E_DIGEST with both sides in the text when not. `what` names the
 * object. */
int digest_check(const struct digest *d, uint64_t size, const void *data, size_t len, const char *what,
                 struct err *e);

#endif
