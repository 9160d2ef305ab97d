/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a request is one easy handle of libcurl. Redirects are followed here and not by curl:
 * each new URL is checked like the first one, and the headers are made anew. The easy handle, and with it the
 * connection, is used again for that.
 *
 * A timer looks from time to time when the last byte came. Our own work is not all quick: a blob is hashed
 * again, or brought to the disk, in the loop's thread, and meanwhile nothing is read. So a host that seems
 * silent is looked at once more, STALL_GRACE_MS later: the loop reads what waits at the sockets before it
 * runs timers.
 */
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/http_error.h"
#include "oci/http_inner.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES      (256 * 1024L)
#define REDIRECT_BODY_MAX (1024 * 1024)
#define STALL_GRACE_MS    1000

static void request_free(struct http_request *r)
{
    loop_timer_disarm(&r->stall);
    loop_timer_disarm(&r->total);
    if (r->easy)
        curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers);
    free((char *)r->params.accept);
    if (r->params.authorization)
        explicit_bzero((char *)r->params.authorization, strlen(r->params.authorization));
    free((char *)r->params.authorization);
    free((char *)r->params.form);
    free(r->url);
    free(r);
}

static void unlink_request(struct http_request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        r->http->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
}

void http_cancel(struct http_request *r)
{
    if (!r)
        return;
    http_remove(r);
    unlink_request(r);
    request_free(r);
}

/* Tells the owner, outside of any callback of curl. */
static void finish(struct http_request *r, int ret)
{
    unlink_request(r);
    loop_timer_disarm(&r->stall);
    loop_timer_disarm(&r->total);
    r->params.ops->done(r->params.ctx, r, ret, &r->err);
    request_free(r);
}

/* --- The answer, as it comes in --- */

static bool is_redirect(const struct http_request *r)
{
    int status = http_status(r);
    return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
           http_header(r, "Location", 0);
}

/* Tells the owner of the answer, once. */
static int give_head(struct http_request *r)
{
    if (r->head_given)
        return r->ret;
    r->head_given = true;
    if (r->params.ops->head)
        r->ret = r->params.ops->head(r->params.ctx, r, &r->err);
    return r->ret;
}

/* CURLOPT_HEADERFUNCTION, a line at a time: only looks and counts; curl keeps the headers themselves. */
static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct http_request *r = ctx;
    size_t len = size * n;
    r->last_ns = now_ns();
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        r->head_whole = false; /* there may be several: of a proxy, or "100 Continue" */
    else if (len > 0 && (data[0] == '\r' || data[0] == '\n'))
        r->head_whole = true;
    r->header_bytes += len;
    if (r->header_bytes <= HTTP_HEADERS_MAX)
        return len;
    r->ret = err_set(&r->err, OCI_E_REGISTRY, "'%s' answers with more than %d bytes of headers",
                     r->origin.host, HTTP_HEADERS_MAX);
    return 0;
}

/* CURLOPT_WRITEFUNCTION */
static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct http_request *r = ctx;
    size_t len = size * n;
    r->last_ns = now_ns();
    if (is_redirect(r)) {
        r->redirect_bytes += len;
        return r->redirect_bytes <= REDIRECT_BODY_MAX ? len : 0;
    }
    if (give_head(r) == 0 && r->params.ops->body)
        r->ret = r->params.ops->body(r->params.ctx, data, len, &r->err);
    return r->ret < 0 ? 0 : len;
}

