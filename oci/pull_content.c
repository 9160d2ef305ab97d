/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: blobs are fetched in the order in which the merge wants them, the configuration first
 * because it holds the DiffIDs, so many at a time as the configuration allows, all from one loop. The merge
 * runs in its own thread as soon as the configuration is there and is fed with the number of layers that are
 * complete from the bottom up. A layer that the image has twice is fetched for its first place, and is there
 * for all of them at once. The first failure, on either side, stops the other; it is over when no download
 * runs and the thread has said that it has nothing left to do.
 */
#include "base/log.h"
#include "base/own.h"
#include "oci/oci_error.h"
#include "oci/pull_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void go_on(struct pull *p);

static void tell_blob(const struct pull_blob *b, enum pull_phase phase)
{
    pull_tell(b->pull, (struct pull_event){
                           .phase = phase, .layer = b->layer, .have = b->have, .total = b->descriptor->size});
}

/* Keeps the first failure, and ends what the others do. */
static void fail(struct pull *p, int ret, const struct err *e)
{
    if (p->ret == 0) {
        p->ret = ret;
        p->err = *e;
        p->err.code = ret;
    }
    p->next = p->nblobs;
    if (p->merge)
        merge_job_stop(p->merge);
    if (p->registry)
        registry_cancel(p->registry);
}

/* --- downloads --- */

static void blob_waits(void *ctx)
{
    tell_blob(ctx, PULL_WAITING);
}

static void blob_progress(void *ctx, uint64_t have)
{
    struct pull_blob *b = ctx;
    b->have = have;
    tell_blob(b, have < b->descriptor->size ? PULL_DOWNLOADING : PULL_VERIFYING);
}

static void blob_got(void *ctx, uint64_t bytes)
{
    ((struct pull_blob *)ctx)->pull->result->bytes += bytes;
}

static void blob_retry(void *ctx, uint64_t delay_ms, const struct err *e)
{
    const struct pull_blob *b = ctx;
    pull_tell(b->pull, (struct pull_event){.phase = PULL_RETRYING,
                                           .layer = b->layer,
                                           .have = b->have,
                                           .total = b->descriptor->size,
                                           .delay_ms = delay_ms,
                                           .reason = e->text});
}

/* For it, and for whatever is the same. */
static void blob_is_there(struct pull_blob *b, enum pull_phase phase)
{
    for (; b; b = b->same, phase = PULL_EXISTS) {
        b->there = true;
        b->have = b->descriptor->size;
        tell_blob(b, phase);
    }
}

static void blob_done(void *ctx, bool fetched, int ret, const struct err *e)
{
    struct pull_blob *b = ctx;
    struct pull *p = b->pull;
    p->running--;
    p->result->blobs += fetched;
    if (ret < 0)
        fail(p, ret, e);
    else
        blob_is_there(b, fetched ? PULL_DOWNLOADED : PULL_EXISTS);
    go_on(p);
}

static const struct download_events events = {
    .waits = blob_waits, .progress = blob_progress, .got = blob_got, .retry = blob_retry, .done = blob_done};

/* Starts a download unless there is nothing to download. */
static int begin_blob(struct pull *p, struct pull_blob *b, struct err *e)
{
    if (b->again)
        return 0;
    int ret = store_lease_add(p->lease, &b->descriptor->digest, e);
    if (ret < 0)
        return ret;
    if (store_blob_exists(p->store, &b->descriptor->digest, b->descriptor->size)) {
        blob_is_there(b, PULL_EXISTS);
        return 0;
    }
    if (p->opt->policy == PULL_NEVER)
        return err_set(e, OCI_E_NOT_FOUND, "blob %s is not in the store", b->descriptor->digest.text);
    ret = pull_need_registry(p, e);
    if (ret == 0)
        ret = registry_get_blob(p->registry, p->ref->path, b->descriptor, p->lease, &events, b, e);
    if (ret == 0)
        p->running++;
    return ret;
}

