/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: gzip data is a row of members, zstd data a row of frames. Both decoders go on from one
 * to the next and are at rest only between them: input that ends elsewhere was cut off, input that goes on
 * there must begin as another one does. Plain data passes through, but not when it is recognisably one of
 * the others.
 */
#include "oci/decode.h"

#include "oci/oci_error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST /* input is const */
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define GZIP_WINDOW_BITS (15 + 16) /* zlib: the largest window, gzip's frame around it and nothing else */
/* Decoding needs a window's memory: no more than what libzstd takes without being asked, 128 MiB. */
#define ZSTD_WINDOW_LOG 27

static const uint8_t gzip_magic[] = {0x1f, 0x8b}, zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

struct decoder {
    ssize_t (*fill)(struct decoder *d, uint8_t *out, size_t cap, struct err *e);
    struct input *in;
    bool started; /* something was decoded */
    bool at_rest; /* between members or frames */
    z_stream gzip;
    bool gzip_open;
    ZSTD_DStream *zstd;
};

ssize_t input_read(struct input *in, void *out, size_t cap, struct err *e)
{
    if (in->ended)
        return 0;
    ssize_t n = in->source.read(in->source.ctx, out, cap, e);
    if (n < 0)
        return n;
    in->ended = n == 0;
    in->total += (size_t)n;
    if (in->hash)
        hasher_update(in->hash, out, (size_t)n);
    return n;
}

int input_more(struct input *in, struct err *e)
{
    if (in->left)
        return 1;
    ssize_t n = input_read(in, in->buffer, INPUT_SIZE, e);
    if (n <= 0)
        return (int)n;
    in->next = in->buffer;
    in->left = (size_t)n;
    return 1;
}

/* Why decoding stopped at a byte that does not belong there. */
static int damaged(const struct decoder *d, const char *kind, const char *why, struct err *e)
{
    if (d->at_rest && d->started)
        return err_set(e, OCI_E_FORMAT, "something else follows the %s data", kind);
    if (d->at_rest)
        return err_set(e, OCI_E_FORMAT, "does not begin as %s data does", kind);
    return err_set(e, OCI_E_FORMAT, "the %s data is damaged: %s", kind, why);
}

/* The source has ended: fine between members, but there must have been one. */
static int at_end(const struct decoder *d, const char *kind, struct err *e)
{
    if (d->at_rest && d->started)
        return 0;
    if (d->at_rest)
        return err_set(e, OCI_E_FORMAT, "is empty, which is no %s data", kind);
    return err_set(e, OCI_E_FORMAT, "the %s data is cut off", kind);
}

static ssize_t fill_gzip(struct decoder *d, uint8_t *out, size_t cap, struct err *e)
{
    z_stream *z = &d->gzip;
    z->next_out = out;
    z->avail_out = (uInt)cap;
    while (z->avail_out) {
        int more = input_more(d->in, e);
        if (more == 0)
            more = at_end(d, "gzip", e);
        if (more <= 0)
            return more < 0 ? more : (ssize_t)(cap - z->avail_out);
        if (d->at_rest && *d->in->next != gzip_magic[0])
            return damaged(d, "gzip", "", e);
        z->next_in = d->in->next;
        z->avail_in = (uInt)d->in->left;
        int rc = inflate(z, Z_NO_FLUSH);
        d->in->next = z->next_in;
        d->in->left = z->avail_in;
        if (rc == Z_MEM_ERROR)
            return err_set(e, -ENOMEM, "no memory to inflate");
        d->at_rest = z->total_in == 0;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
            d->at_rest = z->total_in <= sizeof(gzip_magic);
            return damaged(d, "gzip", z->msg ? z->msg : "a dictionary is needed", e);
        }
        if (rc == Z_STREAM_END) {
            d->started = d->at_rest = true;
            inflateReset(z);
        }
    }
    return (ssize_t)cap;
}

static ssize_t fill_zstd(struct decoder *d, uint8_t *out, size_t cap, struct err *e)
{
    ZSTD_outBuffer to = {.dst = out, .size = cap};
    while (to.pos < to.size) {
        int more = input_more(d->in, e);
        if (more < 0)
            return more;
        /* Without input there may still be output that libzstd holds. */
        ZSTD_inBuffer from = {.src = d->in->next, .size = more ? d->in->left : 0};
        size_t before = to.pos;
        if (more || !d->at_rest) {
            size_t rc = ZSTD_decompressStream(d->zstd, &to, &from);
            d->in->next += from.pos;
            d->in->left -= from.pos;
            if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
                return err_set(e, -ENOMEM, "no memory to inflate");
            if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) != ZSTD_error_prefix_unknown)
                d->at_rest = false;
            if (ZSTD_isError(rc))
                return damaged(d, "zstd", ZSTD_getErrorName(rc), e);
            d->at_rest = rc == 0;
            d->started = d->started || rc == 0;
        }
        if (!more && to.pos == before) {
            int ret = at_end(d, "zstd", e);
            return ret < 0 ? ret : (ssize_t)to.pos;
        }
    }
    return (ssize_t)cap;
}

static int refuse_compressed(const uint8_t *data, size_t len, struct err *e)
{
    if (len >= sizeof(gzip_magic) && memcmp(data, gzip_magic, sizeof(gzip_magic)) == 0)
        return err_set(e, OCI_E_FORMAT, "is gzip data, but its media type says that it is plain");
    if (len >= sizeof(zstd_magic) && memcmp(data, zstd_magic, sizeof(zstd_magic)) == 0)
        return err_set(e, OCI_E_FORMAT, "is zstd data, but its media type says that it is plain");
    return 0;
}

static ssize_t fill_plain(struct decoder *d, uint8_t *out, size_t cap, struct err *e)
{
    size_t used = 0;
    while (used < cap) {
        ssize_t n = input_read(d->in, out + used, cap - used, e);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    int ret = d->started ? 0 : refuse_compressed(out, used, e);
    d->started = true;
    return ret < 0 ? ret : (ssize_t)used;
}

int decoder_create(struct decoder **out, enum compression kind, struct input *in, struct err *e)
{
    struct decoder *d = calloc(1, sizeof(*d));
    bool ok = d != NULL;
    if (ok) {
        d->in = in;
        d->at_rest = true;
    }
    if (ok && kind == COMPRESSION_GZIP) {
        d->fill = fill_gzip;
        ok = d->gzip_open = inflateInit2(&d->gzip, GZIP_WINDOW_BITS) == Z_OK;
    } else if (ok && kind == COMPRESSION_ZSTD) {
        d->fill = fill_zstd;
        d->zstd = ZSTD_createDStream();
        ok = d->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
    } else if (ok) {
        d->fill = fill_plain;
    }
    if (!ok) {
        decoder_destroy(d);
        return err_set(e, -ENOMEM, "cannot allocate a decoder of %s data", compression_name(kind));
    }
    *out = d;
    return 0;
}

ssize_t decoder_fill(struct decoder *d, uint8_t *out, size_t cap, struct err *e)
{
    return d->fill(d, out, cap, e);
}

void decoder_destroy(struct decoder *d)
{
    if (!d)
        return;
    if (d->gzip_open)
        inflateEnd(&d->gzip);
    ZSTD_freeDStream(d->zstd);
    free(d);
}