int http_status(const struct http_request *r)
{
    long status = 0;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

const char *http_header(const struct http_request *r, const char *name, unsigned nth)
{
    struct curl_header *h;
    return curl_easy_header(r->easy, name, nth, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

int64_t http_content_length(const struct http_request *r)
{
    curl_off_t length = -1;
    curl_easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length;
}

int64_t http_range_start(const struct http_request *r)
{
    const char *range = http_header(r, "Content-Range", 0);
    long long start;
    return range && sscanf(range, "bytes %lld-", &start) == 1 && start >= 0 ? start : -1;
}

const struct url_origin *http_origin(const struct http_request *r)
{
    return &r->origin;
}

/* --- Sending --- */

static void stall_due(struct loop_timer *t)
{
    struct http_request *r = CONTAINER_OF(t, struct http_request, stall);
    uint64_t limit = r->http->config->stall_timeout_ms * NSEC_PER_MSEC, quiet = now_ns() - r->last_ns;
    bool again = quiet < limit || r->looked_ns != r->last_ns;
    uint64_t wait = quiet < limit ? limit - quiet : STALL_GRACE_MS * NSEC_PER_MSEC;
    r->looked_ns = quiet < limit ? 0 : r->last_ns;
    if (again && loop_timer_arm(r->http->loop, t, wait, stall_due) == 0)
        return;
    http_remove(r);
    finish(r, err_set(&r->err, -ETIMEDOUT, "'%s' sent nothing for %llu ms", r->origin.host,
                      (unsigned long long)r->http->config->stall_timeout_ms));
}

static void total_due(struct loop_timer *t)
{
    struct http_request *r = CONTAINER_OF(t, struct http_request, total);
    http_remove(r);
    finish(r, err_set(&r->err, -ETIMEDOUT, "what '%s' sends is not whole after %llu ms", r->origin.host,
                      (unsigned long long)r->params.total_ms));
}

static int add_header(struct http_request *r, const char *name, const char *value)
{
    CLEANUP(mem_freep) char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    struct curl_slist *more = curl_slist_append(r->headers, line);
    explicit_bzero(line, strlen(line));
    if (!more)
        return -ENOMEM;
    r->headers = more;
    return 0;
}

/* Headers of the request at r->origin. 0 or -ENOMEM. */
static int make_headers(struct http_request *r)
{
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    int ret = add_header(r, "User-Agent", "cubby/" CUBBY_VERSION);
    if (ret == 0 && r->params.accept)
        ret = add_header(r, "Accept", r->params.accept);
    if (ret == 0 && r->params.authorization)
        ret = add_header(r, "Authorization", r->params.authorization);
    return ret;
}

static void set_options(struct http_request *r)
{
    CURL *c = r->easy;
    const struct oci_config *config = r->http->config;
    const char *ca_file = oci_config_ca_file(config, &r->origin);
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_PRIVATE, r);
    curl_easy_setopt(c, CURLOPT_URL, r->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, r->origin.https ? "https" : "http");
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2); /* or later */
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* cancelling does not wait for the name server */
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, r->curl_text);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)config->connect_timeout_ms);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    if (ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
    if (r->params.head)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    if (r->params.form)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->params.form);
    if (r->params.offset) {
        char range[32];
        snprintf(range, sizeof(range), "%llu-", (unsigned long long)r->params.offset);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

/* Takes over `url`, checks where it leads, and hands the request to curl. */
static int send_to(struct http_request *r, char *url, struct err *e)
{
    free(r->url);
    r->url = url;
    int ret = url ? url_origin_parse(&r->origin, url, e) : err_set(e, -ENOMEM, "no memory for a URL");
    if (ret < 0)
        return ret;
    if (!r->origin.https && !oci_config_allows_http(r->http->config, &r->origin))
        return err_set(e, OCI_E_TLS,
                       "plain http to '%s' is refused: it is not named insecure in the configuration",
                       r->origin.host);
    r->header_bytes = r->redirect_bytes = 0;
    r->head_whole = false;
    r->curl_text[0] = '\0';
    r->last_ns = now_ns();
    if (make_headers(r) < 0)
        return err_set(e, -ENOMEM, "cannot send a request to '%s': no memory", r->origin.host);
    set_options(r);
    log_debug(LOG_NET, "%s %s%s",
              r->params.form   ? "POST"
              : r->params.head ? "HEAD"
                               : "GET",
              r->url, r->params.authorization ? " (with authorization)" : "");
    CURLMcode code = curl_multi_add_handle(r->http->multi, r->easy);
    if (code != CURLM_OK)
        return err_set(e, -ENOMEM, "cannot send a request to '%s': %s", r->origin.host,
                       curl_multi_strerror(code));
    r->http->count++;
    return 0;
}

static int copy_text(const char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

static int copy_params(struct http_request *r, const struct http_params *p)
{
    int ret = copy_text(&r->params.accept, p->accept);
    if (ret == 0)
        ret = copy_text(&r->params.authorization, p->authorization);
    if (ret == 0)
        ret = copy_text(&r->params.form, p->form);
    r->params.url = NULL; /* see r->url */
    r->params.head = p->head;
    r->params.offset = p->offset;
    r->params.total_ms = p->total_ms;
    r->params.ops = p->ops;
    r->params.ctx = p->ctx;
    return ret;
}

int http_start(struct http *h, const struct http_params *p, struct http_request **out, struct err *e)
{
    struct http_request *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(e, -ENOMEM, "cannot send a request: no memory");
    r->http = h;
    r->easy = curl_easy_init();
    int ret = r->easy ? copy_params(r, p) : -ENOMEM;
    if (ret == 0)
        ret = loop_timer_arm(h->loop, &r->stall, h->config->stall_timeout_ms * NSEC_PER_MSEC, stall_due);
    if (ret == 0 && p->total_ms)
        ret = loop_timer_arm(h->loop, &r->total, p->total_ms * NSEC_PER_MSEC, total_due);
    if (ret < 0)
        err_set(e, ret, "cannot send a request: no memory");
    else
        ret = send_to(r, strdup(p->url), e);
    if (ret < 0) {
        request_free(r);
        return ret;
    }
    r->next = h->first;
    if (h->first)
        h->first->prev = r;
    h->first = r;
    *out = r;
    return 0;
}

/* --- The end --- */

/* Sends the request once more, to where the answer points. */
static int follow(struct http_request *r)
{
    char *next = NULL;
    struct url_origin origin;
    struct err why = {0};
    curl_easy_getinfo(r->easy, CURLINFO_REDIRECT_URL, &next);
    if (r->params.form)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects a request that holds secrets",
                       r->origin.host);
    if (++r->redirects > HTTP_REDIRECTS_MAX)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects more than %d times", r->origin.host,
                       HTTP_REDIRECTS_MAX);
    if (!next || url_origin_parse(&origin, next, &why) < 0)
        return err_set(&r->err, OCI_E_REGISTRY, "'%s' redirects to nowhere: %s", r->origin.host, why.text);
    if (r->origin.https && !origin.https)
        return err_set(&r->err, OCI_E_TLS, "'%s' redirects from https to http, to '%s'", r->origin.host,
                       origin.host);
    if (!url_origin_equal(&origin, &r->origin)) {
        free((char *)r->params.authorization);
        r->params.authorization = NULL;
    }
    return send_to(r, strdup(next), &r->err);
}

void http_request_complete(struct http_request *r, CURLcode code)
{
    /* curl takes headers that end in their midst for all of them. */
    if (r->ret == 0 && code == CURLE_OK && !r->head_whole)
        code = CURLE_PARTIAL_FILE;
    if (r->ret == 0 && code == CURLE_OK && is_redirect(r)) {
        int ret = follow(r);
        if (ret < 0)
            finish(r, ret);
        return;
    }
    if (r->ret == 0 && code == CURLE_OK)
        give_head(r); /* an answer without a body */
    if (r->ret == 0 && code != CURLE_OK)
        r->ret = http_error(r->easy, code, r->origin.host, r->curl_text, &r->err);
    finish(r, r->ret);
}