/* --- the merge --- */

/* Without an index, only the image's configuration says what it is for. With one, the index has the last
 * word: configurations are known to leave the variant out. */
static int check_platform(const struct pull *p, struct err *e)
{
    char want[PLATFORM_TEXT_MAX], have[PLATFORM_TEXT_MAX];
    if (p->platform_known || platform_match(&p->platform, &p->config.platform) > 0)
        return 0;
    return err_set(e, OCI_E_PLATFORM, "the image is for %s, not for %s",
                   platform_text(&p->config.platform, have), platform_text(&p->platform, want));
}

static int start_merge(struct pull *p, struct err *e)
{
    int ret = store_config_load(p->store, &p->manifest, &p->opt->config->limits, &p->config, e);
    if (ret == OCI_E_DIGEST)
        p->told.damaged = store_blob_remove_damaged(p->store, &p->manifest.config.digest);
    if (ret < 0)
        return ret;
    p->has_config = true;
    ret = check_platform(p, e);
    if (ret < 0)
        return ret;
    const struct merge_job_params m = {
        .store = p->store,
        .lease = p->lease,
        .manifest_digest = &p->manifest_descriptor.digest,
        .manifest = &p->manifest,
        .config = &p->config,
        .limits = &p->opt->config->limits,
        .notify_fd = p->merge_fd,
    };
    return merge_job_start(&p->merge, &m, e);
}

/* Tells the thread how many layers are complete from the bottom up. */
static void feed_merge(struct pull *p)
{
    size_t fed = p->fed;
    while (fed < p->manifest.nlayers && p->blob[1 + fed].there)
        fed++;
    if (fed == p->fed)
        return;
    p->fed = fed;
    merge_job_feed(p->merge, fed);
}

static void tell_news(struct pull *p, const struct merge_job_news *now)
{
    for (; p->told.begun < now->begun || p->told.merged < now->merged;) {
        bool merged = p->told.begun > p->told.merged;
        size_t layer = merged ? p->told.merged++ : p->told.begun++;
        tell_blob(&p->blob[1 + layer], merged ? PULL_MERGED : PULL_MERGING);
    }
    if (now->finishing && !p->told.finishing)
        pull_tell(p, (struct pull_event){.phase = PULL_FINISHING});
    p->told = *now;
}

static void merge_has_news(struct loop_source *s, uint32_t events_seen)
{
    struct pull *p = CONTAINER_OF(s, struct pull, merge_source);
    struct merge_job_news now;
    uint64_t count;
    (void)events_seen;
    ssize_t ignored = read(p->merge_fd, &count, sizeof(count));
    (void)ignored;
    if (!p->merge)
        return;
    merge_job_look(p->merge, &now);
    tell_news(p, &now);
    if (!now.over)
        return;
    struct err why = {0};
    int ret = merge_job_join(STEAL(p->merge), &why);
    if (ret < 0)
        fail(p, ret, &why);
    else
        p->result->merges += (uint64_t)ret;
    p->merge_over = true;
    go_on(p);
}

/* --- both --- */

/* Starts what can be started. */
static int advance(struct pull *p, struct err *e)
{
    int ret = 0;
    while (ret == 0 && p->next < p->nblobs && p->running < p->opt->config->parallel)
        ret = begin_blob(p, &p->blob[p->next++], e);
    if (ret == 0 && p->blob[0].there && !p->merge && !p->merge_over)
        ret = start_merge(p, e);
    if (ret == 0 && p->merge)
        feed_merge(p);
    return ret;
}

static void go_on(struct pull *p)
{
    struct err why = {0};
    int ret = p->ret == 0 ? advance(p, &why) : 0;
    if (ret < 0)
        fail(p, ret, &why);
    bool merging = p->merge || (p->ret == 0 && !p->merge_over);
    p->over = p->running == 0 && p->next == p->nblobs && !merging;
}

