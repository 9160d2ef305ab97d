/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a thread reads, hashes and inflates into a ring of pieces; the caller takes them out.
 * Inflating is slower than writing a file system, so it goes on while the caller works, until the ring is
 * full. What is inflated from gzip is hashed in the caller's thread, which has time left; with zstd and
 * plain data it is the reader's thread that has.
 *
 * One mutex guards the ring's counters, the result and the flags; each piece belongs to the reader while it
 * is filled and to the caller while it is borrowed, and changes hands under the mutex. Whoever waits, waits
 * for the ring or for `stop`, and whoever changes either wakes both; the thread therefore always ends, at the
 * latest when the source's read returns, and inflate_interrupt() makes it return.
 */
#include "oci/inflate.h"

#include "base/own.h"
#include "oci/decode.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define PIECE_SIZE ((size_t)256 << 10)
#define PIECES     (INFLATE_AHEAD / PIECE_SIZE)
/* Below this, how much data swells says nothing. */
#define RATIO_FROM (UINT64_C(1) << 30)
/* What ends up as a hole in a file: a file system's block. */
#define HOLE_SIZE 4096

struct inflate {
    struct layer_info info;
    struct oci_limits limits;
    uint64_t max; /* inflated bytes */
    const char *max_name;
    enum compression kind;
    pthread_t thread;

    /* The reader's. */
    struct input input;
    struct decoder *decoder;
    uint64_t produced, filled; /* bytes; filled: without blocks of zeros */

    /* The caller's. */
    uint64_t given;
    bool borrowed; /* the piece at `first` is in the caller's hands */
    bool told;     /* the end, or an error, was told, and stays so */
    struct err told_err;

    struct hasher *hash; /* of what was inflated; the reader's or the caller's, see above */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    size_t first, count; /* pieces that are full, the borrowed one included */
    size_t len[PIECES];
    uint64_t taken; /* bytes of the source, for inflate_bytes_in() */
    bool ended;     /* the reader is done; `err.code` says how */
    bool stop;
    struct err err;
    uint8_t *pieces; /* PIECES of PIECE_SIZE */
};

static ssize_t read_fd(void *ctx, void *buf, size_t n, struct err *e)
{
    for (;;) {
        ssize_t got = read(*(const int *)ctx, buf, n);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return err_sys(e, "cannot read it");
    }
}

struct byte_source byte_source_fd(const int *fd)
{
    return (struct byte_source){.read = read_fd, .ctx = (void *)(uintptr_t)fd};
}

/* --- the reader --- */

/* Waits for a piece to fill; NULL when there is no need for one any more. */
static uint8_t *wait_free(struct inflate *in, size_t *slot)
{
    pthread_mutex_lock(&in->lock);
    in->taken = in->input.total;
    while (in->count == PIECES && !in->stop)
        pthread_cond_wait(&in->changed, &in->lock);
    bool stop = in->stop;
    *slot = (in->first + in->count) % PIECES;
    pthread_mutex_unlock(&in->lock);
    return stop ? NULL : in->pieces + *slot * PIECE_SIZE;
}

static void publish(struct inflate *in, size_t slot, size_t len)
{
    pthread_mutex_lock(&in->lock);
    in->len[slot] = len;
    in->count++;
    in->taken = in->input.total;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
}

/* Bytes of a piece that cost somebody something: all but blocks of zeros. */
static size_t filled_bytes(const uint8_t *piece, size_t len)
{
    size_t filled = 0;
    for (size_t at = 0; at < len; at += HOLE_SIZE) {
        size_t n = len - at < HOLE_SIZE ? len - at : HOLE_SIZE;
        /* All bytes are like the one before, and the first is zero. */
        if (piece[at] != 0 || memcmp(piece + at, piece + at + 1, n - 1) != 0)
            filled += n;
    }
    return filled;
}

static int check_size(struct inflate *in, struct err *e)
{
    if (in->produced > in->max)
        return err_set(e, OCI_E_LIMIT, "holds more than the %llu bytes that are allowed (%s)",
                       (unsigned long long)in->max, in->max_name);
    if (in->filled > RATIO_FROM && in->limits.inflate_ratio > 0 &&
        in->filled / in->limits.inflate_ratio > in->input.total)
        return err_set(e, OCI_E_LIMIT,
                       "swells to more than %llu times its size (inflate_ratio), which no layer does",
                       (unsigned long long)in->limits.inflate_ratio);
    return 0;
}

static int check_hash(struct hasher *h, const struct digest *wanted, const char *what, struct err *e)
{
    struct digest is;
    if (!h)
        return 0;
    int ret = hasher_finish(h, &is, e);
    if (ret < 0 || digest_equal(&is, wanted))
        return ret;
    return err_set(e, OCI_E_DIGEST, "%s have the digest %s, not %s", what, is.text, wanted->text);
}

static bool hashed_by_reader(const struct inflate *in)
{
    return in->kind != COMPRESSION_GZIP;
}

/* Inflates everything. 0 when all is well or the caller wants no more. */
static int read_all(struct inflate *in, struct err *e)
{
    for (;;) {
        size_t slot;
        uint8_t *piece = wait_free(in, &slot);
        if (!piece)
            return err_set(e, -ECANCELED, "interrupted");
        ssize_t n = decoder_fill(in->decoder, piece, PIECE_SIZE, e);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return check_hash(in->input.hash, &in->info.blob, "its bytes", e);
        in->produced += (size_t)n;
        in->filled += filled_bytes(piece, (size_t)n);
        int ret = check_size(in, e);
        if (ret < 0)
            return ret;
        if (in->hash && hashed_by_reader(in))
            hasher_update(in->hash, piece, (size_t)n);
        publish(in, slot, (size_t)n);
    }
}

