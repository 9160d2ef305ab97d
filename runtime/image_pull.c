/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an image that is there, with its root file system, is found before anything else is
 * looked at: no registry, no credentials, and so nothing of theirs that could be broken. Docker's file of
 * credentials is read for a pull and forgotten after it.
 */
#include "runtime/images.h"

#include "base/log.h"
#include "oci/credentials.h"
#include "oci/ref.h"
#include "runtime/errors.h"
#include "runtime/libraries.h"
#include "runtime/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- progress
 * --------------------------------------------------------------------------------------------*/

static const enum cubby_pull_phase phases[] = {
    [PULL_RESOLVING] = CUBBY_PULL_RESOLVING,     [PULL_RESOLVED] = CUBBY_PULL_RESOLVED,
    [PULL_EXISTS] = CUBBY_PULL_EXISTS,           [PULL_WAITING] = CUBBY_PULL_WAITING,
    [PULL_DOWNLOADING] = CUBBY_PULL_DOWNLOADING, [PULL_RETRYING] = CUBBY_PULL_RETRYING,
    [PULL_VERIFYING] = CUBBY_PULL_VERIFYING,     [PULL_DOWNLOADED] = CUBBY_PULL_DOWNLOADED,
    [PULL_MERGING] = CUBBY_PULL_MERGING,         [PULL_MERGED] = CUBBY_PULL_MERGED,
    [PULL_FINISHING] = CUBBY_PULL_FINISHING,
};

static void pass_on(void *ctx, const struct pull_event *event)
{
    const struct cubby_pull_options *o = ctx;
    const struct manifest *m = event->manifest;
    struct cubby_pull_event ours = {
        .phase = (int)phases[event->phase],
        .layer = -1,
        .layers = m ? (int)m->nlayers : 0,
        .digest = "",
        .have = event->have,
        .total = event->total,
        .delay_ms = event->delay_ms,
    };
    /* It may quote a server, and goes to somebody's terminal. */
    char reason[CUBBY_ERROR_TEXT];
    snprintf(reason, sizeof(reason), "%s", event->reason ? event->reason : "");
    text_make_printable(reason, 0);
    ours.reason = reason;
    if (event->phase == PULL_RESOLVED)
        ours.total = manifest_size(m);
    bool whole =
        event->phase == PULL_RESOLVING || event->phase == PULL_RESOLVED || event->phase == PULL_FINISHING;
    if (m && !whole && event->layer < m->nlayers) {
        ours.layer = (int)event->layer;
        ours.digest = m->layer[event->layer].digest.text;
    } else if (m && !whole && event->layer == PULL_CONFIG) {
        ours.digest = m->config.digest.text;
    }
    o->progress(o->context, &ours);
}

/* ---- the pull
 * --------------------------------------------------------------------------------------------*/

/* 1 when the image is there, merged, with result->image filled; 0 when something is missing; or a code. *name
 * is what to ask a registry for. */
static int find_complete(struct cubby_images *images, const char *text, const struct platform *platform,
                         struct pull_result *result, char name[REF_TEXT_MAX], struct cubby_error *error)
{
    struct err e;
    struct cubby_error why;
    int ret = images_find(images, text, platform, &result->image, &why);
    if (ret == CUBBY_EIMAGE_NOT_FOUND)
        return 0;
    if (ret < 0)
        return fail_copy(error, &why);
    ret = store_image_is_ready(images->store, &result->image, &e);
    if (ret == 1) {
        log_debug(LOG_IMAGE, "image '%s' is there", result->image.name);
        return 1;
    }
    snprintf(name, REF_TEXT_MAX, "%s", result->image.name); /* it may have been found by its id */
    image_ref_fini(&result->image);
    *result = (struct pull_result){0};
    return ret == 0 ? 0 : fail_err(error, CUBBY_ESTORAGE, &e);
}

static enum pull_policy policy_of(unsigned policy)
{
    return policy == CUBBY_PULL_ALWAYS  ? PULL_ALWAYS
           : policy == CUBBY_PULL_NEVER ? PULL_NEVER
                                        : PULL_IF_MISSING;
}

/* Errnos that a pull meets in the store alone: what the network or an image does has codes of its own. */
static int code_of_pull(int ret)
{
    return ret == -EACCES || ret == -EPERM || ret == -EROFS || ret == -EFBIG ? CUBBY_ESTORAGE : CUBBY_EIMAGE;
}

int images_bring(struct cubby_images *images, const char *text, const struct cubby_pull_options *options,
                 struct pull_result *result, struct cubby_error *error)
{
    struct err e;
    struct platform platform;
    struct oci_ref ref;
    struct credentials *credentials = NULL;
    char name[REF_TEXT_MAX] = "";
    *result = (struct pull_result){0};
    if (options->policy > CUBBY_PULL_NEVER)
        return fail(error, CUBBY_EARGUMENT, "there is no pull policy %u", options->policy);
    int ret = images_platform(options->platform, &platform, error);
    if (ret == 0 && options->policy != CUBBY_PULL_ALWAYS)
        ret = find_complete(images, text, &platform, result, name, error);
    if (ret != 0)
        return ret < 0 ? ret : 0;
    if (oci_ref_parse(&ref, name[0] ? name : text, &e) < 0)
        return fail_err(error, CUBBY_EARGUMENT, &e);
    ret = libraries_load(error);
    if (ret < 0)
        return ret;
    if (options->policy != CUBBY_PULL_NEVER && credentials_load(&credentials, NULL, &e) < 0)
        return fail_err(error, CUBBY_ECONFIG, &e);
    const struct pull_options o = {
        .config = &images->config,
        .credentials = credentials,
        .platform = &platform,
        .policy = policy_of(options->policy),
        .cancel_fd = options->cancel_fd > 0 ? options->cancel_fd : -1,
        .progress = options->progress ? pass_on : NULL,
        .ctx = (void *)(uintptr_t)options, /* read only, by pass_on() */
    };
    ret = image_pull(images->store, &ref, &o, result, &e);
    credentials_destroy(credentials);
    if (ret == 0)
        log_info(LOG_IMAGE, "image '%s' was pulled: %llu requests, %llu bytes", result->image.name,
                 (unsigned long long)result->requests, (unsigned long long)result->bytes);
    else
        log_info(LOG_IMAGE, "image '%s' was not pulled: %s", text, e.text);
    return ret < 0 ? fail_err(error, code_of_pull(ret), &e) : 0;
}

int cubby_images_pull(struct cubby_images *images, const char *reference,
                      const struct cubby_pull_options *options, struct cubby_image **out,
                      struct cubby_pull_counts *counts, struct cubby_error *error)
{
    struct cubby_pull_options o;
    struct pull_result r;
    if (!images || !reference)
        return fail(error, CUBBY_EARGUMENT, "cubby_images_pull: an argument is NULL");
    if (out)
        *out = NULL;
    int ret = options_check_return(counts, error); /* not when it is pulled already */
    if (ret == 0)
        ret = options_copy(&o, sizeof(o), sizeof(o), options, error);
    if (ret == 0)
        ret = images_bring(images, reference, &o, &r, error);
    if (ret < 0)
        return ret;
    const struct cubby_pull_counts ours = {
        .requests = r.requests, .blobs = r.blobs, .bytes = r.bytes, .merges = r.merges};
    ret = options_return(counts, &ours, sizeof(ours), error);
    if (ret == 0 && out)
        ret = image_describe(images, &r.image, NULL, out, error);
    pull_result_fini(&r);
    return ret;
}
