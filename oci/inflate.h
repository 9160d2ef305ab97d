/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes inside a compressed layer, as a stream: gzip (RFC 1952, any number of members), zstd (RFC 8878,
 * any number of frames) or plain. How it is compressed comes from the media type; the bytes are never
 * guessed at, and what does not begin as its media type says is refused. Both sides of the stream are hashed
 * on the way, so that a layer needs no second reading to be checked.
 */
#ifndef CUBBY_OCI_INFLATE_H
#define CUBBY_OCI_INFLATE_H

#include "base/err.h"
#include "oci/digest.h"
#include "oci/limits.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Where a layer's bytes come from: a file of the store, or a download that is still going on. `read` gives 1
 * to `n` bytes and waits until there are some; 0 at the end; a negative code of `struct err` on failure. It
 * is called from a thread of the inflater's, never from two at once. `interrupt` (may be NULL for sources
 * that never wait long) is called from another thread, at most once, and makes the present and every later
 * `read` fail soon.
 */
struct byte_source {
    ssize_t (*read)(void *ctx, void *buf, size_t n, struct err *e);
    void (*interrupt)(void *ctx);
    void *ctx;
};

/* A source over a descriptor, which it reads from the present offset on and does not close. `fd` must outlive
 * the source. */
struct byte_source byte_source_fd(const int *fd);

/* Which layer this is, what it should be, and how much it may hold. */
struct layer_info {
    unsigned index;         /* position in the manifest, from 0; named in errors */
    const char *media_type; /* tells the compression */
    struct digest blob;     /* of the bytes as they come; unset: not checked */
    struct digest diff_id;  /* of the inflated bytes; unset: not checked */
};

struct inflate;

/*
 * Starts a thread that reads, inflates and hashes ahead of the caller, at most INFLATE_AHEAD bytes. `info`
 * and `limits` are copied (the media type must outlive the inflater). `left` is how many bytes all of the
 * image's layers may still hold; the smaller of it and limits->layer_bytes holds. 0, OCI_E_UNSUPPORTED for a
 * media type that is no layer's, or a negative errno.
 */
#define INFLATE_AHEAD ((size_t)4 << 20)
int inflate_create(struct inflate **out, const struct layer_info *info, const struct oci_limits *limits,
                   uint64_t left, const struct byte_source *source, struct err *e);

/*
 * The next piece, borrowed until the next call: its length with *data set, 0 at the end (everything was
 * checked then: stream complete, nothing behind it, digests right), or a negative code:
 *   OCI_E_FORMAT   wrong first bytes for the media type, damaged, truncated, or followed by something else
 *   OCI_E_LIMIT    larger than a limit, or swelling more than limits->inflate_ratio (zeros not counted)
 *   OCI_E_DIGEST   not the bytes that blob or diff_id promise
 *   what the source reported
 * The text names the layer by index and digest. After an error or the end, each call repeats it.
 */
ssize_t inflate_read(struct inflate *in, const void **data, struct err *e);

/* Bytes given out so far, and bytes taken from the source (final once inflate_read() has told the end). */
uint64_t inflate_bytes_out(const struct inflate *in);
uint64_t inflate_bytes_in(struct inflate *in);

/* Makes inflate_read() fail with -ECANCELED soon, from any thread. */
void inflate_interrupt(struct inflate *in);

/* Interrupts what is still going on, joins the thread and frees. Safe on NULL. */
void inflate_destroy(struct inflate *in);

#endif