static void *reader_main(void *arg)
{
    struct inflate *in = arg;
    struct err e = {0};
    int ret = read_all(in, &e);
    pthread_mutex_lock(&in->lock);
    if (ret < 0)
        in->err = e;
    in->taken = in->input.total;
    in->ended = true;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

/* --- the caller --- */

/* "layer 3 (sha256:…): " in front of the text */
static int name_layer(const struct inflate *in, struct err *e)
{
    if (digest_is_set(&in->info.blob))
        return err_prefix(e, "layer %u (%s)", in->info.index, in->info.blob.text);
    return err_prefix(e, "layer %u", in->info.index);
}

static int allocate(struct inflate *in, struct err *e)
{
    in->pieces = malloc(PIECES * PIECE_SIZE);
    in->input.buffer = malloc(INPUT_SIZE);
    if (!in->pieces || !in->input.buffer)
        return err_set(e, -ENOMEM, "cannot allocate the buffers");
    int ret = 0;
    if (digest_is_set(&in->info.blob))
        ret = hasher_create(&in->input.hash, e);
    /* Plain bytes are their own content: one hash tells both. */
    bool same = in->kind == COMPRESSION_NONE && digest_equal(&in->info.blob, &in->info.diff_id);
    if (ret == 0 && digest_is_set(&in->info.diff_id) && !same)
        ret = hasher_create(&in->hash, e);
    return ret < 0 ? ret : decoder_create(&in->decoder, in->kind, &in->input, e);
}

static void inflate_free(struct inflate *in)
{
    decoder_destroy(in->decoder);
    hasher_destroy(in->input.hash);
    hasher_destroy(in->hash);
    free(in->input.buffer);
    free(in->pieces);
    pthread_cond_destroy(&in->changed);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

int inflate_create(struct inflate **out, const struct layer_info *info, const struct oci_limits *limits,
                   uint64_t left, const struct byte_source *source, struct err *e)
{
    struct inflate *in = calloc(1, sizeof(*in));
    if (!in)
        return err_set(e, -ENOMEM, "cannot allocate an inflater");
    pthread_mutex_init(&in->lock, NULL);
    pthread_cond_init(&in->changed, NULL);
    in->info = *info;
    in->limits = *limits;
    in->max = left < limits->layer_bytes ? left : limits->layer_bytes;
    in->max_name = left < limits->layer_bytes ? "image_bytes" : "layer_bytes";
    in->input.source = *source;
    int ret = media_layer_compression(info->media_type, &in->kind, e);
    if (ret == 0)
        ret = allocate(in, e);
    if (ret == 0) {
        ret = -pthread_create(&in->thread, NULL, reader_main, in);
        if (ret < 0)
            err_set(e, ret, "cannot start a thread: %s", strerror(-ret));
    }
    if (ret < 0) {
        name_layer(in, e);
        inflate_free(in);
        return ret;
    }
    *out = in;
    return 0;
}

/* Gives the borrowed piece back and waits for the next one: true with `*slot`, false at the end. */
static bool next_piece(struct inflate *in, size_t *slot, struct err *e)
{
    pthread_mutex_lock(&in->lock);
    if (in->borrowed) {
        in->first = (in->first + 1) % PIECES;
        in->count--;
        in->borrowed = false;
        pthread_cond_broadcast(&in->changed);
    }
    while (in->count == 0 && !in->ended && !in->stop)
        pthread_cond_wait(&in->changed, &in->lock);
    if (in->stop)
        err_set(e, -ECANCELED, "interrupted");
    else if (in->count == 0)
        *e = in->err;
    else
        in->borrowed = true;
    *slot = in->first;
    bool got = in->borrowed;
    pthread_mutex_unlock(&in->lock);
    return got;
}

ssize_t inflate_read(struct inflate *in, const void **data, struct err *e)
{
    size_t slot = 0;
    struct err why = {0};
    if (!in->told && next_piece(in, &slot, &why)) {
        size_t len = in->len[slot];
        *data = in->pieces + slot * PIECE_SIZE;
        if (in->hash && !hashed_by_reader(in))
            hasher_update(in->hash, *data, len);
        in->given += len;
        return (ssize_t)len;
    }
    *data = NULL;
    if (!in->told) {
        in->told = true;
        if (why.code == 0)
            check_hash(in->hash, &in->info.diff_id, "its inflated bytes", &why);
        if (why.code < 0)
            name_layer(in, &why);
        in->told_err = why;
    }
    if (in->told_err.code < 0 && e)
        *e = in->told_err;
    return in->told_err.code;
}

uint64_t inflate_bytes_out(const struct inflate *in)
{
    return in->given;
}

uint64_t inflate_bytes_in(struct inflate *in)
{
    pthread_mutex_lock(&in->lock);
    uint64_t taken = in->taken;
    pthread_mutex_unlock(&in->lock);
    return taken;
}

void inflate_interrupt(struct inflate *in)
{
    pthread_mutex_lock(&in->lock);
    bool first = !in->stop;
    in->stop = true;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
    if (first && in->input.source.interrupt)
        in->input.source.interrupt(in->input.source.ctx);
}

void inflate_destroy(struct inflate *in)
{
    if (!in)
        return;
    inflate_interrupt(in);
    pthread_join(in->thread, NULL);
    inflate_free(in);
}
