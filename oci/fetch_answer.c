/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an answer is judged by its head. Where its bytes begin and how many they are must
 * agree with what was asked for, or none is taken: what is there already stays as it is. Then the new ones go
 * to the sink, old ones are passed over, and the text of an error is kept for people. What comes of the whole
 * is told in answered().
 */
#include "base/log.h"
#include "oci/fetch_inner.h"
#include "oci/oci_error.h"
#include "oci/registry_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_MAX 60000
#define ERRNO_LOWEST    (-4096) /* codes above are errnos */

int fetch_of_sink(struct fetch *f, int ret)
{
    if (ret < 0 && ret > ERRNO_LOWEST)
        f->own_failure = true;
    return ret;
}

static void take_challenges(struct fetch *f, const struct http_request *r)
{
    const char *value;
    f->challenges.count = 0;
    for (unsigned i = 0; i < CHALLENGES_MAX && (value = http_header(r, "WWW-Authenticate", i)); i++) {
        struct err why = {0};
        if (challenges_add(&f->challenges, value, &why) < 0)
            log_warn(LOG_NET, "registry '%s': %s", f->endpoint.name, why.text);
    }
}

static bool is_good(const struct fetch *f)
{
    return f->status == 200 || (f->status == 206 && f->from > 0);
}

/* The answer is not what was asked for. The bytes that are there are not to blame. */
static int mislead(struct fetch *f, int ret)
{
    f->misled = true;
    return ret;
}

/* Where the answer's bytes begin, and how many new ones to expect. */
static int take_range(struct fetch *f, const struct http_request *r, struct err *e)
{
    int64_t start = f->status == 206 ? http_range_start(r) : 0, length = http_content_length(r);
    if (start < 0 || (uint64_t)start > f->have)
        return mislead(f, err_set(e, OCI_E_REGISTRY,
                                  "registry '%s' sends another range of %s than was asked for",
                                  f->endpoint.name, f->params.selector));
    f->skip = f->have - (uint64_t)start;
    if (f->params.size < 0)
        return 0;
    f->expect = f->params.size - (int64_t)f->have;
    /* Subtracted, not added: a server may announce any length. */
    int64_t wanted = f->params.size - start;
    if (length >= 0 && length != wanted)
        return mislead(
            f, err_set(e, OCI_E_DIGEST, "registry '%s' announces %lld bytes of %s where %lld are to come",
                       f->endpoint.name, (long long)length, f->params.selector, (long long)wanted));
    return 0;
}

static int got_head(void *ctx, const struct http_request *r, struct err *e)
{
    struct fetch *f = ctx;
    f->status = http_status(r);
    f->retry_after_ms = retry_after_ms(http_header(r, "Retry-After", 0), RETRY_AFTER_MAX);
    if (f->status == 401)
        take_challenges(f, r);
    if (!is_good(f))
        return 0;
    int ret = f->params.head ? 0 : take_range(f, r, e);
    if (ret == 0 && f->params.ops->begin)
        ret = fetch_of_sink(f, f->params.ops->begin(f->params.ctx, r, e));
    return ret;
}

/* The start of an error's text, for people. */
static int keep_words(struct fetch *f, const void *data, size_t len)
{
    if (!f->words && !(f->words = malloc(STATUS_BODY_MAX)))
        return -ENOMEM;
    size_t room = STATUS_BODY_MAX - f->words_len, take = len < room ? len : room;
    memcpy(f->words + f->words_len, data, take);
    f->words_len += take;
    return 0;
}

static int got_body(void *ctx, const void *data, size_t len, struct err *e)
{
    struct fetch *f = ctx;
    if (!is_good(f))
        return keep_words(f, data, len);
    size_t old = f->skip < len ? (size_t)f->skip : len;
    f->skip -= old;
    f->got += len - old;
    if (old == len)
        return 0;
    return fetch_of_sink(f, f->params.ops->body(f->params.ctx, (const char *)data + old, len - old, e));
}

static void authorized(void *ctx, int ret, const struct err *e)
{
    struct fetch *f = ctx;
    f->job = NULL;
    if (ret < 0) {
        f->err = *e;
        fetch_failed(f, ret);
        return;
    }
    fetch_later(f, 0);
}

/* 401: looks for an answer. */
static void authorize(struct fetch *f)
{
    const struct auth_question q = {
        .origin = &f->endpoint.origin,
        .registry = f->endpoint.is_mirror ? f->endpoint.name : f->registry->domain,
        .scope = f->scope,
        .challenges = &f->challenges,
        .done = authorized,
        .ctx = f,
    };
    f->fresh_grant = f->resend = true;
    int ret = auth_answer(f->registry->auth, &q, &f->job, &f->err);
    if (ret < 0) {
        err_prefix(&f->err, "registry '%s'", f->endpoint.name);
        fetch_failed(f, ret);
    } else if (ret == 1) {
        fetch_later(f, 0);
    }
}

static int judge_status(struct fetch *f)
{
    char object[512];
    if (f->status == 416)
        return mislead(f, err_set(&f->err, OCI_E_DIGEST,
                                  "registry '%s' has fewer bytes of %s than were downloaded before",
                                  f->endpoint.name, f->params.selector));
    bool is_manifest = strcmp(f->params.kind, "manifests") == 0;
    snprintf(object, sizeof(object), "%s '%.128s' of '%s'", is_manifest ? "manifest" : "blob",
             f->params.selector, f->params.path);
    const struct status_answer a = {
        .status = f->status,
        .host = f->endpoint.name,
        .object = object,
        .is_manifest = is_manifest,
        .body = f->words,
        .len = f->words_len,
    };
    return registry_status(&a, &f->err);
}

/* All is there, as far as HTTP knows. */
static int complete(struct fetch *f)
{
    if (f->expect >= 0 && f->got < (uint64_t)f->expect)
        return err_set(&f->err, -ECONNRESET, "registry '%s' sent %llu of %lld bytes", f->endpoint.name,
                       (unsigned long long)f->got, (long long)f->expect);
    int ret = fetch_of_sink(f, f->params.ops->end(f->params.ctx, &f->err));
    if (ret == OCI_E_DIGEST)
        err_prefix(&f->err, "registry '%s'", f->endpoint.name);
    return ret;
}

static void answered(void *ctx, const struct http_request *r, int ret, const struct err *e)
{
    struct fetch *f = ctx;
    bool at_home = url_origin_equal(http_origin(r), &f->endpoint.origin);
    f->request = NULL;
    if (ret < 0)
        f->err = *e;
    else if (is_good(f))
        ret = complete(f);
    else if (f->status == 401 && at_home && !f->fresh_grant) {
        authorize(f);
        return;
    } else
        ret = judge_status(f);
    if (ret < 0)
        fetch_failed(f, ret);
    else
        fetch_over(f, 0);
}

const struct http_ops fetch_http_ops = {got_head, got_body, answered};
