/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a fetch is a small machine that is always in one of four places: waiting for its timer
 * (before the first attempt, between attempts, or until the sink is ready), for an HTTP request, for a token,
 * or over.
 *
 *     timer → send_due() → request → answered() → 2xx: the sink's end(), over
 *                                           → 401: token → send_due() again, once an attempt
 *                                           → else failed()
 *     failed(): may pass and attempts are left → timer
 *               else the next host             → timer
 *               else over
 *
 * An attempt that brought new bytes of some number starts the count of attempts anew: a large blob over a bad
 * line gets through, and a server that sends one byte at a time does not hold us for ever. Bytes with a wrong
 * digest are fetched once more from the same host, as the wrong ones may be from an earlier attempt.
 */
#include "oci/fetch.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/backoff.h"
#include "oci/oci_error.h"
#include "oci/registry_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINK_POLL_MS    50
#define RETRY_AFTER_MAX 60000
#define PROGRESS_BYTES  65536   /* that start the count of attempts anew */
#define ERRNO_LOWEST    (-4096) /* codes above are errnos */

struct fetch {
    struct registry *registry;
    struct fetch *next, *prev;
    struct fetch_params params; /* strings are copies */
    char *scope;
    unsigned host; /* index for registry_endpoint() */
    struct endpoint endpoint;
    unsigned attempt;
    bool fresh_grant;   /* authorization was asked for in this attempt */
    bool resend;        /* with it: no attempt of its own */
    bool digest_failed; /* once, at this host */
    bool own_failure;   /* of our host: no other registry will help */
    uint64_t offset;    /* where this attempt began */
    uint64_t skip;      /* bytes that come and are there already */
    uint64_t got;       /* new bytes of this attempt */
    int64_t expect;     /* new bytes that are missing, or -1 */
    uint64_t retry_after_ms;
    struct loop_timer timer;
    struct http_request *request;
    struct auth_job *job;
    struct challenges challenges;
    int status;
    char *words; /* the start of an answer that is no 2xx */
    size_t words_len;
    struct err err;
    char mirror_err[160]; /* what the first mirror said */
};

static void send_due(struct loop_timer *t);
static void failed(struct fetch *f, int ret);

static void later(struct fetch *f, uint64_t delay_ms)
{
    if (loop_timer_arm(f->registry->loop, &f->timer, delay_ms * NSEC_PER_MSEC, send_due) < 0)
        fetch_fail(f, -ENOMEM, "no memory for a timer");
}

/* --- life --- */

static int copy_params(struct fetch *f, const struct fetch_params *p)
{
    f->params = *p;
    f->params.path = strdup(p->path);
    f->params.selector = strdup(p->selector);
    if (asprintf(&f->scope, "repository:%s:pull", p->path) < 0)
        f->scope = NULL;
    return f->params.path && f->params.selector && f->scope ? 0 : -ENOMEM;
}

int fetch_start(struct registry *r, const struct fetch_params *p, struct fetch **out, struct err *e)
{
    struct fetch *f = calloc(1, sizeof(*f));
    if (!f)
        return err_set(e, -ENOMEM, "cannot ask registry '%s': no memory", r->domain);
    f->registry = r;
    f->next = r->first;
    if (r->first)
        r->first->prev = f;
    r->first = f;
    if (r->cancelled) {
        fetch_destroy(f);
        return err_set(e, -ECANCELED, "cancelled");
    }
    if (copy_params(f, p) < 0 || loop_timer_arm(r->loop, &f->timer, 0, send_due) < 0) {
        fetch_destroy(f);
        return err_set(e, -ENOMEM, "cannot ask registry '%s': no memory", r->domain);
    }
    *out = f;
    return 0;
}

