/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a fetch is a small machine that is always in one of four places: waiting for its timer
 * (before the first attempt, between attempts, or until the sink is ready), for an HTTP request, for a token,
 * or over.
 *
 *     timer → send_due() → request → answered() → 2xx: the sink's end(), over
 *                                           → 401: token → send_due() again, once an attempt
 *                                           → else fetch_failed() → timer, or over
 *
 * This file is its life and its requests; oci/fetch_answer.c and oci/fetch_retry.c are the rest of the line.
 */
#include "base/io.h"
#include "base/own.h"
#include "oci/fetch_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINK_POLL_MS 50

static void send_due(struct loop_timer *t);

void fetch_later(struct fetch *f, uint64_t delay_ms)
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

void fetch_over(struct fetch *f, int ret)
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
    fetch_over(f, ret);
}

/* --- the request --- */

static int send_request(struct fetch *f)
{
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
        .offset = f->from,
        .total_ms = f->params.size < 0 ? r->config->document_timeout_ms : 0,
        .ops = &fetch_http_ops,
        .ctx = f,
    };
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

static void begin_attempt(struct fetch *f)
{
    f->skip = f->got = f->retry_after_ms = 0;
    f->expect = -1;
    f->words_len = 0;
    f->status = 0;
    f->misled = false;
}

static void send_due(struct loop_timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, timer);
    begin_attempt(f);
    int ret = fetch_of_sink(f, f->params.ops->prepare(f->params.ctx, &f->have, &f->err));
    if (ret == -EAGAIN) {
        f->own_failure = false;
        fetch_later(f, SINK_POLL_MS);
        return;
    }
    if (ret == 1) {
        fetch_over(f, 0);
        return;
    }
    if (!f->resend) {
        f->attempt++;
        f->fresh_grant = false;
    }
    f->resend = false;
    f->from = f->whole ? 0 : f->have;
    if (ret == 0)
        ret = find_host(f);
    if (ret == 0)
        ret = send_request(f);
    if (ret < 0)
        fetch_failed(f, ret);
}
