/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a blob goes straight into the store's writer, which holds the lock that keeps other
 * processes from downloading the same, hashes, and knows how far an earlier attempt came. While somebody else
 * has the lock, the fetch asks again from time to time; once that one is done there is nothing left to do.
 */
#include "base/own.h"
#include "oci/fetch.h"
#include "oci/oci_error.h"
#include "oci/registry_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct blob_download {
    struct descriptor descriptor;
    struct store_lease *lease;
    struct blob_writer *writer;
    const struct download_events *events;
    void *ctx;
    bool fetched, told_waiting;
};

static void tell_progress(struct blob_download *d, uint64_t have)
{
    if (d->events->progress)
        d->events->progress(d->ctx, have);
}

/* Commits what is complete already. 1, or 0 when the bytes were wrong and all has to be fetched. */
static int commit_complete(struct blob_download *d, struct err *e)
{
    int ret = blob_writer_commit(STEAL(d->writer), e);
    return ret == OCI_E_DIGEST ? 0 : ret < 0 ? ret : 1;
}

static int blob_prepare(void *ctx, uint64_t *offset, struct err *e)
{
    struct blob_download *d = ctx;
    for (;;) {
        int ret = d->writer ? 0
                            : store_blob_try_begin(d->lease, &d->descriptor.digest, d->descriptor.size,
                                                   &d->writer, e);
        if (ret == -EAGAIN && !d->told_waiting && d->events->waits) {
            d->told_waiting = true;
            d->events->waits(d->ctx);
        }
        if (ret != 0)
            return ret;
        *offset = blob_writer_offset(d->writer);
        tell_progress(d, *offset);
        if (*offset < d->descriptor.size || d->descriptor.size == 0)
            return 0;
        ret = commit_complete(d, e);
        if (ret != 0)
            return ret;
    }
}

static int blob_begin(void *ctx, const struct http_request *r, struct err *e)
{
    struct blob_download *d = ctx;
    (void)r, (void)e;
    d->fetched = true;
    return 0;
}

static int blob_body(void *ctx, const void *data, size_t len, struct err *e)
{
    struct blob_download *d = ctx;
    int ret = blob_writer_write(d->writer, data, len, e);
    if (d->events->got)
        d->events->got(d->ctx, len);
    if (ret == 0)
        tell_progress(d, blob_writer_offset(d->writer));
    return ret;
}

static int blob_end(void *ctx, struct err *e)
{
    struct blob_download *d = ctx;
    return blob_writer_commit(STEAL(d->writer), e);
}

static void blob_reset(void *ctx)
{
    struct blob_download *d = ctx;
    if (d->writer && blob_writer_restart(d->writer, NULL) < 0) {
        blob_writer_abort(d->writer);
        d->writer = NULL;
    }
}

static void blob_retry(void *ctx, uint64_t delay_ms, const struct err *e)
{
    struct blob_download *d = ctx;
    if (d->events->retry)
        d->events->retry(d->ctx, delay_ms, e);
}

static void blob_done(void *ctx, int ret, const struct err *e)
{
    struct blob_download *d = ctx;
    const struct download_events *events = d->events;
    void *owner = d->ctx;
    bool fetched = d->fetched;
    blob_writer_abort(d->writer); /* keeps the bytes for the next attempt */
    free(d);
    events->done(owner, fetched, ret, e);
}

int registry_get_blob(struct registry *r, const char *path, const struct descriptor *descriptor,
                      struct store_lease *lease, const struct download_events *events, void *ctx,
                      struct err *e)
{
    static const struct fetch_ops ops = {
        .prepare = blob_prepare,
        .begin = blob_begin,
        .body = blob_body,
        .end = blob_end,
        .reset = blob_reset,
        .retry = blob_retry,
        .done = blob_done,
    };
    struct blob_download *d = calloc(1, sizeof(*d));
    if (!d)
        return err_set(e, -ENOMEM, "cannot download blob %s: no memory", descriptor->digest.text);
    *d = (struct blob_download){.descriptor = *descriptor, .lease = lease, .events = events, .ctx = ctx};
    const struct fetch_params p = {
        .path = path,
        .kind = "blobs",
        .selector = descriptor->digest.text,
        .size = (int64_t)descriptor->size,
        .ops = &ops,
        .ctx = d,
    };
    struct fetch *f;
    int ret = fetch_start(r, &p, &f, e);
    if (ret < 0)
        free(d);
    return ret;
}