void fetch_destroy(struct fetch *f)
{
    if (!f)
        return;
    if (f->prev)
        f->prev->next = f->next;
    else
        f->registry->first = f->next;
    if (f->next)
        f->next->prev = f->prev;
    loop_timer_disarm(&f->timer);
    http_cancel(f->request);
    auth_cancel(f->job);
    endpoint_fini(&f->endpoint);
    free((char *)f->params.path);
    free((char *)f->params.selector);
    free(f->scope);
    free(f->words);
    free(f);
}

/* Ends it, with what is in f->err. */
static void over(struct fetch *f, int ret)
{
    const struct fetch_ops *ops = f->params.ops;
    void *ctx = f->params.ctx;
    struct err e = f->err;
    fetch_destroy(f);
    ops->done(ctx, ret, &e);
}

void fetch_fail(struct fetch *f, int ret, const char *why)
{
    err_set(&f->err, ret, "%s", why);
    over(f, ret);
}

/* --- failures --- */

static bool may_pass(int ret)
{
    return ret == -EAGAIN || ret == -ETIMEDOUT || ret == -ECONNRESET;
}

static void try_again(struct fetch *f)
{
    uint64_t delay = backoff_ms(f->registry->config->backoff_ms, f->attempt);
    if (f->retry_after_ms > delay)
        delay = f->retry_after_ms;
    log_info(LOG_NET, "%s; again in %llu ms", f->err.text, (unsigned long long)delay);
    if (f->params.ops->retry)
        f->params.ops->retry(f->params.ctx, delay, &f->err);
    later(f, delay);
}

/* A host that could not even be talked to is not asked again by other fetches. */
static bool is_unreachable(int ret)
{
    return ret == OCI_E_NO_HOST || ret == OCI_E_REFUSED || ret == OCI_E_TLS || may_pass(ret);
}

static void next_host(struct fetch *f, int ret)
{
    log_at(LOG_NET, ret == OCI_E_NOT_FOUND ? LOG_INFO : LOG_WARN, "mirror '%s': %s", f->endpoint.name,
           f->err.text);
    if (!f->mirror_err[0])
        snprintf(f->mirror_err, sizeof(f->mirror_err), "%.*s", (int)sizeof(f->mirror_err) - 1, f->err.text);
    if (is_unreachable(ret) && f->host < 32)
        f->registry->dead_mirrors |= 1u << f->host;
    f->host++;
    f->attempt = 0;
    f->digest_failed = false;
    endpoint_fini(&f->endpoint);
    later(f, 0);
}

/* The class that our caller knows. */
static int class_of(int ret)
{
    if (ret == -EAGAIN)
        return OCI_E_REGISTRY;
    return may_pass(ret) ? OCI_E_STALLED : ret;
}

/* An attempt came to nothing; f->err says why. */
static void failed(struct fetch *f, int ret)
{
    bool again = may_pass(ret);
    f->resend = false;
    if (f->own_failure || ret == -ECANCELED || ret == -ENOMEM) {
        over(f, ret);
        return;
    }
    /* What is resumed gets on; what starts again with each attempt does not, however much came. */
    if (f->got >= PROGRESS_BYTES && f->params.size >= 0)
        f->attempt = 1;
    if (ret == OCI_E_DIGEST && f->params.ops->reset)
        f->params.ops->reset(f->params.ctx);
    if (ret == OCI_E_DIGEST && !f->digest_failed)
        again = f->digest_failed = true;
    if (again && f->attempt < f->registry->config->attempts) {
        try_again(f);
        return;
    }
    if (f->endpoint.is_mirror) {
        next_host(f, ret);
        return;
    }
    f->err.code = class_of(ret);
    if (f->mirror_err[0]) {
        struct err last = f->err;
        err_set(&f->err, last.code, "%s (and a mirror: %s)", last.text, f->mirror_err);
    }
    over(f, f->err.code);
}

/* --- the answer --- */

/* Failures of the sink: with an errno they are our own. */
static int of_sink(struct fetch *f, int ret)
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
    return f->status == 200 || (f->status == 206 && f->offset > 0);
}