static void cancel_due(struct loop_source *s, uint32_t events_seen)
{
    struct pull *p = CONTAINER_OF(s, struct pull, cancel_source);
    struct err why = {0};
    (void)events_seen;
    loop_remove(s);
    err_set(&why, -ECANCELED, "cancelled");
    fail(p, -ECANCELED, &why);
    go_on(p);
}

/* In the order of digests and sizes, and where they are equal of places. */
static int by_content(const void *a, const void *b)
{
    const struct pull_blob *x = *(struct pull_blob *const *)a, *y = *(struct pull_blob *const *)b;
    int order = strcmp(x->descriptor->digest.text, y->descriptor->digest.text);
    if (order == 0 && x->descriptor->size != y->descriptor->size)
        order = x->descriptor->size < y->descriptor->size ? -1 : 1;
    return order ? order : (x > y) - (x < y);
}

static bool is_same(const struct pull_blob *x, const struct pull_blob *y)
{
    return x->descriptor->size == y->descriptor->size &&
           digest_equal(&x->descriptor->digest, &y->descriptor->digest);
}

static int join_same(struct pull *p, struct err *e)
{
    CLEANUP(mem_freep) struct pull_blob **sorted = calloc(p->nblobs, sizeof(struct pull_blob *));
    if (!sorted)
        return err_set(e, -ENOMEM, "no memory for %zu layers", p->manifest.nlayers);
    for (size_t i = 0; i < p->nblobs; i++)
        sorted[i] = &p->blob[i];
    qsort(sorted, p->nblobs, sizeof(struct pull_blob *), by_content);
    for (size_t i = 1; i < p->nblobs; i++) {
        sorted[i]->again = is_same(sorted[i - 1], sorted[i]);
        if (sorted[i]->again)
            sorted[i - 1]->same = sorted[i];
    }
    return 0;
}

static int list_blobs(struct pull *p, struct err *e)
{
    p->nblobs = 1 + p->manifest.nlayers;
    p->blob = calloc(p->nblobs, sizeof(*p->blob));
    if (!p->blob)
        return err_set(e, -ENOMEM, "no memory for %zu layers", p->manifest.nlayers);
    for (size_t i = 0; i < p->nblobs; i++)
        p->blob[i] = (struct pull_blob){
            .pull = p,
            .layer = i ? i - 1 : PULL_CONFIG,
            .descriptor = i ? &p->manifest.layer[i - 1] : &p->manifest.config,
        };
    return join_same(p, e);
}

static int watch(struct pull *p, struct err *e)
{
    p->merge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ret =
        p->merge_fd < 0 ? -errno : loop_add(p->loop, &p->merge_source, p->merge_fd, EPOLLIN, merge_has_news);
    /* A copy: the registry client watches the descriptor itself. */
    if (ret == 0 && p->opt->cancel_fd >= 0) {
        p->cancel_fd = fcntl(p->opt->cancel_fd, F_DUPFD_CLOEXEC, 3);
        ret = p->cancel_fd < 0 ? -errno
                               : loop_add(p->loop, &p->cancel_source, p->cancel_fd, EPOLLIN, cancel_due);
    }
    return ret < 0 ? err_set(e, ret, "cannot watch for events: %s", strerror(-ret)) : 0;
}

int pull_content(struct pull *p, struct err *e)
{
    int ret = list_blobs(p, e);
    if (ret == 0)
        ret = watch(p, e);
    if (ret < 0)
        return ret;
    pull_tell(p, (struct pull_event){.phase = PULL_RESOLVED});
    go_on(p);
    while (!p->over) {
        ret = loop_once(p->loop, -1);
        if (ret < 0) {
            err_set(&p->err, ret, "cannot wait for events: %s", strerror(-ret));
            fail(p, ret, &p->err);
            break;
        }
    }
    if (p->merge) /* only after a failure of the loop itself */
        merge_job_join(STEAL(p->merge), NULL);
    if (p->ret < 0 && e)
        *e = p->err;
    return p->ret;
}
