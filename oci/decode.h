/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the inflater: how each kind of compression turns input into output. A decoder pulls its input
 * from a `struct input`, which reads the source, counts and hashes. Used from one thread.
 */
#ifndef CUBBY_OCI_DECODE_H
#define CUBBY_OCI_DECODE_H

#include "base/err.h"
#include "oci/digest.h"
#include "oci/inflate.h"
#include "oci/media_type.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INPUT_SIZE ((size_t)128 << 10)

struct input {
    struct byte_source source;
    struct hasher *hash; /* of all that was read */
    uint64_t total;      /* bytes read */
    bool ended;
    const uint8_t *next; /* what the decoder has not taken yet */
    size_t left;
    uint8_t *buffer; /* INPUT_SIZE bytes */
};

/* Reads more when nothing is left: 1, 0 at the end of the source, or a negative code. */
int input_more(struct input *in, struct err *e);
/* Reads straight into `out`; for a decoder that has nothing to decode. As inflate_read(). */
ssize_t input_read(struct input *in, void *out, size_t cap, struct err *e);

struct decoder;

/* 0, or -ENOMEM. */
int decoder_create(struct decoder **out, enum compression kind, struct input *in, struct err *e);
/* Fills `out`: less than `cap` bytes only at the end of the data, 0 when nothing is left, or a negative code:
 * OCI_E_FORMAT, or what the source reported. */
ssize_t decoder_fill(struct decoder *d, uint8_t *out, size_t cap, struct err *e);
/* Safe on NULL. */
void decoder_destroy(struct decoder *d);

#endif