/* Where the answer's bytes begin, and how many new ones to expect. */
static int take_range(struct fetch *f, const struct http_request *r, struct err *e)
{
    int64_t start = f->status == 206 ? http_range_start(r) : 0, length = http_content_length(r);
    if (start < 0 || (uint64_t)start > f->offset)
        return err_set(e, OCI_E_REGISTRY, "registry '%s' sends another range than was asked for",
                       f->endpoint.name);
    f->skip = f->offset - (uint64_t)start;
    if (f->params.size >= 0)
        f->expect = f->params.size - (int64_t)f->offset;
    /* Subtracted, not added: a server may announce any length. */
    int64_t wanted = f->params.size - start;
    if (length >= 0 && f->params.size >= 0 && length != wanted)
        return err_set(e, OCI_E_DIGEST, "registry '%s' announces %lld bytes of %s where %lld are to come",
                       f->endpoint.name, (long long)length, f->params.selector, (long long)wanted);
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
        ret = of_sink(f, f->params.ops->begin(f->params.ctx, r, e));
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
    return of_sink(f, f->params.ops->body(f->params.ctx, (const char *)data + old, len - old, e));
}

static void authorized(void *ctx, int ret, const struct err *e)
{
    struct fetch *f = ctx;
    f->job = NULL;
    if (ret < 0) {
        f->err = *e;
        failed(f, ret);
        return;
    }
    later(f, 0);
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
        failed(f, ret);
    } else if (ret == 1) {
        later(f, 0);
    }
}

static int judge_status(struct fetch *f)
{
    char object[512];
    if (f->status == 416)
        return err_set(&f->err, OCI_E_DIGEST, "registry '%s' has fewer bytes than were downloaded before",
                       f->endpoint.name);
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
    int ret = of_sink(f, f->params.ops->end(f->params.ctx, &f->err));
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
        failed(f, ret);
    else
        over(f, 0);
}

/* --- the request --- */

static int send_request(struct fetch *f)
{
    static const struct http_ops ops = {got_head, got_body, answered};
    CLEANUP(mem_freep) char *url = NULL;
    struct registry *r = f->registry;
    if (asprintf(&url, "%s/v2/%s/%s/%s", f->endpoint.base, f->params.path, f->params.kind,
                 f->params.selector) < 0) {
        url = NULL;
        return err_set(&f->err, -ENOMEM, "cannot ask registry '%s': no memory", f->endpoint.name);
    }
    const struct http_params p = {
        .url = url,
        .head = f->params.head,
        .accept = f->params.accept,
        .authorization = auth_value(r->auth, &f->endpoint.origin, f->scope),
        .offset = f->offset,
        .ops = &ops,
        .ctx = f,
    };
    f->skip = 0;
    f->expect = -1;
    f->words_len = 0;
    f->status = 0;
    return http_start(r->http, &p, &f->request, &f->err);
}

/* Goes to the first host, from f->host on, that is worth asking. */
static int find_host(struct fetch *f)
{
    if (f->endpoint.base)
        return 0;
    while (f->host < registry_mirrors(f->registry) && (f->registry->dead_mirrors & 1u << f->host))
        f->host++;
    int ret = registry_endpoint(f->registry, f->host, &f->endpoint, &f->err);
    return ret < 0 ? ret : 0;
}

static void send_due(struct loop_timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, timer);
    f->got = f->retry_after_ms = 0;
    int ret = of_sink(f, f->params.ops->prepare(f->params.ctx, &f->offset, &f->err));
    if (ret == -EAGAIN) {
        f->own_failure = false;
        later(f, SINK_POLL_MS);
        return;
    }
    if (ret == 1) {
        over(f, 0);
        return;
    }
    if (!f->resend) {
        f->attempt++;
        f->fresh_grant = false;
    }
    f->resend = false;
    if (ret == 0)
        ret = find_host(f);
    if (ret == 0)
        ret = send_request(f);
    if (ret < 0)
        failed(f, ret);
}
